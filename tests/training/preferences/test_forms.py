"""What the forms have in common is tested with the loading; here the implicit prompt, and hostile values at every key."""

import copy

import pytest

from training.preferences.findings import BadRow
from training.preferences.forms import parse_row


def user(text):
    return {"role": "user", "content": text}


def model(text):
    return {"role": "assistant", "content": text}


ONE = {"chosen": [user("q"), model("a")], "rejected": [user("q"), model("b")]}
TWO = {
    "chosen": [{"role": "system", "content": "s"}, user("q"), model("w"), user("r"), model("a")],
    "rejected": [{"role": "system", "content": "s"}, user("q"), model("w"), user("r"), model("b")],
}


@pytest.mark.parametrize("more", [{}, {"prompt": "q"}, {"prompt": [user("q")]}, {"prompt": None}, {"prompt_id": "x"}])
def test_an_implicit_prompt_is_what_both_begin_with(more):
    pair = parse_row({**more, **ONE}, "x:1")
    assert (pair.prompt, pair.chosen, pair.rejected) == ((user("q"),), "a", "b")


@pytest.mark.parametrize("prompt", ["q", "r", " r\n"])
def test_an_implicit_prompt_of_several_turns(prompt):
    pair = parse_row({"prompt": prompt, **TWO}, "x:1")
    assert pair.prompt == tuple(TWO["chosen"][:-1])
    assert (pair.chosen, pair.rejected) == ("a", "b")


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({**ONE, "rejected": [user("other"), model("b")]}, "different beginnings", "from turn 1 on"),
        ({**ONE, "rejected": [*TWO["rejected"]]}, "different beginnings", "from turn 1 on"),
        ({**ONE, "chosen": [user("q"), model("a"), user("c"), model("d")]}, "different beginnings", "from turn 2 on"),
        ({**ONE, "rejected": [model("b")]}, "different beginnings", "from turn 1 on"),
        ({**ONE, "prompt": "another"}, "different beginnings", "`prompt` is not"),
        ({**ONE, "prompt": [user("another")]}, "different beginnings", "`prompt` is not"),
        ({**ONE, "prompt": 5}, "different beginnings", "`prompt` is not"),
        (
            {"chosen": [user("q"), user("a")], "rejected": [user("q"), user("b")]},
            "roles out of order",
            "turn of the user",
        ),
        ({"chosen": [user("q"), 5], "rejected": [user("q"), model("b")]}, "not a turn", "chosen[1] is a number"),
    ],
)
def test_what_is_no_implicit_prompt_says_why(row, reason, detail):
    with pytest.raises(BadRow) as caught:
        parse_row(row, "x:1")
    assert caught.value.reason == reason
    assert detail in str(caught.value)


def test_a_row_is_not_changed_by_reading_it():
    before = copy.deepcopy(TWO)
    parse_row(TWO, "x:1")
    assert before == TWO


def deep(levels=900):
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [None, 5, True, 1e400, [], {}, deep(), [deep()], b"x", {"role": deep(), "content": "x"}, "\x1b[31m", "\0"])  # fmt: skip
@pytest.mark.parametrize("key", ["prompt", "chosen", "rejected", "system", "topic", "role", "content"])
def test_a_wrong_value_at_any_key_is_a_bad_row_or_none(key, value):
    row = {"prompt": [user("q")], "chosen": [model("a")], "rejected": [model("b")], "topic": "t"}
    if key in ("role", "content"):
        row["prompt"][0][key] = value
    else:
        row[key] = value
    try:
        pair = parse_row(row, "x:1")
    except BadRow as problem:
        assert str(problem.at("x:1")).isprintable()
    else:
        assert all(label.isprintable() for label in pair.labels.values())


def test_a_role_is_shown_without_its_escape_sequences_and_not_at_length():
    with pytest.raises(BadRow) as caught:
        parse_row(
            {"prompt": [{"role": "\x1b[31m" + "x" * 10**6, "content": "q"}], "chosen": "a", "rejected": "b"}, "x:1"
        )
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()
