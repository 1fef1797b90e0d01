import gzip
import json
from pathlib import Path

import pytest

from command import UserError
from training.preferences.eval_texts import held_texts
from training.preferences.forms import parse_row
from training.preferences.overlap import SUITES, HeldOut, held_out
from training.preferences.pair import Pair

DEMO = Path(__file__).resolve().parents[3] / "training" / "data" / "demo_pairs.jsonl"
LONG = "Explain in three sentences why the old canal beside the mill was closed after the railway came to town."
FILLER = "这是一句与测试无关的话。"
HELD = [
    {"id": "sky", "prompt": "天空为什么是蓝色的？"},
    {"id": "tax", "prompt": "关税是什么意思？"},
    {"id": "canal", "prompt": LONG},
    {"id": "code", "prompt": "写", "canonical_solution": "for row in rows: total += row.price * row.count - row.paid; return total or None"},
    {"id": "word", "prompt": "水"},
]  # fmt: skip


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def held(tmp_path):
    return HeldOut.of([write(tmp_path / "made.jsonl", HELD)])


def pair(*turns, chosen="好。", rejected="坏。"):
    roles = ["user", "assistant"] * len(turns)
    prompt = tuple({"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False))
    return Pair(prompt, chosen, rejected, "made")


def told(overlap):
    return overlap and (overlap.id, overlap.rule, overlap.where)


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("天空为什么是蓝色的", ("sky", "whole", "user turn")),
        ("天空为什么是红色的？", ("sky", "near copy", "user turn")),
        ("请问，天空为什么是蓝色的呢？", ("sky", "near copy", "user turn")),
        ("海水为什么是咸的？", None),
        ("天空", None),
        ("水", ("word", "whole", "user turn")),
        ("湿度是什么意思？", None),
        (f"{FILLER}{LONG.upper()}{FILLER}", ("canal", "13-gram", "user turn")),
    ],
)
def test_the_three_rules(held, prompt, wanted):
    assert told(held.overlap(pair(prompt))) == wanted


@pytest.mark.parametrize("turn", [1, 3])
def test_every_user_turn_is_looked_at(held, turn):
    turns = ["你好，今天过得怎么样？", "很好。", FILLER, "好的。", "谢谢你，再见。"]
    assert held.overlap(pair(*turns)) is None
    turns[turn - 1] = "天空为什么是红色的？"
    assert told(held.overlap(pair(*turns))) == ("sky", "near copy", f"user turn {(turn + 1) // 2}")


@pytest.mark.parametrize("where", ["chosen", "rejected"])
def test_the_answers_are_looked_at(held, where):
    quoted = held.overlap(pair(FILLER, **{where: f"You asked: {LONG} I decline."}))
    assert told(quoted) == ("canal", "13-gram", where)
    assert quoted.text == LONG.lower()[:-1]
    assert quoted.share == 1
    assert told(held.overlap(pair(FILLER, **{where: LONG}))) == ("canal", "whole", where)
    assert held.overlap(pair(FILLER, **{where: "水"})) is None  # a short answer is a coincidence
    solution = HELD[3]["canonical_solution"]
    assert told(held.overlap(pair(FILLER, **{where: f"```\n{solution}\n```"}))) == ("code", "whole", where)
    assert told(held.overlap(pair(FILLER, **{where: f"代码：{solution}"}))) == ("code", "13-gram", where)


def test_earlier_answers_and_the_system_turn_are_looked_at(held):
    assert told(held.overlap(pair(FILLER, LONG + FILLER, FILLER))) == ("canal", "13-gram", "assistant turn")
    system = ({"role": "system", "content": f"{FILLER}{LONG}"}, {"role": "user", "content": FILLER})
    assert told(held.overlap(Pair(system, "好", "坏", "made"))) == ("canal", "13-gram", "system turn")


def test_no_gram_crosses_from_one_text_into_the_next(held):
    half = LONG.split()
    overlap = held.overlap(pair(FILLER, chosen=" ".join(half[:10]), rejected=" ".join(half[10:])))
    assert overlap is None


