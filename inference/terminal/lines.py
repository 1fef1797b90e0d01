"""Chat through pipes: a line is a question, answers alone go to stdout, what the program has to say to stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inference.terminal.conversation import Turn
from inference.terminal.text import harmless

NOTES = {"length": "(cut at max_new_tokens; /params max_new_tokens N allows more)"}


class Lines:
    """stdin, stdout and stderr as they are: no prompt, no colour, no editing."""

    keys = "A line is a message; lines that begin with // are messages that begin with a slash."

    def __init__(self) -> None:
        self.refused = 0  # lines that could not be done
        self.output, self.notes = sys.stdout, sys.stderr
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace")

    def read(self, draft: str) -> str:
        """The next line, stripped. EOFError at the end of the input."""
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.strip()

    def say(self, text: str) -> None:
        """Show the next piece of an answer, at once."""
        print(harmless(text), end="", file=self.output, flush=True)

    def tell(self, text: str) -> None:
        """Show what the program has to say. `text` is harmless already."""
        print(text, file=self.notes, flush=True)

    announce = tell

    def warn(self, text: str, brief: str = "") -> None:
        """Show why a line could not be done. `brief` is for where the text could scroll out of sight."""
        self.refused += 1
        self.tell(text)

    def leave(self) -> int:
        """The exit status: 1, and why, if a line could not be done."""
        if self.refused:
            lines = "1 line" if self.refused == 1 else f"{self.refused:,} lines"
            self.tell(f"{lines} could not be done; what was wrong stands above. Exit status 1.")
        return 1 if self.refused else 0

    def reading(self, tokens: int) -> None:
        """Nothing shows on a pipe that a prompt is being read."""

    @contextmanager
    def stoppable(self, unsaid: str) -> Iterator[None]:
        """Ctrl-C on a pipe ends the program, not one of who knows how many answers."""
        yield

    def show(self, answer: Callable[[], Turn], unsaid: str) -> None:
        """Have an answer made, which says its pieces here, and say how it ended if it did not end by itself.

        `unsaid` tells what becomes of the question if it was stopped before anything was said.
        """
        with self.stoppable(unsaid):
            turn = answer()
            if not turn.answer.endswith("\n"):
                print(file=self.output, flush=True)
            if turn.finish_reason in NOTES:
                self.tell(NOTES[turn.finish_reason])
