"""The page for people: one HTML file with figures, charts and every answer in full, base beside tuned.

It needs no network and no other file. Every text goes through `visible` and is escaped by the template; the page's policy
(Content-Security-Policy) allows our one script and one style by their hashes and nothing else, so that nothing in an answer
can run, load or restyle, whatever a mistake in the template might let through.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment
from markupsafe import Markup

from eval.judge import RECORD, read_judgement
from eval.meanings import meaning_of
from eval.pages import environment, policy, stacked
from eval.report import charts, figures
from eval.report.items import CHANGES, VERDICTS, join, read_side, tally
from eval.report.judgement import shown
from eval.sides import SIDES
from eval.visible_text import visible
from run_folder import whole_file

TEMPLATES = Path(__file__).parent / "templates"
LONG = 3000  # characters from which an answer gets a box of its own that scrolls
LANGUAGES = {"zh": "Chinese", "en": "English"}


def write_report(folder: Path, comparison: dict[str, Any]) -> Path:
    """Write report.html, the page for people: one file that needs nothing else."""
    with whole_file(folder / "report.html") as stream:
        stream.write(page(folder, comparison))
    return folder / "report.html"


def page(folder: Path, comparison: dict[str, Any]) -> str:
    """The page of an eval folder as HTML. `comparison` is that of eval.scoring; its "base" may be null."""
    sides = [side for side in SIDES if comparison[side] and (folder / side / "results.json").exists()]
    read = {side: read_side(folder / side) for side in sides}
    items = join({side: answers for side, (_, answers) in read.items()})
    names = list(dict.fromkeys(row["suite"] for row in comparison["metrics"]))
    judgement = read_judgement(folder) if len(sides) == 2 else None
    style, script = (Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            sides=sides,
            models={side: comparison[side] for side in sides},
            settings=_settings(comparison),
            reduced=comparison["settings"].get("reduced", []),
            seconds=comparison.get("seconds") or {},
            suites=[
                {**_suite(name, comparison, {side: read[side][0] for side in sides}, items), "index": index}
                for index, name in enumerate(names, 1)
            ],
            summary=_summary(comparison["metrics"]),
            judged=judgement and shown(judgement),
            stale=judgement is None and (folder / RECORD).exists(),
            items=items,
            sampled=any(len(answers) > 1 for item in items for answers in item["sides"].values()),
            facets=_facets(items, sides),
            style=style,
            script=script,
            policy=policy(style, script),
        )
    )


def _environment() -> Environment:
    made = environment(TEMPLATES)
    made.filters |= {
        "visible": visible,
        "cell": figures.cell,
        "p_value": figures.p_value,
        "value": _value,
    }
    made.globals |= {"zh": _chinese, "meaning": _meaning, "LONG": LONG, "CHANGES": CHANGES}
    made.globals |= {"direction": charts.direction, "stacked": stacked}
    return made


@cache
def _words() -> dict[str, Any]:
    return yaml.safe_load((TEMPLATES / "words.yaml").read_text(encoding="utf-8"))


def _chinese(label: str) -> str:
    """A label of the page in Chinese. KeyError where words.yaml lacks it."""
    return _words()["labels"][label]


def _meaning(row: dict[str, Any]) -> dict[str, str]:
    """What a metric measures, {"en", "zh"}: as recorded, else as known by its name, else what its unit says."""
    return row.get("meaning") or meaning_of(row["metric"], row["suite"]) or _words()["units"][row["unit"]]


def _value(value: Any) -> str:
    """A per-item value: at most three decimals, a dash where it could not be judged."""
    if value is None:
        return "–"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _settings(comparison: dict[str, Any]) -> list[tuple[str, str]]:
    """What else decided the figures, name and value, but for what the page shows elsewhere."""
    shown = {key: value for key, value in comparison["settings"].items() if key not in ("suites", "reduced")}
    shown |= {key: comparison[key] for key in ("date", "scorers") if comparison.get(key)}
    return [(key, _plain(value)) for key, value in shown.items() if value not in (None, {}, [])]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _suite(name: str, comparison: dict[str, Any], results: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    rows = [row for row in comparison["metrics"] if row["suite"] == name]
    return {
        "name": name,
        "about": comparison["settings"].get("suites", {}).get(name, {}),
        "rows": rows,
        "tested": any(row["difference"] and row["difference"].get("p") is not None for row in rows),
        "chart": charts.suite_chart(rows),
        "tally": tally(name, {side: suites.get(name, {}) for side, suites in results.items()}, items),
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The metrics by what their difference says; see charts.direction."""
    found: dict[str, list[dict[str, Any]]] = {"better": [], "worse": [], "other": [], "unclear": [], "": []}
    for row in rows:
        found[charts.direction(row)].append(row)
    return found


def _facets(items: list[dict[str, Any]], sides: list[str]) -> list[dict[str, Any]]:
    """The filters, {"name", "choices": [{"value", "label": English, "" where the value is shown as it is}]}; none of one choice."""
    facets = [{"name": key, "choices": _distinct(items, key)} for key in ("suite", "category", "language")]
    verdicts = [{"value": verdict, "label": verdict} for verdict in VERDICTS]
    facets += [{"name": side, "choices": verdicts} for side in sides]
    if len(sides) == 2:
        found = {item["change"] for item in items}
        kinds = [{"value": key, "label": label} for key, label in CHANGES.items() if key and key in found]
        facets.append({"name": "change", "choices": [{"value": "changed", "label": "changed"}, *kinds]})
    return [facet for facet in facets if len(facet["choices"]) > 1]


def _distinct(items: list[dict[str, Any]], key: str) -> list[dict[str, str]]:
    found = dict.fromkeys(item[key] for item in items if item[key])
    return [{"value": value, "label": LANGUAGES.get(value, "") if key == "language" else ""} for value in found]
