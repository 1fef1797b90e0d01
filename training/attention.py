"""Who may look at whom when pairs lie behind one another in a row, each as [prompt][chosen][rejected].

A token sees the earlier tokens of its own pair, but the rejected response never sees the chosen one. Three ways to compute
the same thing, by the recipe's `attention`:

- `branches`: two calls of SDPA a pair: prompt + chosen, causal; rejected over prompt + rejected. Exact everywhere, and what
  pairs cannot see is not computed: a third of a dense mask's work at lengths of 300 to 500 each.
- `varlen`: one call of FlashAttention for the whole row, with more keys than queries for the rejected responses. CUDA in
  bf16 only, and only after its output and gradients equalled `branches` on this very device (`check_varlen`).
- `masked`: the dense 4D mask, plain to read and slow: what the others are tested against.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from command import UserError, WorkError

PATHS = {"branches": "orpo_branches", "varlen": "orpo_varlen", "masked": "sdpa"}  # transformers' name of each
VARLEN_TOLERANCE = 0.02  # of the largest value, bf16: 8 bits of mantissa


@dataclass(frozen=True)
class Span:
    """Where a pair lies in its row, in tokens."""

    start: int
    prompt: int
    chosen: int
    rejected: int

    @property
    def branch(self) -> int:
        """Where the rejected response begins."""
        return self.start + self.prompt + self.chosen

    @property
    def end(self) -> int:
        return self.branch + self.rejected


@dataclass(frozen=True)
class Branches:
    """The spans of a row, and for each the mask (rejected, prompt + rejected) of its rejected response."""

    spans: list[Span]
    masks: list[torch.Tensor]


@dataclass(frozen=True)
class Varlen:
    """A row as FlashAttention's unequal sequences: queries as they lie, keys gathered from the row by `keys` (K,)."""

    keys: torch.Tensor
    query_starts: torch.Tensor  # (2 · pairs + 1,), int32, as is key_starts
    key_starts: torch.Tensor
    longest_query: int
    longest_key: int


def run_packed(model: torch.nn.Module, batch: dict[str, Any], path: str) -> Any:
    """The output of `model`, as the trainer wrapped it, for a packed micro-batch: the one place that calls it."""
    ids = batch["input_ids"]
    dtype = compute_dtype(ids.device, next(model.parameters()).dtype)
    # Without a 4D mask transformers would look into position_ids for packed sequences, and wait for the device.
    unused = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=ids.device)
    seen = {
        "branches": lambda: {"branches": lay_branches(batch["spans"], ids.device, dtype), "attention_mask": unused},
        "varlen": lambda: {"varlen": lay_varlen(batch["spans"], ids.device), "attention_mask": unused},
        "masked": lambda: {"attention_mask": dense_mask(batch["spans"], ids.shape[1], ids.device)},
    }[path]()
    return model(input_ids=ids, position_ids=batch["position_ids"], use_cache=False, **seen)


def lay_branches(spans: list[Span], device: torch.device, dtype: torch.dtype = torch.float32) -> Branches:
    """The masks are sums to add, in the `dtype` of the queries: SDPA would turn booleans into such in every layer."""
    masks = []
    for span in spans:
        hidden = torch.full((span.rejected, span.prompt + span.rejected), -torch.inf, dtype=dtype, device=device)
        masks.append(hidden.triu(span.prompt + 1))
    return Branches(spans, masks)


def compute_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What SDPA computes in where the weights are `dtype`."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else dtype


def lay_varlen(spans: list[Span], device: torch.device) -> Varlen:
    """Two sequences a pair: prompt + chosen sees itself; rejected sees the prompt and itself, aligned at its end."""
    keys, queries, lengths = [], [], []
    for span in spans:
        keys += [*range(span.start, span.branch), *range(span.start, span.start + span.prompt)]
        keys += range(span.branch, span.end)
        queries += [span.prompt + span.chosen, span.rejected]
        lengths += [span.prompt + span.chosen, span.prompt + span.rejected]
    starts = [torch.tensor([0, *counts]).cumsum(0).to(device, torch.int32) for counts in (queries, lengths)]
    return Varlen(torch.tensor(keys, device=device), *starts, max(queries), max(lengths))


def dense_mask(spans: list[Span], length: int, device: torch.device) -> torch.Tensor:
    """Boolean mask (1, 1, L, L), True where the query (dim 2) may attend to the key (dim 3)."""
    mask = torch.zeros(length, length, dtype=torch.bool, device=device)
    for span in spans:
        whole, chosen = slice(span.start, span.end), slice(span.start + span.prompt, span.branch)
        mask[whole, whole] = True
        mask[span.branch : span.end, chosen] = False
    return mask.tril()[None, None]


