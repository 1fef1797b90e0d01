"""Discussions and pull requests: refs/pr/N, comments, status, and merging.

A merge on the Hub leaves one new commit on main, "TITLE (#N)", whose text names the commits of the pull request; it is not
the pull request's own head, so whoever merges has to ask for the commit (changes.mergeCommitId) before tagging it.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from tests.hub.git import NOTHING, GitError
from tests.hub.repositories import Repository
from tests.hub.web import Call, HubError, Router, timestamp

PAGE = 10  # discussions in one answer

router = Router()


@dataclass
class Discussion:
    """A discussion, or a pull request with its ref."""

    number: int
    title: str
    author: str
    is_pull_request: bool
    status: str
    base: str = ""  # the commit of main that it started from
    merge_commit: str | None = None
    created: str = field(default_factory=timestamp)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """Where commits to the pull request go."""
        return f"refs/pr/{self.number}"

    def event(self, kind: str, user: str, data: dict[str, Any]) -> dict[str, Any]:
        """Add an event as community.deserialize_event reads it."""
        event = {
            "id": secrets.token_hex(12),
            "type": kind,
            "createdAt": timestamp(),
            "author": {"name": user},
            "data": data,
        }
        self.events.append(event)
        return event

    def comment(self, user: str, text: str) -> dict[str, Any]:
        """Add a comment."""
        latest = {"raw": text, "html": "", "updatedAt": timestamp(), "author": {"name": user}}
        return self.event("comment", user, {"edited": False, "hidden": False, "latest": latest, "history": [latest]})

    def change_status(self, user: str, status: str, comment: str | None = None) -> dict[str, Any]:
        """Set the status, with a comment before it."""
        if comment:
            self.comment(user, comment)
        self.status = status
        return self.event("status-change", user, {"status": status})


def open_discussion(repository: Repository, user: str, title: str, text: str | None, status: str) -> Discussion:
    """A new discussion; hold the repository's lock."""
    discussion = Discussion(len(repository.discussions) + 1, title, user, False, status)
    repository.discussions.append(discussion)
    discussion.comment(user, text or "")
    return discussion


def open_pull_request(
    repository: Repository, user: str, title: str, text: str | None, start: str, status: str = "open"
) -> Discussion:
    """A new pull request whose ref points to `start`; hold the repository's lock."""
    discussion = open_discussion(repository, user, title, text, status)
    discussion.is_pull_request, discussion.base = True, start
    repository.git.move(discussion.ref, start, NOTHING)
    return discussion


def find(call: Call) -> Discussion:
    """The discussion that a path names. HubError 404."""
    number = int(call["number"])
    if not 1 <= number <= len(call.repository.discussions):
        raise HubError(404, f"Discussion {number} not found")
    return call.repository.discussions[number - 1]


def may_change(call: Call, discussion: Discussion) -> str:
    """The asking user, if he owns the repository or wrote the discussion. HubError 401 or 403 if not."""
    account = call.hub.accounts.logged_in(call)
    if account.user == discussion.author and account.role == "write":
        return account.user
    return call.hub.accounts.writer(call, call.repository.namespace).user


def summary(repository: Repository, discussion: Discussion) -> dict[str, Any]:
    """What lists and details have in common (hf_api.HfApi.get_repo_discussions)."""
    about = {"num": discussion.number, "title": discussion.title, "status": discussion.status}
    about |= {"author": {"name": discussion.author}, "createdAt": discussion.created}
    return about | {
        "isPullRequest": discussion.is_pull_request,
        "repo": {"name": repository.id, "type": repository.kind.removesuffix("s")},
    }


