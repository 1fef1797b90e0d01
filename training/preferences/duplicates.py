"""Near duplicates among the prompts: MinHash in bands on disk, every candidate verified by its exact Jaccard index.

A text is the set of its token pairs (bigrams of Han characters, words and signs of arithmetic, its two ends included).
Two texts are near when their sets share NEAR of their union; what is near to a member of a group belongs to the group.
NEAR = 0.8 on what 600 real and 452 demo rows show (copies at 1, strangers to 0.44, nothing between) and questions of one
form in eval sets (to 0.78: "Why should llamas/immigrants not be allowed to …"). Of made variants of the 1,052 prompts
(benchmarks/pairs_duplicates.py), under 15 tokens, to 39, and longer, these are near: punctuation, case, full width 1, 1, 1;
请问 or "Please tell me" in front 0.04, 0.84, 1; one word changed 0.01, 0.40, 0.99; sentences in reverse 0.04, 0.34, 0.96; all
numbers changed 0, 0.24, 0.84, so a long problem with other numbers counts as near. "关税是什么意思" and "湿度是…" are 0.45.
A pair of index s is found with probability 1 - (1 - s^ROWS)^BANDS: 0.9998 at 0.8, 0.99 at 0.7, 0.9 at 0.6.
"""

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
from rensa import RMinHash

from training.preferences.shingles import BASE, grams, hash_tokens, mix, powers, spans, walled
from training.preferences.text import normalise

NEAR = 0.8
BANDS, ROWS = 16, 4  # 64 minima a text, 4 bytes of each band on disk
SEED = 20260101
ROW = np.dtype([("key", "<u8"), ("bands", "<u4", (BANDS,))])  # 72 bytes a row on disk
BUFFERED, BUFFERED_ROWS = 1 << 17, 1 << 12  # characters and texts that are hashed in one go
READ = 1 << 16  # rows that are read from disk in one go
COMPARED = 8  # comparisons a row and band at the most
REMEMBERED = 1 << 20  # hashes of texts that were asked for: 8 MiB
OVERHEAD = 30  # what a text costs beside its hashes, in hashes


class NearDuplicates:
    """Groups of near equal texts. Memory: some 100 bytes a row in `groups`, nothing a row before; disk: 72 bytes.

    The file has no name, so that nothing is left behind however the process ends. The groups do not depend on the order
    of the rows, nor on the process; only a bucket of more than 2 * COMPARED + 1 different texts is not compared in full: there
    each text is compared with COMPARED others, in an order that their contents give.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by __exit__)
        self.rows = 0
        self.waiting: list[str] = []
        self.characters = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, text: str) -> None:
        """The next row: all turns of the prompt but the system turn, joined."""
        self.waiting.append(text)
        self.rows += 1
        self.characters += len(text)
        if self.characters >= BUFFERED or len(self.waiting) >= BUFFERED_ROWS:
            self.write()

    def write(self) -> None:
        """Hash what waits and put it on disk."""
        if self.waiting:
            self.file.seek(0, 2)
            self.file.write(records(self.waiting).tobytes())
        self.waiting, self.characters = [], 0

    def read(self, field: str, band: int | None = None) -> np.ndarray:
        """A column: (rows,) uint64 or uint32."""
        self.file.seek(0)
        column = np.empty(self.rows, np.uint64 if band is None else np.uint32)
        for start in range(0, self.rows, READ):
            part = np.frombuffer(self.file.read(READ * ROW.itemsize), ROW)[field]
            column[start : start + READ] = part if band is None else part[:, band]
        return column

    def groups(self, text_of: Callable[[int], str], threshold: float = NEAR) -> np.ndarray:
        """(rows,) int64: for each row the smallest index of its group, its own if it is alone. `text_of` gives a row's text again."""
        self.write()
        keys = self.read("key")
        parent = first_of_each(keys)
        different = np.flatnonzero(parent == np.arange(self.rows))
        different = different[np.argsort(keys[different], kind="stable")]  # an order that the contents give
        del keys
        texts = Texts(text_of)
        for band in range(BANDS):
            column = self.read("bands", band)[different]
            for bucket in buckets(column, different, parent):
                join(bucket, parent, lambda one, other: texts.are_near(one, other, threshold))
        return flatten(parent)


