"""Chat on a terminal: a line editor with history, completion and a status line; answers that Ctrl-C stops."""

import asyncio
import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.patch_stdout import patch_stdout

from inference.terminal.keys import CommandCompleter, Presses, bindings
from inference.terminal.lines import Lines
from inference.terminal.session import Session
from inference.terminal.text import unquoted, well_formed

DEAF = 1.0  # seconds
FAINT, YELLOW, PLAIN = "\x1b[2m", "\x1b[33m", "\x1b[0m"
ERASE = "\r\x1b[K"
LONG = 500  # tokens; so many take more than a second to read on a CPU


def history_path() -> Path:
    """Where the lines of earlier sessions are kept."""
    root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "llama3-chinese-chat" / "history"


class PrivateHistory(FileHistory):
    """Lines that only their writer may read (0600). What cannot be written is told once, and the chat goes on."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        super().__init__(str(path))
        self.trouble: OSError | None = None

    def store_string(self, string: str) -> None:
        """Append a line, unless that failed before."""
        if self.trouble is None:
            try:
                super().store_string(string)
            except OSError as error:
                self.trouble = error


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends the program also where Ctrl-C would only stop an answer."""


@contextmanager
def open_terminal(session: Session, keep_history: bool) -> Iterator["Terminal"]:
    """The terminal of this process. What libraries print meanwhile appears above the editor."""

    def end(signum: int, frame: object) -> None:
        raise Terminated

    streams = sys.stdout, sys.stderr
    signal.signal(signal.SIGTERM, end)
    # Where stdout is a file, the proxy would write into it what libraries print to stderr.
    with unechoed(), patch_stdout(raw=True) if sys.stdout.isatty() else nullcontext():
        yield Terminal(session, streams, keep_history)


