"""HTTP underneath the Hub: a request, an answer, an error of the Hub, routes, and the handler on which faults act."""

import json
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from tests.hub.faults import Trouble

if TYPE_CHECKING:
    from tests.hub.repositories import Repository
    from tests.hub.server import Hub

CHUNK = 1 << 18  # bytes that are read or written at once


@dataclass(frozen=True)
class Request:
    """One request as a test sees it. status is None where the connection was closed without an answer."""

    method: str
    path: str
    status: int | None
    token: str | None
    origin: str
    query: str


@dataclass(frozen=True)
class FileSlice:
    """Bytes `start` to `end` (exclusive) of a file, as an answer's body."""

    path: Path
    start: int
    end: int


@dataclass(frozen=True)
class Answer:
    """What is sent back. A body that is not bytes or a FileSlice is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class HubError(Exception):
    """A refusal. huggingface_hub.utils._http.hf_raise_for_status reads X-Error-Code and X-Error-Message."""

    def __init__(self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None):
        super().__init__(message)
        said = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer = Answer({"error": message}, status, said | (headers or {}))


class Call:
    """A request while it is answered: its path's parts, query, headers and body."""

    def __init__(self, hub: "Hub", origin: str, handler: "Handler", trouble: Trouble):
        self.hub, self.origin, self.method, self.headers = hub, origin, handler.command, handler.headers
        self.target = handler.path
        self.path, _, self.query_string = handler.path.partition("?")
        self.query = {key: values[0] for key, values in parse_qs(self.query_string, keep_blank_values=True).items()}
        self.trouble = trouble
        self.parts: dict[str, str] = {}
        self.repository: Repository | None = None
        self._chunks = body_chunks(handler, chunk_size(trouble.rate))

    def chunks(self) -> Iterator[bytes]:
        """The body (what is left of it), as fast as the faults allow."""
        for chunk in self._chunks:
            self.hub.wait(len(chunk) / self.trouble.rate if self.trouble.rate else 0)
            yield chunk

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())

    def json(self) -> Any:
        """The body as JSON. HubError 400 if it is none."""
        try:
            return json.loads(self.body() or b"{}")
        except ValueError as error:
            raise HubError(400, f"the body is not JSON: {error}") from None

    def __getitem__(self, part: str) -> str:
        """A part of the path that the route names, unquoted."""
        return self.parts[part]


