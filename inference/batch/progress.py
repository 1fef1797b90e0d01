"""How far a batch is and how long it still takes, told on stderr: one line that is rewritten on a terminal, else one now and then.

Prompts are answered longest first, so answers a second grow as they go and would tell a wrong time. What is left is counted
in work instead: the tokens of the prompts, which are known, and of the answers, which are taken to be as long as those so far.
"""

import sys
import time
from collections.abc import Callable
from typing import IO

PROMPT_WEIGHT = 0.2  # work of a prompt's token, where an answer's is 1: the 135M demo model on a CPU, 32 at a time
EVERY = (0.2, 30.0)  # seconds between two lines: on a terminal, elsewhere


class Progress:
    """Counts answers; `sure_after` is how many must be there before a time is told."""

    def __init__(
        self,
        total: int,
        prompt_tokens: list[int],
        sure_after: int,
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.stream, self.clock = stream or sys.stderr, clock
        self.total, self.left, self.left_tokens = total, len(prompt_tokens), sum(prompt_tokens)
        self.sure_after = min(sure_after, self.left)
        self.answers = self.prompt_tokens = self.tokens = 0
        self.began = self.told = clock()

    def add(self, prompt_tokens: int, tokens: int) -> None:
        """Count an answer, and tell if it is time."""
        self.answers, self.left = self.answers + 1, self.left - 1
        self.prompt_tokens, self.left_tokens = self.prompt_tokens + prompt_tokens, self.left_tokens - prompt_tokens
        self.tokens += tokens
        terminal = self.stream.isatty()
        if self.clock() - self.told >= EVERY[0 if terminal else 1]:
            self.told = self.clock()
            line = self.line()
            self.stream.write(f"\r{line}\x1b[K" if terminal else f"{line}\n")
            self.stream.flush()

    def seconds_left(self) -> float | None:
        """None while too few answers are there to say."""
        if self.answers < max(1, self.sure_after):
            return None
        done = PROMPT_WEIGHT * self.prompt_tokens + self.tokens
        left = PROMPT_WEIGHT * self.left_tokens + self.left * self.tokens / self.answers
        return left / done * self.seconds() if done else None

    def line(self) -> str:
        """`1,204 of 50,000 answers, 96 tokens/s, 3 h 12 min left`."""
        left = self.seconds_left()
        told = f", {duration(left)} left" if left is not None else ""
        return f"{self.total - self.left:,} of {self.total:,} answers, {self.speed():,.0f} tokens/s{told}"

    def seconds(self) -> float:
        """Since it began."""
        return max(self.clock() - self.began, 1e-9)

    def speed(self) -> float:
        """Tokens of finished answers a second."""
        return self.tokens / self.seconds()

    def close(self) -> None:
        """Leave the line of a terminal."""
        if self.stream.isatty():
            self.stream.write("\r\x1b[K")
            self.stream.flush()


def duration(seconds: float) -> str:
    """`3 h 12 min`, `12 min 5 s`, `5 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
