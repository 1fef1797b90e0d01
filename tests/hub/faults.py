"""Faults that are switched on one by one or together: refused, lost, slow and cut answers at any of the Hub's origins."""

import re
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass
class Fault:
    """What goes wrong with the requests that `method`, `path` and `origin` describe.

    method, path, origin: None or a pattern that matches anything; `path` is searched in the unquoted path with its query;
        `origin` is "api", "cdn" (LFS objects) or "cas" (Xet).
    skip, times: the first `skip` matches go well, the next `times` fail (None: all of them).
    status, headers: the answer in place of the true one, such as 503, or 429 with {"Retry-After": "1"}.
    drop: close the connection without an answer.
    after: status, drop and stall happen when the work has been done, as after a lost answer.
    stall: seconds without a byte, before the work or (after) before its answer.
    rate: bytes per second in either direction.
    cut: send only so many bytes of the answer's body, then close the connection.
    """

    method: str | None = None
    path: str = ""
    origin: str | None = None
    skip: int = 0
    times: int | None = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    after: bool = False
    stall: float = 0.0
    rate: int | None = None
    cut: int | None = None
    seen: int = field(default=0, init=False)  # requests that matched
    fired: int = field(default=0, init=False)  # requests that failed

    def matches(self, origin: str, method: str, target: str) -> bool:
        """Whether a request is of the kind that this fault is for."""
        asked = self.method in (None, method) and self.origin in (None, origin)
        return asked and re.search(self.path, unquote(target)) is not None


@dataclass(frozen=True)
class Trouble:
    """What all faults that fire for one request do to it together."""

    faults: tuple[Fault, ...] = ()

    def stall(self, after: bool) -> float:
        """Seconds to wait before the work, or after it."""
        return sum(f.stall for f in self.faults if f.after == after)

    def dropped(self, after: bool) -> bool:
        """Whether the connection is closed before the work, or after it."""
        return any(f.drop and f.after == after for f in self.faults)

    def answer(self, after: bool) -> Fault | None:
        """The fault whose status is answered instead."""
        return next((f for f in self.faults if f.status and f.after == after), None)

    @property
    def rate(self) -> int | None:
        """Bytes per second, the slowest of all."""
        return min((f.rate for f in self.faults if f.rate), default=None)

    @property
    def cut(self) -> int | None:
        """Bytes of the body after which the connection is closed."""
        return min((f.cut for f in self.faults if f.cut is not None), default=None)


class FaultBox:
    """The faults that are switched on. Requests come from many threads."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Switch a fault on; it is returned so that a test can ask how often it fired."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Switch all off."""
        with self._lock:
            self._faults.clear()

    def strike(self, origin: str, method: str, target: str) -> Trouble:
        """The faults that fire for this request; each counts it."""
        with self._lock:
            return Trouble(tuple(f for f in self._faults if f.matches(origin, method, target) and self._fires(f)))

    @staticmethod
    def _fires(fault: Fault) -> bool:
        fault.seen += 1
        if fault.seen <= fault.skip or (fault.times is not None and fault.fired >= fault.times):
            return False
        fault.fired += 1
        return True
