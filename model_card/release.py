"""The release folder: what goes in, its checksums, and writing it whole or not at all."""

import hashlib
import json
import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from command import UserError
from model_card.context import shorten_paths
from model_card.scripts import scripts_of
from run_folder import RECORDS, RELEASE_FILES, UNLISTED, file_sha256, is_release_file, whole_folder

Files = dict[str, Path | bytes]


def plan_release(folder: Path, training: dict[str, Any], licence: Files, cards: dict[str, str]) -> Files:
    """Path in the release → a file to link, or bytes to write. UserError if the weights are not those that were trained."""
    files: Files = {p.name: p for p in sorted((folder / "model").iterdir()) if p.is_file() and is_release_file(p.name)}
    check_weights(files, training.get("model_sha256") or {})
    files |= {path: record_bytes(folder / path) for path in RECORDS if (folder / path).exists()}
    if (folder / "recipe.yaml").exists():
        files["recipe.yaml"] = recipe_bytes(folder / "recipe.yaml", training.get("run_name"))
    files |= scripts_of(training)
    files |= licence
    files |= {path: text.encode() for path, text in cards.items()}
    return files


def check_weights(files: Files, recorded: dict[str, str]) -> None:
    """UserError if a file that training.json recorded is gone from model/ or has changed since."""
    for name, trained in sorted(recorded.items()):
        if not is_release_file(name):
            continue
        if name not in files:
            raise UserError(
                f"model/{name} is in training.json but not in the folder. Train again, or restore the file."
            )
        if digest(files[name]) != trained:
            raise UserError(
                f"model/{name} has changed since training.json recorded it. Train again, or restore the file."
            )


def record_bytes(path: Path) -> bytes:
    """A JSON record as it is; absolute local paths in it are cut to their last part."""
    raw = path.read_bytes()
    record = json.loads(raw)
    short = shorten_paths(record)
    return raw if short == record else (json.dumps(short, ensure_ascii=False, indent=1) + "\n").encode()


def recipe_bytes(path: Path, name: str | None) -> bytes:
    """recipe.yaml as it is, comments too, but: absolute local paths that are values are cut to their last part.

    A recipe without a name gets the run's, so that its reader makes runs/NAME again and not runs/recipe.
    """
    local = r"""(?m)(^\s*(?:-\s+)?(?:[\w"']+:\s+)?|[\[{,]\s*(?:[\w"']+:\s+)?)(["']?)(?:~?/|[A-Za-z]:[\\/])[^\n"'#,}\]]*[/\\]"""
    text = re.sub(local, r"\1\2", path.read_text(encoding="utf-8"))
    if name and re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):  # what training.recipe takes for one
        text = re.sub(r"(?m)^name: null$", f"name: {json.dumps(name)}", text)
    return text.encode()


def write_release(release: Path, files: Files, allowed: tuple[str, ...] = RELEASE_FILES) -> bool:
    """Write the folder, unless it already holds exactly these files: then False, and nothing is touched, a signature neither.

    `allowed`: patterns of what it may hold (run_folder.RELEASE_FILES, GGUF_RELEASE_FILES).
    """
    strange = sorted(path for path in files if not is_release_file(path, allowed))
    assert not strange, f"not on the list of release files: {strange}"
    digests = {path: digest(content) for path, content in files.items()}
    sums = "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()
    files = {**files, "SHA256SUMS": sums}
    digests["SHA256SUMS"] = digest(sums)
    if holds(release, files, digests):
        return False
    with whole_folder(release) as building:
        for path, content in files.items():
            place(content, building / path)
    return True


def holds(release: Path, files: Files, digests: dict[str, str]) -> bool:
    """Whether the folder has these files, no others but a signature, byte by byte."""
    present = {p.relative_to(release).as_posix(): p for p in release.rglob("*") if p.is_file()}
    present = {path: p for path, p in present.items() if path in digests or path not in UNLISTED}
    if set(present) != set(digests):
        return False
    return all(_same_file(files[path], p) or file_sha256(p) == digests[path] for path, p in present.items())


def _same_file(content: Path | bytes, path: Path) -> bool:
    return isinstance(content, Path) and content.samefile(path)


def digest(content: Path | bytes) -> str:
    """Hex SHA-256 of a file or of bytes; a file that has not changed meanwhile is read once, 16 GB of weights too."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    state = content.stat()
    return _digest(content, state.st_ino, state.st_size, state.st_mtime_ns)


@cache
def _digest(path: Path, *state: int) -> str:
    return file_sha256(path)


def place(content: Path | bytes, target: Path) -> None:
    """Put content there: weights as a hard link (a copy where the file system has none), anything else as a file of its own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
    elif content.suffix in (".safetensors", ".gguf"):
        _link_or_copy(content.resolve(), target)
    else:
        shutil.copyfile(content, target)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links; a full disk raises again in the copy
        shutil.copyfile(source, target)
