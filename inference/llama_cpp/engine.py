"""Answers of a GGUF file by llama.cpp, with the rules that every front end here keeps (inference/rules.py).

Prompts go to it as token ids, so what users type stays text; an answer ends at the file's own stop tokens and at no other;
tokens are drawn as transformers draws them, in its order, not in llama.cpp's. llama.cpp comes with the optional package
xllamacpp and runs in a process of its own.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from command import UserError
from inference.answers import CUT, Answer, Piece
from inference.chat_format import encode_chat
from inference.llama_cpp.process import LlamaCppProcess
from inference.loading import Source, fetch, load_tokenizer
from inference.rules import GREEDY, Sampling, read_rules

CHAT_TOKENS = 4096  # of a conversation, before a longer one makes room for itself: 0.5 GB for an 8B Llama 3
PAGE = 256  # llama.cpp rounds a slot's tokens up to these
MOST_SLOTS = 256  # llama.cpp's LLAMA_MAX_SEQ
RANDOM_SEED = 2**32 - 1  # to llama.cpp, this one means any


def available() -> bool:
    """Whether llama.cpp is installed."""
    return find_spec("xllamacpp") is not None


@dataclass(frozen=True)
class Prompt:
    """What is asked of llama.cpp for one answer."""

    index: int
    token_ids: list[int]
    budget: int  # tokens that the answer may have
    sampling: Sampling
    draw: str  # names its random stream


class LlamaCppEngine:
    """Generation with a GGUF file in llama.cpp; the interface is that of inference.engine.Engine, without `log_probs`.

    An answer's random stream is its own, drawn from (seed, index), and no prompt is taken from another's cache. What is left
    between one answer at a time and several is rounding: llama.cpp multiplies a batch in another order than a row, and which
    answers share a batch is a matter of timing.
    """

    def __init__(self, source: Source):
        if not available():
            raise UserError("llama.cpp is not installed: pip install xllamacpp, or use --runtime transformers.")
        self.tokenizer = load_tokenizer(source)
        self.rules = read_rules(source, self.tokenizer)
        self.stop_ids, self.context = frozenset(self.rules.stop_ids), self.rules.context
        self._source, self._process = source, None
        self._serve(1, CHAT_TOKENS)

    def made_by(self) -> dict[str, str]:
        """The libraries whose versions an answer's record tells."""
        return {name: version(name) for name in ("xllamacpp", "transformers")}

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
        """As Engine's. `batch_size` answers are made at a time, MOST_SLOTS at most. Closing the iterator ends llama.cpp's work at once."""
        count = len(conversations)
        budgets = [max_new_tokens] * count if isinstance(max_new_tokens, int) else max_new_tokens
        numbers = range(count) if streams is None else streams
        indices = range(count) if only is None else sorted(only)
        prompts = [self._prompt(i, conversations[i], budgets[i], sampling, f"{seed}:{numbers[i]}") for i in indices]
        if not prompts:
            return
        prompts.sort(key=lambda prompt: -len(prompt.token_ids))
        slots = min(batch_size, len(prompts), MOST_SLOTS)
        process = self._serve(slots, max(len(prompt.token_ids) + prompt.budget for prompt in prompts))
        pool = ThreadPoolExecutor(slots)
        whole = False
        try:
            for done in as_completed([pool.submit(self._answer, process, prompt) for prompt in prompts]):
                yield done.result()
            whole = True
        finally:
            if not whole:
                process.stop()
            pool.shutdown(cancel_futures=True)

    def _answer(self, process: LlamaCppProcess, prompt: Prompt) -> Answer:
        ids: list[int] = []
        while True:
            told = process.ask(
                self._request(prompt, ids)
                | {"return_tokens": True, "cache_prompt": False, "stop": list(self.rules.stop_texts)}
            )
            ids += told["tokens"]
            stop = next((place for place, token in enumerate(ids) if token in self.stop_ids), None)
            if stop is not None:
                ids = ids[:stop]
            if stop is not None or told["stop_type"] == "limit" or len(ids) >= prompt.budget:
                text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
                return Answer(prompt.index, text.rstrip(CUT), ids, "length" if stop is None else "stop")

    def stream(
        self,
        conversation: list[dict],
        *,
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        seed: int = 0,
    ) -> Iterator[Piece]:
        """Yield one answer in pieces of whole characters; the last one says why it ended. Closing the iterator ends the work.

        What llama.cpp remembers of the conversation's beginning is not computed again.
        """
        prompt = self._prompt(0, conversation, max_new_tokens, sampling, f"{seed}:0")
        process = self._serve(1, len(prompt.token_ids) + prompt.budget)
        made: list[int] = []
        broken = ""  # characters that are told only if the answer goes on behind them, as generate() has it
        while len(made) < max_new_tokens:
            request = self._request(prompt, made) | {"return_tokens": True}
            with closing(process.stream(request)) as events:
                for event in events:
                    if self.stop_ids.intersection(event["tokens"]):
                        yield Piece("", "stop")
                        return
                    text = broken + event["content"]
                    broken = text[len(text.rstrip(CUT)) :]
                    if text != broken:
                        yield Piece(text.removesuffix(broken), None)
            if event["stop_type"] == "limit":
                break
            # llama.cpp stopped at a token that is none of our stops; of half a character it tells no token, so it is asked again
            made += process.ask(request | {"n_predict": event["tokens_predicted"]})["tokens"]
        yield Piece("", "length")

    def _request(self, prompt: Prompt, made: list[int]) -> dict[str, Any]:
        """What llama.cpp is asked, `made` being what it answered before it stopped at a token that is none of our stops."""
        return {
            "prompt": prompt.token_ids + made,
            "n_predict": prompt.budget - len(made),
            "seed": _seed(f"{prompt.draw}:{len(made)}"),
            "preserved_tokens": list(
                self.rules.stop_texts
            ),  # so that they are told at once, even behind half a character
            "repeat_last_n": len(prompt.token_ids) + prompt.budget,  # transformers looks back to the beginning
            **_samplers(prompt.sampling),
        }

    def _prompt(self, index: int, conversation: list[dict], budget: int, sampling: Sampling, draw: str) -> Prompt:
        if budget < 1:
            raise UserError(f"max_new_tokens {budget} must be 1 or more")
        ids = encode_chat(self.tokenizer, conversation)
        if self.context and len(ids) + budget > self.context:
            raise UserError(
                f"conversation {index} has {len(ids)} tokens and the answer may have {budget}; "
                f"the model's context is {self.context}. Shorten it or lower --max-new-tokens."
            )
        return Prompt(index, ids, budget, sampling, draw)

    def _serve(self, slots: int, tokens: int) -> LlamaCppProcess:
        """A process with room for `slots` answers at a time of `tokens` tokens each: the one there is, or a new one."""
        old = self._process
        if old is not None and old.alive and old.slots >= slots and old.slot_tokens >= tokens:
            return old
        if old is not None:
            old.stop()
        if slots == 1:
            tokens = max(tokens, CHAT_TOKENS)
        tokens = -(-min(tokens, self.context or tokens) // PAGE) * PAGE
        self._process = LlamaCppProcess(fetch(self._source), self._source.spec, slots, tokens)
        return self._process


def _seed(draw: str) -> int:
    return int.from_bytes(hashlib.sha256(draw.encode()).digest()[:8]) % RANDOM_SEED


def _samplers(sampling: Sampling) -> dict[str, Any]:
    """llama.cpp's words for a Sampling, in transformers' order; all that the file may carry of its own is overridden."""
    greedy = sampling.temperature == 0
    return {
        "samplers": ["penalties", "top_k"] if greedy else ["penalties", "temperature", "top_k", "top_p", "min_p"],
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "temperature": 1.0 if greedy else sampling.temperature,
        "dynatemp_range": 0.0,
        "top_k": 1 if greedy else sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "min_keep": 0,
        "mirostat": 0,
        "n_probs": 0,
        "logit_bias": [],
        "ignore_eos": False,
    }
