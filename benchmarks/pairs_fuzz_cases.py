"""Malformed and hostile files of preference pairs, each made from its seed, with what a reader owes to it."""

import gzip
import io
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.pairs_fuzz_rows import (
    BYTE_CHANGES,
    FORMS,
    TEXT_CHANGES,
    VALUE_CHANGES,
    Row,
    as_json,
    flipped,
    make_rows,
)

LINES = ("jsonl", "ndjson", "jsonl.gz", "jsonl.zst", "ndjson.gz")
ARRAYS = ("json", "json.gz", "json.zst")
TABLES = ("parquet", "file.arrow", "stream.arrow")
FORMATS = (*LINES, *ARRAYS, *TABLES)


@dataclass
class Case:
    """A path to read, and what has to come of it."""

    kind: str
    path: Path
    kept: set[str] = field(default_factory=set)  # `chosen` of the rows that have to be kept, if the file is not refused
    rows: int | None = None  # that have to be counted, if known and the file is not refused
    only: bool = False  # no other row may be kept
    may_refuse: bool = False  # UserError is right
    must_refuse: bool = False  # anything else is wrong


def compressed(data: bytes, suffix: str) -> bytes:
    if suffix.endswith(".gz"):
        return gzip.compress(data, 1, mtime=0)
    if not suffix.endswith(".zst"):
        return data
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def as_table(rows: list[Row] | Any, suffix: str, size: int = 3) -> bytes:
    """Rows, or a pyarrow table, as a Parquet or Arrow file."""
    import pyarrow
    from pyarrow import ipc, parquet

    table = rows if isinstance(rows, pyarrow.Table) else pyarrow.Table.from_pylist(rows)
    sink = io.BytesIO()
    if suffix == "parquet":
        parquet.write_table(table, sink, row_group_size=size)
        return sink.getvalue()
    with (ipc.new_file if suffix.startswith("file") else ipc.new_stream)(sink, table.schema) as writer:
        writer.write_table(table, size)
    return sink.getvalue()


def joined(rng: random.Random, lines: list[bytes], suffix: str) -> bytes:
    """Lines of JSON as the text of a file: a row a line, or an array in one of the ways that arrays are written."""
    if suffix.startswith("json.") or suffix == "json":
        between = rng.choice([b",", b", ", b",\n", b",\r\n  ", b"\n,"])
        return rng.choice([b"[", b"[\n", b" [ "]) + between.join(lines) + rng.choice([b"]", b"\n]\n"])
    return b"".join(line + rng.choice([b"\n", b"\n", b"\r\n", b"\n\n"]) for line in lines)


def whole(rng: random.Random, rows: dict[str, Row], suffix: str) -> bytes:
    """Valid rows as a file."""
    if suffix in TABLES:
        return as_table(list(rows.values()), suffix)
    return compressed(joined(rng, [as_json(rng, row) for row in rows.values()], suffix), suffix)


def rows_for(rng: random.Random, suffix: str, least: int = 2) -> dict[str, Row]:
    return make_rows(rng, least, form=rng.choice(list(FORMS)) if suffix in TABLES else None)


def write(folder: Path, suffix: str, data: bytes, name: str = "pairs") -> Path:
    path = folder / f"{name}.{suffix}"
    path.write_bytes(data)
    return path


def changed_row(rng: random.Random, folder: Path) -> Case:
    """One or more rows of a file changed; the others are kept."""
    suffix = rng.choice((*LINES, *ARRAYS))
    rows = make_rows(rng, 2)
    names = [*VALUE_CHANGES, *TEXT_CHANGES, *(BYTE_CHANGES if suffix in LINES else ())]
    name = rng.choice(names)
    spoilt = set(rng.sample(list(rows), rng.randint(1, len(rows) - 1)))
    lines, only = [], True
    for chosen, row in rows.items():
        if chosen not in spoilt:
            lines.append(as_json(rng, row))
        elif name in VALUE_CHANGES:
            change, bad = VALUE_CHANGES[name]
            lines.append(as_json(rng, change(rng, row)))
            only &= bad
        elif name in TEXT_CHANGES:
            lines.append(TEXT_CHANGES[name](rng, as_json(rng, row)))
        else:
            lines.append(BYTE_CHANGES[name](rng, as_json(rng, row)))
            only &= name == "never closed"
    count = sum(1 for line in lines if suffix not in LINES or line.strip())
    path = write(folder, suffix, compressed(joined(rng, lines, suffix), suffix))
    first = name == "wrong encoding" and next(iter(rows)) in spoilt  # then the file may well be UTF-16
    return Case(f"row: {name}", path, set(rows) - spoilt, count, only, may_refuse=first)


