"""A real Chromium for tests, without a display: a small client of its DevTools protocol over a pipe.

Methods and events are those of https://chromedevtools.github.io/devtools-protocol; messages are JSON, each ended by a NUL.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60  # seconds for one answer of the browser
# Runs in each new page before anything of its own: the console's log loses what is said while a page changes its process.
WATCH = """window.complaints = [];
addEventListener('securitypolicyviolation', e => complaints.push(`Content Security Policy: ${e.violatedDirective} ${e.sample}`));
addEventListener('error', e => complaints.push(`error: ${e.message}`), true);"""


def find() -> str | None:
    """The Chromium on this machine, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a headless Chromium. `problems` collects what its console complained of, broken policies included."""

    def __init__(self, folder: Path):
        to_browser, from_browser = _pipe(), _pipe()
        arguments = [find(), "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder}", "--disable-gpu"]
        arguments += [
            "--no-first-run",
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # Chromium refuses its sandbox to root

        def connect() -> None:  # in the child: DevTools reads file descriptor 3 and writes 4
            os.dup2(to_browser[0], 3)
            os.dup2(from_browser[1], 4)

        self.process = subprocess.Popen(
            arguments, preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        self._write, self._read = to_browser[1], from_browser[0]
        os.set_blocking(self._read, False)
        self._buffer, self._number, self._session = b"", 0, None
        self.problems: list[str] = []
        self._open()

    def _open(self) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)
        os.close(self._write)
        os.close(self._read)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and give its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda found: found.get("id") == message["id"])
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _until(self, wanted: Any) -> dict[str, Any]:
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            for message in self._messages():
                self._note(message)
                if wanted(message):
                    return message
            time.sleep(0.005)
        raise TimeoutError("the browser did not answer")

    def _messages(self) -> list[dict[str, Any]]:
        try:
            while chunk := os.read(self._read, 1 << 20):
                self._buffer += chunk
        except BlockingIOError:
            pass  # nothing more for now
        *whole, self._buffer = self._buffer.split(b"\0")
        return [json.loads(message) for message in whole]

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.problems.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(parameters["args"]))

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file and wait until it is there; the fragment must be one that the page leaves as it is."""
        for url in ("about:blank", path.as_uri() + fragment):  # the same file with another fragment would not load anew
            self.problems.clear()
            self.send("Page.navigate", url=url)
            self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true."""
        limit = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < limit, condition
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        """What the console and WATCH complained of, once what is on its way has arrived."""
        time.sleep(0.2)
        return [*self.run("window.complaints || []"), *self.problems]

    def size(self, width: int, height: int = 900, mobile: bool = False) -> None:
        """The size of the window in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def theme(self, name: str) -> None:
        """ "light" or "dark"."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def scripts(self, allowed: bool) -> None:
        """Whether pages may run scripts."""
        self.send("Emulation.setScriptExecutionDisabled", value=not allowed)

    def click(self, selector: str) -> None:
        """A click of the mouse in the middle of an element, once it stands still: a page that is being drawn moves away below."""
        place, before = self._middle(selector), None
        while place != before:
            time.sleep(0.1)
            place, before = self._middle(selector), place
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def _middle(self, selector: str) -> list[float]:
        """Where the middle of an element is on the screen, after it was scrolled there."""
        return self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )

    def key(self, name: str) -> None:
        """A key such as Tab or Enter, pressed and let go."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[name]
        text = {"Enter": "\r", " ": " "}.get(name, "")
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )  # fmt: skip

    def picture(self, path: Path, whole: bool = False) -> Path:
        """A PNG of what is seen, or of the whole page."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path


def _pipe() -> tuple[int, int]:
    """A pipe whose ends lie above the numbers 3 and 4 that the browser gets; the child inherits them."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD, 10))
        os.close(end)
    return ends[0], ends[1]