def attend_branches(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    branches: Branches | None = None,
    **extra: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: query (1, H, L, D), key and value (1, KV, L, D) → (1, L, H, D)."""
    refuse_what_is_not_computed(module, branches, extra)
    if query.device.type != "cpu":  # CUDA's kernel for masks has no grouped queries
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    options = {"scale": scaling, "dropout_p": dropout, "enable_gqa": query.shape[1] != key.shape[1]}
    # By split and cat: the gradient of a slice would be a row of zeros as long as the whole, for each pair and layer.
    queries = iter(query.split([n for span in branches.spans for n in (span.prompt + span.chosen, span.rejected)], 2))
    sizes = [n for span in branches.spans for n in (span.prompt, span.chosen, span.rejected)]
    pieces = iter(zip(key.split(sizes, 2), value.split(sizes, 2), strict=True))
    parts = []
    for mask in branches.masks:
        prompt, chosen, rejected = next(pieces), next(pieces), next(pieces)
        for mine, own_mask in ((chosen, None), (rejected, mask)):
            keys, values = (torch.cat(both, 2) for both in zip(prompt, mine, strict=True))
            seen = {"attn_mask": own_mask, "is_causal": own_mask is None}
            parts.append(F.scaled_dot_product_attention(next(queries), keys, values, **seen, **options))
    return torch.cat(parts, 2).transpose(1, 2), None


def attend_varlen(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    varlen: Varlen | None = None,
    **extra: Any,
) -> tuple[torch.Tensor, None]:
    """As attend_branches, through one call of FlashAttention, whose causal mask is aligned at the ends of both."""
    from torch.nn.attention import varlen as flash

    refuse_what_is_not_computed(module, varlen, extra, dropout)
    # Autocast does not know this kernel: with fp32 weights RoPE hands over fp32 queries beside bf16 values.
    dtype = compute_dtype(value.device, value.dtype)
    rows = [x[0].transpose(0, 1).to(dtype) for x in (query, key, value)]  # (L, H, D)
    out = flash.varlen_attn(
        rows[0],
        rows[1][varlen.keys],
        rows[2][varlen.keys],
        varlen.query_starts,
        varlen.key_starts,
        varlen.longest_query,
        varlen.longest_key,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=True,
    )
    return out[None], None


def refuse_what_is_not_computed(module: Any, layout: Any, extra: dict[str, Any], dropout: float = 0.0) -> None:
    """UserError where a model asks its attention for more than these paths compute; never another result in silence."""
    if layout is None:
        raise UserError(
            f"{type(module).__name__} does not hand the layout of the pairs on to its attention. Set attention: masked."
        )
    asked = {name: extra.get(name) for name in ("softcap", "s_aux")}  # a sliding window: use_path
    if dropout:
        asked["attention_dropout"] = dropout
    for name, value in asked.items():
        if value is not None:
            raise UserError(
                f"{type(module).__name__} uses {name}, which attention over shared prompts does not compute. "
                "Choose a model without it."
            )


AttentionInterface.register(PATHS["branches"], attend_branches)
AttentionInterface.register(PATHS["varlen"], attend_varlen)


def use_path(model: Any, path: str, longest: int, device: torch.device) -> None:
    """Let `model` attend by `path` over branches of at most `longest` tokens, on `device`.

    UserError where its layers compute something else than full attention over that length, or the path cannot be.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    others = kinds - {"full_attention", "sliding_attention"}
    window = (
        getattr(config, "sliding_window", None)
        if kinds != {"full_attention"} or not hasattr(config, "layer_types")
        else None
    )
    if others or (window is not None and window < longest):
        what = ", ".join(sorted(others)) or f"a sliding window of {window} tokens, and the longest pair has {longest}"
        raise UserError(
            f"{config.model_type} has layers of {what}; shared prompts need full attention in every layer. "
            + ("Choose another model." if others else f"Set max_length {window}.")
        )
    if path == "varlen":
        check_varlen(device)
    model.set_attn_implementation(PATHS[path])
    if config._attn_implementation != PATHS[path]:  # transformers only warns
        raise UserError(
            f"{config.model_type} does not take its attention from transformers' AttentionInterface, which shared prompts "
            "need. Choose another model."
        )


def check_varlen(device: torch.device, attend: Callable = attend_varlen) -> None:
    """WorkError unless `attend` gives the output and gradients of attend_branches in bf16 on this device."""
    if device.type != "cuda":
        raise UserError(
            f"attention: varlen needs a CUDA device; this run is on {device.type}. Set attention: branches."
        )
    spans = [Span(0, 70, 130, 33), Span(233, 1, 1, 90), Span(325, 40, 5, 1)]
    made = torch.Generator(device).manual_seed(0)
    states = [
        torch.randn(1, heads, spans[-1].end, 64, device=device, generator=made, dtype=torch.bfloat16)
        for heads in (8, 2, 2, 8)
    ]
    try:
        ours = _with_gradients(attend, states, varlen=lay_varlen(spans, device))
    except RuntimeError as error:
        raise WorkError(f"attention: varlen cannot run on this device ({error}). Set attention: branches.") from None
    exact = _with_gradients(attend_branches, states, branches=lay_branches(spans, device))
    for name, one, other in zip(("output", "query", "key", "value"), ours, exact, strict=True):
        error = ((one - other).abs().max() / other.abs().max()).item()
        if not error <= VARLEN_TOLERANCE:
            raise WorkError(
                f"attention: varlen differs on this device by {error:.3f} in the {name}'s values or gradient "
                f"(tolerance {VARLEN_TOLERANCE}). Set attention: branches."
            )


def _with_gradients(attend: Callable, states: list[torch.Tensor], **layout: Any) -> list[torch.Tensor]:
    """Output (1, L, H, D) and the gradients of query, key and value for the last of `states` as the output's gradient."""
    inputs = [state.clone().requires_grad_() for state in states[:3]]
    out = attend(torch.nn.Module(), *inputs, None, **layout)[0]
    return [out.detach(), *torch.autograd.grad(out, inputs, states[3].transpose(1, 2))]
