"""Build RUN_DIR/release, the folder that is pushed to the Hub, with its card in English and Chinese.

    python -m model_card.build runs/smollm2-demo [--repo-id ORG/NAME]

Where RUN_DIR/gguf/export.json exists (python -m inference.export_gguf), RUN_DIR/release-gguf is written too.
"""

import argparse
import re
from pathlib import Path
from typing import Any

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
    parser.add_argument(
        "--previous",
        metavar="FOLDER_OR_ORG/NAME@REV",
        help="the release of an earlier version: the card tells what changed since, from the records of both",
    )
    parser.add_argument("--contact", metavar="TEXT", help="a line on the card beside the link to the Community tab")
    parser.add_argument(
        "--new-version", metavar="ORG/NAME", help="for an older release: the repository that replaces it"
    )
    parser.add_argument("--sign-key", metavar="FILE", type=Path, help="sign the release with this private key (PEM)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Read the run, settle the licence, render both cards, write the release folders whole."""
    args = build_parser().parse_args(argv)
    check_ids(args)
    from model_card.changes import read_previous
    from model_card.licence import find_licence
    from model_card.records import read_run

    run = read_run(args.run_dir)
    name = args.repo_id.split("/")[1] if args.repo_id else run.training["run_name"]
    if not re.fullmatch(r"\w[\w. -]*", name):
        raise UserError(f"the run's name {name!r} cannot be a model's name. Give one: --repo-id ORG/NAME")
    licence = find_licence(run.training["base_model"], name, vars(args))
    previous = read_previous(args.previous) if args.previous else None
    write_model(args, run, name, licence, previous)
    if (run.folder / "gguf" / "export.json").is_file():
        write_gguf(args, run, name, licence)
    if run.comparison is None:
        print(
            f"note: {args.run_dir / 'eval' / 'comparison.json'} is missing; the card says that nothing was evaluated."
        )
    return 0


def check_ids(args: argparse.Namespace) -> None:
    """UserError for a repository that is not of the form ORG/NAME, and for a version that would replace itself."""
    for option in ("repo_id", "new_version"):
        given = getattr(args, option)
        if given and not re.fullmatch(r"[\w.-]+/[\w.-]+", given):
            raise UserError(f"--{option.replace('_', '-')} {given!r} is not of the form ORG/NAME.")
    if args.new_version and args.new_version == args.repo_id:
        raise UserError(f"--new-version {args.new_version} is --repo-id itself. Give the repository that replaces it.")


def write_model(args: argparse.Namespace, run: Any, name: str, licence: Any, previous: Any) -> None:
    """RUN_DIR/release, signed where a key is given."""
    from model_card.card import render_cards
    from model_card.context import make_context
    from model_card.figures import draw_figures
    from model_card.release import plan_release, write_release

    files = plan_release(run.folder, run.training, licence.files, {})
    files |= draw_figures(run.training, run.comparison, run.data_report)
    told = {"previous": previous, "contact": args.contact, "new_version": args.new_version}
    context = make_context(run, name, args.repo_id, licence, files=files.keys(), **told)
    files |= {path: text.encode() for path, text in render_cards(context).items()}
    release = args.run_dir / "release"
    say(release, write_release(release, files))
    if args.sign_key:
        from model_card.signature import sign

        print(f"{release}: {'signed' if sign(release, args.sign_key) else 'its signature holds'}")


def write_gguf(args: argparse.Namespace, run: Any, name: str, licence: Any) -> None:
    """RUN_DIR/release-gguf, of the files that inference.export_gguf made."""
    from model_card.gguf_release import plan_gguf_release
    from model_card.release import write_release
    from run_folder import GGUF_RELEASE_FILES

    files = plan_gguf_release(run, name, args.repo_id, licence)
    release = args.run_dir / "release-gguf"
    say(release, write_release(release, files, allowed=GGUF_RELEASE_FILES))


def say(release: Path, written: bool) -> None:
    """What came of a folder."""
    count = sum(1 for path in release.rglob("*") if path.is_file())
    print(f"{release}: {'written' if written else 'unchanged, reused'}, {count} files")


if __name__ == "__main__":
    run_command(main)
