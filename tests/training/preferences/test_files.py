"""Every format gives the same rows; what cannot be read is a finding with its place; nothing crashes, nothing is held whole."""

import gzip
import json
import os
import tracemalloc

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from command import UserError
from training.preferences import files, json_rows, tables
from training.preferences.findings import Finding
from training.preferences.sources import read_source

ROWS = [{"prompt": f"问{i}\u2028，", "chosen": '好"\\', "rejected": "坏\n"} for i in range(5)]


def as_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def packed(data, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def arrow(rows, new, table=None):
    table, sink = table or pa.Table.from_pylist(rows), pa.BufferOutputStream()
    with new(sink, table.schema) as writer:
        writer.write_table(table, 2)
    return sink.getvalue().to_pybytes()


def as_parquet(rows):
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink, row_group_size=2)
    return sink.getvalue().to_pybytes()


LINES, ARRAY = as_lines(ROWS), json.dumps(ROWS, ensure_ascii=False).encode()
FORMATS = {
    "a.jsonl": LINES,
    "a.JSONL": LINES,
    "a.ndjson": LINES,
    "crlf.jsonl": LINES.replace(b"}\n", b"}\r\n"),
    "bom.jsonl": b"\xef\xbb\xbf" + LINES,
    "no_last_end.jsonl": LINES.rstrip(),
    "blank.jsonl": LINES.replace(b"}\n", b"}\n\n \n"),
    "array.jsonl": ARRAY,
    "lines.json": LINES,
    "a.json": ARRAY,
    "bom.json": b"\xef\xbb\xbf" + ARRAY,
    "indented.json": json.dumps(ROWS, indent=2).encode(),
    "a.jsonl.gz": gzip.compress(LINES),
    "two.jsonl.gz": gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]),
    "a.json.gz": gzip.compress(ARRAY),
    "a.jsonl.zst": packed(LINES, "zstd"),
    "a.json.zst": packed(ARRAY, "zstd"),
    "a.parquet": as_parquet(ROWS),
    "file.arrow": arrow(ROWS, ipc.new_file),
    "stream.arrow": arrow(ROWS, ipc.new_stream),
}


def read(path, **options):
    return list(read_source({"path": str(path), **options}))


def write(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def findings(items):
    return [row for _, row in items if isinstance(row, Finding)]


def good(items):
    return [row for _, row in items if not isinstance(row, Finding)]


@pytest.fixture
def short(monkeypatch):
    """The limits made small: the same paths in no time."""
    for module in (files, json_rows, tables):
        monkeypatch.setattr(module, "LONGEST", 1000)
    monkeypatch.setattr(json_rows.Window, "CHUNK", 37)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path, name):
    assert [row for _, row in read(write(tmp_path, name, FORMATS[name]))] == ROWS


@pytest.mark.parametrize("chunk", range(17, 60, 3))
@pytest.mark.parametrize("text", [ARRAY, json.dumps([1.5e10, True, None, "x", [1], {}, -12, *ROWS], indent=1).encode()])
def test_an_array_reads_the_same_at_every_cut_of_the_window(tmp_path, monkeypatch, chunk, text):
    monkeypatch.setattr(json_rows.Window, "CHUNK", chunk)
    assert [row for _, row in read(write(tmp_path, "a.json", text))] == json.loads(text)


def test_places(tmp_path):
    lines = [where.rpartition("/")[2] for where, _ in read(write(tmp_path, "a.jsonl", b"\n" + as_lines(ROWS[:2])))]
    assert lines == ["a.jsonl:2", "a.jsonl:3"]
    text = b'[{"a": 1}, {"a": 2},\n {"a": 3},\n\n {\n"a": 4}, {"a": 5}]'
    places = [where.rpartition("/")[2] for where, _ in read(write(tmp_path, "a.json", text))]
    assert places == ["a.json[1]", "a.json[2]", "a.json:2", "a.json:4", "a.json[5]"]
    assert read(write(tmp_path, "a.parquet", FORMATS["a.parquet"]))[4][0].endswith("a.parquet[5]")


BAD_ROWS = {
    b"{broken": "not valid JSON",
    b'{"a": "\x01"}': "not valid JSON",
    b'{"a": 1}}': "not valid JSON",
    b"\0\0\0\0": "not valid JSON",
    b'{"a": "\xe9\xe8"}': "not UTF-8",
    b'{"a": "\xed\xa0\x80"}': "not UTF-8",
    b'{"a": 1, "a": 2}': "duplicated key",
    b'{"a": [{"b": 1, "b": 1}]}': "duplicated key",
    b'{"a": NaN}': "not a finite number",
    b'{"a": -Infinity}': "not a finite number",
    b'{"a": ' + b"1" * 10_000 + b"}": "number too long",
    b"[" * 100_000: "too deeply nested",
    b'{"a":' * 100_000: "too deeply nested",
    b"[" * 100_000 + b"]" * 100_000: "too deeply nested",
}


