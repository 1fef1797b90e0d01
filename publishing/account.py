"""Whose token it is and whether it may write: asked before anything is pushed."""

import os
from collections.abc import Iterable
from typing import Any

from publishing.hub import asked, explain, hub_errors, status_of

SETTINGS = "https://huggingface.co/settings/tokens"


def check_account(api: Any, repo_ids: Iterable[str], create_pr: bool) -> tuple[str | None, list[str]]:
    """(name of the token's user, findings): a token is there, valid, may write, and to these repositories' owners.

    A pull request needs no ownership. The token itself is never part of a finding.
    """
    from huggingface_hub import get_token

    repo_ids = list(repo_ids)
    if not (get_token() or "").isascii():
        return None, [
            "the Hub token holds characters that no token has. Copy it again (hf auth login)" + token_source()
        ]
    if get_token() is None:
        return None, ["there is no Hub token. Log in (hf auth login) or set HF_TOKEN to a token with write access"]
    try:
        me = asked(api.whoami)
    except hub_errors() as error:
        source = token_source() if status_of(error) in (401, 403) else ""
        return None, [explain(error, repo_ids[0]) + source]
    token = (me.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        return me["name"], [f"the Hub token is read-only. Make one with write access: {SETTINGS}" + token_source()]
    if create_pr:
        return me["name"], []
    found = [f for owner in dict.fromkeys(i.split("/")[0] for i in repo_ids) for f in check_owner(me, owner)]
    if not found and token.get("role") == "fineGrained":
        found = [f for repo_id in repo_ids for f in check_scopes(token.get("fineGrained") or {}, repo_id)]
    return me["name"], found


def token_source() -> str:
    """Where the refused token came from: the variable wins over the login, which people forget."""
    return " (The token is that of the variable HF_TOKEN.)" if os.environ.get("HF_TOKEN") else ""


def check_owner(me: dict[str, Any], owner: str) -> list[str]:
    """The user is the owner, or a member of the organisation that may write."""
    orgs = {org["name"]: org for org in me.get("orgs") or []}
    if owner != me["name"] and owner not in orgs:
        names = ", ".join([me["name"], *orgs])
        return [f"the token belongs to {names}, not to {owner}. Choose one of these, or --create-pr"]
    if (orgs.get(owner) or {}).get("roleInOrg") == "read":
        return [f"{me['name']} may only read in {owner}. Ask its admins for the role of a contributor, or --create-pr"]
    return []


def check_scopes(fine_grained: dict[str, Any], repo_id: str) -> list[str]:
    """A fine-grained token may write to the repository: through its owner's scope or its own."""
    allowed = set(fine_grained.get("global") or [])
    for scope in fine_grained.get("scoped") or []:
        if (scope.get("entity") or {}).get("name") in (repo_id, repo_id.split("/")[0]):
            allowed |= set(scope.get("permissions") or [])
    if "repo.write" in allowed:
        return []
    return [f"the Hub token is fine-grained and has no write access to {repo_id}. Give it write access at {SETTINGS}"]
