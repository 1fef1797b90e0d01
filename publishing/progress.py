"""How far an upload or download is: a line that renews itself on a terminal, plain lines elsewhere."""

import _thread
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import IO, Any

from run_folder import gigabytes

PLAIN_SECONDS = 30.0  # between two plain lines about the same file
LIVE_SECONDS = 0.2
LATER_SECONDS = 0.05  # after which a stop that came within a callback is sent again


def progress_line(name: str, done: int, size: int, seconds: float) -> str:
    """`model.safetensors: 1.2 GB of 4.9 GB, 83.1 MB/s, 0:45 left`, of bytes done in seconds; no rate before a second has passed."""
    line = f"{name}: {gigabytes(done)} of {gigabytes(size)}"
    if seconds < 1 or not done:
        return line
    rate = done / seconds
    return f"{line}, {gigabytes(round(rate))}/s, {clock((size - done) / rate)} left"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Meter:
    """Counts the bytes of several files that move one after the other and prints them."""

    def __init__(
        self, sizes: dict[str, int], stream: IO[str] | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.sizes, self.stream, self.now = sizes, stream or sys.stdout, now
        self.live = self.stream.isatty()
        self.before = 0  # bytes of the files that are finished
        self.name, self.done = "", 0
        self.started = self.printed = now()

    def begin(self, name: str) -> None:
        """A file begins."""
        self.name, self.done, self.printed = name, 0, self.now()

    def moved(self, done: int) -> None:
        """Of the present file `done` bytes have moved in all."""
        self.done = done
        if self.now() - self.printed >= (LIVE_SECONDS if self.live else PLAIN_SECONDS):
            self.printed = self.now()
            self._write(self._line(), "\r" if self.live else "\n")

    def end(self) -> None:
        """The present file is finished; one of which nothing moved was on the Hub already."""
        size = self.sizes[self.name]
        moved = bool(self.done) or not size
        self.before, self.done = self.before + size, 0
        self._write(f"{'sent' if moved else 'on the Hub already'}: {self.name}; {self._line(whole=True)}", "\n")

    def stop(self) -> None:
        """Leave the live line standing; something else is said next."""
        if self.live:
            self.stream.write("\n")

    def _line(self, whole: bool = False) -> str:
        seconds = self.now() - self.started
        line = progress_line("all", self.before + self.done, sum(self.sizes.values()), seconds)
        return line if whole else f"{self.name}: {gigabytes(self.done)} of {gigabytes(self.sizes[self.name])}; {line}"

    def _write(self, line: str, end: str) -> None:
        self.stream.write(("\x1b[2K" if self.live else "  ") + line + end)
        self.stream.flush()


class CountingFile(io.FileIO):
    """A file that tells a meter how far it was read: what LFS sends, it reads here. Going back (a retry) counts back."""

    def __init__(self, path: str, meter: Meter) -> None:
        super().__init__(path, "rb")
        self.meter = meter

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        data = super().read(size)
        self.meter.moved(self.tell())
        return data


def measured_operation(path: str, content: Path | bytes, sha256: str, meter: Meter) -> Any:
    """A commit operation that adds a file, whose digest is known already, and that reports to a meter when it is sent by LFS."""
    from huggingface_hub import CommitOperationAdd

    class Measured(CommitOperationAdd):
        @contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[Any]:
            """What the client opens to send; with_tqdm is how it asks for a bar of its own."""
            if not with_tqdm or isinstance(self.path_or_fileobj, bytes):
                with super().as_file() as stream:
                    yield stream
                return
            with CountingFile(str(self.path_or_fileobj), meter) as stream:
                yield stream

    operation = Measured(path, content)
    operation.upload_info.sha256 = bytes.fromhex(sha256)
    return operation


@contextmanager
def xet_progress(meter: Meter) -> Iterator[None]:
    """Let Xet uploads report to the meter. huggingface_hub 2.4 takes no callback: it makes this class when an upload begins."""
    from huggingface_hub.utils import _xet_progress_reporting as reporting

    class Reporter:
        def update_progress(self, group: Any, items: dict[str, Any]) -> None:
            """Called from hf_xet's thread with what was processed and what of it had to travel."""
            meter.moved(group.total_transfer_bytes_completed and group.total_bytes_completed)

        def close(self) -> None:
            """Nothing is held open."""

    theirs, reporting.XetUploadProgressReporter = reporting.XetUploadProgressReporter, Reporter
    try:
        with stops_not_within(Reporter.update_progress.__code__):
            yield
    finally:
        reporting.XetUploadProgressReporter = theirs


@contextmanager
def stops_not_within(code: CodeType) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until a function is left: hf_xet prints what its callback raises, and goes on uploading."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}

    def stop(number: int, frame: FrameType | None) -> None:
        at = frame
        while at is not None:
            if at.f_code is code:
                threading.Timer(LATER_SECONDS, _thread.interrupt_main, (number,)).start()
                return
            at = at.f_back
        handlers[number](number, frame)

    for number in handlers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
