"""Changing a repository: preupload, commits, branches and tags. A ref moves in one step or not at all."""

import base64
import binascii
import json
from pathlib import PurePosixPath
from typing import Any

from tests.hub.git import NOTHING, Entry, make_pointer
from tests.hub.pull_requests import open_pull_request
from tests.hub.repositories import LFS_SUFFIXES, Repository
from tests.hub.validation import validate_card
from tests.hub.web import Call, HubError, Router

LARGEST_REGULAR = 10 * 2**20  # bytes; beyond it a file must be an LFS object
MOVED = "A commit has happened since. Please refresh and try again."

router = Router()


@router.route("POST", "/api/{repo}/preupload/{revision}", writes=True)
def preupload(call: Call) -> dict[str, Any]:
    """_commit_api._fetch_upload_modes: regular or LFS for each path, and the oid of what is there, so that equal files are skipped."""
    repository = call.repository
    commit = repository.resolve(call["revision"])
    present = {entry.path: entry for entry in repository.git.entries(commit) if not entry.folder}
    files = []
    for file in call.json()["files"]:
        path, sample = file["path"], base64.b64decode(file.get("sample") or "")
        mode = {"path": path, "uploadMode": upload_mode(path, file["size"], sample), "shouldIgnore": False}
        files.append(mode | ({"oid": known_oid(present[path])} if path in present else {}))
    return {"files": files, "commitOid": commit}


def upload_mode(path: str, size: int, sample: bytes) -> str:
    """LFS by suffix (.gitattributes of a new repository), size, or because it is binary."""
    suffix = PurePosixPath(path).suffix.removeprefix(".")
    binary = b"\0" in sample or "tfevents" in path
    return "lfs" if suffix in LFS_SUFFIXES or size > LARGEST_REGULAR or binary else "regular"


def known_oid(entry: Entry) -> str:
    """git's SHA-1 of a regular file, SHA-256 of an LFS object."""
    return entry.sha256 or entry.oid


@router.route("POST", "/api/{repo}/commit/{revision}", writes=True)
def commit(call: Call) -> dict[str, Any]:
    """_commit_api._prepare_commit_payload: a header, then operations, one JSON object a line.

    parentCommit that is no longer the head is 412; with create_pr=1 the pull request starts from it instead.
    """
    header, operations = read_payload(call.body())
    repository, account = call.repository, call.hub.accounts.logged_in(call)
    parent = header.get("parentCommit")
    with repository.lock:
        number = None
        if call.query.get("create_pr") == "1":
            start = repository.resolve(parent or call["revision"])
            changes = collect_changes(call, operations, start)
            discussion = open_pull_request(
                repository, account.user, header["summary"], header.get("description"), start
            )
            number, ref = discussion.number, discussion.ref
        else:
            ref = repository.branch(call["revision"])
            start = repository.resolve(ref)
            if parent and not start.startswith(parent):
                raise HubError(412, MOVED)
            changes = collect_changes(call, operations, start)
        oid = write_commit(repository, ref, start, changes, header, account.user)
    page = repository.url(call.hub.url)
    pull_request = f"{page}/discussions/{number}" if number else None
    return {
        "success": True,
        "commitOid": oid,
        "commitUrl": f"{page}/commit/{oid}",
        "hookOutput": "",
        "pullRequestUrl": pull_request,
    }


def read_payload(body: bytes) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """Header and operations. HubError 400 if there is no header with a summary."""
    try:
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        operations = [(line["key"], line["value"]) for line in lines if line["key"] != "header"]
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise HubError(400, f"the commit's payload cannot be read: {error!r}") from None
    if not header.get("summary"):
        raise HubError(400, '"value.summary" is required')
    return header, operations


def write_commit(
    repository: Repository, ref: str, start: str, changes: dict[str, Any], header: dict[str, Any], user: str
) -> str:
    """The new commit's oid, with `ref` moved to it. HubError 412 if a push moved the ref meanwhile."""
    tree = repository.git.write_tree(start, changes)
    description = header.get("description")
    message = header["summary"] + (f"\n\n{description}" if description else "") + "\n"
    oid = repository.git.commit(tree, [start], message, user)
    if not repository.git.move(ref, oid, start):
        raise HubError(412, MOVED)
    return oid