def records(texts: list[str]) -> np.ndarray:
    """(n,) ROW: the key of the whole text and its bands."""
    hashed = hash_tokens(walled(texts), signs=True)
    keys = spans(hashed.hashes, hashed.walls[:-1], hashed.walls[1:])
    for i in np.flatnonzero(np.diff(hashed.walls) == 1):
        keys[i] = key_of_no_tokens(texts[i])
    minima = RMinHash.digest_matrix_from_flat_token_hashes(
        grams(hashed.hashes, 2), hashed.walls.astype(np.uint64), BANDS * ROWS, SEED
    )
    signatures = np.array(minima.to_rows(), np.uint64).reshape(len(texts), BANDS, ROWS)
    rows = np.empty(len(texts), ROW)
    rows["key"] = keys
    rows["bands"] = mix((signatures * powers(BASE, ROWS)).sum(axis=2, dtype=np.uint64)) >> np.uint64(32)
    return rows


def key_of_no_tokens(text: str) -> int:
    """Emoji or punctuation alone: only the same again is the same."""
    return int.from_bytes(hashlib.blake2b(normalise(text).encode(), digest_size=8).digest(), "little")


def shingles(text: str) -> np.ndarray:
    """The set that two texts are compared by: (n,) uint64, sorted."""
    hashed = hash_tokens(walled([text]), signs=True)
    if len(hashed.hashes) == 2:
        return np.array([key_of_no_tokens(text)], np.uint64)
    return np.unique(grams(hashed.hashes, 2))


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


class Texts:
    """The sets of the texts last asked for, REMEMBERED at the most."""

    def __init__(self, text_of: Callable[[int], str]) -> None:
        self.text_of = text_of
        self.sets: OrderedDict[int, np.ndarray] = OrderedDict()
        self.held = 0

    def are_near(self, one: int, other: int, threshold: float) -> bool:
        return jaccard(self.of(one), self.of(other)) >= threshold

    def of(self, index: int) -> np.ndarray:
        found = self.sets.pop(index, None)
        if found is None:
            found = shingles(self.text_of(index))
            self.held += len(found) + OVERHEAD
        self.sets[index] = found
        while self.held > REMEMBERED and len(self.sets) > 1:
            self.held -= len(self.sets.popitem(last=False)[1]) + OVERHEAD
        return found


def first_of_each(keys: np.ndarray) -> np.ndarray:
    """For each key the smallest index that holds it."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    first = np.empty(len(keys), np.int64)
    first[order] = np.repeat(order[starts], np.diff(starts, append=len(keys)))
    return first


def buckets(column: np.ndarray, rows: np.ndarray, parent: np.ndarray) -> Iterator[list[int]]:
    """The rows of equal values, in the order of `rows`, where there are several and not all of one group yet."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=~ordered[:1]))
    ends = np.append(starts[1:], len(ordered))
    several = ends - starts > 1
    for start, end in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
        bucket = rows[order[start:end]]
        if (parent[bucket] != parent[bucket[0]]).any():
            yield bucket.tolist()


def join(bucket: list[int], parent: np.ndarray, are_near: Callable[[int, int], bool]) -> None:
    """Unite the rows of a bucket that are near: all with all in a small one, in a large one each with COMPARED before it.

    In a large one only the first of each group met is compared with, so that a million rows of one group cost a million.
    """
    small = len(bucket) <= 2 * COMPARED + 1
    met: list[int] = []
    for row in bucket:
        compared = 0
        for other in reversed(met):
            if root(parent, row) == root(parent, other):
                if small:
                    continue
                break
            compared += 1
            if are_near(row, other):
                unite(parent, row, other)
                if not small:
                    break
            elif compared == COMPARED and not small:
                met.append(row)
                break
        else:
            met.append(row)


def root(parent: np.ndarray, row: int) -> int:
    while (above := int(parent[row])) != row:
        parent[row] = parent[above]
        row = above
    return row


def unite(parent: np.ndarray, one: int, other: int) -> None:
    """The smaller index becomes the group's."""
    low, high = sorted((root(parent, one), root(parent, other)))
    parent[high] = low


def flatten(parent: np.ndarray) -> np.ndarray:
    """Each row's root."""
    while ((above := parent[parent]) != parent).any():
        parent = above
    return parent
