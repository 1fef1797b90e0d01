"""What bounds a step's memory: how many layers keep their activations, and a heap that does not give pages back each time.

Neither changes a result.
"""

import ctypes
import sys
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
HEAP_BLOCK = 1 << 25  # bytes; the largest M_MMAP_THRESHOLD that glibc takes
HEAP_SPARE = 1 << 29


def keep_heap() -> bool:
    """Let glibc reuse the blocks of a step's tensors instead of asking the kernel for zeroed pages; False where it is not glibc.

    Costs nothing but spare heap and saves page faults (README, training speed). Before the first large allocation.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK) and mallopt(M_TRIM_THRESHOLD, HEAP_SPARE))


def checkpointed_layers(layers: int, tokens: int, budget: int) -> int:
    """How many of a model's layers to recompute so that the others' activations are those of `budget` tokens in all layers.

    >>> checkpointed_layers(30, tokens=1500, budget=1000)
    10
    """
    return 0 if tokens <= budget else layers - layers * budget // tokens


class ActivationBudget:
    """Keeps the activations of a micro-batch to those of `tokens` tokens, by recomputing as many layers as it takes.

    So a pair longer than micro_batch_tokens costs time instead of memory, and only as much as it must. The first layers are
    recomputed, since that happens last in the backward pass, when the others' activations are gone.
    """

    def __init__(self, model: Any, tokens: int) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        self.tokens = tokens
        self.layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        if self.layers:
            model.activation_checkpointing_enable({"use_reentrant": False})
            self.apply(0)

    def apply(self, tokens: int) -> None:
        """Set the layers for a micro-batch of `tokens` tokens."""
        recomputed = checkpointed_layers(len(self.layers), tokens, self.tokens)
        for number, layer in enumerate(self.layers):
            layer.gradient_checkpointing = number < recomputed
