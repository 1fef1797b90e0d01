"""Rows of preference pairs in every form, and what can be wrong with one: as a value, as JSON text, as bytes.

Every row has a `chosen` of its own, by which it is found again among what was kept.
"""

import json
import random
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
HAN = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜金生丽水玉出昆冈剑号巨阙珠称夜光"
DEEP = (1_500, 20_000, 100_000)
HOSTILE = ("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x00", "\ud800", "\udfff\ud800", "\u202eright to left", "\u2028", "\ufeff", "<|im_end|>\n<|im_start|>system", "<|eot_id|>", "</s>", "[INST]", "\r\n", "\x7f\x9b31m", "\U0010ffff", "")  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, 0, -1.5, 10**30, 1e400, [], {}, [[]], [{}], ["a", "b"], [None], {"role": "user"}, {"role": [], "content": {}}, {"from": "gpt", "value": 5}, [{"role": "user", "content": "q"}] * 3, *HOSTILE)  # fmt: skip


def words(rng: random.Random, most: int = 12) -> str:
    """A text like no other."""
    latin = (
        "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(4, 9))) for _ in range(rng.randint(5, most))
    )
    return " ".join([*latin, "".join(rng.choices(HAN, k=rng.randint(4, 12)))])


def turn(role: str, content: str) -> Row:
    return {"role": role, "content": content}


def shared_gpt(role: str, content: str) -> Row:
    return {"from": {"user": "human", "assistant": "gpt"}.get(role, role), "value": content}


FORMS: dict[str, Callable[[str, str, str, str], Row]] = {
    "plain": lambda q, a, b, h: {"prompt": q, "chosen": a, "rejected": b},
    "labels": lambda q, a, b, h: {"instruction": q, "chosen": a, "rejected": b, "language": "zh", "topic": h[:9]},
    "turns": lambda q, a, b, h: {
        "prompt": [turn("user", q)],
        "chosen": [turn("assistant", a)],
        "rejected": [turn("assistant", b)],
    },
    "history": lambda q, a, b, h: {
        "prompt": [turn("system", "s"), turn("user", h), turn("assistant", "ok"), turn("user", q)],
        "chosen": turn("assistant", a),
        "rejected": turn("assistant", b),
    },
    "sharegpt": lambda q, a, b, h: {
        "system": h,
        "conversations": [shared_gpt("user", q)],
        "chosen": shared_gpt("assistant", a),
        "rejected": shared_gpt("assistant", b),
    },
    "implicit": lambda q, a, b, h: {
        "prompt": q,
        "chosen": [turn("user", q), turn("assistant", a)],
        "rejected": [turn("user", q), turn("assistant", b)],
    },
    "answer": lambda q, a, b, h: {"question": q, "answer": [a, b]},
}


def make_rows(rng: random.Random, least: int = 2, most: int = 8, form: str | None = None) -> dict[str, Row]:
    """Valid rows by their `chosen`."""
    rows = {}
    for _ in range(rng.randint(least, most)):
        chosen = words(rng)
        rows[chosen] = FORMS[form or rng.choice(list(FORMS))](words(rng), chosen, words(rng), words(rng))
    return rows


def as_json(rng: random.Random, row: Any) -> bytes:
    """A value as one line, in one of the ways that JSON is written."""
    ascii_only = rng.random() < 0.3
    text = json.dumps(row, ensure_ascii=ascii_only, separators=rng.choice([(",", ":"), (", ", ": ")]))
    return text.encode("utf-8", "surrogatepass")


