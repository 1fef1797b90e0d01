"""Log-probabilities of chosen tokens as the model's own output, from inside its forward.

For the length of one call the head (the output embedding) computes log-probabilities at the positions that predict a
token of a response, instead of logits everywhere. It is called by the model itself, so whatever wraps the model sees an
ordinary forward: DDP its output, FSDP2 and ZeRO-3 the hooks that gather the head's weight and reduce its gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from command import UserError
from training.attention import run_packed

VOCABULARY_CHUNK = 8192  # words of a tile of the projection, at most
KERNEL_TOKENS = 4096  # TRL's kernel takes no more tokens at once
TILE = 1 << 22  # logits of a tile on a CPU: TRL's kernel holds about ten of them
KEPT_LOGITS = 1 << 28  # bytes
ROWS = 64  # tokens whose softmax is taken at once: 12 MB at 49,152 words

# What the models of transformers 5.23 do to logits after the head, by key of their config, and the value that does nothing.
AFTER_THE_HEAD = {
    "final_logit_softcapping": None,  # Gemma 2 and its kin
    "logits_soft_cap": None,  # RecurrentGemma
    "logit_scale": 1.0,  # Cohere
    "logits_scaling": 1.0,  # Granite
    "output_multiplier": 1.0,
    "lm_head_multiplier": 1.0,  # Falcon-H1
    "unpadded_vocab_size": None,
}


def token_log_probs(
    model: torch.nn.Module,
    batch: dict[str, Any],
    source: torch.Tensor,
    target: torch.Tensor,
    attention: str,
    kept: int = 0,
) -> torch.Tensor:
    """Log-probabilities of the tokens `target` (N,) at the positions `source` (N,) of the row, (N,) fp32, in nats.

    `model` as the trainer wrapped it; `batch` as collate makes it; `attention`: a path of training/attention.py;
    `kept`: of how many tokens the logits may be kept on a CPU.
    """
    with projecting(find_head(model), source, target, kept):
        return run_packed(model, batch, attention).logits


def project(
    states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, target: torch.Tensor, kept: int = 0
) -> torch.Tensor:
    """Log-probabilities (N,) fp32 of `target` (N,) from hidden states (N, H) and the head's weight (V, H).

    TRL's kernel computes each tile of the logits twice, to hold no more than that tile. On a CPU in fp32, where arithmetic
    is what counts, the logits of the first `kept` tokens are held instead, at most KEPT_LOGITS bytes of them.
    """
    on_cpu = weight.device.type == "cpu"
    if not on_cpu or weight.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        kept = 0
    kept = min(kept, len(target), KEPT_LOGITS // (4 * len(weight)))
    parts = [KeptLogProbs.apply(states[:kept], weight, bias, target[:kept])] if kept else []
    if kept < len(target):
        words = max(1, TILE // min(len(target) - kept, KERNEL_TOKENS)) if on_cpu else VOCABULARY_CHUNK
        rest = (states[kept:], weight, bias, target[kept:], 1.0, min(words, VOCABULARY_CHUNK), None, 1.0, ())
        parts.append(ChunkedLogProbFunction.apply(*rest)[0])
    return torch.cat(parts)


class KeptLogProbs(torch.autograd.Function):
    """`project` with all log-probabilities (N, V) kept from forward to backward, and turned into their gradient in place."""

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, target: torch.Tensor
    ) -> torch.Tensor:
        every = torch.nn.functional.linear(states, weight, bias)
        for rows in every.split(ROWS):
            rows.copy_(rows.log_softmax(-1))
        ctx.save_for_backward(states, weight, target)
        ctx.every = every
        return every.gather(1, target[:, None])[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """d log p(y) / d logits = onehot(y) - p."""
        states, weight, target = ctx.saved_tensors
        every, ctx.every = ctx.every, None
        logits = every.exp_().mul_(-gradient[:, None])
        logits.scatter_add_(1, target[:, None], gradient[:, None])
        needs_states, needs_weight, needs_bias, _ = ctx.needs_input_grad
        return (
            logits @ weight if needs_states else None,
            logits.T @ states if needs_weight else None,
            logits.sum(0) if needs_bias else None,
            None,
        )


@contextmanager
def projecting(head: torch.nn.Linear, source: torch.Tensor, target: torch.Tensor, kept: int = 0) -> Iterator[None]:
    """Let `head` map hidden states (1, L, H) to log-probabilities (N,), tile by tile, never to logits."""

    def log_probs(hidden: torch.Tensor) -> torch.Tensor:
        return project(hidden[0, source], head.weight, head.bias, target, kept)

    before = head.__dict__.get("forward")  # set on the module by some wrappers
    head.forward = log_probs
    try:
        yield
    finally:
        del head.forward
        if before is not None:
            head.forward = before


def find_head(model: torch.nn.Module) -> torch.nn.Module:
    """The module that holds the output projection's weight, below DDP's and PEFT's wrappers."""
    head = getattr(model, "module", model).get_output_embeddings()
    while hasattr(head, "modules_to_save"):  # PEFT's copy that is trained whole
        head = head.modules_to_save[head.active_adapter]
    return head


def check_projectable(model: Any) -> None:
    """UserError, naming the key, where log-probabilities are not log-softmax of a plain linear head. Before training."""
    config = model.config.get_text_config()
    for key, neutral in AFTER_THE_HEAD.items():
        value = getattr(config, key, neutral)
        if value is not None and value != neutral:
            raise UserError(
                f"{config.model_type}: its config's {key} is {value!r}, which changes logits after the output projection; "
                "this trainer would compute other log-probabilities than the model's. Choose a model without it."
            )
    head = find_head(model)
    if type(head) is not torch.nn.Linear:
        raise UserError(
            f"{config.model_type}: its output projection is {type(head).__name__}; needed: a plain Linear layer. "
            "Leave lm_head out of LoRA's target modules and out of quantisation."
        )
