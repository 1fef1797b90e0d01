"""An engine that says what it was asked, and a screen that keeps what it was given."""

import io
from contextlib import contextmanager

from inference.engine import Piece
from inference.rules import Sampling
from inference.terminal.conversation import Conversation
from inference.terminal.lines import Lines
from inference.terminal.opening import Opened, Opening
from inference.terminal.session import Session

OWN = Sampling(temperature=0.6, top_p=0.9)


class Scripted:
    """Answers `N:question@seed`, N messages having been sent; a question may ask for trouble."""

    def __init__(self, tokenizer, context: int | None):
        self.tokenizer, self.context, self.calls = tokenizer, context, []

    def made_by(self):
        return {"scripted": "1"}

    def stream(self, messages, *, max_new_tokens, sampling, seed):
        self.calls.append({"messages": messages, "max_new_tokens": max_new_tokens, "sampling": sampling, "seed": seed})
        question = messages[-1]["content"]
        if question == "at once":
            raise KeyboardInterrupt
        yield Piece(f"{len(messages)}:{question}", None)
        if question == "stop":
            raise KeyboardInterrupt
        if question == "memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        yield Piece(f"@{seed}", "length" if question == "long" else "stop")


class Kept(Lines):
    """Reads `script`, keeps what is said and told. Ctrl-C stops an answer, as on a terminal."""

    def __init__(self, *script: str):
        self.refused = 0
        self.script, self.said, self.told, self.drafts, self.read_tokens = list(script), [], [], [], []
        self.output = io.StringIO()

    def read(self, draft: str) -> str:
        self.drafts.append(draft)
        if not self.script:
            raise EOFError
        return self.script.pop(0)

    def say(self, text: str) -> None:
        self.said.append(text)

    def tell(self, text: str) -> None:
        self.told.append(text)

    announce = tell

    def reading(self, tokens: int) -> None:
        self.read_tokens.append(tokens)

    @contextmanager
    def stoppable(self, unsaid: str):
        try:
            yield
        except KeyboardInterrupt:
            self.tell(f"(stopped; {unsaid})")


def session_of(tokenizer, *, context: int | None = None, conversation=None, seed=0, max_new_tokens=8) -> Session:
    """A session whose model is there."""
    opening = Opening(lambda: None, ahead=False)
    opening.future.set_result(Opened(Scripted(tokenizer, context), OWN, OWN, max_new_tokens))
    return Session("tiny", opening, conversation or Conversation(), seed)
