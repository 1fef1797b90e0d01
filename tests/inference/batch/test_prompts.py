"""Files of prompts as users have them, and every way in which one is malformed."""

import io
import json
import sys

import pytest

from command import UserError
from inference.batch.prompts import MOST_SHOWN, Prompts, read_prompts


def rows_of(prompts: Prompts) -> list[dict]:
    return [prompts.row(number) for number in range(len(prompts))]


def write(path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_text_is_a_prompt_a_line(tmp_path, mark, end):
    name = write(tmp_path / "p.txt", mark + end.join(["你好".encode(), b"", b"  two  ", "　".encode(), b"{"]))
    prompts = read_prompts(name)
    assert rows_of(prompts) == [
        {"id": 1, "prompt": "你好"},
        {"id": 3, "prompt": "  two  "},
        {"id": 5, "prompt": "{"},
    ]
    assert prompts.blank == 2


def test_stdin_is_such_text(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("一\n{}\n".encode())))
    assert [row["prompt"] for row in rows_of(read_prompts("-"))] == ["一", "{}"]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="there is no stdin"):
        read_prompts("-")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_json_lines_keep_what_else_they_hold(tmp_path, mark, end):
    rows = [
        {"id": "a", "prompt": "你好\u2028", "kept": [1.5, None]},
        {"id": 2, "prompt": [{"role": "user", "content": "x"}]},
    ]
    text = end.join(["", *(json.dumps(row, ensure_ascii=False) for row in rows), "  "])
    prompts = read_prompts(write(tmp_path / "p.jsonl", mark + text.encode()))
    assert rows_of(prompts) == rows and prompts.blank == 2


def test_without_ids_the_lines_number_them(tmp_path):
    prompts = read_prompts(write(tmp_path / "p", b'\n{"prompt": "x"}\n\n{"prompt": "y", "b": 1}\n'))
    assert rows_of(prompts) == [{"id": 2, "prompt": "x"}, {"id": 4, "prompt": "y", "b": 1}]


def test_the_digest_is_of_the_rows_and_not_of_their_spelling(tmp_path):
    one = read_prompts(write(tmp_path / "1", b'{"id": 1, "prompt": "\\u4f60"}\n'))
    two = read_prompts(write(tmp_path / "2", '\n{"id":1,"prompt":"你"}\r\n'.encode()))
    other = read_prompts(write(tmp_path / "3", '{"id":1,"prompt":"他"}'.encode()))
    assert one.sha256() == two.sha256() != other.sha256()


MALFORMED = [
    (b"{", "Expecting property name"),
    (b"[]", "not a JSON object"),
    (b'{"prompt": "x"}', "has no `id` where line 1 has one"),
    (b'{"id": 1, "prompt": "x"}', "`id` 1 is also on line 1"),
    (b'{"id": true, "prompt": "x"}', "`id` must be"),
    (b'{"id": 1.5, "prompt": "x"}', "`id` must be"),
    (b'{"id": 3}', "`prompt` must be"),
    (b'{"id": 4, "prompt": " "}', "`prompt` must be"),
    (b'{"id": 5, "prompt": []}', "at least one message"),
    (b'{"id": 6, "prompt": [{"role": "boss", "content": "x"}]}', "'boss'"),
    (b'{"id": 7, "prompt": [{"role": "assistant", "content": "x"}]}', "nothing to answer"),
    (b'{"id": 8, "prompt": [{"role": "user", "content": ""}]}', "the last message is empty"),
    (b'{"id": 9, "prompt": "\\ud800"}', "lone surrogate"),
    (b'{"id": 10, "prompt": "a\\u0000b"}', "`prompt` holds a NUL"),
    (b'{"id": 16, "prompt": [{"role": "user", "content": "\\u0000"}]}', "message 0 holds a NUL"),
    (b'{"id": 11, "prompt": "x", "response": ""}', "has `response`, which the output gets from here"),
    (b'{"id": 12, "prompt": "x", "sample": 0, "tokens": 0}', "has `tokens`, `sample`"),
    (b'{"id": 13, "prompt": "x", "a": NaN}', "NaN is not JSON"),
    (b'{"id": 14, "prompt": "x", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    (b'{"id": 15, "prompt": "x", "a": ' + b"1" * 5000 + b"}", "limit"),
]


def test_every_malformed_line_is_told_at_once(tmp_path):
    lines = [b'{"id": 1, "prompt": "x"}', *(line for line, _ in MALFORMED)]
    name = write(tmp_path / "p.jsonl", b"\n".join(lines))
    with pytest.raises(UserError) as caught:
        read_prompts(name)
    head, *told = str(caught.value).splitlines()
    assert head == f"malformed lines in {name}: {len(MALFORMED)}"
    for number, (line, (_, reason)) in enumerate(zip(told, MALFORMED, strict=True), 2):
        assert line.startswith(f"{name}:{number}: ") and reason in line


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"one\n{\ntw\xffo\n\xfe\n", "byte 3 of line 3 is 0xff"),
        (b'{"prompt": "a"}\n\x00\x00\n\xff', "byte 1 of line 2 is 0x00"),
        ("你好\n".encode("utf-16"), "byte 1 of line 1 is 0xff"),
        (b"\xef\xbb\xbfab\x80", "byte 6 of line 1 is 0x80"),
    ],
)
@pytest.mark.parametrize("name", ["p.jsonl", "p.txt"])
def test_a_file_that_is_no_text_is_told_once_with_the_first_place(tmp_path, content, place, name):
    path = write(tmp_path / name, content)
    with pytest.raises(UserError) as caught:
        read_prompts(path)
    assert (
        str(caught.value) == f"--prompts {path} is not UTF-8 text: {place}. Convert it to UTF-8, or give another file."
    )


def test_an_id_where_the_first_row_has_none_is_refused(tmp_path):
    with pytest.raises(UserError, match=r":2: has an `id` where line 1 has none. Give every row one, or none"):
        read_prompts(write(tmp_path / "p.jsonl", b'{"prompt": "x"}\n{"id": 1, "prompt": "y"}\n'))


def test_of_many_malformed_lines_the_first_are_told(tmp_path):
    with pytest.raises(UserError, match="and 1,980 more") as caught:
        read_prompts(write(tmp_path / "p.jsonl", b"{\n" * 2000))
    assert len(str(caught.value).splitlines()) == MOST_SHOWN + 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "has no prompts."), (b"\n \r\n", "has no prompts, only 2 blank lines.")],
)
def test_an_empty_file_is_refused(tmp_path, content, reason):
    for name in ("p.jsonl", "p.txt"):
        with pytest.raises(UserError, match=reason):
            read_prompts(write(tmp_path / name, content))


def test_what_cannot_be_read_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no/such: No such file.*Give a JSONL"):
        read_prompts(str(tmp_path / "no/such"))
    with pytest.raises(UserError, match="Is a directory"):
        read_prompts(str(tmp_path))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        read_prompts(str(tmp_path / "p"))


def test_a_system_message_goes_before_rows_that_have_none():
    own = [{"role": "system", "content": "own"}, {"role": "user", "content": "x"}]
    rows = [{"id": 1, "prompt": "x"}, {"id": 2, "prompt": own[1:]}, {"id": 3, "prompt": own}]
    prompts = Prompts([json.dumps(row).encode() for row in rows])
    given = [{"role": "system", "content": "S"}, own[1]]
    assert [prompts.conversation(row, "S") for row in range(3)] == [given, given, own]
    assert [prompts.conversation(row) for row in range(3)] == [own[1:], own[1:], own]
