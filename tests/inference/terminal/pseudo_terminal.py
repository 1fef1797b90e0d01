"""A real command in a real pseudo-terminal, with pyte as the terminal that shows it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[3]
ENTER, CTRL_C, CTRL_D, CTRL_J, ALT_ENTER, TAB = b"\r", b"\x03", b"\x04", b"\n", b"\x1b\r", b"\t"
UP, LEFT, BACKSPACE = b"\x1b[A", b"\x1b[D", b"\x7f"


class PseudoTerminal:
    """`command` with this as its controlling terminal, `columns` by `lines` cells."""

    def __init__(self, command: list[str], *, columns: int = 90, lines: int = 30, **environment: str):
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.stream, self.raw = pyte.ByteStream(self.screen), b""
        self.master, slave = pty.openpty()
        self.screen.write_process_input = lambda answer: os.write(self.master, answer.encode())
        self._size(columns, lines)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        os.close(slave)

    def __enter__(self) -> "PseudoTerminal":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.master is not None:
            os.close(self.master)

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """What the window manager does: another size, and SIGWINCH."""
        self.screen.resize(lines, columns)
        self._size(columns, lines)
        os.killpg(os.getpgid(self.process.pid), signal.SIGWINCH)

    def send(self, *keys: bytes | str) -> None:
        """Press keys, or paste text with no brackets around it."""
        for key in keys:
            os.write(self.master, key.encode() if isinstance(key, str) else key)

    def paste(self, text: str) -> None:
        """What a terminal sends for a paste once the program asked for brackets."""
        self.send(b"\x1b[200~" + text.replace("\n", "\r").encode() + b"\x1b[201~")

    def read(self, seconds: float) -> bool:
        """Take what comes within so many seconds; False at the end."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            got = os.read(self.master, 65536)
        except OSError:
            return False
        self.raw += got
        self.stream.feed(got)
        return bool(got)

    def text(self) -> str:
        """What the screen shows, with what scrolled out above; a wide character once."""
        above = [[line[x] for x in range(self.screen.columns)] for line in self.screen.history.top]
        rows = [
            *above,
            *([self.screen.buffer[y][x] for x in range(self.screen.columns)] for y in range(self.screen.lines)),
        ]
        return "\n".join("".join(cell.data for cell in row).rstrip() for row in rows)

    def wait_for(self, wanted: str, seconds: float = 60, times: int = 1) -> str:
        """The screen once it shows `wanted`. AssertionError with the screen if it does not."""
        return self.wait_until(lambda text: text.count(wanted) >= times, repr(wanted), seconds)

    def wait_until(self, shown: Callable[[str], bool], what: str, seconds: float = 60) -> str:
        """The screen once `shown` says so of it. AssertionError with the screen if it does not."""
        end = time.monotonic() + seconds
        while not shown(self.text()):
            alive = self.read(0.05)
            assert time.monotonic() < end and (alive or shown(self.text())), (
                f"{what} not shown:\n{self.text().rstrip()}"
            )
        return self.text()

    def settle(self, quiet: float = 0.2) -> str:
        """The screen once nothing came for a while."""
        while select.select([self.master], [], [], quiet)[0] and self.read(0):
            pass
        return self.text()

    def ended(self, seconds: float = 20) -> int:
        """The exit status, once the process is gone and all it wrote is shown."""
        end = time.monotonic() + seconds
        while self.read(0.05) and time.monotonic() < end:
            pass
        return self.process.wait(max(0.1, end - time.monotonic()))

    def close(self) -> None:
        """Shut the window: what the program reads and writes then fails, and SIGHUP comes."""
        os.close(self.master)
        self.master = None
