"""From preference pairs in words to token ids, by the model's own chat template and nothing else.

Each prompt is rendered and tokenised once, the texts of many pairs in one call; only a pair that does not fit is looked
at on its own. No pair is trained on whose answers would be empty or the same: it is dropped, counted and named.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from command import UserError
from inference.rules import turn_terminator
from training.encoded_pairs import EncodedPair, EncodedPairs, EncodedWriter
from training.preferences.pair import Pair, pair_texts

BATCH = 1024  # pairs whose texts are rendered and tokenised together; more only costs memory
UNFIT = "prompt fills max_length"
GUTTED = "max_length cuts more than half of an answer"
EQUAL_CUT = "chosen equals rejected after cutting"
TOO_LONG = (UNFIT, GUTTED, EQUAL_CUT)  # what is left out for its length, and would not be with a larger max_length
LEAST_LEFT = 0.5  # of an answer's tokens: one that breaks off earlier teaches to break off
CONTROL = "control token"  # as training.preferences.loading names it, which looks for those of the known templates


@dataclass(frozen=True)
class Encoding:
    """What came of the pairs that were given: those that fit, and an account of what was cut or left out."""

    pairs: EncodedPairs
    kept: list[int]  # index of each among the pairs that were given
    left_out: list[tuple[int, str, int]]  # of the others: index, reason, tokens of the prompt after cutting
    cut: Counter  # how many "prompts" and "responses" of the kept pairs were cut
    cut_tokens: Counter  # tokens that these lost
    whole_lengths: list[
        int
    ]  # of every pair that was given, but those with a control token: longer_branch before any cut
    lost_tokens: Counter  # all tokens of the pairs that are left out for their length, before any cut, by reason

    @property
    def dropped(self) -> Counter:
        return Counter(reason for _, reason, _ in self.left_out)


def encode_pairs(pairs: Sequence[Pair], tokenizer: Any, max_length: int) -> Encoding:
    """Encode every pair, each branch (prompt and one response) at most `max_length` tokens.

    A pair whose text holds one of the tokenizer's control tokens is left out: it would be read as a turn of its own.
    """
    terminator = terminator_of(tokenizer)
    find = control_pattern(tokenizer).search
    written = EncodedWriter()
    result = Encoding(EncodedPairs.of([]), [], [], Counter(), Counter(), [], Counter())
    for first in range(0, len(pairs), BATCH):
        batch = pairs[first : first + BATCH]
        prompts = tokenize(render([pair.prompt for pair in batch], tokenizer), tokenizer)
        texts = [text.strip() for pair in batch for text in (pair.chosen, pair.rejected)]  # as templates strip them
        responses = [[*ids, terminator] for ids in tokenize(texts, tokenizer)]
        for index, pair in enumerate(batch):
            if any(map(find, pair_texts(pair))):
                result.left_out.append((first + index, CONTROL, 0))
                continue
            whole = EncodedPair(prompts[index], responses[2 * index], responses[2 * index + 1])
            fitting = whole if whole.longer_branch <= max_length else cut_pair(pair, whole, tokenizer, max_length)
            if account(result, first + index, whole, fitting):
                written.append(fitting)
    return dataclasses.replace(result, pairs=written.finish())


def account(result: Encoding, index: int, whole: EncodedPair, fitting: EncodedPair) -> bool:
    """Enter one pair, as it was and as it fits, into the account; whether it is one to train on."""
    result.whole_lengths.append(whole.longer_branch)
    if reason := reason_to_leave_out(whole, fitting):
        result.left_out.append((index, reason, len(fitting.prompt)))
        if reason in TOO_LONG:
            result.lost_tokens[reason] += whole.length
        return False
    result.kept.append(index)
    for part, name in (("prompt", "prompts"), ("chosen", "responses"), ("rejected", "responses")):
        lost = len(getattr(whole, part)) - len(getattr(fitting, part))
        result.cut[name] += lost > 0
        result.cut_tokens[name] += lost
    return True


def reason_to_leave_out(whole: EncodedPair, fitting: EncodedPair) -> str | None:
    """Why there is nothing to learn from a pair, or None. A response of the terminator alone is an empty one."""
    if min(len(whole.chosen), len(whole.rejected)) < 2:
        return "a response without a token"
    if not fitting.chosen:
        return UNFIT
    if whole.chosen == whole.rejected:
        return "chosen equals rejected as tokens"
    if fitting.chosen == fitting.rejected:
        return EQUAL_CUT
    parts = ((whole.chosen, fitting.chosen), (whole.rejected, fitting.rejected))
    if any(len(left) < LEAST_LEFT * len(all_of_it) for all_of_it, left in parts):
        return GUTTED
    return None


def cut_pair(pair: Pair, whole: EncodedPair, tokenizer: Any, max_length: int) -> EncodedPair:
    """The pair with both branches in `max_length` tokens; with empty responses where the prompt leaves no room for them.

    The prompt loses its oldest turns first (never the system turn, the last turn or the assistant header), and no more
    of them than it must; then both responses share what is left and keep their terminator.
    """
    prompt = cut_prompt(pair.prompt, whole.prompt, tokenizer, max_length - max(len(whole.chosen), len(whole.rejected)))
    room = max_length - len(prompt)
    if room < 2:
        return EncodedPair(prompt, [], [])
    return EncodedPair(prompt, cut_response(whole.chosen, room), cut_response(whole.rejected, room))


def cut_prompt(messages: tuple[dict[str, str], ...], whole: list[int], tokenizer: Any, room: int) -> list[int]:
    """Ids of the conversation from the oldest user turn from which it fits into `room` tokens, else of its last turn.

    By bisection over the user turns: a conversation of 200 turns is rendered 8 times and not 200.
    """
    system = messages[:1] if messages[0]["role"] == "system" else ()
    starts = [i for i, message in enumerate(messages) if message["role"] == "user"]
    first, last = 1, len(starts) - 1  # from starts[0] it is whole, and too long
    if last < 1:
        return whole
    while first < last:
        middle = (first + last) // 2
        if len(prompt_ids([*system, *messages[starts[middle] :]], tokenizer)) <= room:
            last = middle
        else:
            first = middle + 1
    return prompt_ids([*system, *messages[starts[first] :]], tokenizer)


def cut_response(tokens: list[int], room: int) -> list[int]:
    """At most `room` tokens, the last of them the terminator."""
    return tokens if len(tokens) <= room else [*tokens[: room - 1], tokens[-1]]


def prompt_ids(messages: Any, tokenizer: Any) -> list[int]:
    """The prompt as it is served: the template with the assistant header, which alone decides about BOS."""
    return tokenize(render([messages], tokenizer), tokenizer)[0]


def render(conversations: list[Any], tokenizer: Any) -> list[str]:
    """Each conversation as the chat template writes it, with the assistant header. UserError where it refuses one."""
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(
            [list(messages) for messages in conversations], tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        raise UserError(f"the model's chat template refuses a prompt of the data: {error}") from None


def tokenize(texts: list[str], tokenizer: Any) -> list[list[int]]:
    """Ids of each text, nothing added; on as many cores as this process may use."""
    tokenizer("", add_special_tokens=False)  # puts the backend's padding, truncation and special tokens to rights
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer(texts, add_special_tokens=False)["input_ids"]
    # Without the offsets and masks that nobody reads here: a fifth of the time.
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


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


def control_pattern(tokenizer: Any) -> re.Pattern:
    """One pattern that finds any control token in a text, in one pass however many there are (Llama-3: 256)."""
    return re.compile("|".join(map(re.escape, control_tokens(tokenizer))) or r"(?!)")  # (?!) matches nowhere
