"""What a file of a conversation may hold, and how text is made harmless."""

import json
import os

import pytest

from command import UserError
from inference.terminal.conversation import Conversation, Turn, load, system_text
from inference.terminal.text import harmless, one_line, open_quotes, unquoted, well_formed

USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


def record(*messages, **more):
    return json.dumps({"schema_version": 1, "messages": list(messages), **more})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{\n\n  nonsense", ":3: not valid JSON, column 3"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "not an object with a list"),
        ('{"messages": []}', "schema_version None"),
        (record(ASSISTANT), "message 0 has the role 'assistant' where 'user' must come"),
        (record(USER, USER), "message 1 has the role 'user' where 'assistant'"),
        (record(USER, ASSISTANT, {"role": "system", "content": "s"}, ASSISTANT), "message 2 has the role 'system'"),
        (record(USER, ASSISTANT, USER), "message 2 is a question without an answer"),
        (record({"role": "tool", "content": "x"}), "message 0 has the role 'tool'"),
        (record({"role": "user", "content": 3}), "message 0 is not an object with a text"),
        (record(USER, {**ASSISTANT, "finish_reason": "bored"}), "message 1 has the finish_reason 'bored'"),
        (record(USER, {**ASSISTANT, "seed": "x"}), "message 1 has the seed 'x'"),
        (b"\xff\xfe", "not UTF-8: byte 0 is 0xff"),
    ],
)
def test_load_refuses_and_says_where(tmp_path, text, said):
    path = tmp_path / "talk.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        load(path)
    assert said in str(error.value) and "talk.json" in str(error.value)


def test_load_reads_no_device_folder_or_giant(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "giant").open("wb") as stream:
        stream.truncate(16_000_001)
    for name, said in (("fifo", "no such file"), ("giant", "at most 16,000,000"), (".", "no such file")):
        with pytest.raises(UserError, match=said):
            load(tmp_path / name)


def test_load_takes_what_a_person_writes_and_mends_lone_surrogates(tmp_path):
    path = tmp_path / "talk.json"
    system = {"role": "system", "content": "s"}
    path.write_text("\ufeff" + record(system, {"role": "user", "content": "\ud800"}, ASSISTANT), encoding="utf-8")
    assert load(path) == Conversation("s", (Turn("\ufffd", "a"),))


def test_system_text_is_the_text_or_a_file(tmp_path):
    (tmp_path / "s").write_text("文件\n", encoding="utf-8")
    assert system_text("plain") == "plain" and system_text(f"@{tmp_path / 's'}") == "文件"


def test_no_control_character_survives():
    hostile = "\x1b]0;title\x07\x1b[2J\r\x08\x00\x7f\x9b31m\u202eevil\u2066\u200f\u2028\ud800 \n\t你好👩‍👩‍👧"
    shown = harmless(hostile)
    assert shown == ("␛]0;title␇␛[2J␍␈␀␡<U+009B>31m<U+202E>evil<U+2066><U+200F><U+2028>\ufffd \n\t你好👩‍👩‍👧")
    assert "".join(map(harmless, hostile)) == shown  # in pieces too
    assert one_line("a\nb\x1b") == "a␊b␛"


def test_triple_quotes_open_close_and_keep_what_is_inside():
    assert open_quotes('"""') and open_quotes('"""a\n') and not open_quotes('"""a"""') and not open_quotes('a """')
    assert unquoted('  """\n    x = 1\n\n"""\n') == "    x = 1" and unquoted(" a ") == "a" and unquoted('"""') == '"""'
    assert well_formed("a\udcffb") == "a\ufffdb"
