"""Lengths and shares against what plain Python says of the same numbers."""

import random
import statistics

import numpy as np

from training.report.statistics import EDGES, Lengths, histogram, longer_bias, proportion


def test_the_summary_of_lengths():
    random.seed(1)
    values = [random.randrange(1, 5000) for _ in range(1001)]
    found = Lengths(values).summary()
    assert (found["n"], found["sum"], found["max"]) == (1001, sum(values), max(values))
    assert found["median"] == statistics.median(values)
    assert found["mean"] == round(statistics.fmean(values), 1)
    assert found["p95"] == np.quantile(values, 0.95)
    assert Lengths([1, 2]).summary()["median"] == 1.5
    assert Lengths().summary() is None and Lengths().histogram() is None


def test_a_histogram_counts_every_value_in_its_bin():
    values = [0, 1, 1, 2, 7, 8, 100, 10**6]
    found = Lengths(values).histogram()
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