@pytest.mark.parametrize("bad", BAD_ROWS, ids=lambda bad: bad[:12].decode("latin-1"))
def test_a_bad_line_is_a_finding_and_its_neighbours_are_kept(tmp_path, bad):
    items = read(write(tmp_path, "a.jsonl", as_lines(ROWS[:2]) + bad + b"\n" + as_lines(ROWS[2:])))
    assert good(items) == ROWS
    [finding] = findings(items)
    assert (finding.reason, finding.fatal) == (BAD_ROWS[bad], False)
    assert finding.where.endswith("a.jsonl:3")


@pytest.mark.parametrize(
    ("bad", "reason"), [(b, r) for b, r in BAD_ROWS.items() if r != "not valid JSON" and b.count(b"[") in (0, 1, b.count(b"]"))]
)  # fmt: skip
@pytest.mark.parametrize("chunk", [31, 1 << 20])
def test_a_bad_row_of_an_array_whose_end_is_known_is_skipped(tmp_path, monkeypatch, bad, reason, chunk):
    if bad.count(b"{") != bad.count(b"}"):
        bad += b"1" + b"}" * bad.count(b"{")
    monkeypatch.setattr(json_rows.Window, "CHUNK", chunk)
    text = (
        b"[" + b",\n".join([as_lines([row]) for row in ROWS[:2]] + [bad] + [as_lines([row]) for row in ROWS[2:]]) + b"]"
    )
    items = read(write(tmp_path, "a.json", text))
    assert good(items) == ROWS
    assert [(finding.reason, finding.fatal) for finding in findings(items)] == [(reason, False)]


def test_rows_beyond_the_limit_are_skipped_and_not_held(tmp_path, monkeypatch):
    for module in (files, json_rows):
        monkeypatch.setattr(module, "LONGEST", 1 << 16)
    monkeypatch.setattr(json_rows.Window, "CHUNK", 1 << 14)
    long = b'{"prompt": "' + b'\\"[{' * (4 << 20) + b'"}'
    for name, text in (("a.jsonl", LINES + long + b"\n" + LINES), ("a.json", b"[" + b",".join([as_lines(ROWS[:1]), long, as_lines(ROWS[1:2])]) + b"]")):  # fmt: skip
        path = write(tmp_path, name, text)
        tracemalloc.start()
        items = read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [finding.reason for finding in findings(items)] == ["too long"]
        assert good(items) == (ROWS + ROWS if name == "a.jsonl" else ROWS[:2])
        assert peak < 8 << 20, "half of the row's 16 MiB"


def test_a_bomb_ends_the_source(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "LONGEST", 1 << 16)
    monkeypatch.setattr(json_rows, "FURTHEST", 1 << 22)
    for data in (b"0" * (32 << 20), b"[" + b'"' + b"0" * (32 << 20)):
        [(_, finding)] = read(
            write(tmp_path, "a.jsonl.gz" if data[:1] == b"0" else "a.json.gz", gzip.compress(data, 1))
        )
        assert (finding.reason, finding.fatal) == ("too long", True)
    monkeypatch.setattr(json_rows, "BLANK_LINES", 1000)
    assert read(write(tmp_path, "a.jsonl.gz", gzip.compress(b"\n" * 5000)))[-1][1].fatal


