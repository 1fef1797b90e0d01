"""The recipe's system prompt, as part of the chat template: trained, saved and served by the very same text."""

import json
from typing import Any

from command import UserError

SHAPE = (
    "{{%- if not messages or messages[0]['role'] != 'system' -%}}"
    "{{%- set messages = [{{'role': 'system', 'content': {text}}}] + messages -%}}"
    "{{%- endif {end}\n{template}"
)


def set_system_prompt(tokenizer: Any, text: str | None) -> None:
    """Give every conversation without a system turn this one; None leaves the model's own template as it is.

    UserError where the text holds a control token, or where the template refuses a system turn or drops it.
    """
    if text is None:
        return
    from jinja2 import TemplateError

    from training.encoding import control_pattern, terminator_of

    terminator_of(tokenizer)  # a template there must be
    text = text.strip()
    if found := control_pattern(tokenizer).search(text):
        raise UserError(f"system_prompt holds the control token {found.group()!r}. Remove it.")
    tokenizer.chat_template = with_system_prompt(tokenizer.get_chat_template(), text)
    try:
        shown = tokenizer.apply_chat_template([{"role": "user", "content": "A"}], tokenize=False)
    except TemplateError as error:
        raise UserError(
            f"system_prompt: the model's chat template refuses a system turn ({error}). Set system_prompt: null."
        ) from None
    if text not in shown:
        raise UserError(f"system_prompt {text!r}: the model's chat template drops it. Set system_prompt: null.")


def with_system_prompt(template: str, text: str) -> str:
    """The template behind a preamble that puts a system turn first where a conversation has none.

    JSON's escapes are Jinja's too, but for surrogate pairs, so characters stay as they are. `-%}` takes the line break
    after it away in every program; before a template that begins with blanks of its own, transformers' trim_blocks does.
    """
    end = "%}" if template[:1].isspace() else "-%}"
    return SHAPE.format(text=json.dumps(text, ensure_ascii=False), end=end, template=template)
