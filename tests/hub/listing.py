"""Looking at a repository: its info, tree, refs and commits."""

import json
import re
from typing import Any
from urllib.parse import parse_qs

import yaml

from tests.hub.git import Entry
from tests.hub.repositories import Repository
from tests.hub.spaces import runtime
from tests.hub.validation import front_matter
from tests.hub.web import Answer, Call, HubError, Router, page, timestamp

TREE_PAGE, COMMIT_PAGE = 1000, 50  # entries in one answer, as on the Hub

router = Router()


@router.route("GET", "/api/{repo}(?:/revision/{revision})?")
def info(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.repo_info, and what transformers asks before it loads: sha, siblings, card, settings, tags."""
    repository = call.repository
    commit = repository.resolve(call.parts.get("revision", "main"))
    entries = [entry for entry in repository.git.entries(commit) if not entry.folder]
    changed = int(repository.git.text("show", "-s", "--format=%ct", commit))
    about = {
        "_id": f"{abs(hash(repository.id)):024x}"[:24],
        "id": repository.id,
        "author": repository.namespace,
        "sha": commit,
    }
    about |= {"lastModified": timestamp(changed), "createdAt": repository.created}
    about |= {"private": repository.private, "gated": repository.gated, "disabled": False, "downloads": 0, "likes": 0}
    about |= {"usedStorage": sum(entry.size for entry in entries), "tags": []}
    about["siblings"] = [sibling(entry, "blobs" in call.query) for entry in entries]
    if repository.kind == "models":
        about["modelId"] = repository.id
    if repository.kind == "spaces":
        about |= {
            "sdk": repository.sdk,
            "runtime": runtime(repository),
            "subdomain": repository.id.replace("/", "-").lower(),
        }
    return about | described(repository, entries)


def sibling(entry: Entry, blobs: bool) -> dict[str, Any]:
    """A file in repo_info; with files_metadata=True (blobs) its size and hashes."""
    if not blobs:
        return {"rfilename": entry.path}
    lfs = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return {"rfilename": entry.path, "size": entry.size, "blobId": entry.oid} | ({"lfs": lfs} if entry.sha256 else {})


def described(repository: Repository, entries: list[Entry]) -> dict[str, Any]:
    """What the Hub reads out of the files: the card's metadata, the tags that it makes of it, config.json."""
    found: dict[str, Any] = {}
    files = {entry.path: entry for entry in entries}
    if "config.json" in files and not files["config.json"].sha256:
        config = json.loads(repository.git.blob(files["config.json"].oid))
        found["config"] = {key: config[key] for key in ("architectures", "model_type") if key in config}
    card = repository.git.blob(files["README.md"].oid).decode() if "README.md" in files else ""
    data = yaml.safe_load(front_matter(card) or "") or {}
    if data:
        found |= {key: data[key] for key in ("library_name", "pipeline_tag") if key in data}
        found |= {"cardData": json.loads(json.dumps(data, default=str)), "tags": card_tags(data)}
    return found


def card_tags(data: dict[str, Any]) -> list[str]:
    """The tags of a page, by which it is found."""

    def each(key: str) -> list[str]:
        value = data.get(key) or []
        return [str(v) for v in value] if isinstance(value, list) else [str(value)]

    tags = [*each("library_name"), *each("tags"), *each("pipeline_tag"), *each("language")]
    tags += [f"dataset:{name}" for name in each("datasets")] + [f"license:{name}" for name in each("license")]
    for base in each("base_model"):
        relation = [f"base_model:{data['base_model_relation']}:{base}"] if data.get("base_model_relation") else []
        tags += [f"base_model:{base}", *relation]
    return list(dict.fromkeys(tags))


# --- tree


def shown(call: Call, entry: Entry) -> dict[str, Any]:
    """A file or folder as hf_api.RepoFile and RepoFolder read it."""
    if entry.folder:
        return {"type": "directory", "oid": entry.oid, "size": 0, "path": entry.path}
    about: dict[str, Any] = {"type": "file", "oid": entry.oid, "size": entry.size, "path": entry.path}
    if entry.sha256:
        about["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
        if xet_hash := call.hub.xet_hash(entry.sha256):
            about["xetHash"] = xet_hash
    return about


@router.route("GET", "/api/{repo}/tree/{revision}(?:/{path})?")
def tree(call: Call) -> Answer:
    """hf_api.HfApi.list_repo_tree; a folder that is not there is 404 EntryNotFound, which tokenizers ask for."""
    commit = call.repository.resolve(call["revision"])
    path = call.parts.get("path", "").strip("/")
    entries = call.repository.git.entries(commit)
    if path and not any(entry.folder and entry.path == path for entry in entries):
        message = f'{path} does not exist on "{call["revision"]}"'
        raise HubError(404, message, "EntryNotFound", {"X-Repo-Commit": commit})
    prefix = f"{path}/" if path else ""
    recursive = call.query.get("recursive", "").lower() in ("true", "1")
    inside = [entry for entry in entries if entry.path.startswith(prefix)]
    wanted = [entry for entry in inside if recursive or "/" not in entry.path.removeprefix(prefix)]
    return page(call, [shown(call, entry) for entry in wanted], TREE_PAGE)


@router.route("POST", "/api/{repo}/paths-info/{revision}")
def paths_info(call: Call) -> list[dict[str, Any]]:
    """hf_api.HfApi.get_paths_info (a form) and npm @huggingface/hub (JSON); paths that are not there are left out."""
    body = call.body().decode()
    paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
    wanted = {path.rstrip("/") for path in paths}
    commit = call.repository.resolve(call["revision"])
    return [shown(call, entry) for entry in call.repository.git.entries(commit) if entry.path in wanted]


# --- history


@router.route("GET", "/api/{repo}/commits/{revision}")
def commits(call: Call) -> Answer:
    """hf_api.HfApi.list_repo_commits, newest first."""
    log = call.repository.git.text(
        "log", "--format=%H%x1f%ct%x1f%an%x1f%s%x1f%b%x1e", call.repository.resolve(call["revision"])
    )
    found = []
    for record in filter(None, (part.strip("\n") for part in log.split("\x1e"))):
        oid, seconds, user, title, message = record.split("\x1f")
        date, authors = timestamp(int(seconds)), [{"user": user}]
        found.append({"id": oid, "title": title, "message": message.strip(), "date": date, "authors": authors})
    return page(call, found, COMMIT_PAGE)


@router.route("GET", "/api/{repo}/refs")
def refs(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.list_repo_refs."""
    found: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    lists = {"heads": "branches", "tags": "tags", "pr": "pullRequests"}
    for ref, oid in call.repository.git.refs().items():
        if match := re.fullmatch(r"refs/(heads|tags|pr)/(.+)", ref):
            found[lists[match[1]]].append({"name": match[2], "ref": ref, "targetCommit": oid})
    if "include_prs" not in call.query:
        del found["pullRequests"]
    return found