FATAL = {
    "cut.jsonl": (LINES[:-20], "file cut short", 4),
    "cut_in_character.jsonl": (LINES[: LINES.rindex("坏".encode()) + 1], "file cut short", 4),
    "cut.jsonl.gz": (gzip.compress(LINES)[:-9], "file cut short", 0),
    "cut.jsonl.zst": (packed(LINES, "zstd")[:-1], "file cut short", 0),
    "damaged.jsonl.gz": (gzip.compress(LINES)[:-8] + b"\0" * 8, "damaged file", 0),
    "empty.jsonl.gz": (b"", "empty file", 0),
    "empty.json": (b"", "empty file", 0),
    "space.json": (b" \n", "empty file", 0),
    "empty.parquet": (b"", "empty file", 0),
    "cut.json": (ARRAY[:-20], "file cut short", 4),
    "no_bracket.json": (ARRAY[:-1], "file cut short", 5),
    "comma.json": (ARRAY[:-1] + b",]", "not valid JSON", 5),
    "more.json": (ARRAY + b"\n[]", "not valid JSON", 5),
    "broken.json": (ARRAY.replace(b'"chosen"', b"chosen", 3).replace(b"chosen:", b'"chosen":', 2), "not valid JSON", 2),
    "train.json": (json.dumps({"train": ROWS}).encode(), "not a list of rows", 0),
    "one.json": (json.dumps(ROWS[0]).encode(), "not a list of rows", 0),
    "number.json": (b"5", "not a list of rows", 0),
    "page.json": (b"<!DOCTYPE html>", "not valid JSON", 0),
    "wide.jsonl": (LINES.decode().encode("utf-16"), "not UTF-8", 0),
    "wide_no_mark.json": (ARRAY.decode().encode("utf-16-le"), "not UTF-8", 0),
    "wider.jsonl": (LINES.decode().encode("utf-32"), "not UTF-8", 0),
    "gbk.jsonl": (as_lines([{"prompt": "天"}] * 30).decode().encode("gb18030"), "not UTF-8", 0),
    "gbk.json": (json.dumps(ROWS * 9, ensure_ascii=False).encode("gb18030"), "not UTF-8", 0),
    "gz.jsonl": (gzip.compress(LINES), "wrong suffix", 0),
    "plain.jsonl.gz": (LINES, "wrong suffix", 0),
    "zip.json": (b"PK\x03\x04", "wrong suffix", 0),
    "parquet.json": (FORMATS["a.parquet"], "wrong suffix", 0),
    "lfs.parquet": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer", 0),
    "magic.parquet": (b"PAR", "not a readable Parquet file", 0),
    "cut.parquet": (FORMATS["a.parquet"][:-20], "file cut short", 0),
    "footer.parquet": (FORMATS["a.parquet"][:-300] + b"\xff" * 292 + FORMATS["a.parquet"][-8:], "not a readable Parquet file", 0),
    "cut_stream.arrow": (FORMATS["stream.arrow"][:-30], "file cut short", 0),
    "cut_file.arrow": (FORMATS["file.arrow"][:-30], "file cut short", 0),
    "text.arrow": (LINES + tables.END_OF_STREAM, "not a readable Arrow file", 0),
    "columns.parquet": (as_parquet([{"text": "x"}]), "no known column", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FATAL)
def test_what_ends_a_source_is_its_last_finding(tmp_path, name):
    data, reason, kept = FATAL[name]
    items = read(write(tmp_path, name, data))
    assert good(items) == ROWS[:kept]
    [finding] = findings(items)
    assert items[-1][1] is finding
    assert (finding.reason, finding.fatal) == (reason, True)
    assert finding.fix.endswith(".")
    assert not kept or f"after {kept} row(s)" in finding.detail


def test_the_fix_of_an_object_of_splits_names_its_key(tmp_path):
    [(_, finding)] = read(write(tmp_path, "a.json", json.dumps({"data": ROWS}, indent=1).encode()))
    assert "jq .data 'a.json'" in finding.fix


def test_a_first_line_that_is_a_list_does_not_make_an_array_of_lines(tmp_path):
    assert [row for _, row in read(write(tmp_path, "a.jsonl", b"[1, 2]\n" + LINES))] == [[1, 2], *ROWS]


def test_few_rows_that_are_not_utf8_are_told_one_by_one(tmp_path):
    bad = as_lines([{"prompt": "天"}] * 3).decode().encode("gb18030")
    assert [f.fatal for f in findings(read(write(tmp_path, "a.jsonl", bad)))] == [False] * 3
    assert good(read(write(tmp_path, "a.jsonl", bad + LINES + bad))) == ROWS


def test_lone_surrogates_pass_to_the_check_of_the_row(tmp_path):
    assert read(write(tmp_path, "a.jsonl", b'{"prompt": "\\ud800"}\n'))[0][1] == {"prompt": "\ud800"}
    assert read(write(tmp_path, "a.json", b'[{"prompt": "\\udce9"}]'))[0][1] == {"prompt": "\udce9"}


@pytest.mark.parametrize("name", ["none.jsonl", "p.txt", "p", "a\0.jsonl", "x" * 5000 + ".jsonl", "a.csv"])
def test_what_is_known_before_reading_is_a_users_error(tmp_path, name):
    if name in ("p.txt", "p", "a.csv"):
        write(tmp_path, name, LINES)
    with pytest.raises(UserError, match=r"\.jsonl"):
        read(tmp_path / name)


def test_no_file_of_another_sort_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "device.jsonl").symlink_to("/dev/zero")
    (tmp_path / "nowhere.jsonl").symlink_to(tmp_path / "gone")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    for name, message in (
        ("pipe", "pipe"),
        ("device", "device"),
        ("nowhere", "gone, which does not"),
        ("loop", "does not"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path / f"{name}.jsonl")
    write(tmp_path, "real.jsonl", LINES)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    assert good(read(tmp_path / "link.jsonl")) == ROWS


def test_no_escape_sequence_of_a_name_reaches_a_message(tmp_path):
    path = os.fsencode(tmp_path) + b"/a\n\x1b[31m\xff.jsonl"
    with open(path, "wb") as stream:  # noqa: PTH123 - a name of bytes
        stream.write(b"{broken\n" + LINES)
    items = read(os.fsdecode(path))
    assert str(items[0][1]).isprintable() and items[0][0].isprintable()
    assert good(items) == ROWS
    with pytest.raises(UserError) as caught:
        read(tmp_path / "b\x1b[31m\n.jsonl")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "stream.arrow", "a.jsonl.gz"])
