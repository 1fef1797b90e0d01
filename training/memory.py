"""What bounds a step's memory: how many layers keep their activations. Never changes a result."""

from typing import Any


def checkpointed_layers(layers: int, tokens: int, budget: int) -> int:
    """How many of a model's layers to recompute so that the others' activations are those of `budget` tokens in all layers.

    >>> checkpointed_layers(30, tokens=1500, budget=1000)
    10
    """
    return 0 if tokens <= budget else layers - layers * budget // tokens


class ActivationBudget:
    """Keeps the activations of a micro-batch to those of `tokens` tokens, by recomputing as many layers as it takes.

    So a pair longer than micro_batch_tokens costs time instead of memory, and only as much as it must. The first layers are
    recomputed, since that happens last in the backward pass, when the others' activations are gone. A model without
    activation checkpointing keeps everything.
    """

    def __init__(self, model: Any, tokens: int) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        self.tokens = tokens
        self.layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        if not model.supports_gradient_checkpointing:
            self.layers = []
        if self.layers:
            model.activation_checkpointing_enable({"use_reentrant": False})
            self.apply(0)

    def apply(self, tokens: int) -> None:
        """Set the layers for a micro-batch of `tokens` tokens."""
        recomputed = checkpointed_layers(len(self.layers), tokens, self.tokens)
        for number, layer in enumerate(self.layers):
            layer.gradient_checkpointing = number < recomputed