def test_a_shared_instruction_is_not_content(tmp_path):
    instruction = "请阅读下面这段话，判断说话者是否展现出了偏见、不公正或者歧视，然后只回答是或者否。"
    rows = [{"id": str(i), "question": f"{instruction}\n{text}"} for i, text in enumerate(("甲乙", "丙丁", "戊己"))]
    row = pair(f"{FILLER * 5}{instruction}{FILLER * 5}")
    assert HeldOut.of([write(tmp_path / "three.jsonl", rows)]).overlap(row) is None
    assert told(HeldOut.of([write(tmp_path / "two.jsonl", rows[:2])]).overlap(row))[1] == "13-gram"


@pytest.mark.parametrize("shared", [" ".join(map(str, range(30))), "哈" * 30, "1 + 2 = 3, 4 + 5 = 9, " * 4])
def test_numbers_and_repetition_say_nothing(tmp_path, shared):
    held = HeldOut.of([write(tmp_path / "a.jsonl", [{"id": 1, "prompt": f"{FILLER}{shared}"}])])
    assert held.overlap(pair("数一数", chosen=f"好的：{shared}")) is None


def test_many_at_once_are_as_one_by_one(held):
    pairs = [pair("天空为什么是红色的？"), pair(FILLER), pair("水"), pair(FILLER, rejected=f"{FILLER}{LONG}{FILLER}")]
    found = held.overlaps(pairs)
    assert found == [held.overlap(one) for one in pairs]
    assert [told(one) and told(one)[0] for one in found] == ["sky", None, "word", "canal"]
    assert held.overlaps([]) == []


def test_the_text_is_cut(tmp_path):
    held = HeldOut.of([write(tmp_path / "a.jsonl", [{"id": 1, "prompt": "很长" * 300}])])
    assert len(held.overlap(pair("很长" * 300)).text) == 200


def test_every_own_eval_text_is_found_again():
    held = held_out()
    assert len(held.texts) > 600
    assert all(overlap and overlap.rule == "whole" for overlap in held.overlaps([pair(t.text) for t in held.texts]))


def test_the_demo_shares_nothing_with_the_suites():
    rows = DEMO.read_text(encoding="utf-8").splitlines()
    assert [str(o) for o in held_out().overlaps([parse_row(json.loads(row), "demo") for row in rows]) if o] == []


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("cmath_dev.jsonl", '{"input": "1+1=?", "golden": "2"}\n', ["1"]),
        ("mgsm_zh.tsv", "小明有\"3\"个苹果。\t3\n小红有5个梨。\t2,125\n", ["1", "2"]),
        ("xstest_prompts.csv", 'id,prompt,type,label\n7,"How, then?",a,safe\n', ["7"]),
        ("safetybench.json", '[{"id": 2, "question": "对吗？", "options": ["是", "否"]}]', ["2"]),
        ("HumanEval.jsonl.gz", gzip.compress(b'{"task_id": "H/0", "prompt": "def f():", "canonical_solution": "  return a + b + c + d + e + f + g"}'), ["H/0", "H/0"]),
        ("answers.json", '{"2": {"category": "a", "answer": 1}}', []),
    ],
)  # fmt: skip
def test_sets_of_others_are_read_as_they_are_published(tmp_path, name, content, ids):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [text.id for text in held_texts(path)] == ids


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.txt", b"x", "unknown kind"),
        ("a.jsonl", b'{"x": 1}\n', "holds no eval text"),
        ("a.jsonl", b"{\n", "a.jsonl:1: not valid JSON"),
        ("a.json", b"[", "not valid JSON"),
        ("a.csv", b"a,b\n1,2\n", "holds no eval text"),
        ("a.jsonl.gz", b"no gzip", "not a whole gzip file"),
        ("a.jsonl", b"\xff\xfe", "not UTF-8"),
        ("a.parquet", b"no", "not a readable Parquet file"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, name, content, word):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=word):
        held_out(SUITES, [tmp_path / name])


def test_a_missing_folder_or_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="holds no eval suite"):
        held_out(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        held_out(SUITES, [tmp_path / "gone.csv"])


def test_a_prompt_of_turns_is_held_out_and_rows_without_one_are_told(tmp_path, capsys):
    turns = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "Because."}]
    rows = [{"id": "a", "prompt": turns}, {"id": "b", "prompt": 7}, {"id": "c", "text": "水"}, {"answer": LONG}]
    held = HeldOut.of([write(tmp_path / "chat.jsonl", rows)])
    assert told(held.overlap(pair(LONG))) == ("a", "whole", "user turn")
    assert "chat.jsonl: 2 of 4 rows hold no prompt that could be held out: 2, 4" in capsys.readouterr().err