def chunk_size(rate: int | None) -> int:
    """Bytes to read or write at once: a tenth of a second's worth on a slow link."""
    return CHUNK if rate is None else max(1, min(CHUNK, rate // 10))


def body_chunks(handler: "Handler", at_once: int) -> Iterator[bytes]:
    """The body of a request with a length, at most `at_once` bytes a piece, or in the client's own chunks (git)."""
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            yield handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
        return
    left = int(handler.headers.get("Content-Length") or 0)
    while left and (chunk := handler.rfile.read(min(left, at_once))):
        left -= len(chunk)
        yield chunk


# --- routes

Respond = Callable[[Call], Any]
PARTS = {
    "repo": r"(?P<kind>models|datasets|spaces)/(?P<id>[^/]+/[^/]+)",
    "files": r"(?:(?P<kind>datasets|spaces)/)?(?P<id>[^/]+/[^/]+?)",
    "number": r"(?P<number>\d+)",
    "path": r"(?P<path>.+)",
}


@dataclass(frozen=True)
class Route:
    """Which function answers; `writes` says that the repository in the path is changed."""

    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    respond: Respond
    writes: bool


class Router:
    """The routes of one origin, in the order in which they were declared."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def route(self, methods: str, path: str, writes: bool = False) -> Callable[[Respond], Respond]:
        """Declare a function for `path`, where {repo}, {files}, {path}, {number} or any other {word} names a part."""
        pattern = re.sub(r"\{(\w+)\}", lambda m: PARTS.get(m[1], rf"(?P<{m[1]}>[^/]+)"), path)

        def declare(respond: Respond) -> Respond:
            self.routes.append(Route(tuple(methods.split()), re.compile(pattern), respond, writes))
            return respond

        return declare

    def find(self, call: Call) -> Route:
        """The route of a call, whose parts are set. HubError 404 if there is none."""
        method = "GET" if call.method == "HEAD" else call.method
        for route in self.routes:
            if method in route.methods and (match := route.pattern.fullmatch(call.path)):
                call.parts = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
                return route
        raise HubError(404, f"this Hub has no route {call.method} {call.path}")


# --- the handler


class Handler(BaseHTTPRequestHandler):
    """One connection. `hub`, `origin` and `respond` are set by `start_server`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's delayed acknowledgement
    hub: "Hub"
    origin: str
    respond: Callable[[Call], Answer]

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: hub.requests is the log."""

    def exchange(self) -> None:
        """Read a request, let the faults act, answer."""
        trouble = self.hub.faults.strike(self.origin, self.command, self.path)
        call = Call(self.hub, self.origin, self, trouble)
        try:
            if not self.misbehave(call, after=False):
                answer = self.work(call)
                if not self.misbehave(call, after=True):
                    self.send(call, answer)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client is gone, or was cut off; the request is in the log already

    def work(self, call: Call) -> Answer:
        """The answer that this request deserves; an error of ours is 500 and kept in hub.failures."""
        try:
            answer = type(self).respond(call)
        except HubError as error:
            answer = error.answer
        except ConnectionError:
            raise
        except Exception as error:
            self.hub.failures.append("".join(traceback.format_exception(error)))
            answer = Answer({"error": "internal error of the test Hub"}, 500)
        for _ in call.chunks():
            pass  # what is left of the body, so that the connection can serve the next request
        return answer

    def misbehave(self, call: Call, after: bool) -> bool:
        """Do what the faults say before or after the work. True if that was the end of this request."""
        trouble = call.trouble
        self.hub.wait(trouble.stall(after))
        if trouble.dropped(after):
            self.note(call, None)
            self.hang_up()
            return True
        if fault := trouble.answer(after):
            for _ in call.chunks():
                pass
            self.send(call, Answer({"error": "a fault of the test Hub"}, fault.status or 0, fault.headers))
            return True
        return False

    def note(self, call: Call, status: int | None) -> None:
        """Log the request before its answer leaves, so that a test that has the answer finds the request."""
        token = self.hub.accounts.token(call.headers)
        self.hub.note(Request(call.method, call.path, status, token, self.origin, call.query_string), call.headers)

    def hang_up(self) -> None:
        """Close the connection as a lost network does."""
        self.close_connection = True
        with suppress(OSError):  # the client may have hung up already
            self.connection.shutdown(socket.SHUT_RDWR)

    def send(self, call: Call, answer: Answer) -> None:
        """Send an answer, slowly or in part where a fault says so."""
        body, headers = answer.body, dict(answer.headers)
        if not isinstance(body, bytes | FileSlice):
            body = json.dumps(body, ensure_ascii=False).encode()
            headers = {"Content-Type": "application/json; charset=utf-8"} | headers
        length = len(body) if isinstance(body, bytes) else body.end - body.start
        self.note(call, answer.status)
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, " ".join(value.split()).encode("ascii", "replace").decode())
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        left = length if call.trouble.cut is None else min(length, call.trouble.cut)
        self.send_body(body, left, call.trouble.rate)
        if left < length:
            self.hang_up()

    def send_body(self, body: bytes | FileSlice, left: int, rate: int | None) -> None:
        """Send the first `left` bytes, at most `rate` a second."""
        size = chunk_size(rate)
        chunks = (
            file_chunks(body, size)
            if isinstance(body, FileSlice)
            else (body[i : i + size] for i in range(0, len(body), size))
        )
        for chunk in chunks:
            chunk = chunk[:left]
            self.hub.wait(len(chunk) / rate if rate else 0)
            self.wfile.write(chunk)
            left -= len(chunk)
            if not left:
                return

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = exchange


def file_chunks(part: FileSlice, size: int) -> Iterator[bytes]:
    """The bytes of a part of a file, `size` at a time."""
    with part.path.open("rb") as file:
        file.seek(part.start)
        left = part.end - part.start
        while left and (chunk := file.read(min(left, size))):
            left -= len(chunk)
            yield chunk


class Server(ThreadingHTTPServer):
    """One origin on loopback; a thread per connection."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up between requests is no error of ours; anything else is printed."""
        import sys

        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def start_server(hub: "Hub", origin: str, respond: Callable[[Call], Answer], port: int = 0) -> Server:
    """Serve one origin in threads of this process; port 0 takes a free one."""
    handler = type(
        f"{origin.title()}Handler", (Handler,), {"hub": hub, "origin": origin, "respond": staticmethod(respond)}
    )
    server = Server(("127.0.0.1", port), handler)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name=f"hub-{origin}"
    ).start()
    return server


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """("bytes=2-5", 10) -> (2, 6): start and exclusive end; None without a range. HubError 416 beyond the end."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if not match:
        return None
    start, end = int(match[1]), min(int(match[2] or size - 1) + 1, size)
    if start >= end:
        raise HubError(416, f"{header} is beyond the {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return start, end


def timestamp(seconds: float | None = None) -> str:
    """A time as the Hub writes it, such as 2024-05-01T12:00:00.000Z; now without an argument."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def page(call: Call, items: list[Any], size: int) -> Answer:
    """One page of a long list; huggingface_hub.utils._pagination.paginate follows the Link header's rel="next"."""
    start = int(call.query.get("cursor", 0))
    if start + size >= len(items):
        return Answer(items[start:])
    query = "&".join(part for part in call.query_string.split("&") if part and not part.startswith("cursor="))
    address = f"{call.hub.url}{call.path}?{query}{'&' if query else ''}cursor={start + size}"
    return Answer(items[start : start + size], headers={"Link": f'<{address}>; rel="next"'})
