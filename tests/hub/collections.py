"""Collections: named lists of repositories."""

import re
import secrets
import threading
from typing import Any

from tests.hub.accounts import Account
from tests.hub.repositories import KINDS, visible
from tests.hub.web import Answer, Call, HubError, Router, timestamp

router = Router()
Collection = dict[str, Any]
LISTED = 4  # items of each collection in a list of collections


class Collections:
    """The collections of a Hub by slug."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.all: dict[str, Collection] = {}


def may_see(account: Account | None, collection: Collection) -> bool:
    """Whether it is public or the account's own."""
    owner = collection["owner"]["name"]
    return not collection["private"] or (account is not None and owner in account.namespaces)


def shown(collection: Collection) -> Collection:
    """One collection by itself; in a list the client counts the position."""
    return {**collection, "position": 0}


def find(call: Call, writes: bool = False) -> Collection:
    """The collection that a path names. HubError 404, or 401/403 for a change by somebody else."""
    collection = call.hub.collections.all.get(f"{call['owner']}/{call['slug']}")
    if collection is None or not may_see(call.hub.accounts.asking(call), collection):
        raise HubError(404, "Collection not found")
    if writes:
        call.hub.accounts.writer(call, call["owner"])
    return collection


@router.route("POST", "/api/collections")
def create(call: Call) -> Answer:
    """hf_api.HfApi.create_collection; 409 with the slug if the owner has one of that title (exists_ok)."""
    body = call.json()
    call.hub.accounts.writer(call, body["namespace"])
    if not 0 < len(body["title"]) < 60:
        raise HubError(400, '"title" must have 1 to 59 characters')
    with call.hub.collections.lock:
        for slug, other in call.hub.collections.all.items():
            if (other["owner"]["name"], other["title"]) == (body["namespace"], body["title"]):
                return Answer({"error": "This collection already exists", "slug": slug}, 409)
        name = re.sub(r"[^a-z0-9]+", "-", body["title"].lower()).strip("-")
        slug = f"{body['namespace']}/{name}-{secrets.token_hex(12)}"
        collection = {"slug": slug, "title": body["title"], "description": body.get("description")}
        collection |= {"owner": {"name": body["namespace"], "type": "user"}, "private": bool(body.get("private"))}
        collection |= {"items": [], "theme": "orange", "upvotes": 0, "lastUpdated": timestamp()}
        call.hub.collections.all[slug] = collection
    return Answer(shown(collection))


@router.route("GET", "/api/collections")
def list_all(call: Call) -> list[Collection]:
    """hf_api.HfApi.list_collections, by owner or by an item such as models/alice/demo; at most four items of each."""
    account = call.hub.accounts.asking(call)
    found = [c for c in call.hub.collections.all.values() if may_see(account, c)]
    if owner := call.query.get("owner"):
        found = [c for c in found if c["owner"]["name"] == owner]
    if item := call.query.get("item"):
        found = [c for c in found if item in {f"{KINDS[i['type']]}/{i['id']}" for i in c["items"]}]
    return [{**c, "items": c["items"][:LISTED]} for c in found]


@router.route("GET", "/api/collections/{owner}/{slug}")
def get(call: Call) -> Collection:
    """hf_api.HfApi.get_collection."""
    return shown(find(call))


@router.route("PATCH", "/api/collections/{owner}/{slug}")
def update(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.update_collection_metadata."""
    collection, body = find(call, writes=True), call.json()
    collection |= {key: body[key] for key in ("title", "description", "private", "theme") if key in body}
    return {"success": True, "data": shown(collection)}


@router.route("DELETE", "/api/collections/{owner}/{slug}")
def delete(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.delete_collection."""
    del call.hub.collections.all[find(call, writes=True)["slug"]]
    return {}


@router.route("POST", "/api/collections/{owner}/{slug}/items")
def add_item(call: Call) -> Answer | Collection:
    """hf_api.HfApi.add_collection_item; 409 if it is in there (exists_ok), 404 if there is no such repository."""
    collection, body = find(call, writes=True), call.json()
    item = body["item"]
    if item["type"] not in KINDS:
        raise HubError(400, f"this Hub collects {', '.join(KINDS)}, not {item['type']!r}")
    visible(call, KINDS[item["type"]], item["id"])
    with call.hub.collections.lock:
        if any((i["type"], i["id"]) == (item["type"], item["id"]) for i in collection["items"]):
            return Answer({"error": "This item is already in the collection"}, 409)
        new = {
            "_id": secrets.token_hex(12),
            "id": item["id"],
            "type": item["type"],
            "position": len(collection["items"]),
        }
        collection["items"].append(new | ({"note": {"text": body["note"]}} if body.get("note") else {}))
        collection["lastUpdated"] = timestamp()
    return shown(collection)


@router.route("DELETE", "/api/collections/{owner}/{slug}/items/{item}")
def remove_item(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.delete_collection_item."""
    collection = find(call, writes=True)
    collection["items"] = [item for item in collection["items"] if item["_id"] != call["item"]]
    return {}
