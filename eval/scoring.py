"""From stored answers to results.json and comparison.json. Nothing is generated here, so scoring again costs seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from command import UserError
from eval.generation import GENERATIONS, LOG_PROBS, SETTINGS, dtype_of, in_suite_order, read_rows
from eval.metrics import METRICS, difference, summarize, values_of
from eval.scorers import Score, code, facts, language, numbers, refusal, text_quality
from eval.suites import Item, Suite, load_suite
from run_folder import read_json, write_json

SCORERS = (language, text_quality, numbers, refusal, facts, code)
SIDES = ("base", "tuned")


def score_folder(folder: Path, needs_base: bool = False) -> dict[str, Any]:
    """Score base/ and tuned/ as far as they are there, write their results.json, comparison.json where both are.

    A base that answered other questions is left out (UserError if `needs_base`), and a comparison.json with it removed, since
    it would speak of older answers. Returns the comparison; with one side alone its "base" is null.
    """
    sides = [side for side in SIDES if (folder / side / SETTINGS).exists()]
    if "tuned" not in sides:
        raise UserError(
            f"{folder} holds no finished evaluation (tuned/{SETTINGS} is missing). Run python -m eval.run first."
        )
    results = {side: score_side(folder / side) for side in sides}
    if "base" in results and (different := _different_questions(results)):
        if needs_base:
            raise UserError(
                f"{folder}: base and tuned differ in {different}. Run python -m eval.run with --base again."
            )
        del results["base"]
    for side, record in results.items():
        write_json(folder / side / "results.json", record)
    comparison = compare(results.get("base"), results["tuned"])
    if "base" in results:
        write_json(folder / "comparison.json", comparison)
    else:
        (folder / "comparison.json").unlink(missing_ok=True)
    return comparison


def _different_questions(results: dict[str, Any]) -> str:
    base, tuned = (results[side]["settings"] for side in SIDES)
    different = [key for key in ("suites", "limit", "decoding") if base[key] != tuned[key]]
    return ", ".join(different + ["dtype"] * (dtype_of(base) != dtype_of(tuned)))


def score_side(folder: Path) -> dict[str, Any]:
    """The results record of one model's stored answers."""
    stored = read_json(folder / SETTINGS)
    suites = [load_suite(name) for name in stored["suites"]]
    rows = [*read_rows(folder / GENERATIONS), *read_rows(folder / LOG_PROBS)]
    known = {item.id: item for suite in suites for item in suite.items}
    strangers = [row["id"] for row in rows if row["id"] not in known]
    if strangers:
        raise UserError(
            f"{folder}: {len(strangers)} answers (first {strangers[0]!r}) belong to no present suite. Run python -m eval.run again."
        )
    rows = in_suite_order(rows, suites)
    scored = {
        suite.name: [_score_row(known[row["id"]], row) for row in rows if row["suite"] == suite.name]
        for suite in suites
    }
    record = {
        "model": stored["model"],
        "settings": _settings(stored, suites),
        "scorers": {scorer.__name__.rpartition(".")[2]: scorer.VERSION for scorer in SCORERS},
        "suites": {name: {"n": len(items), "metrics": {}, "items": items} for name, items in scored.items()},
    }
    for metric in METRICS:
        if metric.suite in scored:
            record["suites"][metric.suite]["metrics"][metric.name] = summarize(metric, values_of(record, metric))
    _add_whole_suite_variety(record, rows, known)
    return record


def _settings(stored: dict[str, Any], suites: Sequence[Suite]) -> dict[str, Any]:
    """The settings of the generation, and in "reduced" what makes it less than the full evaluation (empty if nothing)."""
    settings = {key: value for key, value in stored.items() if key not in ("schema_version", "model")}
    reduced = [f"only the first {stored['limit']} items of each suite and language"] if stored["limit"] else []
    for suite in suites:
        budget = stored["suites"][suite.name]["max_new_tokens"]
        if budget != suite.max_new_tokens:
            reduced.append(f"suite {suite.name}: {budget} new tokens instead of {suite.max_new_tokens}")
        if stored["suites"][suite.name]["sha256"] != suite.sha256:
            reduced.append(f"suite {suite.name} has changed since the answers were generated")
    return {**settings, "reduced": reduced}


