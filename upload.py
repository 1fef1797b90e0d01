"""Publish RUN_DIR/release on the Hugging Face Hub: check everything, push it whole or not at all, read it back, tag it.

python upload.py runs/smollm2-demo --repo-id ORG/NAME [--tag v1] [--gguf] [--space] [--collection TITLE] [--dry-run]

The release goes up as a pull request with one commit, is read back from there by a process that has nothing else, is merged
and only then tagged. Whatever interrupts that, the same command continues; --dry-run shows what it would do.
"""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from command import CommandParser, UserError, WorkError, run_command
from publishing.account import check_account
from publishing.collection import Items, check_collection, is_slug, show_collection, tie
from publishing.commit import MARK, check_branch, commit_directly, find_pull_request, merge, open_pull_request
from publishing.difference import Difference, Files, Target, branch_head, compare, make_target, show
from publishing.hub import Held, check_environment, explain, hub_api, hub_errors
from publishing.left_over import close_left_over
from publishing.new_version import plan_new_version, write_new_version
from publishing.release_checks import check_gguf_release, check_release
from publishing.repository import (
    check_metadata,
    find_tag,
    is_private,
    make_branch,
    prepare_repository,
    repository_info,
    say_settings,
    set_tag,
    wanted_settings,
)
from publishing.verification import FreshHome, fresh_home, require_room, verify_files, verify_gguf, verify_load
from run_folder import GGUF_RELEASE_FILES, is_release_file, read_json

LONGEST_TITLE = 60  # characters; the Hub refuses longer titles of collections
SPACE_CODE = (".py", "requirements.txt")  # what a push may remove from a Space that it no longer has


# --- the command


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(
        prog="upload.py",
        description="Check RUN_DIR/release, push it to the Hub whole or not at all, read it back and compare, tag it. "
        "The token comes from `hf auth login` or HF_TOKEN. The same command continues what was interrupted.",
    )
    parser.add_argument(
        "run_dir", metavar="RUN_DIR", type=Path, help="a run with a release (python -m model_card.build)"
    )
    add = parser.add_argument
    add("--repo-id", metavar="ORG/NAME", required=True, help="the model repository on the Hub")
    add("--dry-run", action="store_true", help="check and show what would change; push nothing")
    add("--tag", metavar="TAG", help="tag the commit after it was verified")
    add("--private", action="store_true", help="make the repositories private before anything is pushed")
    add("--gated", choices=("auto", "manual", "no"), help="who gets access to the model: set before anything is pushed")
    add("--create-pr", action="store_true", help="leave the verified pull request open instead of merging it")
    add("--revision", metavar="BRANCH", help="commit straight to this branch, without a pull request")
    add("--gguf", action="store_true", help="also push RUN_DIR/release-gguf, to ORG/NAME-GGUF")
    add("--space", metavar="ORG/NAME", nargs="?", const="", help="also push the demo as a Space (ORG/NAME-demo)")
    add("--collection", metavar="TITLE", help="tie all of it together in this collection of the owner (or its slug)")
    add("--new-version-of", metavar="ORG/OLD", help="also name this model as new_version in the card of an older one")
    add(
        "--verify",
        choices=("load", "checksums"),
        default="load",
        help="how to read back: load the model and compare logits (default), or compare checksums only, where it does not fit",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Check, then show (--dry-run) or push."""
    args = build_parser().parse_args(argv)
    check_usage(args)
    targets = make_targets(args)
    release, model = args.run_dir / "release", targets[0]
    findings = check_release(args.run_dir, release, model.files, model.digests, args.repo_id)
    if args.gguf:
        gguf = targets[1]
        findings += check_gguf_release(args.run_dir / "release-gguf", gguf.files, gguf.digests, gguf.repo_id)
    findings = findings or check_built(args)
    api = hub_api()
    owned = [target.repo_id for target in targets] + ([args.new_version_of] if args.new_version_of else [])
    me, refused = check_account(api, owned, args.create_pr)
    findings += [] if args.dry_run else refused
    findings += [f for target in targets for f in check_metadata(api, target)] if not findings else []
    if findings:
        raise WorkError("nothing was pushed:\n" + "\n".join(f"  - {finding}" for finding in findings))
    print(f"checks passed: {len(model.files)} files of {release}", flush=True)
    if args.dry_run:
        return dry_run(api, args, targets, me, refused)
    return push_all(api, args, targets, me)


def check_usage(args: argparse.Namespace) -> None:
    """UserError for arguments that cannot be right whatever the release holds."""
    check_environment()
    check_repo_id("--repo-id", args.repo_id)
    if args.space is not None:
        args.space = args.space or f"{args.repo_id}-demo"
        check_repo_id("--space", args.space)
    if args.new_version_of:
        check_repo_id("--new-version-of", args.new_version_of)
        if args.new_version_of == args.repo_id:
            raise UserError(f"--new-version-of {args.repo_id} is the repository itself. Give the older one.")
    check_ref("--tag", args.tag, (args.revision, "main"))
    check_ref("--revision", args.revision, ())
    title = args.collection
    if title is not None and not is_slug(title) and not 0 < len(title.strip()) <= LONGEST_TITLE:
        raise UserError(f"--collection {args.collection!r}: a title has 1 to {LONGEST_TITLE} characters.")
    for other in ("revision", "tag", "collection", "new_version_of"):
        if args.create_pr and getattr(args, other):
            option = "--" + other.replace("_", "-")
            raise UserError(
                f"--create-pr leaves the branch main as it is; {option} is for what is on it. Leave one out."
            )
    if not args.run_dir.is_dir():
        raise UserError(f"{args.run_dir} is not a folder. Give a run folder such as runs/smollm2-demo.")


def check_ref(option: str, name: str | None, taken: tuple[str | None, ...]) -> None:
    """UserError for what git refuses as a tag or branch, or what would read as a commit or another ref.

    The rules: git-check-ref-format(1).
    """
    if name is None:
        return
    wrong = ".." in name or name.endswith((".", ".lock")) or re.fullmatch(r"[0-9a-f]{7,40}", name) or name in taken
    if wrong or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise UserError(f"{option} {name!r} cannot be the name of it. Give one such as v1.")


def check_repo_id(option: str, repo_id: str) -> None:
    """UserError if a repository's name is not of the Hub's form ORG/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"{option} {repo_id!r}: {error}") from None
    if "/" not in repo_id:
        raise UserError(f"{option} {repo_id!r} has no owner. Give ORG/NAME, such as alice/{repo_id}.")


