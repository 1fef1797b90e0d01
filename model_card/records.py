"""What a run wrote, read back for the card: nothing is computed here that a JSON file does not say."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import UserError
from run_folder import joint_sha256, read_json

SIDES = ("base", "tuned")
EXAMPLES_A_SUITE = {"seed": 6}  # of the article's prompts one a category; of the other suites OTHERS
OTHERS = 2

LOCAL_PATH = re.compile(r"(~?/|[A-Za-z]:[\\/])[^\n]*[^\s/\\]")  # an absolute path of some machine; a release names none

_TRAINING_FIELDS = {
    "status": str,
    "run_name": str,
    "recipe": dict,
    "base_model": dict,
    "data": dict,
    "versions": dict,
    "hardware": dict,
    "git": dict,
    "steps": list,
}


@dataclass(frozen=True)
class Run:
    """A finished run folder. What a run did not write is None, {} or []."""

    folder: Path
    training: dict[str, Any]
    data_report: dict[str, Any] | None
    comparison: dict[str, Any] | None
    results: dict[str, dict[str, Any]]
    examples: list[dict[str, Any]]
    model_config: dict[str, Any]
    generation_config: dict[str, Any]


def read_run(folder: Path) -> Run:
    """Read all records of a run. UserError: no such folder, unfinished, or a record missing or broken."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give the run folder that training wrote, such as runs/NAME.")
    training = check_training(folder / "training.json")
    if not list((folder / "model").glob("*.safetensors")):
        raise UserError(
            f"{folder / 'model'} holds no .safetensors file. Train the run first: python -m training.train …"
        )
    if (folder / "model" / "adapter_config.json").is_file():
        raise UserError(
            f"{folder / 'model'} is a LoRA adapter; a release is a whole model. "
            f"Merge it: python -m training.merge_adapter {folder}"
        )
    results = {s: r for s in SIDES if (r := _optional_json(folder / "eval" / s / "results.json")) is not None}
    comparison = _optional_json(folder / "eval" / "comparison.json")
    if comparison is not None:
        check_comparison(folder / "eval" / "comparison.json", comparison)
        check_same_models(folder / "eval" / "comparison.json", comparison, training)
    return Run(
        folder=folder,
        training=training,
        data_report=_optional_json(folder / "data_report.json"),
        comparison=comparison,
        results=results,
        examples=choose_examples(folder / "eval", results),
        model_config=_plain_json(folder / "model" / "config.json"),
        generation_config=_plain_json(folder / "model" / "generation_config.json", required=False),
    )


def check_training(path: Path) -> dict[str, Any]:
    """training.json, if it is whole and its run finished; else UserError with the field at fault."""
    training = read_json(path)
    for field, kind in _TRAINING_FIELDS.items():
        if not isinstance(training.get(field), kind):
            raise UserError(f"{path}: {field} is {training.get(field)!r}, not a {kind.__name__}. Train the run again.")
    if training["status"] != "finished":
        raise UserError(
            f"{path}: status is {training['status']!r}. Finish the run first (--resume), then build its card."
        )
    if not training["steps"] or not all(isinstance(step, dict) for step in training["steps"]):
        raise UserError(f"{path}: steps is empty or not a list of records. Train the run again.")
    return training


def check_comparison(path: Path, comparison: dict[str, Any]) -> None:
    """UserError unless every metric names its suite and holds the tuned figure, and the base's or null."""
    metrics = comparison.get("metrics")
    if not isinstance(metrics, list):
        raise UserError(f"{path}: metrics is not a list. Run eval again: python -m eval.run …")
    for number, row in enumerate(metrics):
        whole = isinstance(row, dict) and all(isinstance(row.get(k), str) for k in ("suite", "metric"))
        if not whole or not isinstance(row.get("tuned"), dict) or not isinstance(row.get("base"), dict | None):
            raise UserError(f"{path}: metrics[{number}] lacks suite, metric or tuned. Run eval again.")
        values = [(row.get(side) or {}).get("value") for side in SIDES]
        if not all(value is None or isinstance(value, int | float) for value in values):
            raise UserError(f"{path}: metrics[{number}] has the values {values}, not numbers or null. Run eval again.")


