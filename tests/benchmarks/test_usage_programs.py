"""Records of programs that CI does not have are of the blocks that the card shows now, and no program, no record."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import usage_programs

from model_card.usage import snippets


@pytest.mark.parametrize("program", usage_programs.TESTS)
def test_the_record_is_of_the_blocks_shown_today(program):
    record = json.loads((ROOT / "benchmarks" / "results" / f"usage_{program}.json").read_text(encoding="utf-8"))
    assert record["blocks"] == str(snippets(usage_programs.SHOWN)[program])
    assert list(record["tests"]) == usage_programs.TESTS[program][1]


def test_without_the_program_nothing_is_written(tmp_path):
    command = [sys.executable, "benchmarks/usage_programs.py", "vllm"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2 and "vllm is not on PATH" in done.stderr
