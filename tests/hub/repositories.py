"""Repositories: made, found, settings, and who may see or change them."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.hub.accounts import NO_LOGIN, Account
from tests.hub.git import NOTHING, Git
from tests.hub.validation import SDKS
from tests.hub.web import Answer, Call, HubError, Router, timestamp

if TYPE_CHECKING:
    from tests.hub.pull_requests import Discussion

# What the Hub tells git to keep as LFS objects in a new repository; preupload follows it.
SUFFIXES = (
    "7z arrow bin bz2 ckpt ftz gz h5 joblib mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt pth rar "
    "safetensors tar tflite tgz wasm xz zip zst gguf"
)
LFS_SUFFIXES = tuple(SUFFIXES.split())
ATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}

router = Router()


class Repository:
    """A repository of a kind ("models", "datasets" or "spaces") with its settings, discussions and lock for writers."""

    def __init__(self, folder: Path, kind: str, repo_id: str):
        self.git, self.kind, self.id = Git(folder), kind, repo_id
        self.lock = threading.RLock()
        self.created = timestamp()
        self.private = False
        self.gated: str | bool = False
        self.readers: set[str] = set()  # who was granted access to a gated repository
        self.sdk: str | None = None
        self.discussions: list[Discussion] = []

    @property
    def namespace(self) -> str:
        """Its owner, a user or an organisation."""
        return self.id.split("/")[0]

    def belongs_to(self, account: Account | None) -> bool:
        """Whether an account owns it, itself or through an organisation."""
        return account is not None and self.namespace in account.namespaces

    def check_gate(self, account: Account | None, commit: str) -> None:
        """HubError (GatedRepo) for the files of a gated repository if the account was not let in."""
        if not self.gated or self.belongs_to(account) or (account and account.user in self.readers):
            return
        status = 403 if account else 401
        raise HubError(status, f"Access to model {self.id} is restricted.", "GatedRepo", {"X-Repo-Commit": commit})

    def resolve(self, revision: str) -> str:
        """The commit of a branch, tag, pull request (refs/pr/1) or SHA. HubError RevisionNotFound."""
        names = [revision] if revision.startswith("refs/") else [f"refs/heads/{revision}", f"refs/tags/{revision}"]
        if revision == "HEAD":
            names = ["refs/heads/main"]
        elif len(revision) >= 7 and set(revision) <= set("0123456789abcdef"):
            names.append(revision)
        for name in names:
            if commit := self.git.find(name):
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def branch(self, revision: str) -> str:
        """The ref that a commit to `revision` moves. HubError 400 for one that cannot move."""
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        if not ref.startswith(("refs/heads/", "refs/pr/")) or self.git.find(ref) is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return ref

    def url(self, hub_url: str) -> str:
        """Its page."""
        return f"{hub_url}/{'' if self.kind == 'models' else self.kind + '/'}{self.id}"


class Repositories:
    """All repositories of a Hub, under a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lock = threading.Lock()
        self._all: dict[tuple[str, str], Repository] = {}

    def get(self, kind: str, repo_id: str) -> Repository | None:
        """A repository, None if there is none."""
        return self._all.get((kind, repo_id))

    def create(self, kind: str, repo_id: str, user: str) -> Repository:
        """A new repository with its first commit, as the Hub makes it. Hold the lock."""
        repository = Repository(self.folder / kind / f"{repo_id}.git", kind, repo_id)
        git = repository.git
        git.create()
        tree = git.write_tree(None, {".gitattributes": ATTRIBUTES.encode()})
        git.move("refs/heads/main", git.commit(tree, [], "initial commit", user), NOTHING)
        self._all[kind, repo_id] = repository
        return repository

    def remove(self, repository: Repository) -> None:
        """Forget a repository; its folder gives way to a later one of the same name."""
        with self.lock:
            del self._all[repository.kind, repository.id]
            repository.git.folder.rename(self.folder / f"removed-{id(repository)}.git")