def _score_row(item: Item, row: dict[str, Any]) -> dict[str, Any]:
    if row["suite"] == "text":
        score, values = (
            Score(None, "read, not answered"),
            {f"{item.language}_perplexity": [row["log_prob"], row["tokens"]]},
        )
    elif row["suite"] == "seed":
        score = score_seed(item, row["response"], row["finish_reason"] != "length")
        passed = None if score.score is None else float(score.score == 1)
        values = {f"{item.category}_pass": passed, "all_pass": passed}
    else:
        score, values = _score_language(item.language, row)
    return {
        "id": item.id,
        "sample": row.get("sample", 0),
        "score": score.score,
        "reason": score.reason,
        "values": values,
    }


def score_seed(item: Item, response: str, finished: bool = True) -> Score:
    """The score of an answer to a seed prompt, by the scorer that its check names. ValueError for an unknown scorer."""
    check = item.check
    match check["scorer"]:
        case "facts":
            return facts.score_facts(response, check)
        case "refusal":
            return refusal.score_refusal(response)
        case "number":
            return numbers.score_number(response, check["answer"], check["units"], finished)
        case "named_numbers":
            return numbers.score_named(response, check["answer"])
        case "sort_python":
            return code.score_sort_python(response)
        case "kmp_cpp":
            return code.score_kmp_cpp(response)
    raise ValueError(f"{item.id}: unknown scorer {check['scorer']!r}")


def _score_language(tongue: str, row: dict[str, Any]) -> tuple[Score, dict[str, float | None]]:
    text = row["response"]
    answered = language.answered_in_chinese(text) if tongue == "zh" else language.answered_in_english(text)
    values = {"answered_in_chinese" if tongue == "zh" else "answered_in_english": answered.score}
    if tongue == "zh":
        values |= {
            rule.__name__: rule(text).score for rule in (language.no_han, language.english_lead_in, language.mixed)
        }
    values |= {
        "empty": float(not text.strip()),
        "emoji": language.emoji(text).score,
        "distinct_1": text_quality.distinct([text], 1, tongue),
        "distinct_2": text_quality.distinct([text], 2, tongue),
        "repetition": text_quality.repetition(text, tongue),
        "response_tokens": float(row["tokens"]),
        "stopped": float(row["finish_reason"] == "stop"),
    }
    return answered, {f"{tongue}_{name}": value for name, value in values.items()}


def _add_whole_suite_variety(record: dict[str, Any], rows: Sequence[dict[str, Any]], known: dict[str, Item]) -> None:
    """distinct-n over all answers of a language together, beside the mean over answers that `metrics` holds."""
    if "language" not in record["suites"]:
        return
    variety = {}
    for tongue in ("zh", "en"):
        texts = [row["response"] for row in rows if row["suite"] == "language" and known[row["id"]].language == tongue]
        variety |= {f"{tongue}_distinct_{n}": text_quality.distinct(texts, n, tongue) for n in (1, 2)}
    record["suites"]["language"]["over_all_answers"] = variety


def compare(base: dict[str, Any] | None, tuned: dict[str, Any]) -> dict[str, Any]:
    """The comparison record: every metric of the suites that were run, base and tuned and their difference."""
    metrics = []
    for metric in METRICS:
        if metric.suite in tuned["suites"]:
            row = {"suite": metric.suite, "metric": metric.name, "unit": metric.unit, "better": metric.better}
            row["base"] = base["suites"][metric.suite]["metrics"][metric.name] if base else None
            row["tuned"] = tuned["suites"][metric.suite]["metrics"][metric.name]
            row["difference"] = difference(metric, values_of(base, metric), values_of(tuned, metric)) if base else None
            metrics.append(row)
    sides = {"base": base, "tuned": tuned}
    return {
        "base": base["model"] if base else None,
        "tuned": tuned["model"],
        "settings": {key: value for key, value in tuned["settings"].items() if key != "seconds"},
        "scorers": tuned["scorers"],
        "seconds": {side: record["settings"]["seconds"] if record else None for side, record in sides.items()},
        "metrics": metrics,
    }
