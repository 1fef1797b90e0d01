"""The Hub: three origins on loopback (the Hub itself, the LFS objects, the Xet CAS) over one folder."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.hub import (
    collections,
    commits,
    downloads,
    git_http,
    listing,
    objects,
    pull_requests,
    repositories,
    spaces,
    validation,
    xet,
)
from tests.hub.accounts import Accounts
from tests.hub.faults import Fault, FaultBox
from tests.hub.web import Answer, Call, Request, Router, start_server
from tests.hub.xet import Xet

MODULES = (
    repositories,
    listing,
    commits,
    pull_requests,
    downloads,
    objects,
    git_http,
    collections,
    spaces,
    validation,
    xet,
)


class Hub:
    """`with Hub(folder) as hub:` serves hub.url until the block ends.

    xet: whether files go through the Xet CAS; without it the client has to be told so (HF_HUB_DISABLE_XET=1).
    part_bytes: LFS objects beyond this are uploaded in parts of this size (the real Hub does so beyond 5 GB).
    """

    def __init__(self, folder: Path, xet: bool = True, port: int = 0, part_bytes: int = 5 * 10**9):
        self.folder, self.part_bytes, self._port = Path(folder), part_bytes, port
        self.accounts, self.faults = Accounts(), FaultBox()
        self.repositories = repositories.Repositories(self.folder / "git")
        self.collections = collections.Collections()
        self.objects = objects.Objects(self.folder / "objects")
        self.requests: list[Request] = []
        self.leaks: list[Request] = []  # requests that took an account's token to the objects' or the CAS's origin
        self.failures: list[str] = []  # tracebacks: errors of this Hub, not of its clients
        self._key, self._closing, self._lock = secrets.token_bytes(32), threading.Event(), threading.Lock()
        self.xet = Xet(self.folder / "xorbs", self.sign) if xet else None

    def __enter__(self) -> "Hub":
        api = Router()
        api.routes = [route for module in MODULES for route in module.router.routes]
        self._servers = [
            start_server(self, "api", lambda call: answer(api, call), self._port),
            start_server(self, "cdn", lambda call: answer(objects.cdn, call)),
            start_server(self, "cas", lambda call: answer(xet.cas, call)),
        ]
        self.url, self.cdn_url, self.cas_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        if self.failures and kind is None:
            raise AssertionError("the test Hub itself failed:\n" + "\n".join(self.failures))

    # --- for tests

    def fault(self, fault: Fault) -> Fault:
        """Switch a fault on; `fault.fired` counts."""
        return self.faults.add(fault)

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self.faults.clear()

    def snapshot(self, repo_id: str, revision: str = "main", kind: str = "model") -> dict[str, str]:
        """SHA-256 of the content of every file, read from the store and not from what clients were told."""
        repository = self._repository(repo_id, kind)
        files = [entry for entry in repository.git.entries(repository.resolve(revision)) if not entry.folder]
        return {
            entry.path: self._stored_digest(entry.sha256)
            if entry.sha256
            else hashlib.sha256(repository.git.blob(entry.oid)).hexdigest()
            for entry in files
        }

    def refs(self, repo_id: str, kind: str = "model") -> dict[str, str]:
        """Commit of every ref, such as {"refs/heads/main": "0a1b…"}."""
        return self._repository(repo_id, kind).git.refs()

    def git_folder(self, repo_id: str, kind: str = "model") -> Path:
        """The bare repository."""
        return self._repository(repo_id, kind).git.folder

    def _repository(self, repo_id: str, kind: str) -> repositories.Repository:
        found = self.repositories.get(repositories.KINDS[kind], repo_id)
        if found is None:
            raise KeyError(f"the Hub has no {kind} {repo_id}")
        return found

    def _stored_digest(self, sha256: str) -> str:
        with self.objects.path(sha256).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    # --- for the modules

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than the Hub runs."""
        if seconds > 0:
            self._closing.wait(seconds)

    def note(self, request: Request, headers: Mapping[str, str]) -> None:
        """Log a request."""
        with self._lock:
            self.requests.append(request)
            if request.origin != "api" and self.accounts.leaked(f"{request.path}?{request.query}", headers):
                self.leaks.append(request)

    def sign(self, text: str) -> str:
        """A signature that only this Hub can make."""
        return hmac.new(self._key, text.encode(), "sha256").hexdigest()[:32]

    def xet_hash(self, sha256: str) -> str | None:
        """The Xet hash of an object that the CAS has."""
        return self.xet.hashes.get(sha256) if self.xet else None


def answer(router: Router, call: Call) -> Answer:
    """Find the route, look up its repository and the right to change it, answer."""
    route = router.find(call)
    if "id" in call.parts:
        call.repository = repositories.visible(call, call.parts.get("kind", "models"), call["id"])
        if route.writes:
            call.hub.accounts.writer(call, call.repository.namespace)
    found = route.respond(call)
    return found if isinstance(found, Answer) else Answer(found)