def visible(call: Call, kind: str, repo_id: str) -> Repository:
    """A repository that the asking account may see; others look as if there were none, as on the Hub."""
    account = call.hub.accounts.asking(call)
    repository = call.hub.repositories.get(kind, repo_id)
    if repository is None or (repository.private and not repository.belongs_to(account)):
        headers = {} if account else NO_LOGIN
        raise HubError(404 if account else 401, "Repository not found", "RepoNotFound", headers)
    return repository


def named_in_body(call: Call, body: dict[str, Any]) -> tuple[str, str]:
    """Kind and id of a repository in the body of create or delete; without an organisation it is the user's own."""
    kind = KINDS.get(body.get("type") or "model")
    if kind is None or not body.get("name"):
        raise HubError(400, f"there is no repository of type {body.get('type')!r} with name {body.get('name')!r}")
    owner = body.get("organization") or call.hub.accounts.logged_in(call).user
    return kind, f"{owner}/{body['name']}"


@router.route("POST", "/api/repos/create")
def create(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.create_repo; 409 with the address where it exists."""
    body = call.json()
    kind, repo_id = named_in_body(call, body)
    account = call.hub.accounts.writer(call, repo_id.split("/")[0])
    if kind == "spaces" and body.get("sdk") not in SDKS:
        raise HubError(400, f'"sdk" must be one of {", ".join(SDKS)}')
    with call.hub.repositories.lock:
        existing = call.hub.repositories.get(kind, repo_id)
        if existing:
            url = existing.url(call.hub.url)
            return Answer({"error": f"You already created this {kind[:-1]} repo", "url": url, "name": repo_id}, 409)
        repository = call.hub.repositories.create(kind, repo_id, account.user)
        repository.private = body.get("visibility") == "private" or bool(body.get("private"))
        repository.sdk = body.get("sdk")
    return {"url": repository.url(call.hub.url), "name": repo_id, "id": repo_id}


@router.route("DELETE", "/api/repos/delete")
def delete(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.delete_repo."""
    kind, repo_id = named_in_body(call, call.json())
    repository = visible(call, kind, repo_id)
    call.hub.accounts.writer(call, repository.namespace)
    call.hub.repositories.remove(repository)
    return {}


@router.route("PUT", "/api/{repo}/settings", writes=True)
def settings(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.update_repo_settings: {"visibility": "private"}, {"gated": "auto" | "manual" | false}."""
    body, repository = call.json(), call.repository
    if body.get("gated", False) not in ("auto", "manual", False):
        raise HubError(400, f'"gated" must be "auto", "manual" or false, not {body["gated"]!r}')
    if body.get("visibility", "public") not in ("public", "private"):
        raise HubError(400, f'"visibility" must be "public" or "private", not {body["visibility"]!r}')
    if "visibility" in body:
        repository.private = body["visibility"] == "private"
    repository.gated = body.get("gated", repository.gated)
    return {"private": repository.private, "gated": repository.gated}


@router.route("POST", "/api/{repo}/user-access-request/grant", writes=True)
def grant(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.grant_access: let a user into a gated repository."""
    if not call.repository.gated:
        raise HubError(400, "The repository is not gated.")
    call.repository.readers.add(call.json()["user"])
    return {}


@router.route("GET", "/api/{repo}/auth-check(?P<write>/write)?")
def auth_check(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.auth_check."""
    if "write" in call.parts:
        call.hub.accounts.writer(call, call.repository.namespace)
    call.repository.check_gate(call.hub.accounts.asking(call), call.repository.resolve("main"))
    return {}


@router.route("GET", "/api/whoami-v2")
def whoami(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.whoami: the name, the token's role, and the organisations."""
    account = call.hub.accounts.logged_in(call)
    organisations = [{"type": "org", "id": name, "name": name, "roleInOrg": "write"} for name in account.organisations]
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": account.role}}
    about = {"type": "user", "id": account.user, "name": account.user, "fullname": account.user, "isPro": False}
    return about | {"orgs": organisations, "auth": token}
