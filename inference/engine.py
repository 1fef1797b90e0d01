"""Generation and scoring with a transformers model: what the front ends and the evaluation talk to."""

from collections.abc import Collection, Iterator, Sequence
from importlib.metadata import version

import numpy
import torch

from command import UserError
from inference.answers import CUT, Answer, Piece
from inference.chat_format import encode_chat
from inference.decoding import Decoder, Kept, Row, begun, resumed
from inference.noise import random_stream
from inference.rules import GREEDY, Sampling, context_of, stop_token_ids
from inference.sampling import Sampler

SCORED_TOKENS = 2048  # at most so many tokens in a batch of log_probs: 0.4 GB of logits at 49,152 words


class Engine:
    """Generation and scoring with one model. Greedy at temperature 0; else each answer has a random stream of its own, drawn
    from (seed, index). In fp32 it depends neither on the batch size nor on its neighbours (inference/decoding.py says why, and
    within which limits); in bf16, fp16 and quantised, near-ties may turn."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        config = model.config.to_dict()
        self.stop_ids = frozenset(stop_token_ids(model.generation_config.to_dict(), config, tokenizer))
        self.context = context_of(config)
        self._kept: Kept | None = None  # of the last stream
        kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise UserError(
                f"the engine serves models with full attention in every layer; this one has {sorted(kinds)}"
            )

    def made_by(self) -> dict[str, str]:
        """The libraries whose versions an answer's record tells."""
        return {name: version(name) for name in ("torch", "transformers", "numpy")}

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
        drawn = sampling.temperature > 0
        rows = [
            self._row(i, conversations[i], budgets[i], random_stream(seed, numbers[i]) if drawn else None)
            for i in indices
        ]
        self._kept = None
        decoder = Decoder(self.model, self.stop_ids, Sampler(sampling))
        for stepped in decoder.run(rows, batch_size, begun(self.model, rows)):
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
        """Yield one answer in pieces of whole characters; together they are the text of `generate`'s answer. The last one says why
        it ended. What it shares with the last stream's conversation and answer is not computed again. It may be closed, or
        interrupted, at any time."""
        row = self._row(0, conversation, max_new_tokens, random_stream(seed, 0) if sampling.temperature > 0 else None)
        shared, self._kept = resumed(self._kept, row.prompt), None  # the old cache is freed before the new one grows
        decoder = Decoder(self.model, self.stop_ids, Sampler(sampling))
        try:
            yield from self._pieces(row, decoder.run([row], 1, shared))
        finally:
            self._kept = Kept.of(row, decoder.cache)

    def _pieces(self, row: Row, steps: Iterator[list[Row]]) -> Iterator[Piece]:
        known, told = 0, 0  # token_ids[known:told] is context that was already yielded
        for _ in steps:
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

    def _row(self, index: int, conversation: list[dict], budget: int, random: numpy.random.Generator | None) -> Row:
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