# --- what is pushed


def make_targets(args: argparse.Namespace) -> list[Target]:
    """The model, and where asked for the GGUF files and the Space, each with all its files. Errors name what is missing."""
    release, gguf = args.run_dir / "release", args.run_dir / "release-gguf"
    run = shlex.quote(str(args.run_dir))
    build = f".venv/bin/python -m model_card.build {run} --repo-id {args.repo_id}"
    if not release.is_dir():
        if args.run_dir.name == "release" and (args.run_dir / "SHA256SUMS").is_file():
            raise UserError(f"{args.run_dir} is a release. Give the run folder that it lies in: {args.run_dir.parent}")
        raise UserError(f"{release} is missing. Build it: {build}")
    if args.gguf and not gguf.is_dir():
        export = f".venv/bin/python -m inference.export_gguf {run}/model"
        raise UserError(f"{gguf} is missing. Make it with these two commands:\n  {export}\n  {build}")
    targets = [make_target(args.repo_id, "model", folder_files(release), is_release_file)]
    if args.gguf:
        files = folder_files(gguf)
        targets.append(
            make_target(f"{args.repo_id}-GGUF", "model", files, lambda path: is_release_file(path, GGUF_RELEASE_FILES))
        )
    if args.space:
        from publishing.space import space_files

        base = (read_json(release / "training.json").get("base_model") or {}).get("model")
        if not isinstance(base, str):
            raise UserError(
                f"{release / 'training.json'} names no base model, which the Space shows. Build it: {build}"
            )
        files = space_files(args.repo_id, base, args.tag or args.revision or "main")
        targets.append(make_target(args.space, "space", files, lambda path: path.endswith(SPACE_CODE)))
    return targets


def folder_files(folder: Path) -> Files:
    """All files of a folder by their path in it, links too, so that the checks can refuse them."""
    return {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if not p.is_dir() or p.is_symlink()}


# --- dry run


def dry_run(api: Any, args: argparse.Namespace, targets: list[Target], me: str | None, refused: list[str]) -> int:
    """Show what a push would do to each repository; a Hub that cannot be reached is said, not an error."""
    for finding in refused:
        print(f"a push would be refused: {finding}")
    for target in targets:
        try:
            show_plan(api, args, target, me)
        except hub_errors() as error:
            print(f"no comparison with {target.repo_id}: {explain(error, target.repo_id)}")
            show_all(target)
    if args.collection:
        owner = args.repo_id.split("/")[0]
        told(lambda: show_collection(api, args.collection, owner, items_of(targets)), f"{owner}'s collections")
    if args.new_version_of:
        told(lambda: show_new_version(api, args.new_version_of, args.repo_id), args.new_version_of)
    print("dry run. Nothing was pushed.")
    return 0


