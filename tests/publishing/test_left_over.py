"""Pull requests that interrupted runs left are closed once main has moved past them; nobody else's are."""

from huggingface_hub import HfApi

from publishing.commit import MARK
from tests.hub import Fault
from tests.publishing.conftest import change, holds, lost, push

CLOSE = r"/discussions/\d+/status$"


def leave_open(hub, text: str, description: str | None = MARK) -> None:
    """A pull request as a run leaves that is killed before the merge."""
    from huggingface_hub import CommitOperationAdd

    add = CommitOperationAdd("LICENSE", text.encode())
    hub.api.create_commit(hub.id, [add], commit_message="Upload x", commit_description=description, create_pr=True)


def statuses(hub) -> list[str]:
    return [d.status for d in sorted(hub.api.get_repo_discussions(hub.id), key=lambda d: d.num)]


def test_what_can_no_longer_be_merged_is_closed(small_run, hub, capsys):
    push(small_run, hub)
    leave_open(hub, "left by a run that was killed")
    leave_open(hub, "left open on purpose", description=None)
    HfApi(endpoint=hub.url, token="hf_bob").create_pull_request(hub.id, title="Upload x", description=MARK)
    assert push(small_run, hub) == 0, "nothing has changed"
    assert statuses(hub) == ["merged", "open", "open", "draft"], (
        "another run may still merge what starts from main's head"
    )
    change(small_run, "other words")
    capsys.readouterr()
    assert push(small_run, hub, "--tag", "v2") == 0 and holds(hub, small_run)
    assert statuses(hub) == ["merged", "closed", "open", "draft", "merged"]
    assert "closed pull request 2, which an interrupted run left" in capsys.readouterr().out


def test_with_create_pr_nothing_is_marked_or_closed(small_run, hub):
    push(small_run, hub)
    change(small_run, "for review")
    assert push(small_run, hub, "--create-pr") == 0
    change(small_run, "other words")
    assert push(small_run, hub) == 0
    assert statuses(hub) == ["merged", "open", "merged"]


def test_a_lost_answer_to_the_closing(small_run, own_hub, capsys):
    push(small_run, own_hub)
    leave_open(own_hub, "left by a run that was killed")
    change(small_run, "other words")
    fault: Fault = own_hub.server.fault(lost("POST", CLOSE))
    assert push(small_run, own_hub) == 0 and fault.fired == 1
    assert statuses(own_hub) == ["merged", "closed", "merged"]
    assert "the answer was lost" in capsys.readouterr().out
