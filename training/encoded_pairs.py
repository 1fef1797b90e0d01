"""Token ids of many pairs in one array, in a file or in memory: a million pairs of 600 tokens take 2.4 GB of disk, not of memory."""

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class EncodedPair:
    """Token ids. `prompt` ends with the assistant header; both responses end with the turn's terminator."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def length(self) -> int:
        """Tokens of the prefix-shared layout [prompt][chosen][rejected]."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)

    @property
    def longer_branch(self) -> int:
        """Tokens of the prompt and the longer response: what max_length bounds."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


class EncodedPairs(Sequence):
    """A sequence of EncodedPair over `tokens`, all ids in a row, and `lengths` (n, 3): of prompt, chosen and rejected."""

    def __init__(self, tokens: np.ndarray, lengths: np.ndarray, starts: np.ndarray | None = None) -> None:
        self.tokens, self.lengths = tokens, lengths
        self._starts = np.cumsum(lengths.sum(1)) - lengths.sum(1) if starts is None else starts

    @classmethod
    def of(cls, pairs: Iterable[EncodedPair]) -> "EncodedPairs":
        writer = EncodedWriter()
        for pair in pairs:
            writer.append(pair)
        return writer.finish()

    def take(self, index: Any) -> "EncodedPairs":
        """A view of the pairs at these places, in this order."""
        index = np.asarray(index, np.int64)
        return EncodedPairs(self.tokens, self.lengths[index], self._starts[index])

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[EncodedPair]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return self.take(range(*place.indices(len(self))))
        row = range(len(self))[place]  # IndexError where there is none; from the end if negative
        start = int(self._starts[row])
        middle = start + int(self.lengths[row, 0])
        last = middle + int(self.lengths[row, 1])
        ids = self.tokens[start : last + int(self.lengths[row, 2])].tolist()
        return EncodedPair(ids[: middle - start], ids[middle - start : last - start], ids[last - start :])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None


class EncodedWriter:
    """Takes pairs one after another; their ids go to a temporary file without a name, 4 bytes each."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="token-ids-")  # noqa: SIM115  (as long as what is mapped from it)
        self._lengths = array("i")

    def append(self, pair: EncodedPair) -> None:
        for ids in (pair.prompt, pair.chosen, pair.rejected):
            self._file.write(array("I", ids))
            self._lengths.append(len(ids))

    def finish(self) -> EncodedPairs:
        self._file.flush()
        lengths = np.array(self._lengths, np.int32).reshape(-1, 3)
        size = int(lengths.sum(dtype=np.int64))
        tokens = np.memmap(self._file, np.uint32, "r", shape=(size,)) if size else np.zeros(0, np.uint32)
        return EncodedPairs(tokens, lengths)
