"""`--help` of every command: under a second, and none of the large libraries is imported for it."""

import subprocess
import sys

import pytest

from command import CommandParser
from tests.conftest import ROOT

STATIONS = ("training", "eval", "model_card", "inference", "publishing")
LARGE = [
    "torch",
    "transformers",
    "gradio",
    "matplotlib",
    "datasets",
    "peft",
    "trl",
    "pandas",
    "scipy",
    "gguf",
    "xllamacpp",
    "bitsandbytes",
]
# Children of other commands, which a user does not start.
CHILDREN = {
    "publishing.reader",
    "inference.llama_cpp.child",
    "inference.serving.watch",
    "eval.scorers.sandbox.launcher",
}
CODE = f"""
import runpy, sys, time
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as stop:
    loaded = [name for name in {LARGE} if name in sys.modules]
    print(stop.code, time.process_time(), ",".join(loaded), file=sys.stderr)
"""


# These read recipe keys too, or take no flag at all.
OTHER_PARSERS = {"training.train", "training.inspect_pairs"}


def commands() -> list[str]:
    """Every module that runs as a command, found by its last lines."""
    files = [ROOT / "upload.py", *(path for station in STATIONS for path in sorted((ROOT / station).rglob("*.py")))]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    ]
    return [name for name in names if name not in CHILDREN]


def test_the_commands_are_found():
    assert {"upload", "training.train", "eval.run", "model_card.build", "inference.chat"} <= set(commands())


@pytest.mark.parametrize("name", commands())
def test_help_is_quick_and_imports_nothing_large(name):
    """In seconds of this process's own, which do not grow when the machine is busy."""
    done = subprocess.run([sys.executable, "-c", CODE, name, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr
    status, seconds, *large = done.stderr.splitlines()[-1].split()
    assert (status, large) == ("0", []) and float(seconds) < 1


@pytest.mark.parametrize("name", [name for name in commands() if name not in OTHER_PARSERS])
def test_a_mistyped_flag_is_answered_with_the_nearest(name):
    """Before what is missing beside it, and as quickly as --help."""
    done = subprocess.run([sys.executable, "-c", CODE, name, "--hlep"], cwd=ROOT, capture_output=True, text=True)
    assert "error: unknown option --hlep; did you mean --help?" in done.stderr and "required" not in done.stderr
    status, seconds, *large = done.stderr.splitlines()[-1].split()
    assert (status, large) == ("2", []) and float(seconds) < 1


def test_a_required_flag_that_is_mistyped_is_named_and_a_value_is_no_flag(capsys):
    parser = CommandParser(prog="x")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--output", required=True)
    for line, said in (
        (["--outptu", "x"], "unknown option --outptu; did you mean --output?"),
        (["--outptu=x"], "unknown option --outptu; did you mean --output?"),
        (["--qqq"], "unknown option --qqq."),
        (["--outpu", "x"], "unknown option --outpu; did you mean --output?"),  # no abbreviations
    ):
        with pytest.raises(SystemExit) as stop:
            parser.parse_args(line)
        assert stop.value.code == 2 and said in capsys.readouterr().err
    assert parser.parse_args(["--output", "-- a text", "--", "--outptu"]).words == ["--outptu"]
