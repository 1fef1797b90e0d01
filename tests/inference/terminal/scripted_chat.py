"""The real inference.chat with another engine: it echoes questions, streams slowly, is hostile, or takes its time to load.

python -m tests.inference.terminal.scripted_chat MODEL …; a model is opened after CHAT_LOADING seconds, or fails as CHAT_FAILS says.
"""

import os
import time

from command import UserError, run_command
from inference import chat
from inference.engine import Piece
from inference.loading import load_tokenizer
from inference.terminal.opening import Opened
from tests.inference.terminal.scripted import OWN

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\u202egnp.exe\x9b5m"
KINDS = {"hostile": HOSTILE, "emoji": "🙂你好\n👍🏽ok"}


class Slow:
    """`slow` counts up for a minute; else the question comes back, or what KINDS has for it."""

    def __init__(self, tokenizer):
        self.tokenizer, self.context = tokenizer, 512

    def made_by(self):
        return {}

    def stream(self, messages, *, max_new_tokens, sampling, seed):
        question = messages[-1]["content"]
        if question == "slow":
            for number in range(600):
                yield Piece(f"{number} ", None)
                time.sleep(0.1)
        yield Piece(KINDS.get(question, f"<{question}>"), "stop")


def open_model(source, options, conversation):
    time.sleep(float(os.environ.get("CHAT_LOADING", "0")))
    if "CHAT_FAILS" in os.environ:
        raise UserError(os.environ["CHAT_FAILS"])
    return Opened(Slow(load_tokenizer(source)), OWN, OWN)


if __name__ == "__main__":
    chat.open_model = open_model
    run_command(chat.main)
