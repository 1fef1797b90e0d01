"""Lengths and shares against what plain Python says of the same numbers."""

import random
import statistics

import numpy as np

from training.report import statistics as ours
from training.report.statistics import (
    EDGES,
    Labels,
    Lengths,
    by_size,
    few_rows,
    first_names,
    histogram,
    longer_bias,
    proportion,
    summary,
    under,
)


def test_the_summary_of_lengths():
    random.seed(1)
    values = [random.randrange(1, 5000) for _ in range(1001)]
    found = summary(Lengths(values).numbers())
    assert (found["n"], found["sum"], found["max"]) == (1001, sum(values), max(values))
    assert found["median"] == statistics.median(values)
    assert found["mean"] == round(statistics.fmean(values), 1)
    assert found["p95"] == np.quantile(values, 0.95)
    assert summary(np.array([1, 2]))["median"] == 1.5
    assert summary(Lengths().numbers()) is None and histogram(Lengths().numbers()) is None


def test_a_histogram_counts_every_value_in_its_bin():
    values = [0, 1, 1, 2, 7, 8, 100, 10**6]
    found = histogram(np.array(values))
    edges, counts = found["edges"], found["counts"]
    assert len(edges) == len(counts) + 1 and sum(counts) == len(values)
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        assert count == sum(low <= value < high for value in values)
    assert counts[0] and counts[-1]  # nothing empty at the ends


def test_edges_grow_and_no_length_falls_out():
    assert all(np.diff(EDGES) > 0)
    assert sum(histogram(np.array([0, 2**24 - 1]))["counts"]) == 2


def test_lengths_can_be_fed_after_they_were_read():
    lengths = Lengths([1])
    assert lengths.numbers().tolist() == [1]
    lengths.add(2)
    assert lengths.numbers().tolist() == [1, 2]


def test_wilson():
    """Worked by hand: 2 of 300 gives 0.18 % to 2.4 %."""
    found = proportion(2, 300)
    assert abs(found["low"] - 0.00183) < 1e-4 and abs(found["high"] - 0.02398) < 1e-4
    assert proportion(0, 0)["value"] is None
    assert proportion(5, 5)["high"] == 1


def test_the_bias_of_length():
    found = longer_bias(np.array([10, 20, 5, 7]), np.array([5, 10, 5, 14]))
    assert (found["value"], found["equal"], found["median_ratio"]) == (0.5, 1, 1.5)


def test_labels_are_counted_in_bounded_memory(monkeypatch):
    """Of 3,000 different topics the report shows 100; beyond MOST_LABELS different ones no new one is held, and none is lost."""
    monkeypatch.setattr(ours, "MOST_LABELS", 50)
    labels = Labels()
    for number in range(3000):
        labels.add(f"topic {number}")
        labels.add("topic 7")
    assert len(labels._counts) == 50
    found = labels.first(20)
    assert next(iter(found.items())) == ("topic 7", 3001) and len(found) == 21
    assert list(found)[-1] == "(others)" and sum(found.values()) == 6000
    labels.add("(others)" * 1000)
    assert max(map(len, labels._counts)) <= 40


def test_few_labels_are_all_shown():
    labels = Labels()
    for label in "abab(":
        labels.add(label)
    assert labels.first(3) == {"a": 2, "b": 2, "(": 1}
    assert labels.first(2) == {"a": 2, "b": 2, "(others)": 1}
    assert Labels().first(9) == {}


def test_languages_beyond_the_first_are_one():
    counts = {"zh": 2, "en": 5, "other": 9, "fr": 2, "ja": 1}
    assert by_size(counts) == ["en", "fr", "zh", "ja", "other"]
    ordered = {name: counts[name] for name in by_size(counts)}
    assert first_names(ordered, 2) == ["en", "fr", "other"] and first_names({"zh": 1, "en": 1}, 2) == ["zh", "en"]
    assert under(["en", "fr", "other"], counts) == {"en": 5, "fr": 2, "other": 12} and under(["zh"], counts) == {
        "zh": 2
    }
    rows = {name: {"teaches": count, "both": 0} for name, count in ordered.items()}
    assert few_rows(rows, 3) == {
        "en": {"teaches": 5, "both": 0},
        "fr": {"teaches": 2, "both": 0},
        "zh": {"teaches": 2, "both": 0},
        "other": {"teaches": 10, "both": 0},
    }
