"""`new_version` in the card of an older release: its page then points at the new model. Metadata only, one commit, only when asked."""

import hashlib
import re
from typing import Any

from command import WorkError
from publishing.commit import commit_directly
from publishing.difference import Difference, Target, branch_head, compare, make_target, remote_files
from publishing.hub import Held, asked

SUMS, SIGNATURE = "SHA256SUMS", "model.sig"


def plan_new_version(api: Any, old: str, new: str) -> tuple[Target, Difference]:
    """The old repository's card with `new_version: NEW` and how it differs from the card there. WorkError if it has none."""
    from huggingface_hub.utils import EntryNotFoundError

    bare = Target(old, "model", {}, {}, lambda path: False)
    head = branch_head(api, bare, "main")
    try:
        text = read_text(api, old, head, "README.md")
    except EntryNotFoundError:
        raise WorkError(f"--new-version-of {old} has no README.md, so there is no card to write into.") from None
    files = {"README.md": point_to(text, old, new).encode()}
    if files["README.md"] != text.encode():
        files |= renewed_sums(api, old, head, files["README.md"])
    target = make_target(old, "model", files, lambda path: False)
    return target, compare(api, target, head)


def renewed_sums(api: Any, old: str, head: str, card: bytes) -> dict[str, bytes]:
    """SHA256SUMS with the card's new digest, where the old repository has one. WorkError if it is signed: that would break it."""
    from huggingface_hub.utils import EntryNotFoundError

    try:
        sums = read_text(api, old, head, SUMS)
    except EntryNotFoundError:
        return {}
    if remote_files(api, Target(old, "model", {}, {}, lambda path: False), head).keys() & {SIGNATURE}:
        raise WorkError(
            f"--new-version-of {old}: it is signed, and a change of its card would break the signature. Build that "
            f"release again: python -m model_card.build OLD_RUN_DIR --repo-id {old} --new-version … --sign-key …"
        )
    digest = hashlib.sha256(card).hexdigest()
    return {SUMS: re.sub(r"(?m)^[0-9a-f]{64}(?=  README\.md$)", digest, sums).encode()}


def read_text(api: Any, repo_id: str, commit: str, path: str) -> str:
    """A small file of a repository at a commit, past every cache."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(repo_id, path, revision=commit, endpoint=api.endpoint)

    def get() -> str:
        response = get_session().get(url, headers=build_hf_headers())
        hf_raise_for_status(response)
        return response.content.decode("utf-8")

    return asked(get)


def point_to(card: str, old: str, new: str) -> str:
    """The card with `new_version: NEW` in its front matter; every other byte stays. WorkError if it has no front matter."""
    import yaml

    match = re.match(r"(---\r?\n)(.*?\n)??(---\s*(?:\n|$))", card, re.DOTALL)
    if match is None:
        raise WorkError(f"--new-version-of {old}: its README.md has no front matter to write new_version into.")
    end = "\r\n" if match[1].endswith("\r\n") else "\n"
    kept = re.sub(r"(?m)^new_version:.*\r?\n", "", match[2] or "")
    front = f"{kept}new_version: {new}{end}"
    try:
        before, after = (yaml.safe_load(text) or {} for text in (match[2] or "", front))
        safe = {**before, "new_version": new} == after
    except (yaml.YAMLError, TypeError):  # TypeError: a list or a text, no mapping
        safe = False
    if not safe:
        raise WorkError(f"--new-version-of {old}: its front matter cannot be changed safely. Set new_version by hand.")
    return match[1] + front + match[3] + card[match.end() :]


def write_new_version(api: Any, old: str, new: str, held: Held) -> None:
    """Commit it to the old repository's main, or say that it stands there already."""
    target, difference = plan_new_version(api, old, new)
    if difference.empty:
        print(f"the card of {old} names {new} as its new version already")
        return
    held.now = f"{old} is unchanged"
    commit = commit_directly(api, target, difference, "main", f"Point to the new version {new}", held)
    print(f"the card of {old} now names {new} as its new version: {commit}", flush=True)
