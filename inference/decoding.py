"""The running batch: one preallocated cache, finished rows replaced by waiting prompts, each token chosen so that the batch
does not matter.

A batch of another shape adds in another order, so its logits differ in their last bits, which can turn a near-tie. In fp32 a
choice that leads by no more than SLACK is therefore made again, on logits that no batch can touch: those of one forward of
that row alone, prompt and answer so far, without a cache. While batches put less than SLACK between two logits, every other
choice is the one that those logits would have given too; so the tokens are theirs, whatever the batch. (Seen on the demo
model: up to 8e-5, in 216 rows of batches of 1 to 24; benchmarks/batch_invariance.py measures it.) A forward itself may change in
its last bits with the number of threads, the machine and the version of torch. In bf16, fp16 and quantised, where rounding is a
thousand times coarser, nothing is made again.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import DynamicCache

from inference.sampling import Sampler
from inference.slot_cache import SlotCache

SLACK = 1e-3  # of a logit
WORTH_SHARING = 8  # tokens; a shorter common beginning is computed with each prompt
ROOM = 64  # columns beyond the longest prompt at first, and by which the cache is shifted left at least
PREFILL_TOKENS = 4096  # prompts that join at once, padding counted; a longer one joins alone


@dataclass
class Row:
    """A prompt on its way through the batch."""

    index: int
    prompt: list[int]
    budget: int  # tokens that the answer may have
    random: np.random.Generator | None
    start: int = -1  # its first column in the cache, once it is there
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def text(self) -> list[int]:
        """Prompt and answer so far."""
        return self.prompt + self.token_ids


class Decoder:
    """One run of rows through a model."""

    def __init__(self, model, stop_ids: frozenset[int], sampler: Sampler):
        self.model, self.stop_ids, self.sampler = model, stop_ids, sampler
        exact = model.dtype == torch.float32 and getattr(model, "hf_quantizer", None) is None
        self.slack = SLACK if exact else 0.0
        self.cache = SlotCache(0, 0)

    def run(self, rows: Sequence[Row], batch_size: int, shared: DynamicCache) -> Iterator[list[Row]]:
        """Yield, step by step, the rows that got a token or finished in it. Longest prompts first: a later one always fits.

        `shared`: keys and values of the beginning that all prompts have in common.
        """
        waiting = deque(sorted(rows, key=lambda row: -len(row.prompt)))
        if not waiting:
            return
        longest, active = len(waiting[0].prompt), []
        self.cache = SlotCache(min(batch_size, len(rows)), longest + ROOM)
        self.cache.clock = longest
        while waiting or active:
            joining = self._joining(waiting, self.cache.rows - len(active), shared.get_seq_length())
            if joining:
                logits = self._prefill(joining, shared, len(active))
                active += joining
            else:
                joining, logits = active, self._step(active)
            self._take(joining, self._choose(joining, logits))
            yield joining
            active = self._leave(active)

    @staticmethod
    def _joining(waiting: deque[Row], free: int, known: int) -> list[Row]:
        """The next rows, as many as there are places for and PREFILL_TOKENS allows."""
        if not waiting or not free:
            return []
        fitting = max(1, PREFILL_TOKENS // (len(waiting[0].prompt) - known))
        return [waiting.popleft() for _ in range(min(free, len(waiting), fitting))]

    @torch.inference_mode()
    def _prefill(self, rows: list[Row], shared: DynamicCache, slot: int) -> torch.Tensor:
        """Run new prompts from where they differ, left-padded, and copy them into the cache. Logits (rows, vocabulary)."""
        known, device, cache = shared.get_seq_length(), self.model.device, self.cache
        width = max(len(row.prompt) for row in rows) - known
        pads = [width + known - len(row.prompt) for row in rows]
        ids = torch.tensor([[0] * pad + row.prompt[known:] for pad, row in zip(pads, rows, strict=True)], device=device)
        prefilled = DynamicCache()
        for number, layer in enumerate(shared.layers):
            prefilled.update(*(new.expand(len(rows), -1, -1, -1) for new in (layer.keys, layer.values)), number)
        left, columns = torch.tensor(pads, device=device)[:, None], torch.arange(width, device=device)[None]
        output = self.model(
            input_ids=ids,
            attention_mask=_prefill_mask(left, columns, known) if any(pads) else None,
            position_ids=known + (columns - left).clamp(min=0),
            past_key_values=prefilled,
            use_cache=True,
            logits_to_keep=1,
        )
        starts = [cache.clock - len(row.prompt) for row in rows]
        cache.join(prefilled, known, slot, starts)
        for row, start in zip(rows, starts, strict=True):
            row.start = start
        return output.logits[:, -1].float()

    @torch.inference_mode()
    def _step(self, active: list[Row]) -> torch.Tensor:
        """Run the last token of each row. Next-token logits, (rows, vocabulary)."""
        cache = self.cache
        cache.first = min(row.start for row in active)
        if cache.clock == cache.columns:
            self._make_room(active)
        starts = torch.tensor([row.start for row in active], device=self.model.device)
        columns = torch.arange(cache.first, cache.clock + 1, device=self.model.device)
        ids = torch.tensor([[row.token_ids[-1]] for row in active], device=self.model.device)
        output = self.model(
            input_ids=ids,
            attention_mask=(columns[None, :] >= starts[:, None])[:, None, None],
            position_ids=cache.clock - starts[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        cache.clock += 1
        return output.logits[:, -1].float()

    def _make_room(self, active: list[Row]) -> None:
        """Shift what is in use to the left; where that gains little, make the cache longer by half."""
        gained = self.cache.first
        if gained < ROOM:
            self.cache.lengthen(self.cache.columns // 2 + ROOM)
            return
        self.cache.shift(gained)
        self.cache.first = 0
        for row in active:
            row.start -= gained

    def _choose(self, rows: list[Row], logits: torch.Tensor) -> list[int]:
        """A token for each row; where a near-tie leaves it open, by the logits of the row alone."""
        noise = self.sampler.noise([row.random for row in rows], logits.shape[1])
        texts = [row.text for row in rows]
        tokens, sure = self.sampler.choose(logits, noise, texts, self.slack)
        for place in (place for place, known in enumerate(sure) if not known):
            own = slice(place, place + 1)
            drawn = None if noise is None else noise[own]
            found, _ = self.sampler.choose(self._logits_alone(texts[place]), drawn, texts[own])
            tokens[place] = found[0]
        return tokens

    @torch.inference_mode()
    def _logits_alone(self, text: list[int]) -> torch.Tensor:
        """Next-token logits (1, vocabulary) of a text by itself: they depend on nothing else in the run."""
        ids = torch.tensor([text], device=self.model.device)
        return self.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].float()

    def _take(self, rows: list[Row], tokens: list[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            if token in self.stop_ids:
                row.finish_reason = "stop"
                continue
            row.token_ids.append(token)
            if len(row.token_ids) == row.budget:
                row.finish_reason = "length"

    @torch.inference_mode()
    def _leave(self, active: list[Row]) -> list[Row]:
        """Drop finished rows; the last row of the cache moves into each gap."""
        active = list(active)
        for slot in reversed(range(len(active))):
            if active[slot].finish_reason:
                last = active.pop()
                if slot < len(active):
                    self.cache.move(len(active), slot, last.start)
                    active[slot] = last
        return active


def _prefill_mask(left: torch.Tensor, columns: torch.Tensor, known: int) -> torch.Tensor:
    """True where a query may look, (rows, 1, width, known + width). A pad looks at itself: a row without a True is NaN."""
    seen = (columns >= left)[:, None, :] & (columns <= columns.T)
    seen = seen | torch.eye(columns.shape[1], dtype=torch.bool, device=left.device)
    return torch.nn.functional.pad(seen, (known, 0), value=True)[:, None]


@dataclass(frozen=True)
class Kept:
    """The keys and values of one text, to begin another with."""

    text: list[int]
    layers: list[tuple[torch.Tensor, torch.Tensor]]  # (1, heads, tokens, dim) each

    @classmethod
    def of(cls, row: Row, cache: SlotCache) -> "Kept | None":
        """What a run of this one row has computed; None if its prompt was not finished."""
        if row.start < 0:
            return None
        layers = [tuple(stored[:1, :, row.start : cache.clock] for stored in layer) for layer in cache.layers]
        return cls(row.text[: cache.clock - row.start], layers)


@torch.inference_mode()
def resumed(kept: Kept | None, prompt: list[int]) -> DynamicCache:
    """A cache of what the prompt has in common with a kept text, all but its last token at most."""
    shared = DynamicCache()
    alike = common_length(kept.text, prompt[:-1]) if kept else 0
    for number, (keys, values) in enumerate(kept.layers if kept and alike >= WORTH_SHARING else ()):
        shared.update(keys[:, :, :alike], values[:, :, :alike], number)
    return shared


@torch.inference_mode()
def begun(model, rows: Sequence[Row]) -> DynamicCache:
    """A cache of the longest beginning that all prompts share; empty if there is little to share."""
    shared = DynamicCache()
    if len(rows) > 1:
        low, high = min(row.prompt[:-1] for row in rows), max(row.prompt[:-1] for row in rows)
        alike = common_length(low, high)
        if alike >= WORTH_SHARING:
            ids = torch.tensor([low[:alike]], device=model.device)
            model(input_ids=ids, past_key_values=shared, use_cache=True, logits_to_keep=1)
    return shared


def common_length(one: list[int], two: list[int]) -> int:
    """How many tokens at the beginning are the same."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((place for place, pair in pairs if pair[0] != pair[1]), min(len(one), len(two)))
