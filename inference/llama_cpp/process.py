"""llama.cpp's own server in a process of its own, spoken to over a Unix socket: nothing of it is open to the network."""

import errno
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import Signals
from typing import Any

from command import UserError, WorkError
from inference.llama_cpp.threads import threads

CHILD = Path(__file__).with_name("child.py")
QUIET = {
    "verbosity": 1,  # errors only
    "warmup": False,  # the first prompt reads the weights just as well
    "ui": False,
    "cache_ram_mib": 0,  # else up to 8 GB of earlier prompts are kept in memory
    "n_batch": 512,  # as n_ubatch: a prompt can be given up after so many tokens
}
ENDING = 5.0  # seconds that a process has to be gone once it has closed its pipe or its socket
LOADING = "error loading model: "  # what llama.cpp writes before its reason
MEMORY = re.compile(r"allocat|out of memory|bad_alloc|failed to create context", re.IGNORECASE)


class LlamaCppProcess:
    """A model loaded in llama.cpp with `slots` answers at a time of at most `slot_tokens` tokens, prompts included."""

    def __init__(self, path: Path, spec: str, slots: int, slot_tokens: int):
        self.spec, self.slots, self.slot_tokens = spec, slots, slot_tokens
        params = QUIET | {"n_parallel": slots, "n_ctx": slots * slot_tokens}
        asked = {"model": str(path), "threads": threads(), "params": params}
        self._folder = tempfile.TemporaryDirectory(prefix="llama-cpp-")
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - for as long as the process lives
        self._socket = str(Path(self._folder.name) / "llama.sock")  # by this ending llama.cpp knows it is no host
        self._child = subprocess.Popen(
            [sys.executable, "-P", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal is for the front end
            env=os.environ | {"GGML_NO_BACKTRACE": "1"},
        )
        self.stop = weakref.finalize(self, _end, self._child, self._folder)
        try:
            self._start(asked | {"socket": self._socket})
        except BaseException:
            self.stop()
            raise

    def _start(self, asked: dict[str, Any]) -> None:
        """Wait until the model is loaded; UserError or WorkError says why it is not."""
        try:
            self._child.stdin.write(json.dumps(asked) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # it ended before it read; its log is told below
        if "ready\n" in self._child.stdout:  # whatever else is written there before
            return
        what = f"MODEL {self.spec}: llama.cpp"
        if not self._ended():
            raise WorkError(f"{what} did not become ready. Use --runtime transformers.")
        reason = self._reason()
        if MEMORY.search(reason):
            raise WorkError(
                f"{what} got no memory for it and {self.slots} x {self.slot_tokens} tokens ({reason}). "
                "Use a smaller file (q4_0), a lower --batch-size or shorter answers."
            )
        if self._child.returncode == 1 and LOADING not in self._told():
            raise WorkError(f"{what} could not be started ({reason}). Use --runtime transformers.")
        raise UserError(f"{what} cannot load it ({reason}). Copy, download or export it again.")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._child.poll() is None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """llama.cpp's answer to /completion, whole. WorkError says why there is none."""
        with self._asked(request) as response:
            return json.loads(response.read())

    def stream(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """llama.cpp's answer to /completion as it is made. Closing the iterator ends the work."""
        event: dict[str, Any] = {}
        try:
            with self._asked(request | {"stream": True}) as response:
                for line in response:
                    kind, _, told = line.partition(b": ")
                    if kind == b"error":
                        raise WorkError(f"MODEL {self.spec}: llama.cpp failed: {told.decode().strip()}")
                    if kind == b"data":
                        event = json.loads(told)
                        yield event
                if not event.get("stop"):
                    raise http.client.IncompleteRead(b"")
        except KeyboardInterrupt:
            if not event:
                self.stop()  # in the middle of a prompt it hears of a closed socket only after 512 tokens
            raise

    @contextmanager
    def _asked(self, request: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
        connection = _Connection(self._socket)
        try:
            connection.request("POST", "/completion", json.dumps(request), {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                if response.status != 200:
                    raise WorkError(f"MODEL {self.spec}: llama.cpp refused: {response.read().decode()}")
                yield response
        except (http.client.HTTPException, OSError) as error:
            if self._ended():
                raise WorkError(f"MODEL {self.spec}: llama.cpp ended while it answered ({self._reason()}).") from None
            many = getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)
            fix = " Lower --batch-size, or raise the limit (ulimit -n)." if many else ""
            raise WorkError(f"MODEL {self.spec}: llama.cpp could not be asked ({error}).{fix}") from error
        finally:
            connection.close()

    def _told(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def _ended(self) -> bool:
        """Whether the process is gone, or is so in a moment."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(ENDING)
        return not self.alive

    def _reason(self) -> str:
        """Why the process ended: the first that its log says of an error, and the signal it died of."""
        status = self._child.returncode
        lines = [re.sub(r"^[\d.]+ E +", "", line).strip() for line in self._told().splitlines() if line.strip()]
        first = [line for line in lines if LOADING in line or "GGML_ASSERT" in line or MEMORY.search(line)]
        reason = (first or lines[-1:] or ["it said nothing"])[0].rpartition(LOADING)[2]
        return f"{reason}; {Signals(-status).name}" if status < 0 else reason


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str):
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def _end(child: subprocess.Popen, folder: tempfile.TemporaryDirectory) -> None:
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    folder.cleanup()