def told(show_it: Callable[[], None], place: str) -> None:
    """Show a part of the plan; where the Hub cannot say, that is said."""
    try:
        show_it()
    except hub_errors() as error:
        print(f"not known of {place}: {explain(error, place)}")


def show_new_version(api: Any, old: str, new: str) -> None:
    """Print what would change in the card of an older model."""
    target, difference = plan_new_version(api, old, new)
    show(difference, target)
    print(f"  would name {new} as new_version in its card: {0 if difference.empty else 1} commits")


def show_all(target: Target) -> None:
    """Print the files with their sizes: what a push to an empty repository would send."""
    sizes = {path: len(c) if isinstance(c, bytes) else c.stat().st_size for path, c in target.files.items()}
    for path, size in sizes.items():
        print(f"  added    {path}  ({size:,} bytes)")
    print(f"  to send: {sum(sizes.values()):,} bytes in {len(sizes)} files")


def show_plan(api: Any, args: argparse.Namespace, target: Target, me: str | None) -> None:
    """Print the exact difference to one repository, its settings, the commits and the tag."""
    info = repository_info(api, target)
    settings = wanted_settings(target, info, args.private, args.gated)
    if info is None:
        print(f"{target.repo_id}: not there, or not visible to this token; a push would make it and add all files")
        show_all(target)
    else:
        difference = compare(api, target, branch_head(api, target, existing_branch(api, args, target)))
        show(difference, target)
        if me is None:
            print("  without a token it is not known whether a pull request of an earlier run would be continued")
        elif not args.revision and (pull := find_pull_request(api, target, difference, me)):
            print(f"  would continue with pull request {pull.number}, which holds these files already")
        if args.tag and (tagged := find_tag(api, target, args.tag)):
            same = difference.empty and tag_holds(api, target, tagged)
            print(f"  tag {args.tag} is there already" + ("" if same else f", on {tagged}: a push would be refused"))
    if settings:
        print(f"  would become {say_settings(settings)}")
    commits = 0 if info is not None and difference.empty else 1
    way = f"straight to {args.revision}" if args.revision else "as a pull request"
    left = ", left open" if args.create_pr else ("" if args.revision else ", merged when verified")
    print(f"  commits: {commits}" + (f" ({way}{left})" if commits else "") + (f"; tag {args.tag}" if args.tag else ""))


def existing_branch(api: Any, args: argparse.Namespace, target: Target) -> str:
    """The branch to compare with: the one asked for, or main where that would be made from."""
    refs = api.list_repo_refs(target.repo_id, repo_type=target.kind)
    return args.revision if args.revision in {ref.name for ref in refs.branches} else "main"


# --- the push


def push_all(api: Any, args: argparse.Namespace, targets: list[Target], me: str) -> int:
    """Push every target, then the collection and the older card. Every error says what the Hub holds now."""
    held = Held()
    place = args.repo_id
    try:
        if args.new_version_of:  # what is wrong with that card is said now, and what is with the collection
            place = args.new_version_of
            plan_new_version(api, place, args.repo_id)
        if args.collection:
            check_collection(api, args.collection, args.repo_id.split("/")[0])
        for target in targets:
            place = target.repo_id
            require_room(target)
            held.now = f"nothing was pushed{f' to {place}' if held.done else ''}"
            push(api, args, target, me, held)
        if args.space and is_private(api, targets[0]):
            print(f"{args.space} cannot read a private model by itself: set the secret HF_TOKEN on its settings page")
        if args.collection:
            owner = args.repo_id.split("/")[0]
            private = any(is_private(api, target) for target in targets)
            print("collection: " + tie(api, args.collection, owner, items_of(targets), private, held))
        if args.new_version_of:
            place = args.new_version_of
            write_new_version(api, place, args.repo_id, held)
    except hub_errors() as error:
        raise WorkError(f"{held}: {explain(error, place)} The same command continues from there.") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{held}. The same command continues from there.") from None
    return 0


