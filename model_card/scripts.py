"""The scripts that a release carries: the code that trained the model, so that the repository on the Hub can be run again.

They lie under scripts/, the tree of the commit that training.json names, without what only the development needs. Where
there is no such commit (a downloaded release is worked from), they are the files beside this package.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from run_folder import SCHEMA_VERSION, read_json, source_state

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ("tests", "benchmarks", "test.sh", "requirements-dev.txt")  # and whatever begins with a dot
Files = dict[str, Path | bytes]


def scripts_of(training: dict[str, Any], root: Path = ROOT) -> Files:
    """Path in the release → content, with scripts/SOURCE.json: the commit, whether these files may differ from it, their digests.

    Empty where nothing says what the code is: neither git nor a SOURCE.json. The publisher refuses a release without it.
    """
    wanted = training.get("git") or {}
    commit, dirty = wanted.get("commit"), wanted.get("dirty") is not False
    files = files_of_commit(root, commit) if commit else None
    if files is None:
        files = files_here(root)
        own = source_state(root) or {"commit": None, "dirty": True}
        dirty = dirty or own["dirty"] or own["commit"] != commit
    if not files:
        return {}
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
    source = {"schema_version": SCHEMA_VERSION, "commit": commit, "dirty": dirty, "sha256": digests}
    files["SOURCE.json"] = (json.dumps(source, indent=1) + "\n").encode()
    return {f"scripts/{path}": content for path, content in files.items()}


def files_of_commit(root: Path, commit: str) -> dict[str, bytes] | None:
    """The tree of a commit, None if `root` is no checkout of ours or does not have it."""
    if (root / "SOURCE.json").is_file():  # a repository around it is the model's
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "archive", "--format=tar", commit], capture_output=True, check=False
        )
    except FileNotFoundError:  # no git
        return None
    if done.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        members = [member for member in archive if member.isfile() and is_carried(member.name)]
        return {member.name: archive.extractfile(member).read() for member in members}


def files_here(root: Path) -> dict[str, bytes]:
    """The files of `root` that SOURCE.json or git names."""
    if (root / "SOURCE.json").is_file():
        names = [name for name in read_json(root / "SOURCE.json")["sha256"] if (root / name).is_file()]
    else:
        names = tracked(root)
    return {name: (root / name).read_bytes() for name in names if is_carried(name) and (root / name).is_file()}


def tracked(root: Path) -> list[str]:
    """What git tracks in `root`; nothing where it cannot say: no list, no telling the code from what merely lies there."""
    try:
        done = subprocess.run(["git", "-C", str(root), "ls-files"], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def is_carried(path: str) -> bool:
    """Whether a release carries this file of the code."""
    return not path.startswith(".") and path.split("/")[0] not in LEFT_OUT
