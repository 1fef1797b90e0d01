"""How long the prompts are in tokens, and which leave no room for an answer: known before the weights are loaded."""

import sys
from array import array
from typing import Any

from command import UserError, counted
from inference.batch.prompts import Prompts, most_of
from inference.chat_format import encode_chat

MANY = 5000  # prompts; so many take seconds to encode


def prompt_lengths(prompts: Prompts, tokenizer: Any, system: str) -> array:
    """Tokens of each encoded prompt, the answer's header included. UserError names every one that the template refuses."""
    if len(prompts) >= MANY:
        print(f"counting the tokens of {len(prompts):,} prompts", file=sys.stderr)
    lengths, faults = array("q"), []
    for number in range(len(prompts)):
        try:
            lengths.append(len(encode_chat(tokenizer, prompts.conversation(number, system))))
        except UserError as error:
            faults.append(f"prompt {prompts.row(number)['id']!r}: {error}")
    if faults:
        raise UserError("\n".join([f"prompts that cannot be encoded: {len(faults):,}", *most_of(faults)]))
    return lengths


def rows_too_long(
    prompts: Prompts, lengths: array, context: int | None, max_new_tokens: int, allowed: bool
) -> list[int]:
    """The rows whose prompt and answer do not fit the context together. UserError, unless allowed, names every one."""
    long = [] if context is None else [row for row, length in enumerate(lengths) if length + max_new_tokens > context]
    if allowed or not long:
        return long
    told = [f"prompt {prompts.row(row)['id']!r}: {counted(lengths[row], 'token')}" for row in long]
    leave = "leaves" if len(long) == 1 else "leave"
    room = counted(max_new_tokens, "token")
    head = f"{len(long):,} of {counted(len(prompts), 'prompt')} {leave} no room for an answer of {room}"
    fix = "Shorten them, lower --max-new-tokens, or give --skip-long to write them without an answer."
    raise UserError("\n".join([f"{head} in the model's context of {context:,}", *most_of(told), fix]))