def push(api: Any, args: argparse.Namespace, target: Target, me: str, held: Held) -> None:
    """One repository: settings, difference, commit, verification, merge, tag; in this order, so that nobody sees half of it."""
    prepare_repository(api, target, args.private, args.gated, held)
    branch = args.revision or "main"
    if branch != "main":
        make_branch(api, target, branch)
    difference = compare(api, target, branch_head(api, target, branch))
    tagged = find_tag(api, target, args.tag) if args.tag else None
    show(difference, target)
    if tagged and not (difference.empty and tag_holds(api, target, tagged)):
        raise WorkError(f"{held}: tag {args.tag} is already there, on {tagged}. Choose another --tag.")
    with fresh_home(api, target) as home:
        commit = bring(api, args, target, difference, me, home, held)
        if args.create_pr and not difference.empty:
            return
        if args.tag and not tagged:
            set_tag(api, target, args.tag, commit, held)
        if args.tag and args.verify == "load" and loads(target):
            verify_load(target, args.run_dir / "release", args.tag, home, held)
    held.finish(f"{target.repo_id} holds the release at {commit}" + (f", tagged {args.tag}" if args.tag else ""))
    if branch == "main":
        close_left_over(api, target, me, held)
    tell(api, args, target)


def tag_holds(api: Any, target: Target, tagged: str) -> bool:
    """Whether a tag's commit holds exactly these files: two publishers at once may each have made one that does."""
    return compare(api, target, tagged).empty


def bring(
    api: Any, args: argparse.Namespace, target: Target, difference: Difference, me: str, home: FreshHome, held: Held
) -> str:
    """Commit the difference and verify it; the commit of the branch (or of the open pull request) that then holds the release."""
    message = f"Upload {target.repo_id.split('/')[1]}" + (f" {args.tag}" if args.tag else "")
    branch = args.revision or "main"
    if difference.empty:
        print("nothing has changed; no commit was made.", flush=True)
        held.now = f"{branch} of {target.repo_id} holds the release at {difference.head}"
        verify(args, target, difference.head, home, held)
        return difference.head
    if args.revision:
        print(f"straight to {branch}, as --revision asks: verified after the commit, not before", flush=True)
        commit = commit_directly(api, target, difference, branch, message, held)
        verify(args, target, commit, home, held)
        return check_branch(api, target, branch, difference, held)
    pull = find_pull_request(api, target, difference, me)
    if pull:
        print(f"pull request {pull.number} holds these files already.", flush=True)
    else:
        text = None if args.create_pr else MARK  # what was left open on purpose is nobody's to close
        pull = open_pull_request(api, target, difference, (message, text), me, held)
    held.now = f"main of {target.repo_id} is as before; pull request {pull.number} holds the release"
    verify(args, target, pull.commit, home, held)
    if args.create_pr:
        held.finish(held.now)
        print(f"left open: {page(api, target)}/discussions/{pull.number}")
        return pull.commit
    commit = merge(api, target, pull, difference, held)
    held.now = f"main of {target.repo_id} holds the release at {commit}" + (", not yet tagged" if args.tag else "")
    print(f"merged into main: {commit}", flush=True)
    return commit


def verify(args: argparse.Namespace, target: Target, commit: str, home: FreshHome, held: Held) -> None:
    """Read a commit back, as far as --verify asks and the repository's kind allows."""
    verify_files(target, commit, home, held)
    verify_gguf(target, held)
    if loads(target) and args.verify == "load":
        verify_load(target, args.run_dir / "release", commit, home, held)
    elif loads(target):
        print("not shown (--verify checksums): that from_pretrained loads it and gives the same logits")


def check_built(args: argparse.Namespace) -> list[str]:
    """What model_card.build would write otherwise now: the whole text of the cards, and every file of the release folders."""
    words = [
        sys.executable,
        "-m",
        "model_card.build",
        str(args.run_dir.resolve()),
        "--check",
        "--repo-id",
        args.repo_id,
    ]
    done = subprocess.run(words, cwd=Path(__file__).resolve().parent, capture_output=True, text=True)
    return (
        [line.removeprefix("error: ") for line in (done.stderr or done.stdout).splitlines()] if done.returncode else []
    )


def loads(target: Target) -> bool:
    """Whether a target is a model that from_pretrained loads."""
    return "config.json" in target.files


def items_of(targets: list[Target]) -> Items:
    """The targets as items of a collection."""
    return [(target.repo_id, target.kind) for target in targets]


def page(api: Any, target: Target) -> str:
    """The address of a repository's page."""
    return f"{api.endpoint}/{'spaces/' if target.kind == 'space' else ''}{target.repo_id}"


def tell(api: Any, args: argparse.Namespace, target: Target) -> None:
    """Print the page's address and the one line that uses what is on it."""
    print(f"page: {page(api, target)}")
    revision = args.tag or args.revision
    if loads(target):
        where = f', revision="{revision}"' if revision else ""
        print(f'use:  AutoModelForCausalLM.from_pretrained("{target.repo_id}"{where})')
    elif target.kind == "model":
        print(f"use:  ollama run hf.co/{target.repo_id}:Q4_0")


if __name__ == "__main__":
    run_command(main)
