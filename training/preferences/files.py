"""Files of rows: what kind they are, how they are opened and decompressed, and what is wrong with one as a whole.

No file is mapped into memory: a mapped file that shrinks while it is read kills the process (SIGBUS).
"""

import io
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from command import UserError
from run_folder import FILES_OF_PAIRS as SUFFIXES
from training.preferences.findings import BadRow, Finding
from training.preferences.text import shown

LONGEST = (
    4 << 20
)  # bytes of one row; comparing one takes 60 times as much memory, and no context holds a million tokens
CODECS = {".gz": "gzip", ".zst": "zstd"}
MAGIC = {
    b"\x1f\x8b": ".gz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"PK\x03\x04": ".zip",
}
LFS = b"version https://git-lfs"
BUFFER = 1 << 20

Rows = Iterator[tuple[str, Any]]


class Unreadable(BadRow):
    """The rest of a source cannot be read. `line` is where, if that is known."""

    def __init__(self, reason: str, detail: str = "", fix: str = "", line: int | None = None):
        super().__init__(reason, detail, fix)
        self.line = line


def kind_of(path: Path) -> str | None:
    """The suffix of a file of rows, lower case: ".jsonl", ".json.gz"; None for any other file."""
    name = path.name.lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default=None)


def check_file(path: Path) -> str:
    """The kind of a file that can be read. UserError for another kind, a pipe, a device, or a file that may not be read."""
    name = shown(str(path))
    kind = kind_of(path)
    if kind is None:
        raise UserError(f"{name}: unknown kind of file {shown(path.suffix)!r}; use one of {', '.join(SUFFIXES)}.")
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise UserError(f"{name} is {what}, which can be read only once. Write it into a file first.")
    if not os.access(path, os.R_OK):
        raise UserError(f"{name} may not be read by this user. Change its permissions.")
    return kind


def open_bytes(path: Path, kind: str) -> BinaryIO:
    """The bytes of a file, decompressed as they are read. Unreadable if they are not what the suffix says."""
    codec = CODECS.get(kind[kind.rfind(".") :])
    stream = path.open("rb", buffering=BUFFER)
    try:
        check_magic(stream.peek(len(LFS))[:64], kind, path)
    except BadRow:
        stream.close()
        raise
    if codec is None:
        return stream
    import pyarrow

    # pyarrow's streams, unlike zstandard's, tell a stream that was cut from one that ended
    return io.BufferedReader(pyarrow.CompressedInputStream(stream, codec), BUFFER)  # type: ignore[arg-type]


def check_magic(head: bytes, kind: str, path: Path) -> None:
    """Unreadable for a file of another format than its suffix says, an empty compressed one, or a pointer of Git LFS."""
    if head.startswith(LFS):
        raise Unreadable("Git LFS pointer", "only the pointer is here, not the file", "Fetch it: git lfs pull.")
    suffix = kind[kind.rfind(".") :]
    if not head and suffix in (*CODECS, ".parquet", ".arrow"):
        raise Unreadable("empty file", "0 bytes", "Fetch or write it again.")
    found = next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)
    if found != suffix and (found or suffix in CODECS):
        plain = kind.removesuffix(suffix) if suffix in CODECS else kind
        base = path.name[: -len(kind)]
        if found == ".zip":
            raise Unreadable("wrong suffix", "it is a zip archive", "Unpack it and give the file within.")
        right = {None: base + plain, ".gz": base + plain + ".gz", ".zst": base + plain + ".zst"}.get(
            found, f"{base}{found}"
        )
        what = f"it holds {found[1:]} data" if found else f"it is not {suffix[1:]} data"
        raise Unreadable("wrong suffix", what, f"If it is whole, name it {shown(right)}.")


def check_encoding(head: bytes, path: Path) -> None:
    """Unreadable for UTF-16 and UTF-32, by their mark or by the zeros beside ASCII in the first four bytes."""
    marks = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
    encoding = next((name for mark, name in marks.items() if head.startswith(mark)), None)
    zeros = tuple(byte == 0 for byte in head[:4])
    encoding = encoding or {
        (False, True, False, True): "UTF-16LE",
        (True, False, True, False): "UTF-16BE",
        (False, True, True, True): "UTF-32LE",
        (True, True, True, False): "UTF-32BE",
    }.get(zeros)
    if encoding:
        name = shown(path.name)
        raise Unreadable("not UTF-8", f"it is {encoding}", f"Convert it: iconv -f {encoding} -t UTF-8 '{name}' > NEW.")


def guarded(rows: Rows, name: str) -> Rows:
    """The rows, and if reading ends early a fatal Finding that says after how many."""
    count = 0
    try:
        for item in rows:
            count += 1
            yield item
    except Unreadable as end:
        where = name if end.line is None else f"{name}:{end.line}"
        yield where, Finding(where, end.reason, after(end, count), end.fix, fatal=True)
    except OSError as error:
        end = unreadable_stream(error)
        yield name, Finding(name, end.reason, after(end, count), end.fix, fatal=True)


def after(end: Unreadable, count: int) -> str:
    return f"{shown(str(end))}, after {count:,} row(s)" if count else shown(str(end))


def unreadable_stream(error: OSError) -> Unreadable:
    """What an error of the file system or of a decompressor means."""
    text = str(error)
    if "Truncated compressed stream" in text:
        return Unreadable("file cut short", "its compressed data has no end", "Fetch or write it again.")
    if error.errno is None:
        return Unreadable("damaged file", re.sub(r"\s+", " ", text), "Fetch or write it again.")
    return Unreadable("cannot be read", error.strerror or text, "Check the disk, or copy the file and give the copy.")
