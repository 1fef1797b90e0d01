"""Build RUN_DIR/release, the folder that is pushed to the Hub, with its card in English and Chinese.

python -m model_card.build runs/smollm2-demo [--repo-id ORG/NAME]
"""

import argparse
import re
from pathlib import Path

from command import UserError, run_command


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model_card.build",
        description="Write RUN_DIR/release: weights, card (README.md, README_zh.md), licence files and records.",
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="a finished run, such as runs/smollm2-demo")
    parser.add_argument(
        "--repo-id",
        metavar="ORG/NAME",
        help="where it will be published (default: YOUR-ORG/ and the run's name, which upload.py refuses)",
    )
    parser.add_argument("--license", metavar="ID", help="the base model's licence, where the run does not record it")
    parser.add_argument("--license-file", metavar="FILE", type=Path, help="the text of that licence, copied as LICENSE")
    parser.add_argument(
        "--use-policy-file", metavar="FILE", type=Path, help="Llama's acceptable use policy, copied too"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Read the run, settle the licence, render both cards, write the release folder whole."""
    args = build_parser().parse_args(argv)
    if args.repo_id and not re.fullmatch(r"[\w.-]+/[\w.-]+", args.repo_id):
        raise UserError(f"--repo-id {args.repo_id!r} is not of the form ORG/NAME.")
    from model_card.card import render_cards
    from model_card.context import make_context
    from model_card.figures import draw_figures
    from model_card.licence import find_licence
    from model_card.records import read_run
    from model_card.release import plan_release, write_release

    run = read_run(args.run_dir)
    name = args.repo_id.split("/")[1] if args.repo_id else run.training["run_name"]
    if not re.fullmatch(r"\w[\w. -]*", name):
        raise UserError(f"the run's name {name!r} cannot be a model's name. Give one: --repo-id ORG/NAME")
    licence = find_licence(run.training["base_model"], name, vars(args))
    figures = draw_figures(run.training, run.comparison, run.data_report)
    cards = render_cards(make_context(run, name, args.repo_id, licence))
    release = args.run_dir / "release"
    written = write_release(release, plan_release(run.folder, run.training, licence.files, cards) | figures)
    said = "written" if written else "unchanged, reused"
    if run.comparison is None:
        print(
            f"note: {args.run_dir / 'eval' / 'comparison.json'} is missing; the card says that nothing was evaluated."
        )
    print(f"{release}: {said}, {sum(1 for p in release.rglob('*') if p.is_file())} files")
    return 0


if __name__ == "__main__":
    run_command(main)
