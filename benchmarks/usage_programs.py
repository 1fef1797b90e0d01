"""Run the card's blocks for programs that CI does not have, and keep what they answered.

    python benchmarks/usage_programs.py vllm | llama_cpp

The programs have to be on PATH (tests/model_card/test_usage.py says where they come from). The tests are the ones that are
skipped without them; this writes benchmarks/results/usage_PROGRAM.json: the blocks, the program's own version, how each test
ended and the answers of a model that can say OK, OL, AK and AL and must stop after each.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from command import UserError, WorkError, run_command  # noqa: E402  (the repository root has to be on the path first)
from model_card.usage import Release, snippets  # noqa: E402
from run_folder import write_json  # noqa: E402

TESTS = {"vllm": ("vllm", ["test_vllm"]), "llama_cpp": ("llama-server", ["test_llama_server", "test_llama_cli"])}
SHOWN = Release("ORG/NAME", "ORG/NAME-GGUF", [], [], 0.6, 0.9, 512)


def main(argv: list[str] | None = None) -> int:
    """Run one program's tests; the record is written only if every one of them ran and passed."""
    parser = argparse.ArgumentParser(prog="python benchmarks/usage_programs.py", description=__doc__.splitlines()[0])
    parser.add_argument("program", choices=TESTS)
    program = parser.parse_args(argv).program
    binary, tests = TESTS[program]
    if shutil.which(binary) is None:
        raise UserError(f"{binary} is not on PATH. Install it and put its folder there.")
    cases = run_tests(tests)
    record = {
        "program": binary,
        "version": version_of(binary),
        "blocks": str(snippets(SHOWN)[program]),
        "tests": cases,
    }
    write_json(ROOT / "benchmarks" / "results" / f"usage_{program}.json", record)
    return 0


def run_tests(names: list[str]) -> dict[str, dict]:
    """Name → {"seconds", "answers"} of each test. WorkError unless all passed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        file = "tests/model_card/test_usage.py"
        command = [sys.executable, "-m", "pytest", *(f"{file}::{name}" for name in names), f"--junitxml={report}"]
        done = subprocess.run(command, cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.is_file() else []
    if done.returncode or len(cases) != len(names) or any(case.find("skipped") is not None for case in cases):
        raise WorkError(f"not every one of {', '.join(names)} ran and passed, so nothing was written. See above.")
    return {case.get("name"): {"seconds": float(case.get("time")), **properties(case)} for case in cases}


def properties(case: ElementTree.Element) -> dict[str, list[str]]:
    """What a test recorded, each as words."""
    return {item.get("name"): item.get("value").split() for item in case.iter("property")}


def version_of(binary: str) -> str:
    """The last line that says it; llama.cpp says it on stderr, where vLLM has warnings."""
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    said = done.stdout.strip() or next(line for line in done.stderr.splitlines() if line.startswith("version"))
    return said.splitlines()[-1]


if __name__ == "__main__":
    run_command(main)
