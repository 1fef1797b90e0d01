import json
from pathlib import Path

import pytest

from training.preferences import twins
from training.preferences.twins import Glosses, Twins, chinese_units, english_features

DEMO = Path(__file__).resolve().parents[3] / "training" / "data" / "demo_pairs.jsonl"


@pytest.fixture(scope="module")
def glosses():
    return Glosses()


@pytest.fixture(autouse=True)
def loaded_once(glosses, monkeypatch):
    monkeypatch.setattr(twins, "Glosses", lambda: glosses)


def find(rows, **options):
    search = Twins()
    for text, language in rows:
        search.add(text, language)
    return [(e, z) for e, z, _ in search.find(lambda number: rows[number][0], **options)]


def answers():
    """(English, Chinese) of the demo's rows whose rejected answer says the same in the other language."""
    rows = [json.loads(line) for line in DEMO.read_text(encoding="utf-8").splitlines()]
    texts = {key: [row[key][0]["content"] for row in rows if row["fault"] == "english_answer"] for key in ("chosen", "rejected")}  # fmt: skip
    return texts["rejected"][:80], texts["chosen"][:80]


def test_translated_texts_find_each_other():
    english, chinese = answers()
    rows = [*((text, "en") for text in english), *((text, "zh") for text in reversed(chinese))]
    found = find(rows)
    right = [(e, z) for e, z in found if e + z == len(rows) - 1]
    assert len(right) >= 50  # of 80; benchmarks/results/pairs_duplicates.json has the whole curve
    assert len(found) - len(right) <= 1


def test_strangers_are_not_paired():
    """The first half of the English answers against the second half of the Chinese ones."""
    english, chinese = answers()
    assert len(find([*((t, "en") for t in english[:40]), *((t, "zh") for t in chinese[40:])])) <= 1


TWIN = [
    ("Explain how a bank calculates compound interest on a deposit of 5,000 dollars over three years.", "en"),
    ("请解释银行如何计算5000美元存款三年的复利。", "zh"),
]
OTHERS = [
    ("Which vegetables can be planted in the garden in autumn?", "en"),
    ("秋天的花园里可以种植哪些蔬菜和花卉？", "zh"),
    ("Write a short letter to my landlord about the broken window.", "en"),
    ("请介绍京剧的历史。", "zh"),
]


def test_a_translated_question_and_its_threshold():
    rows = [*TWIN, *OTHERS]
    assert (0, 1) in find(rows)
    assert (0, 1) not in find(rows, least=0.99)


def test_the_same_prompt_twice_is_found_twice():
    assert {(0, 1), (6, 1)} <= set(find([*TWIN, *OTHERS, TWIN[0]]))


def test_each_is_the_others_best():
    """English 0 prefers Chinese 5, which prefers it too; 1 prefers 5 in vain; 2 fits 6 and 7 alike."""
    scored = [(0, 5, 0.9), (0, 6, 0.6), (1, 5, 0.8), (1, 7, 0.5), (2, 6, 0.7), (2, 7, 0.7)]
    assert twins.mutual_best(iter(scored)) == [(0, 5, 0.9), (2, 6, 0.7), (2, 7, 0.7)]


def test_without_one_of_the_languages_no_dictionary_is_read(monkeypatch):
    monkeypatch.setattr(twins, "Glosses", lambda: pytest.fail("read"))
    assert find([]) == []
    assert find([(text, "zh") for text, _ in TWIN]) == []
    assert find([("", "en"), TWIN[1], ("Bonjour", "fr")]) == []


def test_rows_beyond_the_limit_are_not_searched(monkeypatch):
    monkeypatch.setattr(twins, "SEARCHED", 1)
    search = Twins()
    for text, language in TWIN:
        search.add(text, language)
    assert search.searched == 1
    assert search.find(lambda number: TWIN[number][0]) == []


def test_what_is_compared(glosses):
    assert english_features("The 3 banks' deposits, 1,000 in all: below_zero(x)") >= {"3", "bank", "deposit", "1000"}
    units = chinese_units("数据库里有3个 Python 函数，below_zero 是其一", glosses)
    assert "databas" in units["数据库"]
    assert (units["3"], units["python"], units["below_zero"]) == (("3",), ("python",), ("below_zero",))
    assert english_features("three") & set(units["3"])
