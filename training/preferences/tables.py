"""Rows of Parquet and Arrow files, a batch at a time. Of a table with other columns only those that a pair is read from.

What a file says of itself is not believed: buffers are validated before they are read, for offsets that point elsewhere
would be read from elsewhere. No extension type is loaded; an unknown one reads as what it is stored as.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.preferences.files import BUFFER, LONGEST, Rows, Unreadable, open_bytes
from training.preferences.findings import BadRow
from training.preferences.forms import KEYS, PROMPT_KEYS
from training.preferences.text import shown

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 256
MOST_BYTES = 256 << 20  # of a batch, if each of its texts were the longest of the dictionary
BATCH_BYTES = 16 << 20  # as the file's own account has it
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
AGAIN = "Fetch or write it again."


def read_parquet(path: Path, kind: str, name: str) -> Rows:
    """Rows of a Parquet file; memory holds a batch and the pages that it lies in."""
    from pyarrow import parquet

    with open_bytes(path, kind) as stream:
        check_end(stream, b"PAR1", b"PAR1", "Parquet")
        with translated("Parquet"):
            plain = parquet.ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False, page_checksum_verification=True)
            columns = known_columns(plain.schema_arrow.names)
            leaves = [plain.schema.column(i) for i in range(len(plain.schema))]
            texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
            folded = parquet.ParquetFile(stream, read_dictionary=texts, buffer_size=BUFFER, pre_buffer=False)
        # row group by row group: pyarrow cannot join the dictionaries of two in one nested column
        parts = (group_batches(plain, folded, number, columns) for number in range(plain.metadata.num_row_groups))
        yield from numbered(itertools.chain.from_iterable(parts), "Parquet", name, plain.metadata.num_rows)


def group_batches(plain: Any, folded: Any, number: int, columns: list[str]) -> Iterator["pyarrow.RecordBatch"]:
    """A row group's batches; texts as dictionaries where that alone keeps them small: 1,143 bytes of one text many times
    would be 16 GiB. Elsewhere plain, for a dictionary grows with all texts of the row group that are not the same."""
    from pyarrow import compute

    group = plain.metadata.row_group(number)
    rows = max(1, group.num_rows)
    size = max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(1, group.total_byte_size)))
    first = next(folded.iter_batches(1, [number], columns, use_threads=False), None)
    longest = 0
    for dictionary in dictionaries(first.columns if first else []):
        longest = max(longest, compute.max(compute.binary_length(dictionary)).as_py() or 0)
    values = max((group.column(i).num_values for i in range(group.num_columns)), default=1)
    is_bomb = longest * size * max(1, values // rows) > MOST_BYTES
    return (folded if is_bomb else plain).iter_batches(size, [number], columns, use_threads=False)


def dictionaries(arrays: Iterable["pyarrow.Array"]) -> Iterator["pyarrow.Array"]:
    """The dictionaries of texts in arrays, those within lists and objects too."""
    from pyarrow import types

    for array in arrays:
        if types.is_dictionary(array.type):
            yield array.dictionary
        elif types.is_struct(array.type):
            yield from dictionaries(array.field(i) for i in range(array.type.num_fields))
        elif types.is_list(array.type) or types.is_large_list(array.type):
            yield from dictionaries([array.values])


def read_arrow(path: Path, kind: str, name: str) -> Rows:
    """Rows of an Arrow file, in the file or the stream format (`datasets` writes the latter); memory holds a record batch."""
    from pyarrow import ipc

    with open_bytes(path, kind) as stream:
        is_file = stream.peek(6)[:6] == b"ARROW1"
        check_end(stream, b"ARROW1" if is_file else b"", b"ARROW1" if is_file else END_OF_STREAM, "Arrow")
        with translated("Arrow"):
            opened = ipc.open_file(stream) if is_file else ipc.open_stream(stream)
            columns = known_columns(opened.schema.names)
            options = ipc.IpcReadOptions(included_fields=[opened.schema.names.index(column) for column in columns])
            stream.seek(0)
            opened = (ipc.open_file if is_file else ipc.open_stream)(stream, options=options)
            batches = map(opened.get_batch, range(opened.num_record_batches)) if is_file else iter(opened)
        size = path.stat().st_size
        yield from numbered(batches, "Arrow", name)
        if path.exists() and path.stat().st_size < size:  # pyarrow takes a stream that stops between batches for whole
            raise Unreadable("file cut short", "it was cut while it was read", AGAIN)


READERS = {".parquet": read_parquet, ".arrow": read_arrow}


def check_end(stream: Any, head: bytes, end: bytes, what: str) -> None:
    """Unreadable for a file that lacks the bytes it has to begin or end with."""
    size = stream.seek(0, 2)
    stream.seek(0)
    begins = stream.read(len(head)) == head
    stream.seek(max(0, size - len(end)))
    ends = stream.read() == end
    stream.seek(0)
    if not begins:
        raise Unreadable(f"not a readable {what} file", "it does not begin like one", AGAIN)
    if not ends:
        raise Unreadable("file cut short", f"it does not end like a {what} file", AGAIN)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """What pyarrow raises for a file that is damaged, as Unreadable."""
    import pyarrow

    try:
        yield
    except BadRow:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise Unreadable(f"not a readable {what} file", first_line(error), AGAIN) from None


def first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return shown(re.sub(r"\s+", " ", lines[0]).rstrip(". "))


def known_columns(names: list[str]) -> list[str]:
    """The columns that a pair is read from. Unreadable where there is none, or two of one name."""
    twice = next((name for name in names if names.count(name) > 1 and name in KEYS), None)
    if twice:
        raise Unreadable("duplicated key", f"two columns are called {twice}", "Drop one.")
    found = [name for name in names if name in KEYS]
    if not found:
        there = ", ".join(shown(name, 40) for name in names[:20]) or "none"
        needed = f"one of {', '.join(PROMPT_KEYS)}; chosen and rejected"
        raise Unreadable("no known column", f"its columns are {there}", f"Rename them: {needed}.")
    return found


def numbered(batches: Iterator["pyarrow.RecordBatch"], what: str, name: str, rows: int | None = None) -> Rows:
    """(place, row) of record batches, counted from 1. Unreadable if there are not as many `rows` as the file says."""
    number = 0
    while True:
        with translated(what):
            batch = next(batches, None)
            if batch is None:
                break
        # what Parquet's reader decodes is sound; Arrow's takes the buffers as they lie in the file
        for row in valid_rows(batch) if what == "Parquet" else batch_rows(batch, what):
            number += 1
            where = f"{name}[{number}]"
            yield where, row.at(where) if isinstance(row, BadRow) else row
    if rows is not None and number != rows:
        raise Unreadable("file cut short", f"it says that it holds {rows:,}", AGAIN)


def batch_rows(batch: "pyarrow.RecordBatch", what: str) -> Iterator[Any]:
    """The rows of a batch, a BadRow for one that is not UTF-8. Unreadable if its buffers contradict each other.

    Nothing of a batch is read before it is validated: even its size in bytes is computed from its offsets.
    """
    import pyarrow

    try:
        batch.validate(full=True)
    except pyarrow.ArrowException as error:
        if "utf" not in str(error).lower():
            raise Unreadable(f"not a readable {what} file", first_line(error), AGAIN) from None
        if batch.num_rows < 2:
            yield BadRow("not UTF-8", first_line(error))
        else:
            half = batch.num_rows // 2
            yield from batch_rows(batch.slice(0, half), what)
            yield from batch_rows(batch.slice(half), what)
    else:
        yield from valid_rows(batch)


def valid_rows(batch: "pyarrow.RecordBatch") -> Iterator[Any]:
    """The rows of a valid batch, a BadRow for one that Python cannot have; a large batch, or one with such a row, by halves."""
    large = sum(map(weight, batch.columns)) > LONGEST
    if large and batch.num_rows == 1:
        rows: Any = BadRow("too long", f"a row of more than {LONGEST >> 20} MiB", "Remove the row.")
    else:
        rows = None if large else converted(batch)
    if isinstance(rows, list):
        yield from rows
    elif batch.num_rows < 2:
        yield rows
    else:
        half = batch.num_rows // 2
        yield from valid_rows(batch.slice(0, half))
        yield from valid_rows(batch.slice(half))


def weight(array: "pyarrow.Array") -> int:
    """Bytes of a valid array as Python objects: of a dictionary each value as often as it is there."""
    import pyarrow
    from pyarrow import compute, types

    kind = array.type
    if isinstance(array, pyarrow.ExtensionArray):
        return weight(array.storage)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return 8 * len(array) + weight(array.flatten())
    if types.is_struct(kind):
        return sum(map(weight, array.flatten()))
    if types.is_dictionary(kind):
        is_text = any(word in str(kind.value_type) for word in ("string", "binary")) and kind.value_type.num_fields == 0
        if not is_text:
            return array.nbytes * len(array)
        lengths = compute.binary_length(array.dictionary)
        return compute.sum(lengths.take(array.indices)).as_py() or 0
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return compute.sum(compute.binary_length(array)).as_py() or 0
    if types.is_list_view(kind) or types.is_large_list_view(kind) or types.is_run_end_encoded(kind):
        raise Unreadable("unknown type", f"a column of the type {shown(str(kind))}", "Write it as text or lists.")
    return array.nbytes


def converted(batch: "pyarrow.RecordBatch") -> list[Any] | BadRow:
    """The rows of a valid batch as Python objects, or what is wrong with one of them."""
    import pyarrow

    try:
        return batch.to_pylist()
    except (pyarrow.ArrowException, ValueError, OverflowError, TypeError, KeyError, RecursionError) as error:
        return BadRow("not UTF-8" if isinstance(error, UnicodeDecodeError) else "damaged row", first_line(error))
