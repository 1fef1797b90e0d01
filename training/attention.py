"""Who may look at whom when a pair is laid out as [prompt][chosen][rejected] and rows hold several pairs.

The exact reference, everywhere: SDPA with a 4D mask. A faster path belongs behind `branch_mask`'s caller, in this file.
"""

from typing import Any

import torch

PADDING, PROMPT, CHOSEN, REJECTED = 0, 1, 2, 3


def branch_mask(pair: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
    """Boolean mask (R, 1, L, L), True where the query (dim 2) may attend to the key (dim 3).

    `pair` (R, L): which pair of its row a token belongs to; `branch` (R, L): PADDING, PROMPT, CHOSEN or REJECTED.
    A token sees the earlier tokens of its own pair, but the rejected response never sees the chosen one. Padding sees
    itself only, so that no row of the softmax is empty.
    """
    length = pair.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=pair.device).tril()
    same_pair = pair.unsqueeze(2) == pair.unsqueeze(1)
    crosses = (branch.unsqueeze(2) == REJECTED) & (branch.unsqueeze(1) == CHOSEN)
    real = (branch.unsqueeze(2) != PADDING) & (branch.unsqueeze(1) != PADDING)
    itself = torch.eye(length, dtype=torch.bool, device=pair.device)
    return ((causal & same_pair & ~crosses & real) | itself).unsqueeze(1)


def run_packed(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Any:
    """The output of `model`, as the trainer wrapped it, for a packed micro-batch: the one place that calls it."""
    return model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        attention_mask=branch_mask(batch["pair"], batch["branch"]),
        use_cache=False,
    )
