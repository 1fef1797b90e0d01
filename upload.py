"""Publish RUN_DIR/release on the Hugging Face Hub: check everything, push one atomic commit, read it back, tag it.

python upload.py runs/smollm2-demo --repo-id ORG/NAME [--private] [--create-pr] [--tag v1] [--gguf] [--dry-run]
"""

import argparse
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import UserError, WorkError, run_command
from publishing.release_checks import check_gguf, check_release
from run_folder import file_sha256, is_release_file

CONNECT_SECONDS = 15
Files = dict[str, Path]


@dataclass(frozen=True)
class Diff:
    """What a push would change at `head`; `kept` are remote files that are not ours to remove."""

    head: str | None
    added: list[str]
    changed: list[str]
    removed: list[str]
    kept: list[str]

    @property
    def empty(self) -> bool:
        """Whether the remote already holds exactly these files."""
        return not (self.added or self.changed or self.removed)


# --- the command


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="upload.py",
        description="Check RUN_DIR/release, push it to the Hub as one commit, read it back and compare.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run_dir", metavar="RUN_DIR", type=Path, help="a run with a release (python -m model_card.build)"
    )
    parser.add_argument("--repo-id", metavar="ORG/NAME", required=True, help="the model repository on the Hub")
    parser.add_argument("--private", action="store_true", help="make the repository private if it is new")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing to main")
    parser.add_argument("--tag", metavar="TAG", help="tag the commit after it was verified")
    parser.add_argument("--gguf", action="store_true", help="also push RUN_DIR/gguf/*.gguf")
    parser.add_argument("--dry-run", action="store_true", help="check and show what would change; push nothing")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Check, then show (--dry-run) or push."""
    args = build_parser().parse_args(argv)
    check_usage(args)
    release = args.run_dir / "release"
    if not release.is_dir():
        raise WorkError(f"{release} is missing. Build it: python -m model_card.build {args.run_dir}")
    files = {
        p.relative_to(release).as_posix(): p for p in sorted(release.rglob("*")) if not p.is_dir() or p.is_symlink()
    }
    digests = {path: file_sha256(p) for path, p in files.items() if p.is_file()}
    gguf = gguf_files(args.run_dir) if args.gguf else {}
    findings = check_release(args.run_dir, release, files, digests, args.repo_id) + check_gguf(gguf)
    api = hub_api()
    if not args.dry_run:
        findings += check_account(api, args.repo_id, args.create_pr)
    if findings:
        raise WorkError("nothing was pushed:\n" + "\n".join(f"  - {finding}" for finding in findings))
    print(f"checks passed: {len(files)} files of {release}", flush=True)
    files, digests = files | gguf, digests | {path: file_sha256(p) for path, p in gguf.items()}
    if args.dry_run:
        show_plan(api, args.repo_id, files, digests, args.gguf)
        return 0
    return push(api, args, files, digests)


def check_usage(args: argparse.Namespace) -> None:
    """UserError for arguments that cannot be right whatever the release holds."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(args.repo_id)
    except HFValidationError as error:
        raise UserError(f"--repo-id {args.repo_id!r}: {error}") from None
    if "/" not in args.repo_id:
        raise UserError(f"--repo-id {args.repo_id!r} has no owner. Give ORG/NAME, such as alice/{args.repo_id}.")
    if args.tag is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", args.tag):
        raise UserError(f"--tag {args.tag!r} is not a tag name. Give one such as v1.")
    if not args.run_dir.is_dir():
        raise UserError(f"{args.run_dir} is not a folder. Give a run folder such as runs/smollm2-demo.")
    if args.gguf:
        gguf_files(args.run_dir)


def gguf_files(run_dir: Path) -> Files:
    """The GGUF files of a run by their name on the Hub. UserError if there are none."""
    found = {p.name: p for p in sorted((run_dir / "gguf").glob("*.gguf"))}
    if not found:
        raise UserError(
            f"{run_dir / 'gguf'} holds no .gguf file. Put .gguf files into {run_dir / 'gguf'}, or leave --gguf out."
        )
    return found


# --- the Hub


def hub_api() -> Any:
    """The Hub's client; a connection that cannot be made is given up after CONNECT_SECONDS, not never."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.utils import get_session

    get_session().timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
    return HfApi()


def hub_errors() -> tuple[type[Exception], ...]:
    """What the client raises when the Hub refuses or cannot be reached (HF_HUB_OFFLINE is a ConnectionError)."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    return (HfHubHTTPError, httpx2.TransportError, ConnectionError)


