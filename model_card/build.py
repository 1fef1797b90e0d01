"""Build RUN_DIR/release, the folder that is pushed to the Hub, with its card in English and Chinese.

    python -m model_card.build runs/smollm2-demo [--repo-id ORG/NAME]
    python -m model_card.build --check runs/smollm2-demo

The options are kept in RUN_DIR/card.json, beside the release and not in it, so that --check can build the same again. Where RUN_DIR/gguf/export.json exists (python -m inference.export_gguf), RUN_DIR/release-gguf is written too.
"""

import argparse
import re
from pathlib import Path
from typing import Any

from command import CommandParser, UserError, run_command
from run_folder import UNLISTED, read_json, write_json

OPTIONS = "card.json"
KEPT = ("repo_id", "license", "license_file", "use_policy_file", "previous", "contact", "new_version")


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(
        prog="python -m model_card.build",
        description="Write RUN_DIR/release: weights, card (README.md, README_zh.md), licence files and records.",
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
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing: say which files of the release are not what the records give, with the options of the last build",
    )
    parser.add_argument("--sign-key", metavar="FILE", type=Path, help="sign the release with this private key (PEM)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Read the run, settle the licence, render the cards; write the release folders whole, or compare them."""
    args = build_parser().parse_args(argv)
    if args.check:
        recall_options(args)
    check_ids(args)
    if args.sign_key:
        from model_card.signature import check_key

        check_key(args.sign_key)
    from model_card.records import read_run

    run = read_run(args.run_dir)
    plans = plan(args, run)
    if args.check:
        return tell_differences(args.run_dir, plans)
    write(args, plans)
    if run.comparison is None:
        print(
            f"note: {args.run_dir / 'eval' / 'comparison.json'} is missing; the card says that nothing was evaluated."
        )
    return 0


def recall_options(args: argparse.Namespace) -> None:
    """Take each option that was not given from RUN_DIR/card.json. UserError where no build has left one."""
    path = args.run_dir / OPTIONS
    if not path.is_file():
        raise UserError(f"{path} is missing: build the release again with python -m model_card.build {args.run_dir} …")
    recorded = read_json(path)["options"]
    for name in KEPT:
        if getattr(args, name) is None and recorded.get(name) is not None:
            setattr(args, name, Path(recorded[name]) if name.endswith("_file") else recorded[name])


def keep_options(args: argparse.Namespace) -> None:
    """RUN_DIR/card.json; a folder or file in it is found from wherever --check is called."""
    options = {name: getattr(args, name) for name in KEPT}
    for name, value in options.items():
        if value is not None and (
            isinstance(value, Path) or (name == "previous" and Path(value).expanduser().exists())
        ):
            options[name] = str(Path(value).expanduser().resolve())
    write_json(args.run_dir / OPTIONS, {"options": options})


def check_ids(args: argparse.Namespace) -> None:
    """UserError for what cannot be a repository on the Hub, and for a version that would replace itself."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    for option in ("repo_id", "new_version"):
        given, name = getattr(args, option), f"--{option.replace('_', '-')}"
        try:
            validate_repo_id(given)
        except HFValidationError as error:
            raise UserError(f"{name} {given!r}: {error}") from None
        if given is not None and "/" not in given:
            raise UserError(f"{name} {given!r} is not of the form ORG/NAME.")
    if args.new_version and args.new_version == args.repo_id:
        raise UserError(f"--new-version {args.new_version} is --repo-id itself. Give the repository that replaces it.")


def plan(args: argparse.Namespace, run: Any) -> dict[str, dict[str, Any]]:
    """Folder below RUN_DIR → path in it → a file to link, or bytes to write. All is planned before anything is written."""
    from model_card.changes import read_previous
    from model_card.licence import find_licence

    name = args.repo_id.split("/")[1] if args.repo_id else run.training["run_name"]
    if not re.fullmatch(r"\w[\w. -]*", name):
        raise UserError(f"the run's name {name!r} cannot be a model's name. Give one: --repo-id ORG/NAME")
    licence = find_licence(run.training["base_model"], name, vars(args))
    previous = read_previous(args.previous) if args.previous else None
    plans = {"release": plan_model(args, run, name, licence, previous)}
    if (run.folder / "gguf" / "export.json").is_file():
        from model_card.gguf_release import plan_gguf_release

        plans["release-gguf"] = plan_gguf_release(run, name, args.repo_id, licence)
    return plans


def plan_model(args: argparse.Namespace, run: Any, name: str, licence: Any, previous: Any) -> dict[str, Any]:
    """The files of the model's own repository."""
    from model_card.card import render_cards
    from model_card.context import make_context
    from model_card.figures import draw_figures
    from model_card.notebook import notebook
    from model_card.release import plan_release
    from run_folder import built_with

    files = plan_release(run.folder, run.training, licence.files, {})
    files |= draw_figures(run.training, run.comparison, run.data_report)
    told = {"previous": previous, "contact": args.contact, "new_version": args.new_version}
    context = make_context(run, name, args.repo_id, licence, files=files.keys(), **told)
    made = run.training["versions"]["transformers"]
    shown = context["repo_id"], made, context["sampling"]["max_new_tokens"], built_with(name)
    files["notebook.ipynb"] = notebook(name, *shown)
    return files | {path: text.encode() for path, text in render_cards(context).items()}


def write(args: argparse.Namespace, plans: dict[str, dict[str, Any]]) -> None:
    """The folders, each whole; the model's is signed where a key is given."""
    from model_card.release import write_release
    from run_folder import GGUF_RELEASE_FILES, RELEASE_FILES

    allowed = {"release": RELEASE_FILES, "release-gguf": GGUF_RELEASE_FILES}
    signature = args.run_dir / "release" / "model.sig"
    signed = signature.is_file()
    for folder, files in plans.items():
        release = args.run_dir / folder
        say(release, write_release(release, files, allowed=allowed[folder]))
    if signed and not signature.is_file() and not args.sign_key:
        print(f"note: {signature} went with the files that it was of. Sign again: --sign-key FILE")
    keep_options(args)
    if args.sign_key:
        from model_card.signature import sign

        release = args.run_dir / "release"
        print(f"{release}: {'signed' if sign(release, args.sign_key) else 'its signature holds'}")


def tell_differences(run_dir: Path, plans: dict[str, dict[str, Any]]) -> int:
    """Print each file that is not what the records give; 1 if there are any."""
    found = [
        f"{run_dir / folder}: {line}" for folder, files in plans.items() for line in differing(run_dir / folder, files)
    ]
    print("\n".join(found) or f"{run_dir}: {' and '.join(plans)} hold what the records give")
    return int(bool(found))


def differing(release: Path, files: dict[str, Any]) -> list[str]:
    """What to say of each file that is missing, strange or of other content; checksums and signature are others' to check."""
    from model_card.release import digest

    if not release.is_dir():
        return ["there is no such folder"]
    present = {path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file()} - {*UNLISTED}
    changed = {
        path
        for path in present & files.keys()
        if not (isinstance(files[path], Path) and files[path].samefile(release / path))
        and digest(files[path]) != digest(release / path)
    }
    groups = {"is missing": files.keys() - present, "does not belong there": present - files.keys(), "differs": changed}
    return [f"{path} {what}" for what, paths in groups.items() for path in sorted(paths)]


def say(release: Path, written: bool) -> None:
    """What came of a folder."""
    count = sum(1 for path in release.rglob("*") if path.is_file())
    print(f"{release}: {'written' if written else 'unchanged, reused'}, {count} files")


if __name__ == "__main__":
    run_command(main)
