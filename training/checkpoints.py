"""Checkpoints by name: which are whole, which go. No torch here: a wrong --resume is told before anything is loaded.

A checkpoint is written as checkpoints/.writing/checkpoint-N and renamed when it is whole.
"""

import os
import shutil
from pathlib import Path

from run_folder import replace_folder


def writing_folder(folder: Path) -> Path:
    """An empty place to write a checkpoint in; what a killed run left there is removed."""
    place = folder / ".writing"
    shutil.rmtree(place, ignore_errors=True)
    return place


def publish(written: Path, folder: Path, limit: int | None) -> None:
    """Sync a written checkpoint, give it its final name in `folder`, and keep the newest `limit` (None: all)."""
    for file in filter(Path.is_file, written.rglob("*")):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    replace_folder(written, folder / written.name)
    written.parent.rmdir()
    for old in whole_checkpoints(folder)[:-limit] if limit else []:
        shutil.rmtree(old)


def whole_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints that can be continued from, oldest first."""
    found = [p for p in folder.glob("checkpoint-*") if p.name[11:].isdigit() and (p / "trainer_state.json").is_file()]
    return sorted(found, key=lambda p: int(p.name[11:]))
