"""Pull requests that interrupted runs left behind and that no run can continue are closed, once main holds the release."""

from itertools import islice
from typing import Any

from publishing.commit import LOOKED_AT, MARK
from publishing.difference import Target, branch_head
from publishing.hub import Held, asked, once


def close_left_over(api: Any, target: Target, me: str, held: Held) -> None:
    """Close the open pull requests of this user that bear the MARK and start from a commit that main has left.

    upload.py merges only what starts from main's head. One that starts there may be another run's, which goes on with it.
    """
    pulls = asked(
        lambda: list(
            islice(
                api.get_repo_discussions(
                    target.repo_id,
                    repo_type=target.kind,
                    author=me,
                    discussion_type="pull_request",
                    discussion_status="open",
                ),
                LOOKED_AT,
            )
        )
    )
    head = branch_head(api, target, "main") if pulls else ""
    for pull in pulls:
        if is_marked(api, target, pull.num) and not starts_from(api, target, pull.num, head):
            close(api, target, pull.num, held)


def is_marked(api: Any, target: Target, number: int) -> bool:
    """Whether upload.py opened a pull request to merge it itself, and not to leave it open (--create-pr)."""
    events = asked(lambda: api.get_discussion_details(target.repo_id, number, repo_type=target.kind)).events
    return any(MARK in getattr(event, "content", "") for event in events[:1])


def starts_from(api: Any, target: Target, number: int, head: str) -> bool:
    """Whether a pull request is one commit on `head`."""
    history = api.list_repo_commits(target.repo_id, repo_type=target.kind, revision=f"refs/pr/{number}")
    return len(history) > 1 and history[1].commit_id == head


def close(api: Any, target: Target, number: int, held: Held) -> None:
    """Close a pull request; found closed if the answer was lost."""
    said = "Superseded: main holds the release of another run of upload.py."

    def send() -> bool:
        api.change_discussion_status(target.repo_id, number, "closed", comment=said, repo_type=target.kind)
        return True

    def landed() -> bool | None:
        details = asked(lambda: api.get_discussion_details(target.repo_id, number, repo_type=target.kind))
        return details.status not in ("open", "draft") or None

    once(send, landed, held, f"the closing of pull request {number}", target.repo_id)
    print(f"closed pull request {number}, which an interrupted run left: main has moved on since", flush=True)
