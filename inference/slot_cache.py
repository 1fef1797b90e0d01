"""The keys and values of a running batch, allocated ahead: a step seldom copies what earlier steps wrote.

All rows write their next token to the same column, the clock. A prompt of n tokens that joins at clock t takes the columns
t-n to t-1, whatever stood there before; a row sees only the columns from its own start on, and its positions count from
there. So joining is a copy, and leaving is one copy of the last row into the gap.
"""

from collections.abc import Iterator

import torch
from transformers import DynamicCache


class SlotCache:
    """Keys and values of all layers, (rows, heads, columns, dim) each. Rows [0, n) are in use."""

    def __init__(self, rows: int, columns: int):
        self.rows, self.columns = rows, columns
        self.first, self.clock = 0, 0  # the columns that a step looks at: [first, clock]
        self.layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def get_seq_length(self, layer: int = 0) -> int:
        return self.clock

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, *args, **kwargs) -> tuple:
        """Called by the attention layers: write the step's column (n, heads, 1, dim), return the columns to look at."""
        seen = []
        for stored, new in zip(self.layers[layer], (keys, values), strict=True):
            stored[: len(new), :, self.clock] = new[:, :, 0]
            seen.append(stored[: len(new), :, self.first : self.clock + 1])
        return tuple(seen)

    def join(self, prefilled: DynamicCache, shared: int, slot: int, starts: list[int]) -> None:
        """Copy new rows into the slots from `slot` on, ending before the clock.

        The prefill of a row is the prompt's beginning, `shared` columns that all rows have in common, then padding, then
        the rest; the beginning goes to the columns from the row's start on, over the padding.
        """
        for number, layer in enumerate(prefilled.layers):
            if number == len(self.layers):
                self.layers.append(tuple(self._allocate(new) for new in (layer.keys, layer.values)))
            for stored, new in zip(self.layers[number], (layer.keys, layer.values), strict=True):
                rest = new[:, :, shared:]
                stored[slot : slot + len(new), :, self.clock - rest.shape[2] : self.clock] = rest
                for row, start in enumerate(starts):
                    stored[slot + row, :, start : start + shared] = new[row, :, :shared]

    def _allocate(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_zeros(self.rows, like.shape[1], self.columns, like.shape[3])

    def move(self, source: int, target: int, start: int) -> None:
        """Copy a row that begins at column `start` over another."""
        for stored in self._stored():
            stored[target, :, start : self.clock] = stored[source, :, start : self.clock]

    def shift(self, columns: int) -> None:
        """Forget the first columns: everything moves left by so many."""
        for stored in self._stored():
            stored[:, :, : self.clock - columns] = stored[:, :, columns : self.clock].clone()
        self.clock -= columns

    def lengthen(self, columns: int) -> None:
        """Make room for more columns on the right."""
        self.columns += columns
        self.layers = [
            tuple(torch.nn.functional.pad(old, (0, 0, 0, columns)) for old in layer) for layer in self.layers
        ]

    def _stored(self) -> Iterator[torch.Tensor]:
        return (stored for layer in self.layers for stored in layer)
