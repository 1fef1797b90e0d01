"""A bare git repository: the true store behind each repository of the Hub, so that clone, fsck and SHAs are git's own."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")
LONGEST_POINTER = 200  # bytes
NOTHING = "0" * 40  # git's name for "no object"
ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}


class GitError(Exception):
    """A git command that failed, with what it said."""


@dataclass(frozen=True)
class Entry:
    """A file or folder of a commit. size is that of the content, also where git holds only a pointer to it."""

    path: str
    oid: str
    size: int
    folder: bool = False
    sha256: str | None = None  # of the content, if it is an LFS object
    pointer_size: int = 0


def make_pointer(sha256: str, size: int) -> bytes:
    """The text that git holds in place of an LFS object (git-lfs/docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


class Git:
    """A bare repository in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.entries = lru_cache(maxsize=64)(self._entries)  # a commit never changes

    def run(self, *arguments: str, data: bytes | None = None, **environment: str) -> bytes:
        """The output of a git command. GitError if it fails."""
        command = ["git", "-C", str(self.folder), *arguments]
        env = os.environ | ENVIRONMENT | environment
        done = subprocess.run(command, input=data, capture_output=True, env=env, check=False)
        if done.returncode:
            raise GitError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def text(self, *arguments: str, data: bytes | None = None, **environment: str) -> str:
        """The output of a git command as text without the last line break."""
        return self.run(*arguments, data=data, **environment).decode().rstrip("\n")

    def create(self) -> None:
        """Make the repository; pushes over HTTP are allowed (`git http-backend` asks for it)."""
        self.folder.mkdir(parents=True)
        self.run("init", "-q", "--bare", "-b", "main")
        self.run("config", "http.receivepack", "true")

    def find(self, name: str) -> str | None:
        """The commit of a ref or SHA, None if there is none."""
        try:
            return self.text("rev-parse", "-q", "--verify", f"{name}^{{commit}}")
        except GitError:
            return None

    def refs(self) -> dict[str, str]:
        """Every ref with its commit, annotated tags followed."""
        lines = self.text("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)").splitlines()
        return {name: (target or oid) for name, oid, target in (line.split(" ") for line in lines)}

    def _entries(self, commit: str) -> tuple[Entry, ...]:
        """Everything in a commit, folders before their content."""
        listed = []
        for line in filter(None, self.run("ls-tree", "-z", "-l", "-t", "-r", commit).decode().split("\0")):
            about, path = line.split("\t", 1)
            _, kind, oid, size = about.split()
            listed.append((kind, oid, 0 if size == "-" else int(size), path))
        pointers = self._pointers([oid for kind, oid, size, _ in listed if kind == "blob" and size <= LONGEST_POINTER])
        entries = []
        for kind, oid, size, path in listed:
            if oid in pointers:
                sha256, full = pointers[oid]
                entries.append(Entry(path, oid, full, sha256=sha256, pointer_size=size))
            else:
                entries.append(Entry(path, oid, size, folder=kind == "tree"))
        return tuple(entries)

    def _pointers(self, oids: list[str]) -> dict[str, tuple[str, int]]:
        """Those blobs that point to an LFS object, with its SHA-256 and size."""
        found, output = {}, self.run("cat-file", "--batch", data="".join(f"{oid}\n" for oid in oids).encode())
        while output:
            head, _, rest = output.partition(b"\n")
            oid, _, size = head.decode().split()
            if match := POINTER.fullmatch(rest[: int(size)]):
                found[oid] = (match[1].decode(), int(match[2]))
            output = rest[int(size) + 1 :]
        return found

    def blob(self, oid: str) -> bytes:
        """The bytes of a file as git holds it."""
        return self.run("cat-file", "blob", oid)

    def write_tree(self, parent: str | None, changes: dict[str, bytes | str | None]) -> str:
        """The tree of a commit after changes by path: new bytes, the oid of a blob that is there, or None to remove it."""
        new = {path: data for path, data in changes.items() if isinstance(data, bytes)}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number, data in enumerate(new.values()):
                (folder / str(number)).write_bytes(data)
            files = "".join(f"{folder / str(number)}\n" for number in range(len(new)))
            written = self.text("hash-object", "-w", "--no-filters", "--stdin-paths", data=files.encode()).split()
            oids = {path: value for path, value in changes.items() if not isinstance(value, bytes)}
            oids |= dict(zip(new, written, strict=True))
            lines = [f"100644 {oid}\t{path}\0" if oid else f"0 {NOTHING}\t{path}\0" for path, oid in oids.items()]
            index = {"GIT_INDEX_FILE": str(folder / "index")}
            if parent:
                self.run("read-tree", parent, **index)
            self.run("update-index", "-z", "--index-info", data="".join(lines).encode(), **index)
            return self.text("write-tree", **index)

    def commit(self, tree: str, parents: list[str], message: str, user: str) -> str:
        """A new commit on no branch yet."""
        names = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", user), ("EMAIL", f"{user}@localhost"))
        }
        parent_options = [option for parent in parents for option in ("-p", parent)]
        return self.text("commit-tree", tree, *parent_options, data=message.encode(), **names)

    def move(self, ref: str, new: str, old: str) -> bool:
        """Set a ref if it still is at `old` (NOTHING: if it is new), atomically. False if it was moved meanwhile."""
        try:
            self.run("update-ref", ref, new, old)
        except GitError:
            return False
        return True
