"""Accumulators that are fed one value at a time: counts by label, and lengths with histogram, quantiles, mean and maximum.

What they hold does not grow with the texts: 4 bytes a row for each kind of length, so that quantiles are exact, and a bounded
number of labels.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Z = 1.959963984540054  # normal quantile of a two-sided 95 % interval
MOST_LABELS = 10_000  # different ones that are counted apart
LABEL_CHARACTERS = 40
OTHER = "other"  # language, or languages
OTHERS = "(others)"  # labels
QUANTILES = {"p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}


def edges() -> list[int]:
    """Lower edges of the bins of a histogram: 0, 1, then about two a doubling up to 2^24, whole numbers."""
    return [0, *sorted({round(2 ** (half / 2)) for half in range(49)})]


EDGES = np.array(edges())


class Lengths:
    """Lengths of one kind, whole numbers from 0 to 2^31 - 1, held as 4 bytes each."""

    def __init__(self, values: Iterable[int] = ()):
        self._values = array("i", values)

    def add(self, value: int) -> None:
        self._values.append(value)

    def __len__(self) -> int:
        return len(self._values)

    def numbers(self) -> np.ndarray:
        """A view of all of them, int32, in the order in which they came; to be let go of before the next `add`."""
        return np.frombuffer(self._values, dtype=np.int32) if self._values else np.zeros(0, np.int32)


class Labels:
    """How often each label was seen; of more than MOST_LABELS different ones, those that came later count as others."""

    def __init__(self) -> None:
        self._counts: Counter = Counter()
        self._others = 0

    def add(self, label: str) -> None:
        label = label[:LABEL_CHARACTERS]
        if label in self._counts or len(self._counts) < MOST_LABELS:
            self._counts[label] += 1
        else:
            self._others += 1

    def first(self, most: int) -> dict[str, int]:
        """The `most` most frequent, the largest first, and the rest under OTHERS."""
        counts = dict(self._counts.most_common(most))
        rest = self._counts.total() + self._others - sum(counts.values())
        return counts | ({OTHERS: counts.get(OTHERS, 0) + rest} if rest else {})


def summary(values: np.ndarray) -> dict[str, float] | None:
    """n, sum, mean (one decimal), max and QUANTILES of whole numbers; None where there is none. The median is statistics.median's."""
    if not len(values):
        return None
    found = dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values())).tolist(), strict=True))
    whole = {name: int(value) if value == int(value) else round(value, 1) for name, value in found.items()}
    total = int(values.sum(dtype=np.int64))
    return {"n": len(values), "sum": total, "mean": round(total / len(values), 1), "max": int(values.max()), **whole}


def histogram(values: np.ndarray) -> dict[str, list[int]] | None:
    """{"edges": k + 1 numbers, "counts": k}: bin i holds edges[i] <= value < edges[i + 1]. Empty bins at the ends are left out."""
    if not len(values):
        return None
    counts = np.bincount(np.searchsorted(EDGES, values, side="right") - 1, minlength=len(EDGES))[: len(EDGES) - 1]
    first, last = np.flatnonzero(counts)[[0, -1]]
    return {"edges": EDGES[first : last + 2].tolist(), "counts": counts[first : last + 1].tolist()}


def proportion(count: int, n: int) -> dict[str, float | int | None]:
    """value with its 95 % interval (Wilson 1927) and n; nulls where n is 0."""
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0}
    p, z2 = count / n, Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return {"value": p, "low": round(max(0.0, middle - half), 6), "high": round(min(1.0, middle + half), 6), "n": n}


def longer_bias(chosen: np.ndarray, rejected: np.ndarray) -> dict[str, Any] | None:
    """How often chosen is the longer one, with its interval, ties counted apart, and the median of chosen / rejected."""
    if not len(chosen):
        return None
    ratio = np.median(chosen / np.maximum(rejected, 1))
    return {
        **proportion(int((chosen > rejected).sum()), len(chosen)),
        "equal": int((chosen == rejected).sum()),
        "median_ratio": round(float(ratio), 3),
    }


def by_size(counts: Mapping[str, int]) -> list[str]:
    """The languages, the most frequent first, by name where they are as frequent, and OTHER last."""
    return sorted(counts, key=lambda name: (name == OTHER, -counts[name], name))


def first_names(counts: Mapping[str, Any], most: int) -> list[str]:
    """The first `most` languages, and OTHER where there are more."""
    named = [name for name in counts if name != OTHER]
    return named[:most] + ([OTHER] if len(named) > most or OTHER in counts else [])


def under(names: Iterable[str], counts: Mapping[str, int]) -> dict[str, int]:
    """The counts of these languages; where OTHER is one of them, it has all the rest."""
    found = {name: counts.get(name, 0) for name in names}
    return found | ({OTHER: sum(counts.values()) - sum(found.values()) + found[OTHER]} if OTHER in found else {})


def few_rows(rows: Mapping[str, Mapping[str, int]], most: int) -> dict[str, dict[str, int]]:
    """The counts of the first `most` languages, those of the rest added up under OTHER."""
    names = first_names(rows, most)
    found: dict[str, Counter] = {name: Counter() for name in names}
    for name, counts in rows.items():
        found[name if name in found else OTHER].update(counts)
    return {name: dict(counts) for name, counts in found.items()}
