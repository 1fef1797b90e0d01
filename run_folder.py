"""The run folder, where the stations meet: what its files are called and how a file comes to be there whole.

A file or folder appears under its final name only when it is complete: written beside, fsynced, renamed. What a killed writer
left beside (`.NAME.xxxxxxxx.part`) is removed by the next one that writes the same name. It counts as left if nobody holds
its lock, which the system takes from a dead process, and nothing was written for STALE seconds: long enough for a living
writer to get from making a part to locking it. Where a file system has no locks, nothing is removed.
"""

import errno
import fcntl
import fnmatch
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from command import UserError, WorkError

SCHEMA_VERSION = 1
STALE = 60  # seconds

# The records of a run that a release carries.
RECORDS = (
    "training.json",
    "data_report.json",
    "eval/comparison.json",
    "eval/base/results.json",
    "eval/tuned/results.json",
)

# What a release folder may hold, as fnmatch patterns of paths relative to it; `*` never crosses a folder, `/**` holds all below.
# The card station writes by it, the publisher checks by it.
RELEASE_FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "README.md",
    "README_zh.md",
    "notebook.ipynb",
    "LICENSE",
    "NOTICE",
    "USE_POLICY.md",
    "recipe.yaml",
    *RECORDS,
    "figures/*.png",
    "scripts/**",
    "SHA256SUMS",
    "model.sig",
    "model.pub",
)
# The same for the release of the GGUF files, which is a repository of its own.
GGUF_RELEASE_FILES = (
    "*.gguf",
    "README.md",
    "README_zh.md",
    "LICENSE",
    "NOTICE",
    "USE_POLICY.md",
    "Modelfile",
    "template",
    "params",
    "system",
    "export.json",
    "SHA256SUMS",
)
# The files that pairs are read from; a source that ends otherwise and is not here may be a data set of the Hub.
FILES_OF_PAIRS = (
    *(f"{kind}{packed}" for kind in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz", ".zst")),
    ".parquet",
    ".arrow",
)
# Not named in SHA256SUMS: itself, and the signature over all of it with the key that checks it.
UNLISTED = ("SHA256SUMS", "model.sig", "model.pub")


def is_release_file(path: str, allowed: tuple[str, ...] = RELEASE_FILES) -> bool:
    """Whether a path relative to a release folder is on the list of what the release may hold."""
    return any(
        path.startswith(pattern.removesuffix("**"))
        if pattern.endswith("/**")
        else path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)
        for pattern in allowed
    )


def is_llama3_name(name: str) -> bool:
    """Whether a model's name begins as section 1.b.i of the Llama 3 licence asks of every model made from it; 3.1 is not 3."""
    return re.match(r"Llama[ -]3(?![.\d])", name) is not None


def built_with(name: str) -> str | None:
    """The line that a Llama licence, section 1.b.i, asks for wherever a model of a name that begins as it asks is shown."""
    if is_llama3_name(name):
        return "Built with Meta Llama 3"
    return "Built with Llama" if name.startswith("Llama") else None


def is_hub_data_set(path: str) -> bool:
    """Whether a source of pairs that is no file here is of the Hub's form ORG/NAME, without the suffix of a file of pairs."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", path)) and not path.lower().endswith(FILES_OF_PAIRS)


def source_state(root: Path) -> dict[str, Any] | None:
    """`commit` and `dirty` of code without a repository of its own, by the SOURCE.json beside it; None where there is none.

    Dirty if it was so when it was copied, or if a file that SOURCE.json names has changed since or is gone. UserError: not JSON.
    """
    path = root / "SOURCE.json"
    if not path.is_file():
        return None
    source = read_json(path)
    changed = any(
        not (root / name).is_file() or file_sha256(root / name) != digest for name, digest in source["sha256"].items()
    )
    return {"commit": source["commit"], "dirty": source["dirty"] or changed}


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that takes its final name only if the block ends without an error; mode is "w" (UTF-8) or "wb".

    `stream.name` is where it lies meanwhile, for a library that writes to a path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_parts(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with open(name, mode, encoding=None if "b" in mode else "utf-8", opener=lambda *_: handle) as stream:
            _lock(stream.fileno())
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)  # still locked
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill that replaces `path` only if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_parts(path)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    handle = os.open(building, os.O_RDONLY)
    try:
        _lock(handle)
        yield building
        for file in building.rglob("*"):
            if file.is_file():
                file.chmod(0o644)  # safetensors writes 0600
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        building.chmod(0o755)
        replace_folder(building, path)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Take the lock of an open file or folder, held until it is closed or the process dies; False if it cannot be had."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def held(folder: Path, flag: str) -> Iterator[None]:
    """Keep every other process that asks out of `folder`. UserError, naming `flag`, where one is in there already."""
    while (handle := _hold(folder, flag)) is None:
        pass
    try:
        yield
    finally:
        os.close(handle)


def _hold(folder: Path, flag: str) -> int | None:
    """A handle of `folder`, made and locked; None where the one who held it removed it meanwhile, so that its lock is no use."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir()
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        if folder.is_symlink():  # to nowhere
            raise
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"{flag} {folder} is being written by another process. Wait, or give another.") from None
    except OSError:  # a file system without locks
        return handle
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle), folder.stat()):
            return handle
    os.close(handle)
    return None


