"""Batched generation over a transformers model: one preallocated cache, finished rows replaced by waiting prompts.

The beginning that all prompts of a call share (the system message, the template's header) is computed once.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import torch
from transformers import DynamicCache

from command import UserError
from inference.chat_format import encode_chat
from inference.rules import GREEDY, Sampling, stop_token_ids
from inference.sampling import Sampler, random_stream
from inference.slot_cache import SlotCache

SCORED_TOKENS = 2048  # at most so many tokens in a batch of log_probs: 0.4 GB of logits at 49,152 words
CUT = "\N{REPLACEMENT CHARACTER}"  # what a tokenizer makes of a character of which bytes are missing
WORTH_SHARING = 8  # tokens; a shorter common beginning is computed with each prompt
SLACK = 64  # columns beyond the longest row, so that the cache is shifted left once in so many steps


@dataclass(frozen=True)
class Answer:
    """One answer. The stop token is in neither `text` nor `token_ids`."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: str  # "stop" | "length"

    @property
    def tokens(self) -> int:
        """How long the answer is."""
        return len(self.token_ids)


@dataclass(frozen=True)
class Piece:
    """Some characters of an answer that is being made; `finish_reason` is None until the last."""

    text: str
    finish_reason: str | None  # "stop" | "length"


@dataclass
class Row:
    """A prompt on its way through the batch."""

    index: int
    prompt: list[int]
    budget: int  # tokens that the answer may have
    random: torch.Generator | None
    start: int = 0  # its first column in the cache
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None


