"""The real inference.chat with another engine: it echoes questions, streams slowly, is hostile, or takes its time to load.

python -m tests.inference.terminal.scripted_chat MODEL …; a model is opened after CHAT_LOADING seconds, or fails as CHAT_FAILS says;
it has a context of CHAT_CONTEXT tokens and reads at once, but for the questions of CHAT_READING (JSON: question → seconds).
"""

import json
import os
import time
from collections import namedtuple

from command import UserError, run_command
from inference import chat
from inference.options import chosen_max_new_tokens
from inference.rules import Sampling
from inference.terminal.opening import Opened

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\u202egnp.exe\x9b5m"
READING = json.loads(os.environ.get("CHAT_READING", "{}"))
KINDS = {"hostile": HOSTILE, "emoji": "🙂你好\n👍🏽ok"}


Piece = namedtuple("Piece", "text finish_reason")


class Characters:
    """A tokenizer of which each character is a token; neither torch nor transformers takes its seconds to start."""

    chat_template, added_tokens_decoder, bos_token_id = "{{ messages }}", {}, None

    def apply_chat_template(self, conversation, **_):
        return "".join(f"<{message['content']}>" for message in conversation)

    def __call__(self, text, **_):
        return {"input_ids": [ord(character) for character in text]}


class Slow:
    """`slow` counts up for a minute; else the question comes back, or what KINDS has for it."""

    tokenizer, context = Characters(), int(os.environ.get("CHAT_CONTEXT", "512"))

    def made_by(self):
        return {}

    def stream(self, messages, *, max_new_tokens, sampling, seed):
        question = messages[-1]["content"]
        time.sleep(READING.get(question, 0))
        if question == "slow":
            for number in range(600):
                yield Piece(f"{number} ", None)
                time.sleep(0.1)
        yield Piece(KINDS.get(question, f"<{question}>"), "stop")


def open_model(source, options, conversation):
    time.sleep(float(os.environ.get("CHAT_LOADING", "0")))
    if "CHAT_FAILS" in os.environ:
        raise UserError(os.environ["CHAT_FAILS"])
    own = Sampling(temperature=0.6, top_p=0.9)
    return Opened(Slow(), own, own, chosen_max_new_tokens(options, Slow.context))


if __name__ == "__main__":
    chat.open_model = open_model
    run_command(chat.main)