class Terminal(Lines):
    """A screen with an editor. Ctrl-C during an answer stops the answer; between prompts and answers it does nothing."""

    keys = (
        'Enter sends · Alt-Enter or Ctrl-J begins a new line, as Enter does after """\n'
        "↑ ↓ earlier messages · Ctrl-R searches them · Tab completes commands\n"
        "Ctrl-C stops an answer, or clears the line; twice, or Ctrl-D, leaves"
    )

    def __init__(self, session: Session, streams: tuple[TextIO, TextIO], keep_history: bool):
        self.session, self.presses, (self.output, self.notes) = session, Presses(), streams
        self.stopped = False  # the last answer, by Ctrl-C
        self.notice = ""  # in the status line until something is typed
        self.erasing = False  # the line that the cursor is in, before anything else is shown
        self.escapes = self.notes.isatty() and os.environ.get("TERM") != "dumb"
        self.colours = self.escapes and not os.environ.get("NO_COLOR")
        self.history = self._open_history() if keep_history else InMemoryHistory()
        self.editor = PromptSession(
            FormattedText([("bold ansicyan", "› ")]),
            multiline=True,
            prompt_continuation="  ",
            history=self.history,
            completer=CommandCompleter(),
            key_bindings=bindings(self.presses, lambda: not session.opening.ready),
            bottom_toolbar=self._toolbar,
            enable_suspend=True,
            reserve_space_for_menu=6,
            # The dumb terminal's plain prompt is only to be had without an output of one's own.
            output=None if streams[0].isatty() else create_output(always_prefer_tty=True),
        )

        self.editor.default_buffer.on_text_changed += lambda buffer: self._typed()

    def _typed(self) -> None:
        self.presses.disarm()
        self.notice = ""

    def _open_history(self) -> Any:
        try:
            return PrivateHistory(history_path())
        except OSError as error:
            self.warn(
                f"earlier lines cannot be kept in {history_path()}: {error.strerror}. --no-history asks for none."
            )
            return InMemoryHistory()

    def _toolbar(self) -> str:
        return " Ctrl-C again, or Ctrl-D, leaves" if self.presses.armed else f" {self.notice or self.session.status()}"

    def read(self, draft: str) -> str:
        """The next message, edited, `draft` to begin with. EOFError if the user leaves, what loading raised if it failed."""
        self.presses.armed = False
        if self.stopped:  # who presses Ctrl-C again and again to stop an answer does not mean to leave
            self.stopped, self.presses.deaf_until = False, time.monotonic() + DEAF
        print(file=self.notes)
        watch = None if self.session.opening.ready else self._watch
        text = self.editor.prompt(default=draft, pre_run=watch)
        self.notice = ""
        self._tell_trouble()
        return unquoted(well_formed(text))

    def _tell_trouble(self) -> None:
        trouble, self.history.trouble = getattr(self.history, "trouble", None), None
        if trouble:
            self.warn(f"earlier lines are no longer kept: {trouble.strerror}.")
            self.history.store_string = lambda string: None

    def _watch(self) -> None:
        """While the editor is open: show when the model is there, and leave at once if it cannot be had."""
        application, future = self.editor.app, self.session.opening.future

        async def wait() -> None:
            loaded = asyncio.wrap_future(future)
            await asyncio.wait([loaded])
            if loaded.exception():
                application.exit(exception=loaded.exception())
            application.invalidate()

        application.create_background_task(wait())

    def tell(self, text: str) -> None:
        """Show what the program has to say, fainter than what the model says."""
        self._print(text, FAINT)

    def announce(self, text: str) -> None:
        """Show what there is to say before an answer, apart from it."""
        self.tell(f"{text}\n")

    def warn(self, text: str, brief: str = "") -> None:
        """Show what went wrong; a message that comes back to the editor may push it out of sight, so `brief` stays by it."""
        self._print(text, YELLOW)
        self.notice = brief

    def leave(self) -> int:
        """0: who types sees what was refused."""
        return 0

    def reading(self, tokens: int) -> None:
        """Show that a long prompt is being read, until there is something else to show."""
        if tokens > LONG and self.escapes:
            text = f"reading {tokens:,} tokens …"
            print(f"{FAINT}{text}{PLAIN}" if self.colours else text, end="", file=self.notes, flush=True)
            self.erasing = True

    def say(self, text: str) -> None:
        """Show the next piece of an answer, at once."""
        if text:
            self._erase()
        super().say(text)

    def _erase(self) -> None:
        if self.erasing:
            print(ERASE, end="", file=self.notes, flush=True)
            self.erasing = False

    def _print(self, text: str, colour: str) -> None:
        self._erase()
        print(f"{colour}{text}{PLAIN}" if self.colours else text, file=self.notes, flush=True)

    def show(self, answer: Callable[[], Any], unsaid: str) -> None:
        """Have an answer made, under its question."""
        print(file=self.notes, flush=True)
        super().show(answer, unsaid)

    @contextmanager
    def stoppable(self, unsaid: str) -> Iterator[None]:
        """Inside, the first Ctrl-C stops what is done and the next do nothing, nor do they afterwards."""
        before = self.session.conversation

        def stop(signum: int, frame: object) -> None:
            signal.signal(signal.SIGINT, nothing)
            raise KeyboardInterrupt

        signal.signal(signal.SIGCONT, continued)
        try:
            signal.signal(signal.SIGINT, stop)
            yield
            signal.signal(signal.SIGINT, nothing)
        except Terminated:
            raise
        except KeyboardInterrupt:
            self.stopped = True
            self._tell_stopped("" if self.session.conversation is not before else unsaid)
        finally:
            self._erase()
            signal.signal(signal.SIGINT, nothing)
            signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def _tell_stopped(self, unsaid: str) -> None:
        if unsaid:
            self.notice = "stopped before anything was said"
            self.tell(f"({self.notice}; {unsaid})")
        else:
            print(file=self.output, flush=True)
            self.tell("(stopped; what was said is kept)")


def nothing(signum: int, frame: object) -> None:
    """A Ctrl-C between two prompts that came too late to stop anything."""


def continued(signum: int, frame: object) -> None:
    """After Ctrl-Z the shell left the terminal in its own mode. A terminal that was closed says so by SIGCONT, too."""
    with suppress(termios.error):
        unecho()


@contextmanager
def unechoed() -> Iterator[None]:
    """Keys that are pressed while no editor is open are not shown amid an answer, nor taken for the end of a line or of the input:
    the next editor gets them, each as it was pressed. Ctrl-C still stops."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    unecho()
    try:
        yield
    finally:
        with suppress(termios.error):  # of a terminal that is gone
            termios.tcsetattr(terminal, termios.TCSANOW, before)


def unecho() -> None:
    """The mode of the terminal that `unechoed` describes."""
    terminal = sys.stdin.fileno()
    mode = termios.tcgetattr(terminal)
    mode[0] &= ~termios.ICRNL
    mode[3] &= ~(termios.ECHO | termios.ICANON)
    mode[3] |= termios.NOFLSH  # else Ctrl-C throws away what was typed before it
    termios.tcsetattr(terminal, termios.TCSANOW, mode)
