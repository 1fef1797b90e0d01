"""Every front end, given every faulty MODEL: one message that names it and the way out, status 2, no traceback."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.inference.bad_input import arguments, make

FRONT_ENDS = (
    "inference.chat",
    "inference.generate",
    "inference.demo",
    "inference.serve",
    "inference.compare",
    "inference.export_gguf",
    "eval.run",
)
# What is wrong → (what the message says, whether torch may be imported first).
FAULTS = {
    "nothing there": ("no such folder or file", False),
    "empty": ("MODEL is empty", False),
    "no weights": ("no *.safetensors", False),
    "no config": ("no config.json", False),
    "only GGUF files": ("a-q4_0.gguf, ", False),
    "only pickles": ("pytorch_model.bin), which can run code", False),
    "missing shard": ("model-00002.safetensors", False),
    "cut safetensors": ("model.safetensors is broken or cut off", False),
    "lying header": ("model.safetensors is broken or cut off", False),
    "dangling link": ("model.safetensors", False),
    "not GGUF": ("not a GGUF file", False),
    "broken config": ("config.json is not valid JSON", False),
    "no tokenizer": ("tokenizer", True),
    "broken tokenizer": ("broken", True),
    "no template": ("chat template", True),
    "unknown architecture": ("foo", True),
    "cut GGUF": ("GGUF", True),
}
# Where a message tells of "the model" and does not name it: there is but one on the command line.
UNNAMED = {"empty", "no template"}


# What a server knows beyond transformers is its own to tell: the words are printed.
LEFT_TO_OTHERS = {("inference.serve", "unknown architecture")}


@pytest.fixture(scope="module")
def told(tiny_folder, tmp_path_factory):
    """(front end, fault) → what happened."""
    root = tmp_path_factory.mktemp("bad")
    jobs = []
    for needs_torch in (False, True):
        for fault in [name for name, (_, torch) in FAULTS.items() if torch is needs_torch]:
            for front_end in FRONT_ENDS:
                folder = root / f"{front_end} {fault}"
                folder.mkdir()
                words = arguments(front_end, make(fault, tiny_folder, folder), folder)
                jobs.append({"front_end": front_end, "fault": fault, "words": words})
    (root / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    command = [sys.executable, "-m", "tests.inference.bad_input", root / "jobs.json", root / "results.json"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((root / "results.json").read_text(encoding="utf-8"))
    return {(row["front_end"], row["fault"]): row for row in rows}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_faulty_model_is_told(told, front_end, fault):
    row, (reason, needs_torch) = told[front_end, fault], FAULTS[fault]
    if (front_end, fault) in LEFT_TO_OTHERS:
        assert row["status"] == 0
        return
    assert row["status"] == 2 and "Traceback" not in row["said"], row
    errors = [line for line in row["said"].splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and any(word in errors[0] for word in reason.split("|")), row
    assert fault in UNNAMED or row["words"][0] in errors[0] or row["words"][0].rpartition("/")[2] in errors[0], row
    if not needs_torch:
        assert not row["torch"] and row["seconds"] < 2, row
