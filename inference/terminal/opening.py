"""A model that is loaded in a thread while the user already types."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from inference.rules import Sampling


@dataclass(frozen=True)
class Opened:
    """A loaded model, its own sampling, and how the command line asks for answers."""

    engine: Any
    own: Sampling
    sampling: Sampling
    max_new_tokens: int


class Opening:
    """A model on its way. Errors of loading are raised where its result is asked for."""

    def __init__(self, open_model: Callable[[], Opened], *, ahead: bool):
        """`ahead`: begin at once, in a thread; else in the caller's at the first `result`."""
        self._open, self.future = open_model, Future()
        self.future.set_running_or_notify_cancel()  # from here on nobody who waits for it can cancel it
        self.thread = threading.Thread(target=self._run, daemon=True) if ahead else None
        if self.thread:
            self.thread.start()

    @property
    def ready(self) -> bool:
        """Whether `result` would return or raise at once."""
        return self.future.done()

    def result(self) -> Opened:
        """The loaded model, waiting for it."""
        if self.thread is None and not self.ready:
            self.future.set_result(self._open())
        return self.future.result()

    def _run(self) -> None:
        try:
            self.future.set_result(self._open())
        except BaseException as error:  # as every executor does: the one who waits gets it
            self.future.set_exception(error)

    def leave(self, status: int) -> int:
        """The exit status; if the thread is still loading, the process ends here, since Python's own end could crash in it."""
        if self.thread and self.thread.is_alive():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        return status