def explain(error: Exception, repo_id: str) -> str:
    """An error of the Hub as a sentence that says what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    owner = repo_id.split("/")[0]
    known = {
        401: "the Hub does not accept the token: it is wrong or has expired. Log in again: hf auth login",
        403: f"the token may not write to {owner}. Use one with write access to it (https://huggingface.co/settings/tokens).",
        404: f"{repo_id} is not there, or the token may not see it.",
        412: f"somebody changed {repo_id} meanwhile. Nothing was overwritten; look at the change and run again.",
        429: "the Hub asks for fewer requests. Wait a few minutes and run again.",
    }
    said = " ".join(str(getattr(error, "server_message", None) or error).split())[:200]
    if status is None and not isinstance(error, RuntimeError | ValueError):
        return f"the Hub cannot be reached ({said or type(error).__name__})."
    if status is None:
        return f"the Hub's client says: {said}"
    return known.get(status, f"the Hub answered with status {status}.") + f" [{said}]"


def check_account(api: Any, repo_id: str, create_pr: bool) -> list[str]:
    """A token is there, valid, may write, and belongs to the owner of the repository (a pull request needs no ownership)."""
    from huggingface_hub import get_token

    if get_token() is None:
        return ["there is no Hub token. Log in (hf auth login) or set HF_TOKEN to a token with write access"]
    try:
        me = api.whoami()
    except hub_errors() as error:
        return [explain(error, repo_id)]
    if ((me.get("auth") or {}).get("accessToken") or {}).get("role") == "read":
        return ["the Hub token is read-only. Make one with write access: https://huggingface.co/settings/tokens"]
    names = [me["name"], *(org["name"] for org in me.get("orgs") or [])]
    if repo_id.split("/")[0] not in names and not create_pr:
        return [
            f"the token belongs to {', '.join(names)}, not to {repo_id.split('/')[0]}. Choose one of these, or --create-pr"
        ]
    return []


def compare(api: Any, repo_id: str, revision: str, files: Files, digests: dict[str, str], gguf: bool) -> Diff:
    """What differs between the files here and those at a revision, by the Hub's own hashes; nothing is downloaded."""
    head = api.repo_info(repo_id, revision=revision).sha
    remote = {f.path: f for f in api.list_repo_tree(repo_id, recursive=True, revision=head) if hasattr(f, "blob_id")}
    gone = [path for path in remote if path not in files]
    ours = [path for path in gone if is_release_file(path) or (gguf and path.endswith(".gguf") and "/" not in path)]
    return Diff(
        head=head,
        added=[path for path in files if path not in remote],
        changed=[path for path in files if path in remote and not same(remote[path], files[path], digests[path])],
        removed=ours,
        kept=[path for path in gone if path not in ours],
    )


def same(remote: Any, path: Path, sha256: str) -> bool:
    """Whether a file on the Hub is the file here: SHA-256 for LFS and Xet, git's SHA-1 for the others."""
    from huggingface_hub.utils.sha import git_hash

    if remote.size != path.stat().st_size:
        return False
    return remote.lfs.sha256 == sha256 if remote.lfs else remote.blob_id == git_hash(path.read_bytes())


def show_plan(api: Any, repo_id: str, files: Files, digests: dict[str, str], gguf: bool) -> None:
    """Print the files with sizes and the difference to the Hub; a Hub that cannot be reached is said, not an error."""
    from huggingface_hub.errors import RepositoryNotFoundError

    for path, p in files.items():
        print(f"  {p.stat().st_size:>15,}  {path}")
    print(f"  {sum(p.stat().st_size for p in files.values()):>15,}  bytes in {len(files)} files")
    try:
        diff = compare(api, repo_id, "main", files, digests, gguf)
    except RepositoryNotFoundError:
        print(
            f"{repo_id}: not there, or not visible to this token; a push would make it and add all files. Nothing was pushed."
        )
        return
    except hub_errors() as error:
        print(f"no comparison with {repo_id}: {explain(error, repo_id)} Nothing was pushed.")
        return
    show_diff(diff, repo_id)
    print("dry run: nothing was pushed.")


def show_diff(diff: Diff, repo_id: str) -> None:
    """Print a difference, a line a file."""
    print(
        f"difference to {repo_id} at {diff.head}:"
        if not diff.empty
        else f"{repo_id} at {diff.head} holds exactly these files."
    )
    for word in ("added", "changed", "removed", "kept"):
        for path in getattr(diff, word):
            print(f"  {word:8} {path}")


def push(api: Any, args: argparse.Namespace, files: Files, digests: dict[str, str]) -> int:
    """Make the repository if need be, commit the difference, read it back, tag. WorkError says what landed and what did not."""
    try:
        ensure_repository(api, args.repo_id, args.private)
        diff = compare(api, args.repo_id, "main", files, digests, args.gguf)
        tagged = tag_target(api, args.repo_id, args.tag)
    except hub_errors() as error:
        raise WorkError(f"nothing was pushed: {explain(error, args.repo_id)}") from error
    show_diff(diff, args.repo_id)
    if tagged and (tagged != diff.head or not diff.empty):
        raise WorkError(f"nothing was pushed: tag {args.tag} is already there, on {tagged}. Choose another --tag.")
    oid = diff.head if diff.empty else commit(api, args, files, digests, diff)
    print("nothing has changed; no commit was made." if diff.empty else f"committed {oid}", flush=True)
    wrong = verify(api, args.repo_id, oid, files, digests)
    if wrong:
        raise WorkError(f"commit {oid} is on the Hub but not as it should be:\n" + "\n".join(f"  - {w}" for w in wrong))
    print(f"verified: {len(files)} files at {oid} are those of {args.run_dir}")
    if args.tag and not tagged:
        set_tag(api, args.repo_id, args.tag, oid)
    return 0


