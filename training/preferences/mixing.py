"""Which rows make the mix, and in which order: by the seed and the rows' own content, never by their place in a file."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np


def order_of(digests: np.ndarray, seed: int | None = None) -> np.ndarray:
    """Places of the rows in a shuffled order that depends on their content and the seed alone; without one, by digest.

    `digests`: (n, bytes) uint8; of two that are the same the first comes first.
    """
    keys = digests if seed is None else keyed(digests, seed)
    return np.lexsort(keys.T[::-1])


def keyed(digests: np.ndarray, seed: int) -> np.ndarray:
    """(n, 8) uint8: BLAKE2b of each row's digest under the seed."""
    key = str(seed).encode()
    whole = b"".join(hashlib.blake2b(row, digest_size=8, key=key).digest() for row in map(bytes, digests))
    return np.frombuffer(whole, np.uint8).reshape(-1, 8)


def draw_mix(digests: np.ndarray, sources: np.ndarray, wanted: Sequence[dict[str, Any]], seed: int) -> np.ndarray:
    """Places of the rows that the mix takes, ascending.

    `sources`: (n,), the number of each row's source; `wanted`: for each source `max_rows` (at most so many), or `weight` (its
    share beside the other weights; the mix is as large as it can be without taking a row twice), or neither: all of them.
    """
    counts = np.bincount(sources, minlength=len(wanted))
    sizes = mix_sizes(counts.tolist(), wanted)
    taken = []
    for number, size in enumerate(sizes):
        places = np.flatnonzero(sources == number)
        taken.append(places[order_of(digests[places], seed)[:size]] if size < len(places) else places)
    return np.sort(np.concatenate(taken)) if taken else np.zeros(0, np.int64)


def mix_sizes(counts: Sequence[int], wanted: Sequence[dict[str, Any]]) -> list[int]:
    """How many rows each source gives, of the `counts` that it has."""
    sizes = [min(count, source.get("max_rows") or count) for count, source in zip(counts, wanted, strict=True)]
    weights = [source.get("weight") for source in wanted]
    # A source without a row gives none, whatever its weight: it must not make the whole mix empty.
    scales = [count / weight for count, weight in zip(sizes, weights, strict=True) if weight and count]
    scale = min(scales, default=0.0)
    return [
        min(count, max(1, round(weight * scale))) if weight and count else count
        for count, weight in zip(sizes, weights, strict=True)
    ]
