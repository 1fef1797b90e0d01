"""distinct-n and repetition, worked by hand."""

import pytest

from eval.scorers.text_quality import distinct, repetition, units


def test_units_are_characters_in_chinese_and_words_in_english():
    assert units("我爱Python 3!", "zh") == ["我", "爱", "python", "3"]
    assert units("Don't stop, don't!", "en") == ["don't", "stop", "don't"]


def test_distinct_by_hand():
    """我爱我: 2 different of 3 characters, bigrams 我爱, 爱我 both different. Two texts do not join: a b | b a has bigrams ab, ba."""
    assert distinct(["我爱我"], 1, "zh") == pytest.approx(2 / 3) and distinct(["我爱我"], 2, "zh") == 1.0
    assert distinct(["a b", "b a"], 2, "en") == 1.0 and distinct(["a b", "a b"], 2, "en") == 0.5
    assert distinct([""], 1, "zh") is None and distinct(["我"], 2, "zh") is None


def test_repetition_by_hand():
    """abcdabcd has 5 four-grams, abcd twice: 1/5. A loop of one character nears 1."""
    assert repetition("甲乙丙丁甲乙丙丁", "zh") == pytest.approx(1 / 5)
    assert repetition("好" * 100, "zh") == pytest.approx(1 - 1 / 97)
    assert repetition("春夏秋冬东西南北", "zh") == 0.0 and repetition("好", "zh") is None
