"""Pairs on disk, so that a million of them take no more memory than a thousand; read back by index."""

import json
import os
import tempfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from training.preferences.pair import DIGEST_BYTES, Pair, content, digest, digest_of, joint


class PairStore(Sequence):
    """A sequence of Pairs that grows at its end, in a temporary file (in $TMPDIR) without a name: a kill leaves nothing behind.

    In memory stay 32 bytes a pair: its place, digest, source and a checksum of its labels. `take` gives a view of some of them in another order.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="pairs-")  # noqa: SIM115  (as long as the store lives)
        self._ends = array("q")
        self._digests = bytearray()
        self._sources = array("i")
        self._labels = array("I")
        self._flushed = 0
        self._index: np.ndarray | None = None

    def append(self, pair: Pair) -> None:
        """Only to the store itself, not to a view of it."""
        text = content(pair)
        line = b"[%b,%b]" % (text, json.dumps([pair.where, pair.source, pair.labels], ensure_ascii=False).encode())
        self._write(line)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(line))
        self._digests += digest_of(text)
        self._sources.append(pair.source)
        self._labels.append(zlib.crc32(json.dumps(pair.labels, sort_keys=True).encode()))

    def _write(self, line: bytes) -> None:
        """An error names the place: the file has no name of its own."""
        try:
            self._file.write(line)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{tempfile.gettempdir()} (TMPDIR)") from None

    def _flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{tempfile.gettempdir()} (TMPDIR)") from None

    @property
    def digests(self) -> np.ndarray:
        """(n, DIGEST_BYTES) uint8."""
        found = np.frombuffer(self._digests, np.uint8).reshape(-1, DIGEST_BYTES).copy()  # a copy: the buffer may grow
        return found if self._index is None else found[self._index]

    @property
    def sources(self) -> np.ndarray:
        """(n,) int32: the number of the source of each."""
        found = np.array(self._sources, np.int32)
        return found if self._index is None else found[self._index]

    @property
    def labels(self) -> np.ndarray:
        """(n,) uint32: CRC-32 of the labels of each."""
        found = np.array(self._labels, np.uint32)
        return found if self._index is None else found[self._index]

    def fingerprint(self) -> str:
        """As pair.fingerprint of all of them, without reading them."""
        return joint([self.digests.tobytes()])

    def take(self, index: Any) -> "PairStore":
        """A view of the pairs at these places, in this order; the file is shared."""
        index = np.asarray(index, np.int64)
        view = object.__new__(PairStore)
        vars(view).update(vars(self))
        view._index = index if self._index is None else self._index[index]
        return view

    def __len__(self) -> int:
        return len(self._ends) if self._index is None else len(self._index)

    def __iter__(self) -> Iterator[Pair]:
        return (self._read(i if self._index is None else int(self._index[i])) for i in range(len(self)))

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        row = range(len(self))[place]  # IndexError where there is none; from the end if negative
        return self._read(row if self._index is None else int(self._index[row]))

    def _read(self, row: int) -> Pair:
        start, end = (self._ends[row - 1] if row else 0), self._ends[row]
        if end > self._flushed:
            self._flush()
            self._flushed = self._ends[-1]
        (prompt, *answers), account = json.loads(os.pread(self._file.fileno(), end - start, start))
        return Pair(tuple(prompt), *answers, *account)


def digests_of(pairs: Sequence[Pair]) -> np.ndarray:
    """(n, DIGEST_BYTES) uint8 of any pairs; those of a store are known already."""
    if isinstance(pairs, PairStore):
        return pairs.digests
    return np.frombuffer(b"".join(map(digest, pairs)), np.uint8).reshape(-1, DIGEST_BYTES)


def sources_of(pairs: Sequence[Pair]) -> np.ndarray:
    """(n,) int32: the number of the source of each."""
    return pairs.sources if isinstance(pairs, PairStore) else np.array([pair.source for pair in pairs], np.int32)
