"""From a preference pair in words to token ids, by the model's own chat template and nothing else."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from command import UserError
from inference.loading import turn_terminator
from training.preferences import Pair


@dataclass(frozen=True)
class EncodedPair:
    """Token ids. `prompt` ends with the assistant header; both responses end with the turn's terminator."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def length(self) -> int:
        """Tokens of the prefix-shared layout [prompt][chosen][rejected]."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)

    @property
    def longest_branch(self) -> int:
        """Tokens of the prompt with the longer of the responses."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True)
class Encoding:
    """What came of the pairs: those that fit, and the count and places of those that were cut or dropped."""

    pairs: list[EncodedPair]
    kept: list[int]  # index into the pairs that were given
    dropped: Counter
    cut: Counter
    notes: list[str]


def encode_pairs(pairs: list[Pair], tokenizer: Any, max_length: int) -> Encoding:
    """Encode every pair; one whose prompt leaves no room for an answer is dropped, counted and named."""
    result = Encoding([], [], Counter(), Counter(), [])
    terminator = terminator_of(tokenizer)
    control = control_tokens(tokenizer)
    for index, pair in enumerate(pairs):
        refuse_control_tokens(pair, control)
        encoded = encode_pair(pair, tokenizer, terminator, max_length, result.cut)
        if isinstance(encoded, EncodedPair):
            result.pairs.append(encoded)
            result.kept.append(index)
        else:
            result.dropped["prompt fills max_length"] += 1
            result.notes.append(
                f"{pair.where}: prompt is {encoded:,} tokens; max_length {max_length:,} leaves no room for an answer. "
                "Raise max_length or drop the row."
            )
    return result


def encode_pair(pair: Pair, tokenizer: Any, terminator: int, max_length: int, cut: Counter) -> EncodedPair | int:
    """Token ids of a pair, each branch at most `max_length` tokens; the prompt's length where no answer would fit.

    The prompt loses its oldest turns first (never the system turn, the last turn or the assistant header); then both
    responses share what is left and keep their terminator.
    """
    chosen = response_ids(pair.chosen, tokenizer, terminator)
    rejected = response_ids(pair.rejected, tokenizer, terminator)
    messages = list(pair.prompt)
    prompt = prompt_ids(messages, tokenizer)
    while len(prompt) + max(len(chosen), len(rejected)) > max_length and (shorter := drop_oldest_turn(messages)):
        messages = shorter
        prompt = prompt_ids(messages, tokenizer)
    cut["prompts"] += len(messages) < len(pair.prompt)
    room = max_length - len(prompt)
    if room < 2:
        return len(prompt)
    cut["responses"] += (len(chosen) > room) + (len(rejected) > room)
    return EncodedPair(prompt, cut_response(chosen, room), cut_response(rejected, room))


def drop_oldest_turn(messages: list[dict[str, str]]) -> list[dict[str, str]] | None:
    """The conversation without its oldest exchange, keeping a system turn; None where only the last turn is left."""
    system = messages[:1] if messages[0]["role"] == "system" else []
    turns = messages[len(system) :]
    later = next((i for i in range(1, len(turns)) if turns[i]["role"] == "user"), None)
    return None if later is None else system + turns[later:]


def cut_response(tokens: list[int], room: int) -> list[int]:
    """At most `room` tokens, the last of them the terminator."""
    return tokens if len(tokens) <= room else [*tokens[: room - 1], tokens[-1]]


def prompt_ids(messages: list[dict[str, str]], tokenizer: Any) -> list[int]:
    """The prompt as it is served: the template with the assistant header, which alone decides about BOS."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def response_ids(text: str, tokenizer: Any, terminator: int) -> list[int]:
    """A response as a model emits it after the assistant header: its text, stripped as templates do, and the terminator."""
    return [*tokenizer(text.strip(), add_special_tokens=False)["input_ids"], terminator]


def terminator_of(tokenizer: Any) -> int:
    """The control token that the chat template puts after an assistant turn. UserError if there is none."""
    if not tokenizer.chat_template:
        raise UserError("the tokenizer has no chat template. Use an instruct model or add chat_template.jinja.")
    terminator = turn_terminator(tokenizer)
    if terminator is None:
        raise UserError(
            "the chat template ends an assistant turn without a control token, so the tuned model could not know where "
            "to stop. Use a template with an end-of-turn token."
        )
    return terminator


def control_tokens(tokenizer: Any) -> list[str]:
    """Every special token of the vocabulary, also those that no role such as eos names (<|start_header_id|>)."""
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def refuse_control_tokens(pair: Pair, control: list[str]) -> None:
    """UserError where a text holds one of the template's control tokens: it would be read as a turn of its own."""
    for text in (pair.chosen, pair.rejected, *(message["content"] for message in pair.prompt)):
        if found := [token for token in control if token in text]:
            raise UserError(f"{pair.where}: the text holds the control token {found[0]!r}. Remove it or drop the row.")