def damaged_array(rng: random.Random, folder: Path) -> Case:
    """Bytes of an array changed anywhere: read as json.loads reads it, or refused."""
    rows = make_rows(rng, 2)
    data = flipped(rng, joined(rng, [as_json(rng, row) for row in rows.values()], "json").replace(b"\n", b" "))
    try:
        found = json.loads(data.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return Case("array: bytes flipped", write(folder, "json", data), may_refuse=True)
    if not isinstance(found, list):
        return Case("array: bytes flipped", write(folder, "json", data), must_refuse=True)
    return Case("array: bytes flipped", write(folder, "json", data), rows=len(found), may_refuse=True)


def spoilt_array(rng: random.Random, folder: Path) -> Case:
    """An array with something wrong about its brackets and commas, or rows that are wrapped in an object."""
    rows = make_rows(rng, 2)
    lines = [as_json(rng, row) for row in rows.values()]
    text = joined(rng, lines, "json").strip()
    both = text[:-1]
    spoilt = {
        "comma before the end": both + b",]",
        "no closing bracket": both,
        "two closing brackets": text + b"]",
        "two arrays": text + rng.choice([b"", b"\n", b","]) + text,
        "text behind": text + rng.choice([b"x", b"\0", b"{}", b"\x1b[2J", b"//"]),
        "no opening bracket": text[1:],
        "no comma": b"[" + b" ".join(lines) + b"]",
        "two commas": b"[" + b",,".join(lines) + b"]",
        "wrapped": b'{"' + rng.choice([b"train", b"data", b"rows"]) + b'": ' + text + b"}",
        "wrapped twice": b"[" + text + b"]",
        "one row": lines[0],
        "single quotes": text.replace(b'"', b"'"),
        "comment": b"// rows\n" + text,
    }
    name = rng.choice(list(spoilt))
    return Case(
        f"array: {name}",
        write(folder, rng.choice(["json", "json.gz"]).split(".")[0], spoilt[name]),
        must_refuse=name != "no opening bracket",
        may_refuse=True,
    )


def lines_as_json(rng: random.Random, folder: Path) -> Case:
    """A row a line in .json, or an array in .jsonl: both are common, and are read."""
    rows, swap = make_rows(rng, 2), rng.random() < 0.5
    data = joined(rng, [as_json(rng, row) for row in rows.values()], "jsonl" if swap else "json")
    path = write(folder, rng.choice(["json", "json.gz"] if swap else ["jsonl", "ndjson"]), b"")
    path.write_bytes(compressed(data, path.suffix))
    return Case("lines in .json, array in .jsonl", path, set(rows), len(rows), True)


def cut_file(rng: random.Random, folder: Path) -> Case:
    """A file that ends early: at any byte, near an end, or between two of its parts."""
    suffix = rng.choice(FORMATS)
    rows = rows_for(rng, suffix)
    data = whole(rng, rows, suffix)
    at = rng.choice([rng.randrange(len(data)), rng.randrange(min(16, len(data))), len(data) - rng.randint(1, min(24, len(data)))])  # fmt: skip
    path = write(folder, suffix, data[:at])
    if suffix in ("jsonl", "ndjson"):
        pieces = data[:at].split(b"\n")
        left = {chosen for chosen, row in rows.items() if any(is_row(piece, row) for piece in pieces)}
        return Case(f"cut: {suffix}", path, left, may_refuse=True)
    lost = data[at:].strip() if suffix in ARRAYS else b"x"
    return Case(f"cut: {suffix}", path, set(rows), must_refuse=bool(lost))


def is_row(piece: bytes, row: Row) -> bool:
    try:
        return json.loads(piece) == row
    except ValueError:
        return False


def damaged_file(rng: random.Random, folder: Path) -> Case:
    """Bytes of a compressed file or a table changed, or put in, or taken out."""
    suffix = rng.choice([s for s in FORMATS if s in TABLES or "." in s])
    data = bytearray(whole(rng, rows_for(rng, suffix), suffix))
    for _ in range(rng.randint(1, 10)):
        at = rng.randrange(len(data))
        if rng.random() < 0.8:
            data[at] = rng.choice([0, 255, rng.randrange(256), data[at] ^ (1 << rng.randrange(8))])
        else:
            data[at : at + rng.randint(0, 8)] = rng.randbytes(rng.randint(0, 8))
    # gzip has a checksum of what it holds; zstd, Parquet and Arrow as they are written here have none
    return Case(f"damaged: {suffix}", write(folder, suffix, bytes(data)), may_refuse=True)


def swapped_suffix(rng: random.Random, folder: Path) -> Case:
    """A file of one format under the name of another: refused, or read whole."""
    real, told = rng.sample([*FORMATS, "csv", "txt", "zip", "tar.gz", "pkl"], 2)
    rows = rows_for(rng, real)
    data = whole(rng, rows, real) if real in FORMATS else rng.randbytes(50)
    told = told.removeprefix("file.").removeprefix("stream.")
    return Case("swapped suffix", write(folder, told, data), set(rows), may_refuse=True)


def encoded_file(rng: random.Random, folder: Path) -> Case:
    """A whole file in another encoding."""
    name = rng.choice(
        ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "gb18030", "big5", "cp037"]
    )
    rows, suffix = make_rows(rng, 2), rng.choice([*LINES, *ARRAYS])
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows.values()]
    data = joined(rng, lines, suffix).decode().encode(name, "replace")
    path = write(folder, suffix, compressed(data, suffix))
    if name == "utf-8-sig":
        return Case(f"encoding: {name}", path, set(rows), len(rows), True)
    return Case(f"encoding: {name}", path, must_refuse=True)


