"""What changed since an earlier version: two versions' records compared, settings, data and headline metrics.

A metric is set beside its earlier value only where both were measured alike: the same suite by its digest, the same decoding,
the same scorers. Else the card says what is different instead of a pair of numbers that mean two things.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import UserError
from model_card.hub_files import fetch_file
from model_card.records import check_comparison, check_training, flat
from run_folder import read_json

RECORDS = ("data_report.json", "eval/comparison.json")
HOW_ANSWERED = ("dtype", "decoding", "limit")


@dataclass(frozen=True)
class Previous:
    """The records of an earlier version; None for what it did not write."""

    name: str
    training: dict[str, Any]
    data_report: dict[str, Any] | None
    comparison: dict[str, Any] | None


def read_previous(given: str) -> Previous:
    """The records in a release or run folder, or in a repository ORG/NAME@REVISION on the Hub. UserError says what is missing."""
    folder = Path(given).expanduser()
    if folder.is_dir():
        paths = {name: folder / name for name in ("training.json", *RECORDS)}
        own = folder.resolve()
        name = own.parent.name if own.name == "release" else own.name
        return read_records(name, {record: path for record, path in paths.items() if path.is_file()})
    repo_id, _, revision = given.partition("@")
    if not revision or not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id):
        raise UserError(
            f"--previous {given}: no such folder, and not of the form ORG/NAME@REVISION. Give the release folder of the "
            "earlier version, or its repository with a tag or commit."
        )
    found = {name: fetch_file(repo_id, name, revision) for name in ("training.json", *RECORDS)}
    return read_records(given, {record: path for record, path in found.items() if path})


def read_records(name: str, paths: dict[str, Path]) -> Previous:
    """The earlier version from the paths of its records. UserError without a training.json of a finished run."""
    if "training.json" not in paths:
        raise UserError(f"--previous {name} has no training.json, so it is no release of this project. Give another.")
    report, comparison = (read_json(paths[name]) if name in paths else None for name in RECORDS)
    if comparison is not None:
        check_comparison(paths["eval/comparison.json"], comparison)
    return Previous(name, check_training(paths["training.json"]), report, comparison)


def changes(
    previous: Previous, training: dict[str, Any], report: dict[str, Any] | None, comparison: dict[str, Any] | None
) -> dict[str, Any]:
    """What both templates print: differing settings and data as (key, then, now), metrics then and now, and what does not compare."""
    return {
        "name": previous.name,
        "finished": previous.training.get("finished"),
        "settings": differing(settings_of(previous.training), settings_of(training)),
        "data": differing(data_of(previous.training, previous.data_report), data_of(training, report)),
        "digests": [key for key, *_ in differing(digests_of(previous.training), digests_of(training))],
        "evaluated": {"then": previous.comparison is not None, "now": comparison is not None},
        **compare_metrics(previous.comparison, comparison),
    }


def settings_of(training: dict[str, Any]) -> dict[str, Any]:
    """All that decides a training but its data: base model, recipe, code and packages."""
    base = training["base_model"]
    return dict(
        flat(
            {
                "base_model": {key: base.get(key) for key in ("hub_id", "name", "revision")},
                **{key: value for key, value in training["recipe"].items() if key not in ("dataset", "name")},
                "git": training["git"],
                "versions": training["versions"],
            }
        )
    )


def data_of(training: dict[str, Any], report: dict[str, Any] | None) -> dict[str, Any]:
    """What the pairs were: sources, number, and the report's counts."""
    counts = {
        key: (report or {}).get(key) for key in ("rows", "languages", "topics", "faults", "multi_turn", "with_system")
    }
    own = {key: training["data"].get(key) for key in ("pairs", "sources", "dropped")}
    return dict(flat({**own, **counts}))


def digests_of(training: dict[str, Any]) -> dict[str, Any]:
    """What is known by its SHA-256; two of them side by side would be wider than a page, so only their names are told."""
    return {
        "base_model": training["base_model"].get("sha256"),
        "chat_template": training.get("template_sha256"),
        "data": training["data"].get("sha256"),
    }


def differing(then: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, then, now) of every key whose values differ, in the present order, keys of the past last."""
    keys = [*now, *(key for key in then if key not in now)]
    return [(key, then.get(key), now.get(key)) for key in keys if then.get(key) != now.get(key)]


def compare_metrics(then: dict[str, Any] | None, now: dict[str, Any] | None) -> dict[str, Any]:
    """The present headline metrics with their earlier values, and the suites of either version that do not compare, with codes."""
    if then is None or now is None:
        return {"metrics": [], "apart": []}
    before = {(row["suite"], row["metric"]): row for row in then["metrics"]}
    apart = {suite: codes for suite in suites_of(then, now) if (codes := differences(suite, then, now))}
    rows = [
        {
            **{key: row.get(key) for key in ("suite", "metric", "unit", "better")},
            "then": old["tuned"],
            "now": row["tuned"],
        }
        for row in now["metrics"]
        if row.get("headline", True)
        and row["suite"] not in apart
        and (old := before.get((row["suite"], row["metric"])))
    ]
    return {"metrics": rows, "apart": sorted(apart.items())}


def suites_of(*comparisons: dict[str, Any]) -> list[str]:
    """The suites that any of the comparisons has a metric of."""
    return sorted({row["suite"] for comparison in comparisons for row in comparison["metrics"]})


def differences(suite: str, then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Why a suite's numbers of two evaluations do not compare, as codes; [] where they do."""
    if any(suite not in {row["suite"] for row in comparison["metrics"]} for comparison in (then, now)):
        return ["absent"]
    settings = [comparison.get("settings") or {} for comparison in (then, now)]
    of_suite = [(one.get("suites") or {}).get(suite) for one in settings]
    alike = {
        "suite": None not in of_suite and of_suite[0] == of_suite[1],
        "settings": all(settings[0].get(key) == settings[1].get(key) for key in HOW_ANSWERED),
        "scorers": bool(now.get("scorers")) and then.get("scorers") == now.get("scorers"),
    }
    return [code for code, same in alike.items() if not same]
