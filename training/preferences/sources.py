"""Where rows come from: a file, a folder of files, a folder that `datasets` saved, or the Hub; read_source tells which."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from command import UserError
from run_folder import FILES_OF_PAIRS, is_hub_data_set
from training.preferences import json_rows, tables
from training.preferences.files import Rows, check_file, guarded, kind_of
from training.preferences.findings import Finding
from training.preferences.hub import read_hub
from training.preferences.text import shown

SPLIT = re.compile(r"(train|training|test|validation|valid|val|dev|eval)(?=[-_.])")
GIVE = f"Give a file ({', '.join(FILES_OF_PAIRS)}), a folder of one kind of them, or a Hub data set ORG/NAME."


def read_source(source: dict[str, Any]) -> Rows:
    """(where, raw row) of {path, name?, revision?, split?, streaming?}; a Finding in place of a row that cannot be read.

    A fatal Finding is the last: the rest of the source cannot be read. UserError as check_source, and where the Hub refuses.
    """
    check_source(source)
    path = Path(source["path"])
    if os.path.isdir(path):  # noqa: PTH112 - pathlib raises for names too long or with a NUL
        yield from read_folder(path, str(source.get("split") or "train"))
    elif os.path.exists(path):  # noqa: PTH110 - the same
        yield from read_file(path)
    else:
        yield from read_hub(source)


def check_source(source: dict[str, Any]) -> None:
    """UserError for what is known before a source is read: it is not there, cannot be read, or is not what its keys say."""
    path = Path(source["path"])
    name = shown(str(path))
    if os.path.isdir(path):  # noqa: PTH112 - pathlib raises for names too long or with a NUL
        files_of(path, str(source.get("split") or "train"))
        of_the_hub = ("name", "revision", "streaming")
    elif os.path.exists(path):  # noqa: PTH110 - the same
        check_file(path)
        of_the_hub = ("name", "revision", "streaming", "split")
    elif is_hub_data_set(source["path"]):
        return
    elif os.path.islink(path):  # noqa: PTH114 - the same
        raise UserError(f"{name} is a link to {shown(str(path.readlink()))}, which does not exist. Mend the link.")
    else:
        raise UserError(f"{name} does not exist. {GIVE}")
    for key in of_the_hub:
        if source.get(key):
            raise UserError(f"{name} lies on this disk, where {key} ({source[key]!r}) means nothing. Remove the key.")


def read_file(path: Path) -> Rows:
    """The rows of a file."""
    kind, name = check_file(path), shown(str(path))
    read = tables.READERS.get(kind, json_rows.read_json)
    yield from guarded(read(path, kind, name), name)


def read_folder(folder: Path, split: str) -> Rows:
    """The rows of a folder's files, one after the other, until one cannot be read to its end; says what else lies there."""
    files = files_of(folder, split)
    others = sorted(shown(path.name, 60) for path in folder.iterdir() if path not in files and not is_company(path))
    if others and files[0].parent == folder and not (folder / "state.json").exists():
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        print(f"{shown(str(folder))}: not read: {', '.join(others[:5])}{more}", file=sys.stderr)
    for path in files:
        for where, row in read_file(path):
            yield where, row
            if isinstance(row, Finding) and row.fatal:
                return


def files_of(folder: Path, split: str) -> list[Path]:
    """What a folder's rows lie in. UserError if there is nothing, more than one kind, or no such split."""
    name = shown(str(folder))
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UserError(f"{name} may not be read by this user. Change its permissions.")
    if (folder / "dataset_dict.json").is_file():
        if not re.fullmatch(r"\w[\w.-]*", split) or not (folder / split / "state.json").is_file():
            there = ", ".join(sorted(shown(path.parent.name) for path in folder.glob("*/state.json"))) or "none"
            raise UserError(f"{name} has no split {shown(split)!r}; there are: {there}. Set `split`.")
        folder = folder / split
    if (folder / "state.json").is_file():
        return saved_files(folder)
    files = sorted(
        path for path in folder.iterdir() if kind_of(path) and not path.name.startswith(".") and path.is_file()
    )
    if not files:
        raise UserError(f"{name} is a folder without a file of rows. {GIVE}")
    files = of_split(files, split, name)
    kinds = sorted({str(kind_of(path)) for path in files})
    if len(kinds) > 1:
        raise UserError(f"{name} holds files of {len(kinds)} kinds ({', '.join(kinds)}). Give one of them by its name.")
    return files


def of_split(files: list[Path], split: str, name: str) -> list[Path]:
    """The files of a split where they are called train-…, test-…: to train on all of them would train on the test."""
    splits = {path: found[1] if (found := SPLIT.match(path.name)) else None for path in files}
    if not any(splits.values()):
        return files
    if unnamed := [path.name for path in files if not splits[path]]:
        named = next(path.name for path in files if splits[path])
        raise UserError(
            f"{name} holds {shown(named)}, which names a split, and {shown(unnamed[0])}, which does not. Give one."
        )
    kept = [path for path in files if splits[path] == split]
    if not kept:
        there = ", ".join(sorted({found for found in splits.values() if found}))
        raise UserError(f"{name} has no file of the split {shown(split)!r}; there are: {there}. Set `split`.")
    return kept


def is_company(path: Path) -> bool:
    """Whether a file commonly lies beside the rows of a data set: its card, licence and Git's own."""
    return path.name.startswith((".", "README", "LICENSE", "dataset_infos"))


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of a folder that datasets.save_to_disk wrote, as its state.json lists them."""
    name = shown(str(folder))
    again = "Save it again with save_to_disk."
    try:
        listed = json.loads((folder / "state.json").read_text(encoding="utf-8"))["_data_files"]
        names = [str(entry["filename"]) for entry in listed]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{name}/state.json does not list the files ({type(error).__name__}). {again}") from None
    for file in names:
        if Path(file).name != file or kind_of(Path(file)) != ".arrow" or not (folder / file).is_file():
            raise UserError(f"{name}: state.json lists {shown(file)!r}, which is no Arrow file in it. {again}")
    if not names:
        raise UserError(f"{name}: state.json lists no file. {again}")
    return [folder / file for file in names]