def hostile_name(rng: random.Random, folder: Path) -> Case:
    """A name with line ends, escape sequences or bytes that are no text; its rows are good, bad, or both."""
    name = rng.choice([b"a\n1 row(s): all is well", b"\x1b[31mred", b"\x1b]0;t\x07", b"\xff\xfe", b"-rf", b"$(x)`y`", b"a b'\"", "\u202e名\u2028".encode(), b"..", b"x" * 200, b"%s%n{0}"])  # fmt: skip
    rows = make_rows(rng, 1)
    lines = [as_json(rng, row) for row in rows.values()] + [b"{broken"] * rng.randint(0, 2)
    lines = lines if rng.random() < 0.6 else [b"{broken"]
    path = os.fsencode(folder) + b"/" + name + rng.choice([b".jsonl", b".jsonl", b".json", b".parquet", b".txt"])
    with open(path, "wb") as stream:  # noqa: PTH123 - a name of bytes
        stream.write(b"\n".join(lines) + b"\n")
    good = path.endswith(b".jsonl") and len(lines) >= len(rows) and lines != [b"{broken"]
    return Case("hostile name", Path(os.fsdecode(path)), set(rows) if good else set(), may_refuse=not good)


def garbage(rng: random.Random, folder: Path) -> Case:
    """Bytes without a sense, with the first bytes of a format or without."""
    head = rng.choice([b"", b"", b"PAR1", b"ARROW1\0\0", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"[", b"{", b"<!DOCTYPE html>\n", b"version https://git-lfs.github.com/spec/v1\n", b"\xff\xff\xff\xff", b"\x80\x04\x95"])  # fmt: skip
    size = rng.choice([0, 1, 7, 100, 5_000])
    body = rng.choice([rng.randbytes(size), b"\0" * size, b"\n" * size, b"[" * size, b'"' * size, b"\xff" * size])
    tail = rng.choice([b"", b"PAR1", b"ARROW1", b"\xff\xff\xff\xff\0\0\0\0"])
    suffix = rng.choice(FORMATS).removeprefix("file.").removeprefix("stream.")
    return Case("garbage", write(folder, suffix, head + body + tail), must_refuse=True)


def joined_members(rng: random.Random, folder: Path) -> Case:
    """A compressed file of several members, empty ones among them; or with something behind the last."""
    rows, suffix = make_rows(rng, 2), rng.choice(["jsonl.gz", "jsonl.zst"])
    members = [compressed(as_json(rng, row) + b"\n", suffix) for row in rows.values()] + [compressed(b"", suffix)]
    rng.shuffle(members)
    behind = rng.choice([b"", b"", b"junk", b"\0" * 9])
    path = write(folder, suffix, b"".join(members) + behind)
    return Case("members", path, set(rows), len(rows), True, may_refuse=bool(behind))


