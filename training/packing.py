"""From encoded pairs to the tensors of one optimizer step.

The unit of training is the step: exactly `global_batch_size` pairs, bin-packed into micro-batches under a token budget.
The loss is divided by the step's own counts, so the packing never changes a result.
"""

from typing import Any

import torch

from training.attention import Span
from training.encoded_pairs import EncodedPair

PARTS = ("prompt", "chosen", "rejected")


def collate(pairs: list[EncodedPair]) -> dict[str, Any]:
    """One micro-batch: its pairs behind one another in a row of L tokens, without padding.

    `input_ids`, `position_ids`: (1, L); `spans`: where each pair lies. For each part in prompt, chosen, rejected:
    `PART_source` (N,), the position whose hidden state predicts a token; `PART_target` (N,), that token; `PART_pair` (N,),
    the number of its pair. The first tokens of both responses are predicted from the same position.
    """
    tokens: list[int] = []
    positions: list[int] = []
    spans: list[Span] = []
    index: dict[str, list[int]] = {f"{part}_{kind}": [] for part in PARTS for kind in ("source", "target", "pair")}
    for number, pair in enumerate(pairs):
        span = Span(len(tokens), len(pair.prompt), len(pair.chosen), len(pair.rejected))
        spans.append(span)
        tokens += [*pair.prompt, *pair.chosen, *pair.rejected]
        positions += [*range(span.prompt + span.chosen), *range(span.prompt, span.prompt + span.rejected)]
        last = span.start + span.prompt - 1  # of the prompt: it predicts the first token of both responses
        sources = {
            "prompt": range(span.start, last),
            "chosen": range(last, span.branch - 1),
            "rejected": [last, *range(span.branch, span.end - 1)],
        }
        for part, targets in (("prompt", pair.prompt[1:]), ("chosen", pair.chosen), ("rejected", pair.rejected)):
            index[f"{part}_source"] += sources[part]
            index[f"{part}_target"] += targets
            index[f"{part}_pair"] += [number] * len(targets)
    grid = {"input_ids": torch.tensor([tokens]), "position_ids": torch.tensor([positions]), "spans": spans}
    return grid | {name: torch.tensor(values, dtype=torch.long) for name, values in index.items()}
