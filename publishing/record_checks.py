"""Checks that the records of a release can be read at all: what the other checks compare stands in them."""

import json
from pathlib import Path
from typing import Any

from run_folder import misfit

NULL = type(None)
NUMBER = int | float | None
EXAMPLE = {"messages": [{"role": str, "content": str}], "ids": ([int], NULL)}
FIGURES = ({}, NULL)
VERSIONED = {"schema_version": int}
# What the checks read of each record, in the words of run_folder.misfit.
FORMS: dict[str, Any] = {
    "training.json": {
        **VERSIONED,
        "git?": FIGURES,
        "data?": ({"pairs?": NUMBER}, NULL),
        "energy?": ({"joules": NUMBER}, NULL),
        "steps": [{"pairs?": int}],
        "tokens?": NUMBER,
        "seconds?": NUMBER,
        "peak_memory_bytes?": NUMBER,
        "template_sha256?": str | None,
        "encoded_examples?": ([EXAMPLE], NULL),
        "encoded_response?": ({"text": str, "ids": [int]}, NULL),
    },
    "data_report.json": VERSIONED,
    "eval/comparison.json": {
        **VERSIONED,
        "metrics": [{"suite": str, "metric": str, "base": FIGURES, "tuned": {}, "difference?": FIGURES}],
    },
    "eval/base/results.json": VERSIONED,
    "eval/tuned/results.json": VERSIONED,
    "generation_config.json": {"eos_token_id?": (int | None, [int])},
    "export.json": {
        **VERSIONED,
        "source": {"sha256": str},
        "files": {"*": {"sha256": str, "bytes": int}},
        "ollama?": FIGURES,
        "stops?": [{"text": str}],
        "sampling?": {},
    },
}
REMAKE = "restore it in the run folder, or run the step that writes it again, and build the release again"


def check_records(folder: Path, required: tuple[str, ...]) -> list[str]:
    """A finding for each record that is missing, no JSON, or not of the form that its checks can compare."""
    found = [f"{name} is missing; {REMAKE}" for name in required if not (folder / name).is_file()]
    for name, form in FORMS.items():
        if not (folder / name).is_file():
            continue
        try:
            record = json.loads((folder / name).read_text(encoding="utf-8"))
        except ValueError as error:
            found.append(f"{name} is not valid JSON ({error}); {REMAKE}")
            continue
        if fault := misfit(record, form, name):
            found.append(f"{fault}; {REMAKE}")
    return found