def check_same_models(path: Path, comparison: dict[str, Any], training: dict[str, Any]) -> None:
    """UserError if what was scored is not what this run trained, or not what it trained from."""
    recorded = {n: d for n, d in (training.get("model_sha256") or {}).items() if n.endswith(".safetensors")}
    trained = {"tuned": joint_sha256(recorded) if recorded else None, "base": training["base_model"].get("sha256")}
    for side in SIDES:
        scored = (comparison.get(side) or {}).get("sha256")
        if scored and trained[side] and scored != trained[side]:
            raise UserError(
                f"{path} scores a {side} model whose weights are not this run's. Run eval again: python -m eval.run …"
            )


def choose_examples(folder: Path, results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The examples of the card: in each suite and category the prompt whose id has the lowest SHA-256, sample 0.

    At most EXAMPLES_A_SUITE (else OTHERS) categories a suite, again by the lowest SHA-256. No one picks: a failure is shown as it falls.
    """
    rows = {side: {_key(row): row for row in read_generations(folder / side)} for side in SIDES}
    scores = {side: _scores(results.get(side)) for side in SIDES}
    both = sorted(
        (key for key in rows["tuned"] if key in rows["base"]), key=lambda key: (key[0], key[2], _rank(key[1]))
    )
    chosen: dict[tuple[str, str], tuple] = {}
    for key in both:
        chosen.setdefault((key[0], category(rows["tuned"][key], scores["tuned"].get(key, {}))), key)
    kept: dict[str, list[tuple]] = {}
    for (suite, _), key in sorted(chosen.items(), key=lambda item: (item[0][0], _rank(item[1][1]))):
        kept.setdefault(suite, []).append(key)
    keys = [key for suite in sorted(kept) for key in kept[suite][: EXAMPLES_A_SUITE.get(suite, OTHERS)]]
    return [_example(key, rows, scores) for key in keys]


def read_generations(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of generations.jsonl, none if the file is missing. UserError names the broken line."""
    path = folder / "generations.jsonl"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line)
                if not {"id", "suite", "sample", "prompt", "response"} <= set(row):
                    raise ValueError("id, suite, sample, prompt or response is missing")
                _key(row)
            except (ValueError, TypeError) as error:
                raise UserError(f"{path}:{number}: {error}. Run eval again; it continues from what is whole.") from None
            yield row


def category(row: dict[str, Any], item: dict[str, Any]) -> str:
    """An item's category: as its row says, else the first metric that it counts for; empty if neither is recorded."""
    return str(row.get("category") or next(iter(item.get("values") or {}), ""))


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return (str(row["suite"]), str(row["id"]), int(row["sample"]))


def _rank(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest()


def _scores(result: dict[str, Any] | None) -> dict[tuple[str, str, int], dict[str, Any]]:
    """(suite, id, sample) → its item in results.json."""
    suites = (result or {}).get("suites", {})
    return {
        (s, str(i["id"]), int(i["sample"])): i
        for s, body in suites.items()
        for i in body.get("items", [])
        if {"id", "sample"} <= set(i)
    }


def _example(key: tuple, rows: dict[str, dict], scores: dict[str, dict]) -> dict[str, Any]:
    row = rows["tuned"][key]
    answers = {side: {"row": rows[side][key], "item": scores[side].get(key, {})} for side in SIDES}
    kind = category(row, scores["tuned"].get(key, {}))
    return {"suite": key[0], "id": key[1], "category": kind, "prompt": row["prompt"], **answers}


def _optional_json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def _plain_json(path: Path, required: bool = True) -> dict[str, Any]:
    """A JSON object of another program, without a schema_version of ours."""
    if not path.exists() and not required:
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Train the run again.") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}). Train the run again.") from None
    if not isinstance(record, dict):
        raise UserError(f"{path} is not a JSON object. Train the run again.")
    return record


def flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """A nested record as (dotted key, value); lists stay whole."""
    rows: list[tuple[str, Any]] = []
    for key, value in record.items():
        if isinstance(value, dict) and value:
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows
