"""The report as one HTML file for people: a plot and its table for each section, and a few of the texts behind the numbers.

It needs no network, no script and no other file. Every text goes through `visible` and is escaped by the template, and the page's
policy (Content-Security-Policy) allows its one style by its hash and nothing else: nothing in a row can run, load or restyle.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from eval.pages import environment, policy, stacked
from training.preferences import Pair, Preferences
from training.preferences.loading import OVERLAP
from training.preferences.relations import Relations
from training.report import charts
from training.report.alarms import alarms, percent, tongue
from training.report.build import SHOWN_GROUPS, Survey, findings, near_groups
from training.report.contrast import LANGUAGE_CLASSES, SIDES
from training.report.cost import between
from training.report.statistics import few_rows, first_names, under
from training.report.text import shorten

HERE = Path(__file__).parent
PARTS = ("prompt", "chosen", "rejected")
MEMBERS = 4  # of a group of near duplicates that are shown
QUESTION = 220  # characters of a prompt that are shown of a duplicate
OVERLAPS = 500
LANGUAGES = 4  # of a source, the rest in one number
CONTRASTS = 8  # languages with a row of their own
CLASSES = {
    "teaches": "Teaches it: chosen is in the prompt's language, rejected is not",
    "against": "Teaches against it: rejected is in the prompt's language, chosen is not",
    "both": "Both answers are in the prompt's language",
    "neither": "Neither answer is",
    "unclear": "Cannot be judged: numbers, names, code, or a language that is not known here",
    "other_asked": "The prompt asks for another language",
    "only_chosen": "In chosen alone",
    "only_rejected": "In rejected alone",
}
SIDE_WORDS = {"only_chosen": "Chosen alone", "only_rejected": "Rejected alone", "both": "Both", "neither": "Neither"}
CLASS_WORDS = {
    "teaches": "Teaches it",
    "against": "Against it",
    "both": "Both in it",
    "neither": "Neither in it",
    "unclear": "Unclear",
    "other_asked": "Another asked for",
}
SECTIONS = {
    "mixing": (
        "Mixed languages",
        "An answer in the prompt's language, with ordinary words of the other one among its own.",
    ),
    "emoji": ("Emoji", "Pictures in an answer; ✓ → © count as print, and code is left out."),
    "refusals": ("Refusals", "An answer that declines, in full or in part."),
}


def page(report: dict[str, Any], found: Survey, relations: Relations, data: Preferences, name: str) -> str:
    """The page. `report` is data_report.json, `found` and `relations` what it was made of, `data` the pairs that are trained on."""
    style = Markup((HERE / "page.css").read_text(encoding="utf-8"))
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            name=name,
            report=report,
            alarms=alarms(report),
            style=style,
            policy=policy(style),
            examples=found.examples,
            classes=CLASSES,
            class_words=CLASS_WORDS,
            side_words=SIDE_WORDS,
            language_classes=LANGUAGE_CLASSES,
            sides=SIDES,
            sections=SECTIONS,
            parts=PARTS,
            measured=report["tokens"] if "tokens" in report else report["characters"],
            histograms=charts.histograms(report["histograms"], PARTS),
            dropped=charts.bars(dict(Counter(report["dropped"]).most_common())),
            padded=padded(report),
            groups=groups(relations, data.pairs),
            twins=twins(relations, data.pairs),
            overlaps=report["overlap"][:OVERLAPS],
            overlaps_in_all=report["dropped"].get(OVERLAP, 0),
            findings=findings(data, texts=True),
            languages=first_names(report["languages"], LANGUAGES),
        )
    )


def _environment() -> Environment:
    made = environment(HERE)
    made.filters |= {
        "percent": percent,
        "tongue": tongue,
        "number": number,
        "few_rows": lambda rows: few_rows(rows, CONTRASTS),
        "short": lambda text: shorten(text, QUESTION),
    }
    made.globals |= {"stacked": stacked, "between": between, "bars": charts.bars, "under": under}
    return made


def number(value: float | None) -> str:
    """With a comma at the thousands, and a decimal only where it tells something; a dash for what is not there."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if value < 100 and value != int(value) else f"{value:,.0f}"


def padded(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Tokens of a pass, ours first, then padded."""
    cost = report.get("cost")
    if cost is None:
        return []
    counts = {"packed here, the prompt once": cost["tokens_per_pass"]}
    for pairs, tokens in cost["padded_tokens_per_pass"].items():
        counts[f"padded, {pairs} pair{'s' if pairs != '1' else ''} a batch"] = tokens
    return charts.bars(counts)


def groups(relations: Relations, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """The largest groups of near duplicates, with the first prompts of each."""
    return [
        {"rows": len(group), "shown": [told(pairs[index]) for index in group[:MEMBERS]]}
        for group in near_groups(relations.near)[:SHOWN_GROUPS]
    ]


def twins(relations: Relations, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """The likeliest twins, with both prompts."""
    best = sorted(relations.twins, key=lambda twin: -twin[2])[:SHOWN_GROUPS]
    return [{"score": f"{score:.2f}", "shown": [told(pairs[i]), told(pairs[j])]} for i, j, score in best]


def told(pair: Pair) -> dict[str, str]:
    return {"where": pair.where, "prompt": shorten(pair.prompt[-1]["content"], QUESTION)}