def collect_changes(call: Call, operations: list[tuple[str, dict[str, Any]]], start: str) -> dict[str, bytes | None]:
    """What the operations do to each path. HubError 400 or 404 for what cannot be done; nothing was changed then."""
    present = {entry.path for entry in call.repository.git.entries(start) if not entry.folder}
    changes: dict[str, bytes | None] = {}
    for key, value in operations:
        path = check_path(value.get("path", ""))
        if key == "file":
            changes[path] = regular_file(path, value, call.repository.kind)
        elif key == "lfsFile":
            changes[path] = lfs_file(call, path, value)
        elif key == "deletedFile":
            if path not in present:
                raise HubError(404, f'A file with the name "{path}" does not exist', "EntryNotFound")
            changes[path] = None
        elif key == "deletedFolder":
            changes |= dict.fromkeys(name for name in present if name.startswith(f"{path}/"))
        else:
            raise HubError(400, f"unknown operation {key!r}")
    return changes


def check_path(path: str) -> str:
    """The path without a trailing slash. HubError 400 for one that leaves the repository or that git refuses."""
    path = path.removesuffix("/")
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in path:
        raise HubError(400, f"invalid path {path!r}")
    return path


def regular_file(path: str, value: dict[str, Any], kind: str) -> bytes:
    """The bytes of a file that git itself holds. A README.md whose metadata is wrong is refused, as by the Hub."""
    try:
        data = base64.b64decode(value["content"], validate=True)
    except (KeyError, binascii.Error):
        raise HubError(400, f"{path}: the content is not base64") from None
    if len(data) > LARGEST_REGULAR:
        raise HubError(400, f"{path} has {len(data)} bytes; files beyond {LARGEST_REGULAR} must be LFS objects")
    if path == "README.md" and (errors := validate_card(data.decode(errors="replace"), kind)[0]):
        raise HubError(400, "Invalid metadata in README.md. " + " ".join(errors))
    return data


def lfs_file(call: Call, path: str, value: dict[str, Any]) -> bytes:
    """The pointer to an object that was uploaded before. HubError 400 if it was not, or if its size is another."""
    size = call.hub.objects.size(value["oid"])
    if size is None:
        raise HubError(400, f"LFS pointer pointed to a file that does not exist: {path}")
    if value.get("size", size) != size:
        raise HubError(400, f"{path}: the object has {size} bytes, not {value['size']}")
    return make_pointer(value["oid"], size)


# --- branches and tags


@router.route("POST", "/api/{repo}/tag/{revision}", writes=True)
def create_tag(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.create_tag; 409 if it exists."""
    body, git = call.json(), call.repository.git
    target = call.repository.resolve(call["revision"])
    check_ref_name(body.get("tag", ""))
    ref = f"refs/tags/{body['tag']}"
    if git.find(ref) or not git.move(ref, target, NOTHING):
        raise HubError(409, "Tag reference exists already")
    if body.get("message"):
        user = call.hub.accounts.logged_in(call).user
        who = {"GIT_COMMITTER_NAME": user, "GIT_COMMITTER_EMAIL": f"{user}@localhost"}
        git.run("tag", "-f", "-a", "-m", body["message"], body["tag"], target, **who)
    return {}


@router.route("DELETE", "/api/{repo}/tag/{name}", writes=True)
def delete_tag(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.delete_tag."""
    return delete_ref(call.repository, f"refs/tags/{call['name']}")


@router.route("POST", "/api/{repo}/branch/{name}", writes=True)
def create_branch(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.create_branch; 409 if it exists."""
    check_ref_name(call["name"])
    start = call.repository.resolve(call.json().get("startingPoint") or "main")
    if not call.repository.git.move(f"refs/heads/{call['name']}", start, NOTHING):
        raise HubError(409, "Reference already exists")
    return {}


@router.route("DELETE", "/api/{repo}/branch/{name}", writes=True)
def delete_branch(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.delete_branch; main stays."""
    if call["name"] == "main":
        raise HubError(403, "The main branch cannot be deleted")
    return delete_ref(call.repository, f"refs/heads/{call['name']}")


def delete_ref(repository: Repository, ref: str) -> dict[str, Any]:
    """Remove a ref. HubError RevisionNotFound if there is none."""
    if repository.git.find(ref) is None:
        raise HubError(404, f"Invalid rev id: {ref}", "RevisionNotFound")
    repository.git.run("update-ref", "-d", ref)
    return {}


def check_ref_name(name: str) -> None:
    """HubError 400 for a name that git would not take or that is no branch or tag of one's own (refs/pr/1)."""
    wrong = not name or name.startswith(("refs/", "-", "/", ".")) or name.endswith(("/", ".", ".lock"))
    if wrong or any(c in name for c in " ~^:?*[\\\x7f") or ".." in name or "@{" in name:
        raise HubError(400, f"Invalid reference name: {name}")
