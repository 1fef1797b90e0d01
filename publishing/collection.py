"""One collection of the owner that ties model, GGUF files and Space together."""

import re
from typing import Any

from command import WorkError
from publishing.hub import Held, asked, hub_errors, once, status_of

Items = list[tuple[str, str]]  # (repository, kind)


def is_slug(text: str) -> bool:
    """Whether a text names one collection, such as `alice/my-models-64f9a55bb3115b4f513ec026`, and is no title."""
    return re.fullmatch(r"[\w.-]+/[\w-]+-[0-9a-f]{24}", text) is not None


def find_collection(api: Any, wanted: str, owner: str) -> Any | None:
    """The collection of that slug, or the owner's of exactly that title, with all its items; None if there is none."""
    if is_slug(wanted):
        return asked(lambda: api.get_collection(wanted))
    found = next((c for c in api.list_collections(owner=owner) if c.title == wanted), None)
    return found and asked(lambda: api.get_collection(found.slug))  # a listing holds four items at most


def missing_items(collection: Any | None, items: Items) -> Items:
    """The items that are not in the collection yet."""
    there = {(i.item_id, i.item_type) for i in collection.items} if collection else set()
    return [item for item in items if item not in there]


def show_collection(api: Any, wanted: str, owner: str, items: Items) -> None:
    """Print what a push would do to the collection."""
    collection = find_collection(api, wanted, owner)
    print(f"collection {wanted!r} of {owner}: " + ("there" if collection else "would be made"))
    for repo_id, kind in missing_items(collection, items):
        print(f"  would add the {kind} {repo_id}")


def check_collection(api: Any, wanted: str, owner: str) -> None:
    """WorkError if a collection is named by a slug that is not there: asked before anything is pushed."""
    try:
        find_collection(api, wanted, owner)
    except hub_errors() as error:
        if status_of(error) != 404:
            raise
        raise WorkError(
            f"nothing was pushed: --collection {wanted!r} is not there. Give its slug anew, or a title for a new one."
        ) from None


def tie(api: Any, wanted: str, owner: str, items: Items, private: bool, held: Held) -> str:
    """Put the items into the collection, made if it is missing (private where they are), none of them twice; its address."""
    collection = find_collection(api, wanted, owner)
    if collection is None:
        collection = once(
            lambda: api.create_collection(wanted, namespace=owner, private=private),
            lambda: find_collection(api, wanted, owner),
            held,
            f"the collection {wanted!r}",
            owner,
        )
        print(f"made the collection {wanted!r}")
    for item in missing_items(collection, items):
        add_item(api, collection.slug, item)
        print(f"added the {item[1]} {item[0]} to the collection {collection.title!r}", flush=True)
    return collection.url


def add_item(api: Any, slug: str, item: tuple[str, str]) -> None:
    """Add one item; to send it twice is the same as once, the Hub then says that it is there."""
    asked(lambda: api.add_collection_item(slug, item[0], item[1], exists_ok=True))
