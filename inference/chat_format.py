"""From a conversation to token ids, through the model's own chat template, with what users type kept as text.

A template's output is tokenised as one string, so `<|im_end|>` typed inside a message would become the control token
and end the user's turn. Here a control token inside a message is replaced by a shield before the template is rendered:
as many times one character of Unicode's private plane 15 that the conversation does not hold. These are no blanks, have no
upper case and are left alone by JSON, so that templates trim, cut and quote the message as they would have. In the rendered text the shield's place is
filled with the ids of what was typed, tokenised as plain text. What cannot be kept apart so is refused, never guessed.
"""

import re
from typing import Any

from command import UserError

ROLES = ("system", "user", "assistant", "tool")
KEYS = {"role", "content"}
PRIVATE = range(0xF0000, 0xFFFFE)
ORDINARY = "text"  # a message that holds no control token and makes none with what a template writes beside it


def check_conversation(conversation: object) -> None:
    """UserError, naming what is wrong, unless this is a non-empty list of messages with a known role and a text, and no more.

    Whatever else a message holds would go past the shield into the template.
    """
    if not isinstance(conversation, list) or not conversation:
        raise UserError("a conversation is a list with at least one message")
    for number, message in enumerate(conversation):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise UserError(f"message {number} is not an object with a text under `content`")
        if message.get("role") not in ROLES:
            raise UserError(f"message {number} has role {message.get('role')!r}; a role is one of {', '.join(ROLES)}")
        if more := sorted(map(str, message.keys() - KEYS)):
            raise UserError(f"message {number} has {', '.join(more)} beside `role` and `content`: remove it")


def encode_chat(tokenizer: Any, conversation: list[dict]) -> list[int]:
    """Token ids of the conversation and the header of the answer to come. Control tokens come from the template alone.

    UserError for a conversation of another form, one that the template refuses, and one whose text the template changes so
    that it could not be told from the template's own, or would be lost.
    """
    check_conversation(conversation)
    if not tokenizer.chat_template:
        raise UserError("the model has no chat template. Use an instruct or chat model.")
    ordinary = _tokenize(tokenizer, render(tokenizer, harmless(conversation)))
    control = control_tokens(tokenizer, ordinary)
    shielded, typed = shield(conversation, list(control.values()))
    parts = split_shields(shielded, render(tokenizer, shielded), typed)
    ids = [one for part in parts for one in _ids(tokenizer, part, typed)]
    if [one for one in ids if one in control] != [one for one in ordinary if one in control]:
        raise UserError(
            "a message holds a control token of the model, or what the chat template makes one of, and it cannot be kept "
            "apart from the template's own. Reword the message."
        )
    if ids[:1] == ids[1:2] == [tokenizer.bos_token_id]:
        raise UserError(f"the model's chat template writes {tokenizer.bos_token} twice. Remove one from the template.")
    return ids


def harmless(conversation: list[dict]) -> list[dict]:
    """The same turns with an ordinary word in each that has a text; a blank one may be written otherwise, and stays."""
    return [
        {**message, "content": ORDINARY if message["content"].strip() else message["content"]}
        for message in conversation
    ]


def control_tokens(tokenizer: Any, ordinary: list[int]) -> dict[int, str]:
    """Id → spelling of every special token, and of every other added token that the template writes by itself.

    `ordinary`: ids of a rendered conversation in which nobody typed one. Other added tokens (`<think>`) are text by their
    maker's word: transformers and llama.cpp read them wherever they stand.
    """
    added, written = tokenizer.added_tokens_decoder, set(ordinary)
    return {number: token.content for number, token in added.items() if token.special or number in written}


def shield(conversation: list[dict], control: list[str]) -> tuple[list[dict], dict[str, str]]:
    """The conversation with a shield for each control token inside a message, and shield → what was typed."""
    used = set("".join(message["content"] for message in conversation))
    unused = (chr(code) for code in PRIVATE if chr(code) not in used)
    shields: dict[str, str] = {}

    def replace(found: re.Match) -> str:
        if found.group() not in shields:
            letter = next(unused, None)
            if letter is None:
                raise UserError("a conversation cannot hold every character of Unicode's plane 15. Take some out.")
            shields[found.group()] = letter * len(found.group())
        return shields[found.group()]

    pattern = re.compile("|".join(map(re.escape, sorted(control, key=len, reverse=True))) or r"(?!)")  # matches nowhere
    shielded = [{**message, "content": pattern.sub(replace, message["content"])} for message in conversation]
    return shielded, {word: spelling for spelling, word in shields.items()}


def render(tokenizer: Any, conversation: list[dict]) -> str:
    """The conversation as the template writes it, with the header of the answer to come. UserError if it refuses."""
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise UserError(f"the model's chat template refuses the conversation: {error}") from None


def split_shields(conversation: list[dict], rendered: str, typed: dict[str, str]) -> list[str]:
    """A rendered conversation cut at its shields, which are parts of their own. UserError unless each is there, and whole."""
    parts = re.split(f"({'|'.join(typed)})", rendered) if typed else [rendered]
    asked = "".join(message["content"] for message in conversation)
    lost = [spelling for word, spelling in typed.items() if parts.count(word) < asked.count(word)]
    letters = set("".join(typed))
    if lost or any(letters & set(part) for part in parts if part not in typed):
        raise UserError(
            f"a message holds {' '.join(lost) or 'a control token'}, and the model's chat template does not write that "
            "message's text as it is. Reword the message."
        )
    return parts


def _ids(tokenizer: Any, part: str, typed: dict[str, str]) -> list[int]:
    return _plain(tokenizer, typed[part]) if part in typed else _tokenize(tokenizer, part)


def _tokenize(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text; too long a one is for the caller to refuse, without the library's warning (`verbose`)."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def _plain(tokenizer: Any, spelling: str) -> list[int]:
    """Ids of a control token's spelling as text. An added token that is not special is never split: its first letter stands alone."""
    ids = tokenizer(spelling, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if tokenizer.added_tokens_decoder.keys().isdisjoint(ids):
        return ids
    return [*_tokenize(tokenizer, spelling[:1]), *_tokenize(tokenizer, spelling[1:])]
