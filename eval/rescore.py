"""Score stored generations again, generating nothing: python -m eval.rescore DIR

DIR is an eval folder (with tuned/ and perhaps base/ in it). Writes results.json, comparison.json and report.html anew.
"""

from pathlib import Path

from command import CommandParser, run_command
from eval.report import table, write_report
from eval.scoring import score_folder


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(prog="python -m eval.rescore", description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path, help="eval folder, such as runs/NAME/eval")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Score, write, print the short table."""
    folder = build_parser().parse_args(argv).dir
    comparison = score_folder(folder)
    write_report(folder, comparison)
    print(table(comparison))
    return 0


if __name__ == "__main__":
    run_command(main)
