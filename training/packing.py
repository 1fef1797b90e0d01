"""From encoded pairs to the tensors of one optimizer step.

The unit of training is the step: exactly `global_batch_size` pairs. A step's pairs are bin-packed into rows, the rows
into micro-batches under a token budget. The loss is divided by the step's own counts, so none of this changes a result.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from training.attention import CHOSEN, PADDING, PROMPT, REJECTED
from training.encoding import EncodedPair


def count_steps(pairs: int, global_batch_size: int, epochs: float) -> int:
    """Steps of exactly `global_batch_size` pairs that see every pair at least `epochs` times in the mean."""
    return max(1, math.ceil(pairs * epochs / global_batch_size))


def plan_steps(pairs: int, global_batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """Which pairs each step trains on: one shuffled pass over the data after another, cut into equal steps.

    Depends on nothing but its arguments, so a resumed run and any number of processes see the same plan.
    """
    passes = math.ceil(steps * global_batch_size / pairs)
    order = np.concatenate([np.random.default_rng([seed, epoch]).permutation(pairs) for epoch in range(passes)])
    return order[: steps * global_batch_size].reshape(steps, global_batch_size).tolist()


def pack_rows(lengths: list[int], row_tokens: int) -> list[list[int]]:
    """First-fit decreasing: indices into `lengths`, grouped so that no row sums to more than `row_tokens`.

    A single item longer than `row_tokens` has a row to itself.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = next((row for row, free in enumerate(room) if free >= lengths[index]), None)
        if fits is None:
            rows.append([index])
            room.append(row_tokens - lengths[index])
        else:
            rows[fits].append(index)
            room[fits] -= lengths[index]
    return rows


def pack_step(lengths: list[int], batch_tokens: int) -> list[list[list[int]]]:
    """Micro-batches of rows of indices: rows × the longest row ≤ `batch_tokens` (one row at least).

    A row is as long as the step's longest pair: attention over a row costs its length squared, so longer rows waste.
    """
    rows = pack_rows(lengths, max(lengths))
    rows.sort(key=lambda row: -sum(lengths[i] for i in row))
    batches: list[list[list[int]]] = []
    for row in rows:
        width = sum(lengths[i] for i in batches[-1][0]) if batches else 0
        if batches and (len(batches[-1]) + 1) * width <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def collate(rows: list[list[EncodedPair]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Tensors of one micro-batch of R rows, padded to the longest, L tokens.

    `input_ids`, `position_ids`, `pair`, `branch`: (R, L). For each part in prompt, chosen, rejected: `PART_source`
    (N,), the flat position in R·L whose hidden state predicts a token; `PART_target` (N,), that token; `PART_pair` (N,),
    the number of its pair in this micro-batch. The first tokens of both responses are predicted from the same position.
    """
    width = max(sum(pair.length for pair in row) for row in rows)
    layout = _Layout(len(rows), width, pad_token_id)
    for row_number, row in enumerate(rows):
        start = 0
        for pair_number, pair in enumerate(row):
            layout.place(pair, row_number, start, pair_number)
            start += pair.length
    return layout.tensors()


@dataclass
class _Layout:
    rows: int
    width: int
    pad_token_id: int

    def __post_init__(self) -> None:
        shape = (self.rows, self.width)
        self.input_ids = np.full(shape, self.pad_token_id, dtype=np.int64)
        self.position_ids = np.zeros(shape, dtype=np.int64)
        self.pair = np.full(shape, -1, dtype=np.int64)
        self.branch = np.full(shape, PADDING, dtype=np.int64)
        self.placed = 0
        parts = ("prompt", "chosen", "rejected")
        self.index: dict[str, list[int]] = {f"{p}_{k}": [] for p in parts for k in ("source", "target", "pair")}

    def place(self, pair: EncodedPair, row: int, start: int, number: int) -> None:
        prompt = len(pair.prompt)
        base = row * self.width + start
        end = start
        for branch, tokens in ((PROMPT, pair.prompt), (CHOSEN, pair.chosen), (REJECTED, pair.rejected)):
            begin, end = end, end + len(tokens)
            first = 0 if branch == PROMPT else prompt
            self.input_ids[row, begin:end] = tokens
            self.position_ids[row, begin:end] = np.arange(first, first + len(tokens))
            self.branch[row, begin:end] = branch
        self.pair[row, start:end] = number
        self._predict("prompt", pair.prompt[1:], range(base, base + prompt - 1))
        for name, tokens, offset in (("chosen", pair.chosen, 0), ("rejected", pair.rejected, len(pair.chosen))):
            own = base + prompt + offset
            self._predict(name, tokens, [base + prompt - 1, *range(own, own + len(tokens) - 1)])
        self.placed += 1

    def _predict(self, part: str, targets: list[int], sources: "range | list[int]") -> None:
        self.index[f"{part}_source"] += sources
        self.index[f"{part}_target"] += targets
        self.index[f"{part}_pair"] += [self.placed] * len(targets)

    def tensors(self) -> dict[str, torch.Tensor]:
        grid = {k: torch.from_numpy(getattr(self, k)) for k in ("input_ids", "position_ids", "pair", "branch")}
        return grid | {k: torch.tensor(v, dtype=torch.long) for k, v in self.index.items()}