@pytest.mark.parametrize("change", ["cut", "gone"])
def test_a_file_that_changes_while_it_is_read_is_no_crash(tmp_path, name, change):
    rows = [{"prompt": f"{i}" + "x" * 5000, "chosen": os.urandom(500).hex(), "rejected": "c"} for i in range(2000)]
    made = {"a.jsonl": as_lines, "a.json": lambda r: json.dumps(r).encode(), "a.parquet": as_parquet,
            "stream.arrow": lambda r: arrow(r, ipc.new_stream), "a.jsonl.gz": lambda r: gzip.compress(as_lines(r), 1)}  # fmt: skip
    path = write(tmp_path, name, made[name](rows))
    source = read_source({"path": str(path)})
    first = [next(source) for _ in range(3)]
    if change == "cut":
        os.truncate(path, path.stat().st_size // 3)
    else:
        path.unlink()
    items = first + list(source)
    told = isinstance(items[-1][1], Finding) and items[-1][1].fatal
    assert good(items) == rows or (change == "cut" and told), "what the buffer held may be all of it"


# Tables


def test_odd_columns_read_or_are_found(tmp_path):
    table = pa.table(
        {
            "prompt": pa.array(["a", "b", None]).dictionary_encode(),
            "chosen": pa.array([b"x", b"\xff", b"z"], pa.binary()),
            "rejected": pa.array(["x", "y", "z"], pa.large_string()),
            "system": pa.array([None, None, None], pa.null()),
            "topic": pa.array([1 << 62, 2, 3], pa.timestamp("ns")),
            "other": pa.array([{"a": [1]}, None, {"a": []}]),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    items = read(tmp_path / "a.parquet")
    assert [row["prompt"] for row in good(items)] == ["a", "b", None]
    assert "other" not in good(items)[0]


def test_nested_columns_of_several_row_groups_with_dictionaries_of_their_own(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": f"{i}" * j}], "chosen": "a", "rejected": "b"} for i in range(9) for j in (1, 99)]  # fmt: skip
    assert good(read(write(tmp_path, "a.parquet", as_parquet(rows)))) == rows


def test_text_columns_that_are_not_utf8_are_found_row_by_row(tmp_path):
    bad = pa.array([b"a", b"\xff\xfe", b"c"], pa.binary()).view(pa.string())
    parquet.write_table(pa.table({"prompt": bad, "chosen": ["x"] * 3, "rejected": ["y"] * 3}), tmp_path / "a.parquet")
    items = read(tmp_path / "a.parquet")
    assert [row["prompt"] for row in good(items)] == ["a", "c"]
    assert [(f.reason, f.where.endswith("[2]")) for f in findings(items)] == [("not UTF-8", True)]


def offsets(*values):
    return pa.py_buffer(b"".join(value.to_bytes(4, "little", signed=True) for value in values))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: pa.Array.from_buffers(pa.string(), 3, [None, offsets(0, 5, 1 << 30, 15), pa.py_buffer(b"a" * 15)]),
        # with this one even its size in bytes reads beyond its buffers
        lambda: pa.Array.from_buffers(pa.list_(pa.string()), 3, [None, offsets(0, -(1 << 31), 1 << 30, 9)], children=[pa.array(["x"] * 9)]),
    ],
)  # fmt: skip
def test_offsets_that_point_outside_are_found_and_not_followed(tmp_path, bad):
    batch = pa.record_batch({"prompt": bad(), "chosen": pa.array(["x"] * 3), "rejected": pa.array(["y"] * 3)})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    [(_, finding)] = read(tmp_path / "a.arrow")
    assert (finding.reason, finding.fatal) == ("not a readable Arrow file", True)


def test_long_rows_of_tables_are_found(tmp_path, short):
    rows = [ROWS[0], {**ROWS[1], "chosen": "x" * 2000}, ROWS[2]]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    items = read(tmp_path / "a.parquet")
    assert good(items) == [ROWS[0], ROWS[2]]
    assert [f.reason for f in findings(items)] == ["too long"]


def test_a_dictionary_is_not_multiplied_into_memory(tmp_path):
    table = pa.table({"prompt": pa.array(["x" * (1 << 20)] * 100).dictionary_encode(), "chosen": ["a"] * 100, "rejected": ["b"] * 100})  # fmt: skip
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    tracemalloc.start()
    assert sum(1 for _ in read_source({"path": str(tmp_path / "a.arrow")})) == 100
    assert tracemalloc.get_traced_memory()[1] < 90 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("nested", [False, True])
def test_a_parquet_file_of_one_long_text_many_times_is_not_multiplied_into_memory(tmp_path, nested):
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), ["x" * (2 << 20)])
    if nested:
        turns = pa.StructArray.from_arrays([pa.array(["user"] * 300), texts], ["role", "content"])
        texts = pa.ListArray.from_arrays(pa.array(range(301), pa.int32()), turns)
    table = pa.table({"prompt": texts, "chosen": ["a"] * 300, "rejected": ["b"] * 300})
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path, dictionary_pagesize_limit=1 << 30, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000
    held = [pa.total_allocated_bytes() for _ in read_source({"path": str(path)})]
    assert len(held) == 300
    assert max(held) < 64 << 20


