"""The short table of an evaluation: python -m eval.report DIR [--markdown]

Prints base, tuned and their difference with 95 % intervals from DIR/comparison.json, and writes DIR/report.html: the table
and all answers side by side.
"""

import argparse
import html
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from command import run_command
from eval.generation import GENERATIONS, read_rows
from run_folder import read_json, whole_file

HEADINGS = ("suite", "metric", "better", "base", "tuned", "difference", "n")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:80em;padding:0 1em}table{border-collapse:collapse;width:100%}
td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}td.text{white-space:pre-wrap;overflow-wrap:anywhere;width:38%}
.pass{color:#060}.fail{color:#a00}.open{color:#666}"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.report", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("dir", type=Path, help="eval folder, such as runs/NAME/eval")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    return parser


def _number(value: float, unit: str, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if unit == "proportion":
        return f"{100 * value:{sign}.1f}"
    return f"{value:{sign}.3f}" if unit == "ratio" else f"{value:{sign}.1f}"


def _cell(numbers: dict[str, Any] | None, unit: str, signed: bool = False) -> str:
    """value [low, high] with the unit of the row, or "not measured"."""
    if numbers is None or numbers["value"] is None:
        return "not measured"
    value, low, high = (_number(numbers[key], unit, signed) for key in ("value", "low", "high"))
    suffix = (" pp" if signed else " %") if unit == "proportion" else ""
    return f"{value}{suffix} [{low}, {high}]"


def _count(side: dict[str, Any]) -> str:
    return str(side["n"]) + (f" (+{side['unparsed']})" if side["unparsed"] else "")


def _rows(comparison: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for row in comparison["metrics"]:
        unit, tuned = row["unit"], row["tuned"]
        count = " / ".join(_count(side) for side in (row["base"], tuned) if side)
        cells = (_cell(row["base"], unit), _cell(tuned, unit), _cell(row["difference"], unit, signed=True))
        rows.append((row["suite"], row["metric"], row["better"] or "-", *cells, count))
    return rows


def display_width(text: str) -> int:
    """Columns that the text takes in a terminal: two for a wide character, none for a combining one."""
    wide = sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
    return wide - sum(1 for character in text if unicodedata.combining(character))


def align(rows: Sequence[Sequence[str]]) -> str:
    """The rows as a table whose columns are aligned by display width."""
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    padded = (
        (cell + " " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
    return "\n".join("  ".join(row).rstrip() for row in padded)


def notes(comparison: dict[str, Any]) -> list[str]:
    """What a reader must know beside the numbers; the first lines of every form of the report."""
    names = [f"{side}: {model['name']}" for side in ("base", "tuned") if (model := comparison[side])]
    reduced = comparison["settings"]["reduced"]
    lines = [
        ", ".join(names)
        + ". 95 % intervals in brackets. The difference is tuned - base over the items judged in both; n counts the items judged of base / tuned, (+unparsed)."
    ]
    return lines + (["REDUCED EVALUATION: " + "; ".join(reduced) + "."] if reduced else [])


def table(comparison: dict[str, Any]) -> str:
    """The short table for a terminal."""
    return "\n".join([*notes(comparison), align([HEADINGS, *_rows(comparison)])])


def markdown(comparison: dict[str, Any]) -> str:
    """The short table in Markdown."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *_rows(comparison)]
    cells = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n\n".join(notes(comparison)) + "\n\n" + "\n".join(cells)


def _html_table(comparison: dict[str, Any]) -> str:
    rows = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in HEADINGS) + "</tr>"]
    rows += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in _rows(comparison)]
    return "<table>" + "\n".join(rows) + "</table>"


def _answers(folder: Path) -> dict[str, dict[str, Any]]:
    """id → {"prompt", "base": (response, verdict, reason), "tuned": …} from the stored answers and results."""
    found: dict[str, dict[str, Any]] = {}
    for side in ("base", "tuned"):
        if not (folder / side / "results.json").exists():
            continue
        suites = read_json(folder / side / "results.json")["suites"]
        scored = {item["id"]: item for suite in suites.values() for item in suite["items"]}
        for row in read_rows(folder / side / GENERATIONS):
            item = scored[row["id"]]
            verdict = "open" if item["score"] is None else "pass" if item["score"] == 1 else "fail"
            found.setdefault(row["id"], {"prompt": row["prompt"]})[side] = (row["response"], verdict, item["reason"])
    return dict(sorted(found.items()))


def _html_answer(answer: tuple[str, str, str] | None) -> str:
    if answer is None:
        return "<td></td>"
    response, verdict, reason = answer
    return f'<td class="text"><span class="{verdict}">{verdict}: {html.escape(reason)}</span>\n{html.escape(response)}</td>'


def write_report(folder: Path, comparison: dict[str, Any]) -> Path:
    """Write report.html: one file that needs nothing else; every text from a model or a suite is escaped."""
    parts = [
        '<!doctype html><html lang="zh"><meta charset="utf-8"><title>Evaluation</title>',
        f"<style>{_STYLE}</style>",
    ]
    parts += [f"<p>{html.escape(line)}</p>" for line in notes(comparison)] + [_html_table(comparison)]
    parts.append("<h2>Answers</h2><table><tr><th>prompt</th><th>base</th><th>tuned</th></tr>")
    for key, row in _answers(folder).items():
        sides = _html_answer(row.get("base")) + _html_answer(row.get("tuned"))
        parts.append(
            f'<tr><td class="text" style="width:20%"><b>{html.escape(key)}</b>\n{html.escape(row["prompt"])}</td>{sides}</tr>'
        )
    parts.append("</table></html>\n")
    with whole_file(folder / "report.html") as stream:
        stream.write("\n".join(parts))
    return folder / "report.html"


def main(argv: list[str] | None = None) -> int:
    """Read the comparison, write the page, print the table."""
    options = build_parser().parse_args(argv)
    comparison = read_json(options.dir / "comparison.json")
    write_report(options.dir, comparison)
    print(markdown(comparison) if options.markdown else table(comparison))
    return 0


if __name__ == "__main__":
    run_command(main)
