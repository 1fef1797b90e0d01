"""Checkpoints by name: written whole, recognised when torn, removed whole. No torch here: a wrong --resume is told at once.

A checkpoint is written as checkpoints/.writing/checkpoint-N; its manifest.json comes last, then everything is synced and the
folder gets its final name. One that goes is renamed first, so no half-deleted folder ever bears a checkpoint's name.

The manifest holds the size and a digest of every file. Up to 8 MiB a file is hashed whole; a larger one by 64 blocks of
128 KiB, evenly spaced, the first and the last among them: the safetensors header and the zip directory of a .pt lie there.
So a check reads at most 8 MiB a file, also in the 100 GB of an 8B model, and finds what is missing, empty, cut, mixed up
or blank by the stretch; a flipped bit between the blocks of a large file it does not find.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from command import UserError, WorkError
from run_folder import read_json, replace_folder, write_json

MANIFEST = "manifest.json"
BLOCK, BLOCKS = 128 * 1024, 64
# How torch.save says that it could not write, depending on the byte it got to; its errors have no errno.
TORCH_WRITE = ("PytorchStreamWriter", "file write failed", "unexpected pos", "iostream error")
FULL = 1_000_000  # bytes free, below which a disk counts as full


# Reading


def checkpoints(folder: Path) -> list[Path]:
    """Everything under a checkpoint's name, oldest first; `what_is_wrong` tells which are whole."""
    found = [p for p in folder.glob("checkpoint-*") if p.name[11:].isdigit()]
    return sorted(found, key=lambda p: int(p.name[11:]))


def what_is_wrong(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be continued from, naming the file; None if it is whole."""
    if not (checkpoint / MANIFEST).is_file():
        return f"{MANIFEST} is missing, which is written last"
    try:
        files = read_json(checkpoint / MANIFEST)["files"]
    except (UserError, KeyError):
        return f"{MANIFEST} cannot be read"
    for name, (size, digest) in files.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size:,} bytes of {size:,}"
        if digest_of(file) != digest:
            return f"{name} holds other bytes than were written"
    return None


def whole_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints that can be continued from, oldest first."""
    return [checkpoint for checkpoint in checkpoints(folder) if what_is_wrong(checkpoint) is None]


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint to continue from, and a line for each newer one that is torn. UserError if there are only torn ones."""
    torn = []
    for checkpoint in reversed(checkpoints(folder)):
        wrong = what_is_wrong(checkpoint)
        if wrong is None:
            return checkpoint, torn
        torn.append(f"{checkpoint.name} is torn: {wrong}")
    if torn:
        raise UserError(
            f"{folder} holds no whole checkpoint: {'; '.join(torn)}. Remove that folder to start from the beginning "
            "with the same command, or choose another --output."
        )
    return None, torn


def best_entry(log_history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The validation with the least loss, the earliest of equals."""
    best = None
    for entry in log_history:
        if "eval_loss" in entry and (best is None or entry["eval_loss"] < best["eval_loss"]):
            best = entry
    return best


def logged(checkpoint: Path) -> list[dict[str, Any]]:
    """The loss history in a whole checkpoint."""
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]


def bytes_in(folder: Path) -> int:
    """Bytes of all files under a folder; 0 if there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def digest_of(file: Path) -> str:
    """Hex SHA-256 of a file of up to 8 MiB, of 64 evenly spaced blocks of a larger one."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= BLOCK * BLOCKS:
            return hashlib.sha256(stream.read()).hexdigest()
        digest = hashlib.sha256()
        for number in range(BLOCKS):
            stream.seek((size - BLOCK) * number // (BLOCKS - 1))
            digest.update(stream.read(BLOCK))
        return digest.hexdigest()


# Writing


def sweep(folder: Path) -> None:
    """Remove what a killed run left half-written or half-removed."""
    for left in [folder / ".writing", *folder.glob(".removing-*"), *folder.glob(".checkpoint-*.old")]:
        shutil.rmtree(left, ignore_errors=True)


def make_room(folder: Path, limit: int | None) -> Path:
    """An empty place to write the next checkpoint in; keeps `limit` - 1 whole ones (at least one; None: all).

    Removing before writing makes two checkpoints the most that ever lie on the disk with `limit` 2, as with 1.
    """
    sweep(folder)
    keep_newest(folder, limit and max(1, limit - 1))
    return folder / ".writing"


def publish(written: Path, folder: Path, limit: int | None) -> None:
    """Seal a written checkpoint with its manifest, sync it, give it its final name in `folder`, keep the newest `limit`."""
    files = sorted(file for file in written.rglob("*") if file.is_file())
    for file in files:
        _sync(file)
    content = {str(file.relative_to(written)): [file.stat().st_size, digest_of(file)] for file in files}
    write_json(written / MANIFEST, {"files": content})
    for inner in [*filter(Path.is_dir, written.rglob("*")), written]:
        _sync(inner)
    replace_folder(written, folder / written.name)
    _sync(folder)
    written.parent.rmdir()
    keep_newest(folder, limit)


def keep_newest(folder: Path, count: int | None) -> None:
    """Remove all but the newest `count` whole checkpoints (None: nothing) and, of each, the one its history calls best."""
    whole = whole_checkpoints(folder) if count else []
    if not whole:
        return
    kept = whole[-count:]
    best = [best_entry(logged(checkpoint)) for checkpoint in kept]
    names = {checkpoint.name for checkpoint in kept} | {f"checkpoint-{entry['step']}" for entry in best if entry}
    for old in checkpoints(folder):
        if old.name not in names:
            going = old.rename(folder / f".removing-{old.name}")
            shutil.rmtree(going, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told_write_failure(folder: Path, name: str, size: int) -> Iterator[None]:
    """Where writing `name` fails, remove a half-written checkpoint and raise one WorkError that says all.

    `folder`: the checkpoints'; `size`: about how many bytes `name` needs.
    """
    try:
        yield
    except BaseException as error:
        full = folder.exists() and shutil.disk_usage(folder).free < FULL
        shutil.rmtree(folder / ".writing", ignore_errors=True)
        if not (_is_write_error(error) or (full and isinstance(error, RuntimeError))):
            raise
        whole = whole_checkpoints(folder)
        kept = f"{whole[-1].name} is intact" if whole else "There is no earlier checkpoint"
        free = shutil.disk_usage(folder).free
        reason = ("the disk is full: " if full else "") + " ".join(str(error).split())[:200]
        raise WorkError(
            f"{name} could not be written: {reason}. It needs {size / 1e9:.3g} GB, {free / 1e9:.3g} GB are "
            f"free without it. {kept}; free some space and give the same command with --resume."
        ) from error


def _is_write_error(error: BaseException) -> bool:
    text = str(error)
    return (
        (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))
        or type(error).__name__ == "SafetensorError"
        or (isinstance(error, RuntimeError) and any(words in text for words in TORCH_WRITE))
    )