def test_a_row_of_a_list_that_repeats_a_long_text_is_too_long(tmp_path):
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), ["x" * (1 << 20)])
    turns = pa.ListArray.from_arrays(pa.array([0, 99, 100], pa.int32()), texts)
    batch = pa.record_batch({"prompt": turns, "chosen": ["a", "a"], "rejected": ["b", "b"]})
    path = write(tmp_path, "a.arrow", arrow([], ipc.new_stream, pa.Table.from_batches([batch])))
    items = read(path)
    assert [f.reason for f in findings(items)] == ["too long"]
    assert len(good(items)) == 1


# Folders


def test_a_folder_of_files_is_read_in_the_order_of_their_names(tmp_path):
    for number, row in enumerate(ROWS):
        write(tmp_path, f"part-{number}.jsonl", as_lines([row]))
    write(tmp_path, "README.md", b"x")
    items = read(tmp_path)
    assert good(items) == ROWS
    assert items[1][0].endswith("part-1.jsonl:1")
    write(tmp_path, "part-2.jsonl", b'{"cut')
    assert [row.fatal for _, row in read(tmp_path)[2:]] == [True]
    write(tmp_path, "more.parquet", FORMATS["a.parquet"])
    with pytest.raises(UserError, match="2 kinds"):
        read(tmp_path)


def test_the_test_split_of_a_folder_is_not_trained_on(tmp_path):
    write(tmp_path, "train-00000-of-00001.jsonl", LINES)
    write(tmp_path, "test-00000-of-00001.jsonl", as_lines([{"prompt": "test"}]))
    assert good(read(tmp_path)) == ROWS
    assert good(read(tmp_path, split="test")) == [{"prompt": "test"}]
    with pytest.raises(UserError, match=r"no file of the split 'dev'; there are: test, train"):
        read(tmp_path, split="dev")


def test_empty_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="without a file of rows"):
        read(tmp_path)


def test_folders_that_datasets_saved(tmp_path):
    from datasets import Dataset, DatasetDict

    data = Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "one", num_shards=2)
    DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "two")
    assert good(read(tmp_path / "one")) == good(read(tmp_path / "two")) == ROWS
    assert good(read(tmp_path / "two", split="test")) == ROWS[:1]
    with pytest.raises(UserError, match=r"no split '../one'; there are: test, train"):
        read(tmp_path / "two", split="../one")
    for state in (
        b'{"_data_files": [{"filename": "../../x.arrow"}]}',
        b"[" * 10_000,
        b"{}",
        b"\xff",
        b'{"_data_files": []}',
    ):
        write(tmp_path, "one/state.json", state)
        with pytest.raises(UserError, match=r"state\.json"):
            read(tmp_path / "one")
