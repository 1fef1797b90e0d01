"""The evaluation as a card tells it: table rows, what makes it a reduced one, what its scorers are about."""

from collections import Counter
from typing import Any

from model_card.records import SIDES, Run, flat

# What a suite or metric is about, by words in its name; each subject has a paragraph in both templates.
SUBJECTS = {
    "language": ("language", "chinese", "confusion", "lpr", "wpr", "bilingual"),
    "math": ("math", "gsm", "arithmetic"),
    "code": ("code", "humaneval", "mbpp"),
    "safety": ("safety", "refus", "xstest", "harm"),
    "identity": ("identity",),
    "perplexity": ("perplexity", "ppl"),
    "length": ("length", "token", "stop", "finish", "endless"),
    "form": ("repetition", "distinct", "emoji", "lead_in", "mixed"),
    "facts": ("chat", "fact", "knowledge"),
    "writing": ("writing",),
    "seed": ("seed",),
}

FEW = ("seed",)  # suites too small to begin a table with


def evaluation(run: Run) -> dict[str, Any] | None:
    """The comparison as table rows, its settings, and what its scorers are about; None if nothing was compared."""
    if run.comparison is None:
        return None
    metrics = run.comparison["metrics"]
    first = headlines(metrics)
    settings = run.comparison.get("settings") or {}
    return {
        "rows": metrics,
        "headlines": first,
        "shown": shown_differences(first),
        "decoding": settings.get("decoding"),
        "cut": cut_off(run.comparison.get("suites") or {}),
        "judged": (run.folder / "eval" / "judge.json").exists(),
        "suites": settings.get("suites") or {},
        "settings": sorted(flat({key: value for key, value in settings.items() if key != "reduced"})),
        "seconds": sorted(flat(run.comparison.get("seconds") or {})),
        "reduced": reductions(settings),
        "scorers": sorted(
            (run.comparison.get("scorers") or (run.results.get("tuned") or {}).get("scorers") or {}).items()
        ),
        "meanings": meanings(metrics),
        "subjects": sorted({s for row in metrics for s in subjects(f"{row['suite']} {row['metric']}")}),
        "undescribed": sorted(
            {r["suite"] for r in metrics} - {r["suite"] for r in metrics if subjects(f"{r['suite']} {r['metric']}")}
        ),
        "unmeasured": [row for row in metrics if any((row[side] or {}).get("value") is None for side in SIDES)],
    }


def headlines(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The metrics to begin with, in the record's order, those of the small suites last."""
    return sorted((row for row in metrics if row.get("headline", True)), key=lambda row: row["suite"] in FEW)


def direction(row: dict[str, Any]) -> str:
    """Better or worse where the difference's interval leaves out zero and the metric has a better side, else neither."""
    found = row.get("difference") or {}
    low, high, better = found.get("low"), found.get("high"), row.get("better")
    if low is None or high is None or low <= 0 <= high or better not in ("higher", "lower"):
        return "neither"
    return "better" if (low > 0) == (better == "higher") else "worse"


def shown_differences(rows: list[dict[str, Any]]) -> dict[str, int] | None:
    """How many of the rows that can show a difference are better, worse or neither, and their total; None if none can."""
    able = [row for row in rows if row.get("better") and (row.get("difference") or {}).get("low") is not None]
    counts = Counter(direction(row) for row in able)
    return {"total": len(able), **{kind: counts[kind] for kind in ("better", "worse", "neither")}} if able else None


def cut_off(suites: dict[str, Any]) -> list[dict[str, Any]]:
    """The suites in which answers reached the token limit: {"suite", "base", "tuned", "answers"}; base null where there is none."""
    found = []
    for name, sides in suites.items():
        counts = {side: (sides.get(side) or {}).get("truncated") for side in SIDES}
        if any(counts.values()):
            found.append({"suite": name, **counts, "answers": (sides.get("tuned") or {}).get("answers")})
    return found


def reductions(settings: dict[str, Any]) -> dict[str, Any] | None:
    """What makes this less than the full evaluation, for both templates to say in words; None if nothing.

    The figures are the settings'; eval/'s sentences in `reduced` tell which suite is meant. `other`: sentences of another form.
    """
    reasons = settings.get("reduced") or []
    reasons = [str(reason) for reason in (reasons if isinstance(reasons, list) else [reasons])]
    limit, suites = settings.get("limit"), settings.get("suites") or {}
    cut = {f"suite {name}: ": (name, suite["max_new_tokens"]) for name, suite in suites.items()}
    changed = {f"suite {name} has changed": name for name in suites}
    known = (*cut, *changed, *(["only the first "] if limit else []))
    found = {
        "limit": limit,
        "budgets": [told for start, told in cut.items() if any(reason.startswith(start) for reason in reasons)],
        "changed": [name for start, name in changed.items() if any(reason.startswith(start) for reason in reasons)],
        "other": [reason for reason in reasons if not reason.startswith(known)],
    }
    return found if any(found.values()) else None


def meanings(rows: list[dict[str, Any]]) -> list[tuple[dict[str, str], list[str]]]:
    """What eval/ recorded of the metrics, {"en", "zh"}, each with the names it explains, in the table's order."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if isinstance(told := row.get("meaning"), dict) and row["metric"] not in (
            names := found.setdefault((str(told.get("en")), str(told.get("zh"))), [])
        ):
            names.append(row["metric"])
    return [({"en": en, "zh": zh}, names) for (en, zh), names in found.items()]


def subjects(name: str) -> list[str]:
    """The subjects whose words stand in a suite's or metric's name."""
    return [subject for subject, words in SUBJECTS.items() if any(word in name.lower() for word in words)]