def _remove_left_parts(path: Path) -> None:
    """Remove the parts of `path` whose writer is gone, by the rule in the module's docstring."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part")
    for part in filter(lambda file: name.fullmatch(file.name), path.parent.iterdir()):
        with suppress(FileNotFoundError, PermissionError):  # it has just got its name, or is another user's
            handle = os.open(part, os.O_RDONLY)
            try:
                if _lock(handle) and time.time() - os.fstat(handle).st_mtime > STALE:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
            finally:
                os.close(handle)


def replace_folder(new: Path, path: Path) -> None:
    """Rename `new` to `path`; what stood there is removed only after the new one is in place."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record with its schema_version first, in UTF-8, indented, whole. NaN and Infinity are refused: JSON has none."""
    with whole_file(path) as stream:
        json.dump({"schema_version": SCHEMA_VERSION, **record}, stream, ensure_ascii=False, indent=1, allow_nan=False)
        stream.write("\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a record that `write_json` wrote. UserError if it is missing, broken or of another schema."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Run the step that writes it first.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not valid JSON ({error}). Remove it and run the step that writes it again."
        ) from None
    version = record.get("schema_version") if isinstance(record, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(f"{path} has schema_version {version!r}; this code reads {SCHEMA_VERSION}. Write it anew.")
    return record


def misfit(value: Any, form: Any, place: str) -> str | None:
    """Where a JSON value is not of a form, as a sentence that begins with `place`; None where it fits.

    A form is a type, [form of each item], {key: form} (a key with "?" may be missing, "*" is each key) or a tuple of forms
    of which one must fit.
    """
    if isinstance(form, tuple):
        found = [misfit(value, one, place) for one in form]
        return None if None in found else found[0]
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{place} is no list"
        return next(filter(None, (misfit(item, form[0], f"{place}[{n}]") for n, item in enumerate(value))), None)
    if not isinstance(form, dict):
        return None if isinstance(value, form) else f"{place} is {str(value)[:40]!r}, which cannot be"
    if not isinstance(value, dict):
        return f"{place} is no object"
    lacking = next((key for key in form if key != "*" and not key.endswith("?") and key not in value), None)
    if lacking:
        return f"{place} has no {lacking}"
    forms = {key: form.get(key, form.get(f"{key}?", form.get("*", object))) for key in value}
    return next(filter(None, (misfit(value[key], forms[key], f"{place}.{key}") for key in value)), None)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def joint_sha256(digests: dict[str, str]) -> str:
    """The `sha256` of a model's identity, from the digests of its weight files by name: that of `sha256sum`'s lines if several."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()).hexdigest()


def require_space(path: Path, size: int, what: str, fix: str = "choose another --output") -> None:
    """WorkError if fewer than `size` bytes are free where `path` will be; asked before the work, not after.

    `fix` is what the caller's user can do beside freeing space.
    """
    place = _existing(path)
    free = shutil.disk_usage(place).free
    if free < size:
        raise WorkError(
            f"{what} needs {gigabytes(size)} in {place}; {gigabytes(free)} are free. Free some space or {fix}."
        )


def require_writable(folder: Path) -> None:
    """The system's OSError unless files can be made where `folder` is or will be; nothing is left there."""
    place = _existing(folder)
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise type(error)(
            error.errno, error.strerror, str(place)
        ) from None  # not the name of a file that the user never gave


def _existing(path: Path) -> Path:
    """The path, or the nearest of its parents that is there."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return place


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"
