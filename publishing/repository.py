"""The repository itself: made if need be, and its settings put right before anything is pushed into it."""

from typing import Any

from command import WorkError
from publishing.difference import Target, compare
from publishing.hub import Held, asked, hub_errors, once

GATED = {"auto": "auto", "manual": "manual", "no": False}


def repository_info(api: Any, target: Target) -> Any | None:
    """What the Hub says of the repository, None if it is not there or not visible to this token."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return asked(lambda: api.repo_info(target.repo_id, repo_type=target.kind))
    except RepositoryNotFoundError:
        return None


def is_private(api: Any, target: Target) -> bool:
    """Whether only its owner's people see the repository."""
    return bool(getattr(repository_info(api, target), "private", False))


def wanted_settings(target: Target, info: Any | None, private: bool, gated: str | None) -> dict[str, Any]:
    """The settings that are not yet as asked for. Nothing is ever made public, and a Space has no gate."""
    settings: dict[str, Any] = {}
    if private and not (info and info.private):
        settings["private"] = True
    if gated and target.kind == "model" and GATED[gated] != (info.gated if info else False):
        settings["gated"] = GATED[gated]
    return settings


def say_settings(settings: dict[str, Any]) -> str:
    """Settings as words: `private, gated: auto`."""
    words = ["private"] if settings.get("private") else []
    if "gated" in settings:
        words.append(f"gated: {settings['gated'] or 'no'}")
    return ", ".join(words)


def prepare_repository(api: Any, target: Target, private: bool, gated: str | None, held: Held) -> None:
    """Make the repository if it is not there, then its settings as asked for. WorkError if the Hub did not take them."""
    info = repository_info(api, target)
    if info is None:
        once(
            lambda: create(api, target, private),
            lambda: repository_info(api, target),
            held,
            f"the repository {target.repo_id}",
            target.repo_id,
        )
        held.now = f"{target.repo_id} is made and empty"
        print(f"made {target.repo_id}" + (", private" if private else ""), flush=True)
        info = repository_info(api, target)
    settings = wanted_settings(target, info, private, gated)
    if not settings:
        return
    asked(lambda: api.update_repo_settings(target.repo_id, repo_type=target.kind, **settings))
    if left := wanted_settings(target, repository_info(api, target), private, gated):
        raise WorkError(
            f"{held}: {target.repo_id} did not become {say_settings(left)}. Set it on its settings page and run again."
        )
    print(f"{target.repo_id} is now {say_settings(settings)}", flush=True)


def create(api: Any, target: Target, private: bool) -> Any:
    """Create the repository; a Space of ours is a Gradio app."""
    sdk = {"space_sdk": "gradio"} if target.kind == "space" else {}
    return api.create_repo(target.repo_id, repo_type=target.kind, private=private or None, **sdk)


def make_branch(api: Any, target: Target, branch: str) -> None:
    """Make a branch from main if there is none of that name."""
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        asked(lambda: api.repo_info(target.repo_id, repo_type=target.kind, revision=branch))
    except RevisionNotFoundError:
        asked(lambda: api.create_branch(target.repo_id, repo_type=target.kind, branch=branch, exist_ok=True))
        print(f"made the branch {branch} from main", flush=True)


def find_tag(api: Any, target: Target, tag: str) -> str | None:
    """The commit that a tag points at, None if there is no such tag."""
    refs = asked(lambda: api.list_repo_refs(target.repo_id, repo_type=target.kind))
    return next((ref.target_commit for ref in refs.tags if ref.name == tag), None)


def set_tag(api: Any, target: Target, tag: str, commit: str, held: Held) -> None:
    """Tag a commit. WorkError if somebody else has meanwhile put the tag on other files than these."""

    def send() -> str:
        api.create_tag(target.repo_id, repo_type=target.kind, tag=tag, revision=commit)
        return commit

    there = once(send, lambda: find_tag(api, target, tag), held, f"the tag {tag}", target.repo_id)
    if there != commit and not compare(api, target, there).empty:
        raise WorkError(f"{held}: meanwhile somebody set the tag {tag} on {there}. Choose another --tag.")
    print(f"tagged {tag}: {there}", flush=True)


def check_metadata(api: Any, target: Target) -> list[str]:
    """What the Hub's own validator finds wrong with the card, asked before the weights are sent and not after."""
    from huggingface_hub.utils import get_session

    card = target.files.get("README.md")
    if card is None:
        return []
    text = (card if isinstance(card, bytes) else card.read_bytes()).decode("utf-8", errors="replace")
    body = {"content": text, "repoType": target.kind}
    try:
        said = asked(lambda: read_validation(get_session().post(f"{api.endpoint}/api/validate-yaml", json=body)))
    except hub_errors():
        return []  # what the Hub cannot say now it says again before the commit, which it then refuses
    return [f"README.md of {target.repo_id}: the Hub says: {error['message']}" for error in said.get("errors", [])]


def read_validation(response: Any) -> dict[str, Any]:
    """The validator's answer; 400 is how it says no, every other error status is one."""
    from huggingface_hub.utils import hf_raise_for_status

    if response.status_code != 400:
        hf_raise_for_status(response)
    return response.json()