def odd_columns(rng: random.Random, folder: Path) -> Case:
    """A table with a column of a type that is no text, one that is missing, or twice there."""
    import pyarrow as pa

    suffix, form = rng.choice(TABLES), rng.choice(["plain", "labels", "turns", "sharegpt", "answer"])
    rows = make_rows(rng, 2, form=form)
    table, n = pa.Table.from_pylist(list(rows.values())), len(rows)
    columns: dict[str, Callable[[], Any]] = {
        "binary": lambda: pa.array([rng.randbytes(5) for _ in range(n)], pa.binary()),
        "no UTF-8": lambda: pa.array([b"ok", *(b"\xff\xfe" for _ in range(n - 1))], pa.binary()).view(pa.string()),
        "decimal": lambda: pa.array(range(n)).cast(pa.decimal128(30, 2)),
        "timestamp": lambda: pa.array([rng.randrange(-(2**62), 2**62) for _ in range(n)], pa.timestamp("ns", "UTC")),
        "date": lambda: pa.array([rng.randrange(-(2**31), 2**31) for _ in range(n)], pa.date32()),
        "null": lambda: pa.nulls(n),
        "dictionary": lambda: pa.array(["a", "b"] * n)[:n].dictionary_encode(),
        "nested": lambda: pa.array([[{"a": [1, None], "b": {"c": "x"}}] for _ in range(n)]),
        "map": lambda: pa.array([[("k", 1), ("k", 2)]] * n, pa.map_(pa.string(), pa.int64())),
        "float": lambda: pa.array([float("nan")] * n),
        "large text": lambda: pa.array(["x\0y"] * n, pa.large_string()),
        "empty lists": lambda: pa.array([[]] * n, pa.list_(pa.string())),
        "extension": lambda: pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * n, pa.binary(16))),
    }
    name = rng.choice(list(columns))
    key = rng.choice([*table.column_names, "extra"])
    array = columns[name]()
    if key == "extra":
        table = table.append_column(rng.choice(["extra", "\x1b[31m", "score", ""]), array)
    elif rng.random() < 0.1:
        table = table.append_column(key, array)
    else:
        table = table.set_column(table.column_names.index(key), key, array)
    try:
        data = as_table(table, suffix)
    except (pa.ArrowException, NotImplementedError):  # what cannot be written as Parquet
        suffix, data = "stream.arrow", as_table(table, "stream.arrow")
    kept = set(rows) if key == "extra" else set()
    return Case(f"column: {name}", write(folder, suffix, data), kept, None if not kept else n, may_refuse=not kept)