@router.route("GET", "/api/{repo}/discussions")
def list_discussions(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.get_repo_discussions: newest first, in pages p=0, 1, …"""
    wanted = call.repository.discussions[::-1]
    kinds = {"discussion": (False,), "pull_request": (True,)}.get(call.query.get("type", "all"), (False, True))
    wanted = [d for d in wanted if d.is_pull_request in kinds and call.query.get("author", d.author) == d.author]
    states = {"open": ("open", "draft"), "closed": ("closed", "merged")}.get(call.query.get("status", "all"))
    wanted = [d for d in wanted if states is None or d.status in states]
    start = int(call.query.get("p", 0)) * PAGE
    shown = [summary(call.repository, d) for d in wanted[start : start + PAGE]]
    return {"discussions": shown, "count": len(wanted), "start": start}


@router.route("POST", "/api/{repo}/discussions")
def create_discussion(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.create_discussion, create_pull_request: anybody who may write at all; one made so is a draft."""
    body, account, repository = call.json(), call.hub.accounts.logged_in(call), call.repository
    if account.role != "write":
        raise HubError(403, "Forbidden: you must use a write token.")
    with repository.lock:
        if body.get("pullRequest"):
            start = repository.resolve("main")
            made = open_pull_request(repository, account.user, body["title"], body.get("description"), start, "draft")
        else:
            made = open_discussion(repository, account.user, body["title"], body.get("description"), "open")
    return {"num": made.number, "pullRequest": made.is_pull_request}


@router.route("GET", "/api/{repo}/discussions/{number}")
def details(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.get_discussion_details."""
    discussion, repository = find(call), call.repository
    about = summary(repository, discussion) | {"events": discussion.events}
    if not discussion.is_pull_request:
        return about
    head, main = repository.resolve(discussion.ref), repository.resolve("main")
    conflicts = merged_tree(repository, main, head)[1] if discussion.status in ("open", "draft") else []
    changes = {"base": "refs/heads/main"} | (
        {"mergeCommitId": discussion.merge_commit} if discussion.merge_commit else {}
    )
    diff = repository.git.text("diff", discussion.base, head)
    return about | {"filesWithConflicts": conflicts, "changes": changes, "diff": diff}


@router.route("POST", "/api/{repo}/discussions/{number}/comment")
def comment(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.comment_discussion."""
    account = call.hub.accounts.logged_in(call)
    return {"newMessage": find(call).comment(account.user, call.json()["comment"])}


@router.route("POST", "/api/{repo}/discussions/{number}/title")
def rename(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.rename_discussion."""
    discussion = find(call)
    user, title = may_change(call, discussion), call.json()["title"]
    event = discussion.event("title-change", user, {"from": discussion.title, "to": title})
    discussion.title = title
    return {"newTitle": event}


@router.route("POST", "/api/{repo}/discussions/{number}/status")
def change_status(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.change_discussion_status: open or closed; a merged one stays merged."""
    discussion, body = find(call), call.json()
    user = may_change(call, discussion)
    if body.get("status") not in ("open", "closed") or discussion.status == "merged":
        raise HubError(400, f"a {discussion.status} discussion cannot become {body.get('status')!r}")
    return {"newStatus": discussion.change_status(user, body["status"], body.get("comment"))}


@router.route("POST", "/api/{repo}/discussions/{number}/merge", writes=True)
def merge(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.merge_pull_request; 409 where both sides changed the same lines."""
    discussion, repository = find(call), call.repository
    user, text = call.hub.accounts.logged_in(call).user, call.json().get("comment")
    with repository.lock:
        if not discussion.is_pull_request or discussion.status != "open":
            raise HubError(
                400, f"discussion {discussion.number} is {discussion.status}; only an open pull request can be merged"
            )
        discussion.merge_commit = merge_commit(repository, discussion, user)
        event = discussion.change_status(user, "merged", text)
    return {"newStatus": event, "mergeCommitId": discussion.merge_commit}


def merge_commit(repository: Repository, discussion: Discussion, user: str) -> str:
    """The commit that a merge leaves on main. HubError 409 for a conflict, 412 if a push moved main meanwhile."""
    main, head = repository.resolve("main"), repository.resolve(discussion.ref)
    tree, conflicts = merged_tree(repository, main, head)
    if conflicts:
        raise HubError(409, f"Merge conflict in {', '.join(conflicts)}")
    commits = repository.git.text("log", "--reverse", "--format=- %s (%H)", f"{main}..{head}")
    message = f"{discussion.title} (#{discussion.number})\n\n{commits}\n"
    oid = repository.git.commit(tree, [main], message, user)
    if not repository.git.move("refs/heads/main", oid, main):
        raise HubError(412, "main was moved meanwhile. Please refresh and try again.")
    return oid


def merged_tree(repository: Repository, main: str, head: str) -> tuple[str, list[str]]:
    """git's three-way merge: the tree, and the paths in conflict (git-merge-tree(1): status 1, names after the tree)."""
    try:
        return repository.git.text("merge-tree", "--write-tree", "--name-only", "--no-messages", main, head), []
    except GitError:
        return "", conflicting_paths(repository, main, head)


def conflicting_paths(repository: Repository, main: str, head: str) -> list[str]:
    """Paths that both sides changed since they parted."""
    base = repository.git.text("merge-base", main, head)
    changed = [set(repository.git.text("diff", "--name-only", base, side).splitlines()) for side in (main, head)]
    return sorted(changed[0] & changed[1])
