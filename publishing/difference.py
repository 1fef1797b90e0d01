"""What a push would change: the files here against those on the Hub, by the Hub's own hashes; nothing is downloaded."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publishing.hub import asked
from run_folder import file_sha256, gigabytes

Files = dict[str, Path | bytes]


@dataclass(frozen=True)
class Target:
    """One repository and the files that it is to hold; `ours` says which of its other files a push may remove."""

    repo_id: str
    kind: str  # "model" or "space"
    files: Files
    digests: dict[str, str]  # hex SHA-256 of each file
    ours: Callable[[str], bool]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size_of(content) for content in self.files.values())


@dataclass(frozen=True)
class Difference:
    """What a push would change at `head`; `kept` are remote files that are not ours to remove."""

    head: str
    added: list[str]
    changed: list[str]
    removed: list[str]
    kept: list[str]
    unchanged: list[str]
    sent: dict[str, int]  # bytes to send of each file that was added or changed; 0 for content that the Hub has already

    @property
    def empty(self) -> bool:
        """Whether the remote already holds exactly these files."""
        return not (self.added or self.changed or self.removed)


def make_target(repo_id: str, kind: str, files: Files, ours: Callable[[str], bool]) -> Target:
    """A target with the digests of its files; what is not a file (a broken link) has none."""
    digests = {
        path: hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else file_sha256(content)
        for path, content in files.items()
        if isinstance(content, bytes) or content.is_file()
    }
    return Target(repo_id, kind, files, digests, ours)


def size_of(content: Path | bytes) -> int:
    """Bytes of a file's content."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def branch_head(api: Any, target: Target, branch: str) -> str:
    """The commit at which a branch stands."""
    return asked(lambda: api.repo_info(target.repo_id, repo_type=target.kind, revision=branch)).sha


def remote_files(api: Any, target: Target, commit: str) -> dict[str, Any]:
    """The files of the repository at a commit by path, each with size, blob_id and lfs."""
    entries = api.list_repo_tree(target.repo_id, repo_type=target.kind, recursive=True, revision=commit)
    return {entry.path: entry for entry in entries if hasattr(entry, "blob_id")}


def compare(api: Any, target: Target, commit: str) -> Difference:
    """What differs between the target's files and those of its repository at a commit."""
    remote = remote_files(api, target, commit)
    there = {f.lfs.sha256 for f in remote.values() if f.lfs}
    files, digests = target.files, target.digests
    gone = [path for path in remote if path not in files]
    added = [path for path in files if path not in remote]
    both = {path: same(remote[path], files[path], digests[path]) for path in files if path in remote}
    changed = [path for path, equal in both.items() if not equal]
    return Difference(
        head=commit,
        added=added,
        changed=changed,
        removed=[path for path in gone if target.ours(path)],
        kept=[path for path in gone if not target.ours(path)],
        unchanged=[path for path, equal in both.items() if equal],
        sent={path: 0 if digests[path] in there else size_of(files[path]) for path in added + changed},
    )


def same(remote: Any, content: Path | bytes, sha256: str) -> bool:
    """Whether a file on the Hub is the file here: SHA-256 for LFS and Xet, git's SHA-1 for the others."""
    from huggingface_hub.utils.sha import git_hash

    if remote.size != size_of(content):
        return False
    if remote.lfs:
        return remote.lfs.sha256 == sha256
    return remote.blob_id == git_hash(content if isinstance(content, bytes) else content.read_bytes())


def show(difference: Difference, target: Target) -> None:
    """Print a difference, a line a file, with what would be sent."""
    if difference.empty:
        print(f"{target.repo_id} at {difference.head} holds exactly these files.")
    else:
        print(f"difference to {target.repo_id} at {difference.head}:")
    for word in ("added", "changed"):
        for path in getattr(difference, word):
            size = difference.sent[path]
            print(f"  {word:8} {path}  " + (f"({size:,} bytes)" if size else "(its content is on the Hub already)"))
    for word in ("removed", "kept"):
        for path in getattr(difference, word):
            print(f"  {word:8} {path}")
    count = len(difference.unchanged)
    print(
        f"  {count} unchanged; to send: {sum(difference.sent.values()):,} bytes ({gigabytes(sum(difference.sent.values()))})",
        flush=True,
    )
