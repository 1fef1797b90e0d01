"""Rows that contradict one another: the same prompt, and what one calls chosen the other calls rejected.

Two 64-bit hashes a row are held, of the row as it stands and with its answers swapped; that of one row as it stands is that of
another swapped where the two contradict. Among a million rows two different ones share a hash with a chance of 1 in 10^7. They are
Python's own, which differ from process to process: a tenth of the time of a digest, and they are never written down.
"""

from array import array
from itertools import islice

import numpy as np

from training.preferences import Pair


class Contradictions:
    """Fed one pair at a time; 16 bytes a row, in the order in which they came."""

    def __init__(self) -> None:
        self._rows, self._swapped = array("q"), array("q")

    def add(self, pair: Pair) -> None:
        chosen, rejected = pair.chosen.strip(), pair.rejected.strip()  # as encoding reads them
        prompt = tuple((message["role"], message["content"]) for message in pair.prompt)
        self._rows.append(hash((prompt, chosen, rejected)))
        self._swapped.append(hash((prompt, rejected, chosen)))

    def find(self, most: int) -> tuple[int, list[tuple[int, int]]]:
        """How many rows another one contradicts, and the numbers of the first `most` such couples, the earlier row first."""
        if not self._rows:
            return 0, []
        rows, swapped = (np.frombuffer(values, np.int64) for values in (self._rows, self._swapped))
        order = np.argsort(rows, kind="stable")
        place = np.minimum(np.searchsorted(rows, swapped, sorter=order), len(rows) - 1)
        partner = order[place]
        against = np.flatnonzero(rows[partner] == swapped)
        couples = dict.fromkeys(tuple(sorted((row, int(partner[row])))) for row in against[: 2 * most].tolist())
        return len(against), list(islice(couples, most))