def ensure_repository(api: Any, repo_id: str, private: bool) -> None:
    """Create the repository if it is not there. WorkError if --private was asked for and it is public already."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.repo_info(repo_id)
    except RepositoryNotFoundError:
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        return
    if private and not info.private:
        raise WorkError(
            f"nothing was pushed: {repo_id} is public already. Make it private on its settings page, or leave --private out."
        )


def tag_target(api: Any, repo_id: str, tag: str | None) -> str | None:
    """The commit that a tag points at, None if there is no such tag."""
    if tag is None:
        return None
    return next((ref.target_commit for ref in api.list_repo_refs(repo_id).tags if ref.name == tag), None)


def set_tag(api: Any, repo_id: str, tag: str, oid: str) -> None:
    """Tag the commit. WorkError says that the commit itself is there."""
    try:
        api.create_tag(repo_id, tag=tag, revision=oid)
    except hub_errors() as error:
        raise WorkError(
            f"commit {oid} is on the Hub, the tag {tag} is not: {explain(error, repo_id)} Run the same command again."
        ) from error
    print(f"tagged {tag}: {oid}")


def commit(api: Any, args: argparse.Namespace, files: Files, digests: dict[str, str], diff: Diff) -> str:
    """One commit with all additions and removals on top of diff.head, or a pull request with them; returns its id.

    After an error the Hub is asked whether the commit landed all the same: an answer may be lost when the work is done.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    if args.create_pr and (there := find_pull_request(api, args.repo_id, files, digests, args.gguf)):
        print(f"pull request {there[0]} holds these files already.")
        return there[1]
    changes = [CommitOperationAdd(path, files[path]) for path in diff.added + diff.changed]
    changes += [CommitOperationDelete(path, is_folder=False) for path in diff.removed]
    message = f"Upload {args.repo_id.split('/')[1]}" + (f" {args.tag}" if args.tag else "")
    try:
        info = api.create_commit(
            args.repo_id, changes, commit_message=message, parent_commit=diff.head, create_pr=args.create_pr
        )
    except (
        *hub_errors(),
        RuntimeError,
        ValueError,
    ) as error:  # RuntimeError: hf_xet's; ValueError: the card is refused
        oid = landed(api, args, files, digests)
        if oid is None:
            raise WorkError(f"nothing was pushed: {explain(error, args.repo_id)}") from error
        print(f"the answer was lost ({explain(error, args.repo_id)}), but the commit is there.")
        return oid
    if info.pr_url:
        print(f"pull request: {info.pr_url}")
    return info.oid


def landed(api: Any, args: argparse.Namespace, files: Files, digests: dict[str, str]) -> str | None:
    """The commit that holds these files although an error came back; None if there is none."""
    try:
        if args.create_pr:
            there = find_pull_request(api, args.repo_id, files, digests, args.gguf)
            return there[1] if there else None
        diff = compare(api, args.repo_id, "main", files, digests, args.gguf)
    except hub_errors() as error:
        raise WorkError(
            f"the push failed and the Hub cannot say whether it landed: {explain(error, args.repo_id)} Run the same command again; it finds out."
        ) from error
    return diff.head if diff.empty else None


def find_pull_request(
    api: Any, repo_id: str, files: Files, digests: dict[str, str], gguf: bool
) -> tuple[str, str] | None:
    """(number, commit) of an open pull request that holds exactly these files, among the ten newest; None if there is none."""
    refs = api.list_repo_refs(repo_id, include_pull_requests=True).pull_requests or []
    for ref in sorted(refs, key=lambda ref: int(ref.name), reverse=True)[:10]:
        if api.get_discussion_details(repo_id, int(ref.name)).status not in ("open", "draft"):
            continue
        diff = compare(api, repo_id, ref.ref, files, digests, gguf)
        if diff.empty:
            return ref.name, diff.head
    return None


def verify(api: Any, repo_id: str, oid: str, files: Files, digests: dict[str, str]) -> list[str]:
    """What on the Hub differs from the files here: hashes of all by the Hub's word, the small ones downloaded and read."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    wrong = []
    try:
        remote = {f.path: f for f in api.get_paths_info(repo_id, list(files), revision=oid)}
        wrong += [f"{path} is not there" for path in files if path not in remote]
        wrong += [
            f"{path} has another hash there" for path, f in remote.items() if not same(f, files[path], digests[path])
        ]
        with tempfile.TemporaryDirectory() as folder:
            for path in (path for path, f in remote.items() if not f.lfs):
                got = api.hf_hub_download(repo_id, path, revision=oid, local_dir=folder)
                if file_sha256(Path(got)) != digests[path]:
                    wrong.append(f"{path} comes back with other bytes")
    except (*hub_errors(), LocalEntryNotFoundError) as error:
        wrong.append(f"the commit could not be read back: {explain(error, repo_id)} Run the same command again")
    return wrong


if __name__ == "__main__":
    run_command(main)
