"""Pairs on disk are the pairs that were put in, from any view, and take memory that does not grow with their texts."""

import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from training.preferences.pair import Pair, digest, fingerprint
from training.preferences.store import PairStore, digests_of


def make(number):
    turns = ({"role": "system", "content": "S"}, {"role": "user", "content": f"问{number}\n\u2028👍"})
    return Pair(turns, f"好{number}", f'bad \\ " {number}', f"a:b.jsonl:{number}", number % 3, {"topic": "x"})


@pytest.fixture
def store():
    found = PairStore()
    for number in range(50):
        found.append(make(number))
    return found


def test_what_was_put_in_comes_out(store):
    pairs = [make(number) for number in range(50)]
    assert list(store) == pairs == store[:] == [store[i] for i in range(50)]
    assert store[-1] == pairs[-1] and store[3:7] == pairs[3:7]
    assert store.fingerprint() == fingerprint(pairs)
    assert store.digests[7].tobytes() == digest(pairs[7])
    assert np.array_equal(digests_of(pairs), store.digests) and np.array_equal(digests_of(store), store.digests)
    assert store.sources.tolist() == [number % 3 for number in range(50)]
    with pytest.raises(IndexError):
        store[50]


def test_reading_between_writing(store):
    assert store[49] == make(49)
    store.append(make(50))
    assert store[50] == make(50) and store[0] == make(0)


def test_views_of_views(store):
    view = store.take([9, 3, 30]).take([2, 0])
    assert list(view) == [make(30), make(9)] == [view[0], view[1]]
    assert view.fingerprint() == fingerprint([make(30), make(9)])
    assert view.sources.tolist() == [0, 0] and len(store) == 50


MANY = """
import os, resource, sys
from training.preferences.pair import Pair
from training.preferences.store import PairStore
store = PairStore()
text = "字" * 1000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number in range(40_000):
    store.append(Pair(({"role": "user", "content": str(number)},), text, text + "x", f"f:{number}"))
assert sum(len(pair.chosen) for pair in store) == 40_000_000
assert store[39_999].where == "f:39999"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_240_megabytes_of_text_take_a_few_of_memory():
    done = subprocess.run([sys.executable, "-c", MANY], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 20e6  # places, digests, sources and labels: 32 bytes a pair, 1.3 MB


def test_nothing_is_left_on_disk(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    PairStore().append(make(1))
    assert not any(tmp_path.iterdir())