def wild_offsets(rng: random.Random, folder: Path) -> Case:
    """An Arrow file whose text or list offsets point anywhere."""
    import pyarrow as pa
    from pyarrow import ipc

    rows = make_rows(rng, 3, form="plain")
    n = len(rows)
    offsets = [
        rng.choice([0, 0, 3]),
        *(rng.choice([-1, 0, 5, 10, 2**31 - 1, -(2**31), rng.randrange(1 << 20)]) for _ in range(n - 1)),
        rng.choice([10, 20]),
    ]
    packed = pa.py_buffer(b"".join(o.to_bytes(4, "little", signed=True) for o in offsets))
    texts = pa.py_buffer(b"abcdefghij" * 2)
    if rng.random() < 0.7:
        bad = pa.Array.from_buffers(pa.string(), n, [None, packed, texts])
    else:
        bad = pa.Array.from_buffers(pa.list_(pa.string()), n, [None, packed], children=[pa.array(["x"] * 20)])
    table = {key: pa.array([row[key] for row in rows.values()]) for key in ("prompt", "chosen", "rejected")}
    table[rng.choice(list(table))] = bad
    batch = pa.record_batch(table)
    path = folder / "pairs.arrow"
    with (
        pa.OSFile(str(path), "wb") as sink,
        rng.choice([ipc.new_file, ipc.new_stream])(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)
    return Case("Arrow: wild offsets", path, may_refuse=True)


def odd_folder(rng: random.Random, folder: Path) -> Case:
    """A folder of files, whole or with one bad file in it, or something that is no file."""
    place = folder / rng.choice(["part.jsonl", "folder", "x.parquet"])
    place.mkdir()
    rows = make_rows(rng, 2)
    for number, row in enumerate(rows.values()):
        write(place, "jsonl", as_json(rng, row) + b"\n", f"part-{number}")
    odd = rng.choice(
        ["none", "none", "cut", "other kind", "fifo", "link", "loop", "state.json", "empty", "deep", "device"]
    )
    if odd == "cut":
        write(place, "jsonl", b'{"prompt": "', "part-9")
    elif odd == "other kind":
        write(place, "parquet", b"PAR1", "z")
    elif odd == "fifo":
        os.mkfifo(place / "pipe.jsonl")
    elif odd in ("link", "loop", "device"):
        target = {"link": folder / "gone", "loop": place / "l.jsonl", "device": Path("/dev/zero")}[odd]
        (place / "l.jsonl").symlink_to(target)
    elif odd == "state.json":
        states = (
            b"[",
            b"{}",
            b"[" * 9_000,
            b'{"_data_files": [{"filename": "../x.arrow"}]}',
            b'{"_data_files": 5}',
            b"\xff",
        )
        (place / "state.json").write_bytes(rng.choice(states))
    elif odd == "empty":
        for path in place.iterdir():
            path.unlink()
    elif odd == "deep":
        (place / "more").mkdir()
    bad = odd in ("cut", "other kind", "state.json", "empty")
    return Case(f"folder: {odd}", place, set(rows), None if bad else len(rows), must_refuse=bad)


def no_file(rng: random.Random, folder: Path) -> Case:
    """A pipe, a device, a link to nowhere, or nothing."""
    path = folder / f"pairs.{rng.choice(['jsonl', 'json', 'parquet', 'arrow', 'jsonl.gz'])}"
    what = rng.choice(["fifo", "device", "link", "loop", "nothing", "long name", "NUL", "below a file"])
    if what == "fifo":
        os.mkfifo(path)
    elif what in ("device", "link", "loop"):
        path.symlink_to({"device": Path("/dev/zero"), "link": folder / "\x1b[31m\n", "loop": path}[what])
    elif what == "long name":
        path = folder / ("x" * 5_000 + ".jsonl")
    elif what == "NUL":
        path = folder / "a\0b.jsonl"
    elif what == "below a file":
        path = write(folder, "jsonl", b"{}\n") / "x.jsonl"
    return Case(f"no file: {what}", path, must_refuse=True)


def bomb(rng: random.Random, folder: Path) -> Case:
    """Some KiB that become hundreds of MiB; made piece by piece, so that the memory is the reader's."""
    import pyarrow

    megabytes, rows = rng.choice([90, 300]), make_rows(rng, 2)
    first, *others = (as_json(rng, row) for row in rows.values())
    name, piece = rng.choice([("zeros", b"\0"), ("brackets", b"["), ("a long text", b"x"), ("empty lines", b"\n"), ("spaces", b" ")])  # fmt: skip
    begin, end = (b'{"prompt": "', b'"}') if name == "a long text" else (b"", b"")
    suffix = rng.choice(["jsonl.gz", "jsonl.zst", "json.gz", "json.zst"])
    if suffix.startswith("json."):
        head, tail = b"[" + first + b"," + begin, end + b",".join([b"", *others]) + b"]"
    else:
        head, tail = first + b"\n" + begin, end + b"\n" + b"\n".join(others) + b"\n"
    path = folder / f"pairs.{suffix}"
    codec = {"gz": "gzip", "zst": "zstd"}[suffix.rpartition(".")[2]]
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.CompressedOutputStream(sink, codec) as stream:
        stream.write(head)
        for _ in range(megabytes):
            stream.write(piece * (1 << 20))
        stream.write(tail)
    return Case(f"bomb: {name}", path, set(rows), may_refuse=True)


MAKERS: tuple[tuple[int, Callable[[random.Random, Path], Case]], ...] = (  # and how often of a thousand
    (428, changed_row),
    (40, damaged_array),
    (40, spoilt_array),
    (20, lines_as_json),
    (110, cut_file),
    (120, damaged_file),
    (40, swapped_suffix),
    (30, encoded_file),
    (30, hostile_name),
    (30, garbage),
    (10, joined_members),
    (50, odd_columns),
    (20, wild_offsets),
    (15, odd_folder),
    (14, no_file),
    (3, bomb),
)


def maker_of(rng: random.Random) -> Callable[[random.Random, Path], Case]:
    return rng.choices([maker for _, maker in MAKERS], [weight for weight, _ in MAKERS])[0]


def make_case(seed: int, number: int, folder: Path) -> Case:
    """The case of a number, written below an empty folder; the same for the same seed."""
    rng = random.Random(f"{seed}:{number}")
    return maker_of(rng)(rng, folder)
