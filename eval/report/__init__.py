"""The report of an evaluation: python -m eval.report DIR [--all] [--markdown]

Prints base, tuned and their difference with 95 % intervals from DIR/comparison.json, by default of the headline metrics, and
writes DIR/report.html: all figures and all answers side by side, for people. Where comparison.json is missing, the stored
answers are scored first, which generates nothing.
"""

from pathlib import Path
from typing import Any

from command import CommandParser, UserError
from eval.generation import is_whole
from eval.report.page import write_report
from eval.report.tables import is_headline, markdown, table
from eval.scoring import score_folder
from eval.sides import SIDES
from run_folder import read_json

__all__ = ["is_headline", "main", "markdown", "table", "write_report"]


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(prog="python -m eval.report", description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path, help="eval folder, such as runs/NAME/eval")
    parser.add_argument("--all", action="store_true", help="every metric, not only the headlines")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    return parser


def read_comparison(folder: Path) -> dict[str, Any]:
    """comparison.json, or where it or a results.json is missing the answers scored again. UserError if they do not fit together."""
    stored = folder / "comparison.json"
    comparison = read_json(stored) if stored.exists() else None
    sides = [side for side in SIDES if comparison and comparison.get(side)]
    if comparison is None or not all((folder / side / "results.json").exists() for side in sides):
        return score_folder(folder)
    again = f"python -m eval.rescore {folder}"
    for path, record, keys in (
        (stored, comparison, ("base", "tuned", "settings", "metrics")),
        *((path, read_json(path), ("suites",)) for path in (folder / side / "results.json" for side in sides)),
    ):
        if missing := [key for key in keys if key not in record]:
            raise UserError(f"{path} lacks {missing[0]!r}. Write it anew: {again}")
    if changed := [side for side in sides if not is_whole(folder / side)]:
        raise UserError(f"{folder / changed[0]}: the answers are not those that were scored. Score them: {again}")
    return comparison


def main(argv: list[str] | None = None) -> int:
    """Read the comparison, write the page, print the table."""
    options = build_parser().parse_args(argv)
    comparison = read_comparison(options.dir)
    write_report(options.dir, comparison)
    print(markdown(comparison, options.all) if options.markdown else table(comparison, options.all))
    return 0