class Engine:
    """Generation and scoring with one model. Greedy at temperature 0; else each answer has a random stream of its own,
    drawn from (seed, index). So it depends neither on the batch size nor on its neighbours, but for rounding: a batch of another
    shape adds in another order, which can turn a near-tie (in fp32 about 1 of 20,000 sampled tokens; in bf16 more)."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.stop_ids = frozenset(stop_token_ids(model.generation_config.to_dict(), model.config.to_dict(), tokenizer))
        self.context = getattr(model.config, "max_position_embeddings", None)
        kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise UserError(
                f"the engine serves models with full attention in every layer; this one has {sorted(kinds)}"
            )

    def made_by(self) -> dict[str, str]:
        """The libraries whose versions an answer's record tells."""
        return {name: version(name) for name in ("torch", "transformers")}

    def generate(
        self,
        conversations: list[list[dict]],
        *,
        max_new_tokens: int | Sequence[int],
        sampling: Sampling = GREEDY,
        seed: int = 0,
        batch_size: int = 32,
        only: Collection[int] | None = None,
        streams: Sequence[int] | None = None,
    ) -> Iterator[Answer]:
        """Yield the answers as they finish, `index` into `conversations`; with `only`, just those indices.

        `max_new_tokens` is one for all, or one for each conversation. `streams` are the numbers that stand for the indices
        where a random stream is drawn. UserError names a conversation that does not fit the context, before any is answered.
        """
        count = len(conversations)
        budgets = [max_new_tokens] * count if isinstance(max_new_tokens, int) else max_new_tokens
        numbers = range(count) if streams is None else streams
        indices = range(count) if only is None else sorted(only)
        rows = [
            self._row(
                i, conversations[i], budgets[i], random_stream(seed, numbers[i]) if sampling.temperature > 0 else None
            )
            for i in indices
        ]
        for stepped in self._decode(rows, Sampler(sampling), batch_size):
            for row in stepped:
                if row.finish_reason:
                    yield Answer(row.index, self._decoded(row.token_ids).rstrip(CUT), row.token_ids, row.finish_reason)

    def stream(
        self,
        conversation: list[dict],
        *,
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        seed: int = 0,
    ) -> Iterator[Piece]:
        """Yield one answer in pieces of whole characters; together they are the text of `generate`'s answer. The last one says why it ended."""
        row = self._row(0, conversation, max_new_tokens, random_stream(seed, 0) if sampling.temperature > 0 else None)
        known, told = 0, 0  # token_ids[known:told] is context that was already yielded
        for _ in self._decode([row], Sampler(sampling), 1):
            text = self._decoded(row.token_ids[known:])
            if row.finish_reason or not text.endswith(CUT):
                new = text.rstrip(CUT)[len(self._decoded(row.token_ids[known:told])) :]
                known, told = told, len(row.token_ids)
                if new or row.finish_reason:
                    yield Piece(new, row.finish_reason)

    @torch.inference_mode()
    def log_probs(self, texts: list[str], batch_size: int = 8) -> Iterator[tuple[int, float, int]]:
        """Yield (index into `texts`, sum of natural-log probabilities, number of scored tokens) as batches finish, long texts first.

        A text is preceded by nothing, so its first token is not scored; logits are taken in fp32.
        """
        encoded = [self.tokenizer.encode(text, add_special_tokens=False) for text in texts]
        for index, ids in enumerate(encoded):
            self._check_length(len(ids), 0, f"text {index}")
        order = sorted((i for i, ids in enumerate(encoded) if len(ids) > 1), key=lambda i: len(encoded[i]))
        for index, ids in enumerate(encoded):
            if len(ids) < 2:
                yield index, 0.0, 0
        while order:
            rows = min(batch_size, max(1, SCORED_TOKENS // len(encoded[order[-1]])))
            order, batch = order[:-rows], order[-rows:]
            for index, log_prob in zip(batch, self._score([encoded[i] for i in batch]), strict=True):
                yield index, log_prob, len(encoded[index]) - 1

    def _score(self, texts: list[list[int]]) -> list[float]:
        """Sum of log p(token | tokens before) of each text. Right padding: causal attention never looks there."""
        width = max(map(len, texts))
        ids = torch.tensor([text + [0] * (width - len(text)) for text in texts], device=self.model.device)
        logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        scores = logits.gather(2, ids[:, 1:, None])[..., 0] - logits.logsumexp(2)
        return [row[: len(text) - 1].double().sum().item() for row, text in zip(scores, texts, strict=True)]

    def _row(self, index: int, conversation: list[dict], budget: int, random: torch.Generator | None) -> Row:
        if budget < 1:
            raise UserError(f"max_new_tokens {budget} must be 1 or more")
        prompt = encode_chat(self.tokenizer, conversation)
        self._check_length(len(prompt), budget, f"conversation {index}")
        return Row(index, prompt, budget, random)

    def _check_length(self, length: int, max_new_tokens: int, what: str) -> None:
        if self.context and length + max_new_tokens > self.context:
            answer = f" and the answer may have {max_new_tokens}" if max_new_tokens else ""
            raise UserError(
                f"{what} has {length} tokens{answer}; the model's context is {self.context}. Shorten it or lower --max-new-tokens."
            )

    def _decoded(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _decode(self, rows: list[Row], sampler: Sampler, batch_size: int) -> Iterator[list[Row]]:
        """Yield, step by step, the rows that got a token or finished in it. Longest prompts first: a later one always fits."""
        waiting = deque(sorted(rows, key=lambda row: -len(row.prompt)))
        if not waiting:
            return
        longest = len(waiting[0].prompt)
        cache, active = SlotCache(min(batch_size, len(rows)), longest + max(row.budget for row in rows) + SLACK), []
        cache.clock, shared = longest, self._share(rows)
        while waiting or active:
            joining = [waiting.popleft() for _ in range(min(cache.rows - len(active), len(waiting)))]
            if joining:
                logits = self._prefill(joining, shared, cache, len(active))
                active += joining
            else:
                joining, logits = active, self._step(active, cache)
            self._take(joining, sampler(logits, [row.random for row in joining]))
            yield joining
            active = self._leave(active, cache)

    @torch.inference_mode()
    def _share(self, rows: list[Row]) -> DynamicCache:
        """Keys and values of the longest beginning that all prompts share, of one row; empty if there is little to share."""
        shared = DynamicCache()
        low, high = min(row.prompt[:-1] for row in rows), max(row.prompt[:-1] for row in rows)
        alike = next((place for place, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), len(low))
        if len(rows) > 1 and alike >= WORTH_SHARING:
            ids = torch.tensor([rows[0].prompt[:alike]], device=self.model.device)
            self.model(input_ids=ids, past_key_values=shared, use_cache=True, logits_to_keep=1)
        return shared

    @torch.inference_mode()
    def _prefill(self, rows: list[Row], shared: DynamicCache, cache: SlotCache, slot: int) -> torch.Tensor:
        """Run new prompts from where they differ, left-padded, and copy them into the cache. Logits (rows, vocabulary)."""
        known, device = shared.get_seq_length(), self.model.device
        width = max(len(row.prompt) for row in rows) - known
        pads = [width + known - len(row.prompt) for row in rows]
        ids = torch.tensor([[0] * pad + row.prompt[known:] for pad, row in zip(pads, rows, strict=True)], device=device)
        prefilled = DynamicCache()
        for number, layer in enumerate(shared.layers):
            prefilled.update(*(new.expand(len(rows), -1, -1, -1) for new in (layer.keys, layer.values)), number)
        left, columns = torch.tensor(pads, device=device)[:, None], torch.arange(width, device=device)[None]
        output = self.model(
            input_ids=ids,
            attention_mask=self._prefill_mask(left, columns, known) if any(pads) else None,
            position_ids=known + (columns - left).clamp(min=0),
            past_key_values=prefilled,
            use_cache=True,
            logits_to_keep=1,
        )
        for row in rows:
            row.start = cache.clock - len(row.prompt)
        cache.join(prefilled, known, slot, [row.start for row in rows])
        return output.logits[:, -1].float()

    @staticmethod
    def _prefill_mask(left: torch.Tensor, columns: torch.Tensor, known: int) -> torch.Tensor:
        """True where a query may look, (rows, 1, width, known + width). A pad looks at itself: a row without a True is NaN."""
        seen = (columns >= left)[:, None, :] & (columns <= columns.T)
        seen = seen | torch.eye(columns.shape[1], dtype=torch.bool, device=left.device)
        return torch.nn.functional.pad(seen, (known, 0), value=True)[:, None]

    @torch.inference_mode()
    def _step(self, active: list[Row], cache: SlotCache) -> torch.Tensor:
        """Run the last token of each row. Next-token logits, (rows, vocabulary)."""
        cache.first = min(row.start for row in active)
        if cache.clock == cache.columns:
            self._shift(active, cache)
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

    @staticmethod
    def _shift(active: list[Row], cache: SlotCache) -> None:
        columns = cache.first
        cache.shift(columns)
        cache.first = 0
        for row in active:
            row.start -= columns

    def _take(self, rows: list[Row], tokens: list[int]) -> None:
        for row, token in zip(rows, tokens, strict=True):
            if token in self.stop_ids:
                row.finish_reason = "stop"
                continue
            row.token_ids.append(token)
            if len(row.token_ids) == row.budget:
                row.finish_reason = "length"

    @staticmethod
    @torch.inference_mode()
    def _leave(active: list[Row], cache: SlotCache) -> list[Row]:
        """Drop finished rows; the last row of the cache moves into each gap."""
        active = list(active)
        for slot in reversed(range(len(active))):
            if active[slot].finish_reason:
                last = active.pop()
                if slot < len(active):
                    cache.move(len(active), slot, last.start)
                    active[slot] = last
        return active