# One row changed: the line, and whether it can be no row any more (None: it may or may not)


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """The way to every value within a row."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([at] if at else []), *(place for key, item in inner for place in places(item, (*at, key)))]


def changed(rng: random.Random, row: Row, change: Callable[[Any, Any], None]) -> Row:
    """A copy of a row with a change made at one of its places: change(container, key)."""
    row = json.loads(json.dumps(row))
    *way, key = rng.choice(places(row))
    container: Any = row
    for step in way:
        container = container[step]
    change(container, key)
    return row


def wrong_type(rng: random.Random, row: Row) -> Row:
    return changed(rng, row, lambda container, key: container.__setitem__(key, rng.choice(VALUES)))


def removed(rng: random.Random, row: Row) -> Row:
    return changed(rng, row, lambda container, key: container.__delitem__(key))


def renamed(rng: random.Random, row: Row) -> Row:
    keys = ("Prompt", "chosen ", "messages", "rejected_response", "", "\x1b[31m", "conversations", "answer", "system")
    old, new = rng.choice(list(row)), rng.choice(keys)
    return {(new if key == old else key): value for key, value in row.items()}


def hostile_text(rng: random.Random, row: Row) -> Row:
    def spoil(container: Any, key: Any) -> None:
        value = container[key]
        if isinstance(value, str):
            at = rng.randint(0, len(value))
            container[key] = value[:at] + rng.choice(HOSTILE) + value[at:]
        else:
            container[key] = rng.choice(HOSTILE)

    return changed(rng, row, spoil)


def no_row(rng: random.Random, row: Row) -> Any:
    return rng.choice([None, 5, "x", [], {}, [row], [[]], True, {"rows": [row]}])


VALUE_CHANGES: dict[str, tuple[Callable[[random.Random, Row], Any], bool]] = {  # and whether it is certainly no row
    "wrong type": (wrong_type, False),
    "key removed": (removed, False),
    "key renamed": (renamed, False),
    "hostile text": (hostile_text, False),
    "no row": (no_row, True),
}


def with_first(line: bytes, key: str, value: bytes) -> bytes:
    return b'{"' + key.encode() + b'": ' + value + b", " + line[1:]


def duplicate_key(rng: random.Random, line: bytes) -> bytes:
    key = rng.choice(list(json.loads(line)))
    return with_first(line, key, b'"twice"') if rng.random() < 0.5 else with_first(line, "x", b'{"a": 1, "a": [2]}')


def odd_number(rng: random.Random, line: bytes) -> bytes:
    return with_first(
        line, "score", rng.choice([b"NaN", b"Infinity", b"-Infinity", b"7" * 10_000, b"-" + b"9" * 5_000])
    )


def deep_value(rng: random.Random, line: bytes) -> bytes:
    levels = rng.choice(DEEP)
    opened, closed = rng.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'[{"":', b"}]")])
    return with_first(line, "extra", opened * levels + b"1" + closed * levels)


TEXT_CHANGES: dict[str, Callable[[random.Random, bytes], bytes]] = {  # valid brackets and quotes, and certainly no row
    "duplicated key": duplicate_key,
    "odd number": odd_number,
    "deep value": deep_value,
}


def flipped(rng: random.Random, line: bytes) -> bytes:
    data = bytearray(line)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        data[at] = rng.choice([data[at] ^ (1 << rng.randrange(8)), rng.randrange(256)])
    return bytes(data).replace(b"\n", b" ")


def inserted(rng: random.Random, line: bytes) -> bytes:
    pieces = (b"\0", b"\x1b[2J", b"\x80", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\r", b"\t", b'"', b"\\", b"{", b"]", b"\\ud800", b"\\x", b",")  # fmt: skip
    at = rng.randint(0, len(line))
    return (line[:at] + rng.choice(pieces) + line[at:]).replace(b"\n", b" ")


def cut(rng: random.Random, line: bytes) -> bytes:
    return line[: rng.randrange(1, len(line))]


def recoded(rng: random.Random, line: bytes) -> bytes:
    text = json.dumps(json.loads(line), ensure_ascii=False)
    return text.encode(rng.choice(["gb18030", "big5", "utf-16", "utf-32-le", "cp037"]), "replace").replace(b"\n", b" ")


def unclosed(rng: random.Random, line: bytes) -> bytes:
    return with_first(line, "extra", rng.choice([b"[", b'{"a":', b'"', b'[{"":']) * rng.choice([1, 3, 50_000]))


BYTE_CHANGES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "bytes flipped": flipped,
    "bytes inserted": inserted,
    "line cut": cut,
    "wrong encoding": recoded,
    "never closed": unclosed,
}
