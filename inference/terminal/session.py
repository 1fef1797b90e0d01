"""A chat session: the conversation, its settings, and what of it fits the context. Nothing here reads or prints."""

from bisect import bisect_left
from dataclasses import replace
from itertools import takewhile
from typing import Any, Protocol

from command import UserError
from inference.chat_format import encode_chat
from inference.rules import Sampling
from inference.terminal.conversation import Conversation, Turn
from inference.terminal.opening import Opening


class TooLong(UserError):
    """A message that does not fit the context even alone. It is worth editing; `brief` says why in a few words."""

    def __init__(self, message: str, brief: str):
        super().__init__(message)
        self.brief = brief


class Screen(Protocol):
    """Where an answer appears."""

    def say(self, text: str) -> None:
        """Show the next piece of an answer, at once."""

    def announce(self, text: str) -> None:
        """Show what the program has to say of the answer that comes next."""

    def reading(self, tokens: int) -> None:
        """So many tokens are read, which the model has not read before, until the first piece comes."""


class Session:
    """What a user and a model said, and how the model is to answer.

    The answer to turn n (from 0) is drawn with `seed` + n, and one more for each /regenerate: same seed, same inputs,
    same conversation; and the first answer is the one of inference.generate with the same seed.
    """

    def __init__(self, name: str, opening: Opening, conversation: Conversation, seed: int):
        self.name, self.opening, self.conversation, self.seed = name, opening, conversation, seed
        self.left_out = 0  # of the oldest turns, at the last answer
        self._past: list[Conversation] = []
        self._attempt = 0  # how often the last turn was answered anew
        self._sampling: Sampling | None = None
        self._max_new_tokens: int | None = None
        self._read: list[dict[str, str]] = []  # messages that the engine remembers: the last prompt and its answer
        self._measured: tuple[Conversation | None, int, int] = (None, 0, 0)

    @property
    def engine(self) -> Any:
        """Waits for the model."""
        return self.opening.result().engine

    @property
    def sampling(self) -> Sampling:
        """What was set, else what the command line asked for. Waits for the model."""
        return self._sampling or self.opening.result().sampling

    @sampling.setter
    def sampling(self, sampling: Sampling) -> None:
        self._sampling = sampling

    @property
    def max_new_tokens(self) -> int:
        """What was set, else what the command line asked for, else what fits the model. Waits for the model."""
        return self._max_new_tokens or self.opening.result().max_new_tokens

    @max_new_tokens.setter
    def max_new_tokens(self, max_new_tokens: int) -> None:
        self._max_new_tokens = max_new_tokens

    def change(self, conversation: Conversation) -> None:
        """Another conversation from now on; `undo` brings the old one back."""
        self._past.append(self.conversation)
        self.conversation, self.left_out = conversation, min(self.left_out, len(conversation.turns))

    def undo(self) -> str:
        """The conversation before the last change. Returns the question that was taken back with it, "" if none was."""
        if not self._past:
            raise UserError("there is nothing to undo.")
        last, self.conversation = self.conversation, self._past.pop()
        kept = len(self.conversation.turns)
        self.left_out = min(self.left_out, kept)
        return last.turns[-1].question if last.turns[:-1] == self.conversation.turns and last.turns else ""

    def ask(self, question: str, screen: Screen) -> Turn:
        """Answer a question on the screen. What was said at a KeyboardInterrupt is kept, and it is raised again."""
        self._attempt = 0
        return self._answer(self.conversation, question, screen)

    def regenerate(self, screen: Screen) -> Turn:
        """Answer the last question anew with the next seed, instead of the answer that there is."""
        if not self.conversation.turns:
            raise UserError("there is no answer to make anew.")
        *before, last = self.conversation.turns
        self._attempt += 1
        return self._answer(replace(self.conversation, turns=tuple(before)), last.question, screen)

    def _answer(self, before: Conversation, question: str, screen: Screen) -> Turn:
        self.left_out, known = self._first_sent(before, question), self.left_out
        if self.left_out != known:
            screen.announce(self._told_left_out())
        seed = self.seed + len(before.turns) + self._attempt
        settings = {"max_new_tokens": self.max_new_tokens, "sampling": self.sampling, "seed": seed}
        turn, messages = Turn(question, "", "stopped", seed), before.messages(self.left_out, question)
        screen.reading(self._unread(messages))
        try:
            for piece in self.engine.stream(messages, **settings):
                turn = replace(turn, answer=turn.answer + piece.text, finish_reason=piece.finish_reason or "stopped")
                screen.say(piece.text)
        except KeyboardInterrupt:
            if turn.answer:
                self._keep(before, turn)
            raise
        self._keep(before, turn)
        return turn

    def _keep(self, before: Conversation, turn: Turn) -> None:
        self.change(replace(before, turns=(*before.turns, turn)))
        self._read = self.conversation.messages(self.left_out)

    def _unread(self, messages: list[dict[str, str]]) -> int:
        """How many tokens of a prompt come after what it has in common with the one before."""
        tokenizer = self.engine.tokenizer
        prompt, read = encode_chat(tokenizer, messages), encode_chat(tokenizer, self._read) if self._read else []
        same = takewhile(lambda pair: pair[0] == pair[1], zip(prompt, read, strict=False))
        return len(prompt) - sum(1 for _ in same)

    def _told_left_out(self) -> str:
        if not self.left_out:
            return "all turns fit the context again and are sent"
        which = "turn 1 no longer fits" if self.left_out == 1 else f"turns 1 to {self.left_out} no longer fit"
        sent = "is not sent" if self.left_out == 1 else "are not sent"
        return f"{which} the context of {self.engine.context:,} tokens and {sent}; /reset starts anew"

    def _first_sent(self, before: Conversation, question: str) -> int:
        """How many of the oldest turns must be left out for the rest, the question and its answer to fit. TooLong if all is not enough."""
        tokenizer, context = self.engine.tokenizer, self.engine.context
        if context is None:
            return 0

        def fits(first: int) -> bool:
            return len(encode_chat(tokenizer, before.messages(first, question))) + self.max_new_tokens <= context

        count = len(before.turns)
        first = bisect_left(range(count + 1), True, key=fits)
        if first > count:
            alone = len(encode_chat(tokenizer, before.messages(count, question)))
            room = max(0, context - self.max_new_tokens)
            raise TooLong(
                f"the message has {alone:,} tokens with all that goes before it in a new conversation; the context of {context:,} "
                f"leaves {room:,} beside an answer of max_new_tokens {self.max_new_tokens:,}. "
                "Shorten the message, or /params max_new_tokens N.",
                f"too long: {alone:,} tokens where {room:,} fit",
            )
        return first

    def used(self) -> int:
        """Tokens of the turns that go with the next question, and of the system message."""
        if not self.conversation.turns:
            return 0
        conversation, left_out, _ = self._measured
        if conversation is not self.conversation or left_out != self.left_out:
            tokens = len(encode_chat(self.engine.tokenizer, self.conversation.messages(self.left_out)))
            self._measured = (self.conversation, self.left_out, tokens)
        return self._measured[2]

    def status(self) -> str:
        """In a line: the model, how far the conversation is, and how answers are drawn."""
        if not self.opening.ready:
            return f"{self.name} · loading …"
        turns, context = len(self.conversation.turns), self.engine.context
        tokens = f"{self.used():,}{f' of {context:,}' if context else ''} tokens"
        return f"{self.name} · {turns} {'turn' if turns == 1 else 'turns'} · {tokens} · {self.sampling.told()}"

    def made_with(self) -> dict[str, Any]:
        """For a saved conversation's record."""
        settings = {"max_new_tokens": self.max_new_tokens, "sampling": vars(self.sampling), "seed": self.seed}
        return {"model": self.name, **settings, "made_by": self.engine.made_by()}
