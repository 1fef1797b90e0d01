"""Every form becomes one; what is no pair says why; hostile values at every key."""

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


TURN = {"role": "user", "content": "问"}
FORMS = {
    "trl conversational": {"prompt": [TURN], "chosen": [{"role": "assistant", "content": "好"}], "rejected": [{"role": "assistant", "content": "坏"}]},
    "trl plain": {"prompt": "问", "chosen": "好", "rejected": "坏"},
    "sharegpt": {"conversations": [{"from": "human", "value": "问"}], "chosen": {"from": "gpt", "value": "好"}, "rejected": {"from": "gpt", "value": "坏"}},
    "old answer list": {"question": "问", "answer": ["好", "坏"]},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_become_one(form):
    pair = parse_row(FORMS[form], "x:1")
    assert (pair.prompt, pair.chosen, pair.rejected) == ((TURN,), "好", "坏")


def test_system_and_history():
    row = {"system": "S", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}], "chosen": "x", "rejected": "y"}  # fmt: skip
    assert [m["role"] for m in parse_row(row, "x:1").prompt] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([], "a row is an object"),
        ({"chosen": "a", "rejected": "b"}, "has no prompt"),
        ({"prompt": "p", "chosen": "a"}, "has no `rejected`"),
        ({"prompt": "p", "chosen": "", "rejected": "b"}, "chosen is empty"),
        ({"prompt": "p", "chosen": 3, "rejected": "b"}, "`chosen` is a number"),
        ({"prompt": [], "chosen": "a", "rejected": "b"}, "`prompt` is empty"),
        ({"prompt": [{"role": "robot", "content": "x"}], "chosen": "a", "rejected": "b"}, "role 'robot'"),
        ({"prompt": [{"role": "assistant", "content": "x"}], "chosen": "a", "rejected": "b"}, "roles are assistant"),
        ({"prompt": [TURN, TURN], "chosen": "a", "rejected": "b"}, "roles are user, user"),
        ({"prompt": "p", "chosen": TURN, "rejected": "b"}, "turn of the user"),
        ({"prompt": "\ud800", "chosen": "a", "rejected": "b"}, "prompt holds a lone surrogate"),
        ({"question": "p", "answer": ["a"]}, "list of two texts"),
    ],
)
def test_malformed_rows_say_why(row, message):
    with pytest.raises(ValueError, match=message):
        parse_row(row, "x:1")


def test_history_and_input_are_part_of_the_prompt():
    row = {"system": "S", "history": [["a", "b"]], "prompt": "c", "answer": ["x", "y"]}
    assert [message["content"] for message in parse_row(row, "x:1").prompt] == ["S", "a", "b", "c"]
    assert parse_row({"instruction": "Translate.", "input": "早。", "chosen": "a", "rejected": "b"}, "x:1").question == "Translate.\n早。"  # fmt: skip
    for nothing in ({"history": []}, {"history": None}, {"input": ""}, {"input": None}):
        assert parse_row({**FORMS["trl plain"], **nothing}, "x:1").prompt == (TURN,)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"history": "a"}, "`history` is a text"),
        ({"history": [["a"]]}, r"`history\[0\]` is no"),
        ({"history": [["a", "b"], ["c", 1]]}, r"`history\[1\]` is no"),
        ({"history": [["a", " "]]}, "prompt is empty"),
        ({"input": 3}, "`input` is a number"),
        ({"prompt": [TURN], "history": [["a", "b"]]}, "stand beside it"),
        ({"prompt": [TURN], "input": "a"}, "stand beside it"),
    ],
)
def test_wrong_history_and_input(more, message):
    with pytest.raises(ValueError, match=message):
        parse_row({**FORMS["trl plain"], **more}, "x:1")
