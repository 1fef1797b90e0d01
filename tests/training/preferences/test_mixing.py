"""Which rows are drawn depends on their content and the seed, not on their place."""

import hashlib

import numpy as np
import pytest

from training.preferences.mixing import draw_mix, mix_sizes, order_of


def digests(*texts):
    whole = b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)
    return np.frombuffer(whole, np.uint8).reshape(-1, 16)


@pytest.mark.parametrize(
    ("counts", "wanted", "sizes"),
    [
        ([10, 20], [{}, {}], [10, 20]),
        ([10, 20], [{"max_rows": 4}, {"max_rows": 99}], [4, 20]),
        ([100, 300], [{"weight": 1}, {"weight": 1}], [100, 100]),
        ([100, 300], [{"weight": 0.25}, {"weight": 0.75}], [100, 300]),
        ([100, 300], [{"weight": 2}, {"weight": 1}], [100, 50]),
        ([100, 300], [{"weight": 1, "max_rows": 40}, {"weight": 2}], [40, 80]),  # the cap comes first
        ([100, 300, 7], [{"weight": 1}, {"weight": 1}, {}], [100, 100, 7]),  # without a weight: all of them
        ([0, 300], [{"weight": 1}, {"weight": 1}], [0, 300]),
        ([1000, 1], [{"weight": 1}, {"weight": 1000}], [1, 1]),  # never nothing of a source that is wanted
        ([5], [{}], [5]),
    ],
)
def test_sizes_by_hand(counts, wanted, sizes):
    assert mix_sizes(counts, wanted) == sizes


def test_the_same_rows_whatever_their_order():
    texts = [f"row {i}" for i in range(200)]
    sources = np.array([i % 2 for i in range(200)])
    wanted = [{"max_rows": 30}, {"max_rows": 11}]
    drawn = draw_mix(digests(*texts), sources, wanted, 7)
    assert np.bincount(sources[drawn]).tolist() == [30, 11]
    shuffle = np.random.default_rng(0).permutation(200)
    again = draw_mix(digests(*(texts[i] for i in shuffle)), sources[shuffle], wanted, 7)
    assert {texts[i] for i in drawn} == {texts[shuffle[i]] for i in again}
    assert set(drawn) != set(draw_mix(digests(*texts), sources, wanted, 8))


def test_more_rows_change_little():
    """A source that grows by one row keeps all but at most one of the rows that were drawn."""
    texts = [f"row {i}" for i in range(100)]
    wanted, zeros = [{"max_rows": 40}], np.zeros(101, int)
    before = {texts[i] for i in draw_mix(digests(*texts), zeros[:100], wanted, 1)}
    after = {[*texts, "new"][i] for i in draw_mix(digests(*texts, "new"), zeros, wanted, 1)}
    assert len(before - after) <= 1


def test_the_draw_is_even():
    """Each of 40 rows is drawn about as often as another: 400 seeds, 10 of 40; 100 expected, deviation 8.7."""
    rows = digests(*map(str, range(40)))
    times = np.zeros(40)
    for seed in range(400):
        times[draw_mix(rows, np.zeros(40, int), [{"max_rows": 10}], seed)] += 1
    assert times.sum() == 4000 and times.min() > 60 and times.max() < 140


def test_order_is_by_content():
    rows = digests("a", "b", "c")
    order = order_of(rows)
    assert sorted(order) == [0, 1, 2]
    assert [rows[i].tobytes() for i in order] == sorted(row.tobytes() for row in rows)
    assert [("c", "a", "b")[i] for i in order_of(digests("c", "a", "b"))] == [("a", "b", "c")[i] for i in order]
