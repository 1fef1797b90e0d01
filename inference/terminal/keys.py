"""What keys do in the line editor, and what Tab completes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from inference.terminal.commands import COMMANDS, SETTINGS
from inference.terminal.text import open_quotes

PATHS = ("/save", "/save!", "/load")


@dataclass
class Presses:
    """Whether a Ctrl-C was pressed and nothing typed since, so that the next one leaves; and until when one does nothing."""

    armed: bool = False
    deaf_until: float = 0.0  # on time.monotonic()'s clock

    def disarm(self) -> None:
        """Something was typed."""
        self.armed = False


def bindings(presses: Presses, loading: Callable[[], bool]) -> KeyBindings:
    """Enter sends, Alt-Enter and Ctrl-J break the line, Tab completes, Ctrl-C clears it and leaves at the second time, or while the
    model loads."""
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        if open_quotes(event.current_buffer.text):
            event.current_buffer.insert_text("\n")
        else:
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _break(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("tab")
    def _complete(event: KeyPressEvent) -> None:
        """At once where there is one way: prompt_toolkit's own Tab comes after the keys that were pressed right behind it."""
        buffer = event.current_buffer
        found = list(CommandCompleter().get_completions(buffer.document, CompleteEvent(completion_requested=True)))
        if buffer.complete_state:
            buffer.complete_next()
        elif len(found) == 1:
            buffer.apply_completion(found[0])
        else:
            buffer.start_completion(insert_common_part=True)

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _stop(event: KeyPressEvent) -> None:
        if loading():
            event.app.exit(exception=KeyboardInterrupt("The model was still loading."))
        elif time.monotonic() < presses.deaf_until:
            pass
        elif presses.armed:
            event.app.exit(exception=EOFError)
        else:
            event.current_buffer.reset()
            presses.armed = True

    return keys


class CommandCompleter(Completer):
    """Commands after a slash, then what they take: names of parameters, or of files."""

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What the word at the cursor may become."""
        text = document.text_before_cursor
        word, space, rest = text.partition(" ")
        if not text.startswith("/") or "\n" in text:
            return
        if not space:
            for name, command in COMMANDS.items():
                if name.startswith(word):
                    yield Completion(name, -len(word), command.usage, display_meta=command.meaning)
        elif word == "/params" and " " not in rest:
            for name in (*SETTINGS, "reset"):
                if name.startswith(rest):
                    yield Completion(name, -len(rest))
        elif word in PATHS:
            yield from PathCompleter(expanduser=True).get_completions(Document(rest), complete_event)
