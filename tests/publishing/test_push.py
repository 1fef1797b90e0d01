"""The push against a Hub on loopback: whole or not at all, never twice, never over somebody else's change."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import upload
from command import WorkError
from tests.conftest import hub_environment
from tests.hub import Fault
from tests.publishing.conftest import change, commits, holds, lost, push, resum

REPOSITORY = Path(upload.__file__).resolve().parent
COMMIT, MERGE, TAG, CREATE = r"/commit/", r"/merge$", r"/tag/", r"/repos/create"


def pull_requests(hub) -> list[str]:
    return [ref.name for ref in hub.api.list_repo_refs(hub.id, include_pull_requests=True).pull_requests]


def tags(hub) -> dict[str, str]:
    return {tag.name: tag.target_commit for tag in hub.api.list_repo_refs(hub.id).tags}


# --- the way of a release


def test_a_release_goes_up_as_a_pull_request_is_merged_and_tagged(small_run, own_hub, capsys):
    hub = own_hub  # of its own: the others have sent these weights already
    assert push(small_run, hub, "--tag", "v1") == 0
    assert holds(hub, small_run) and holds(hub, small_run, "v1")
    assert tags(hub) == {"v1": commits(hub)[0]} and len(commits(hub)) == 2
    assert hub.api.get_discussion_details(hub.id, 1).status == "merged"
    said = capsys.readouterr().out
    steps = ["made ", "to send: ", "sent: model.safetensors", "pull request 1: ", "verified: ", "merged into main", "tagged v1", "page: "]  # fmt: skip
    places = [said.index(step) for step in steps]
    assert places == sorted(places), "in this order"
    assert f"page: {hub.url}/{hub.id}\n" in said
    assert f'use:  AutoModelForCausalLM.from_pretrained("{hub.id}", revision="v1")' in said
    assert "not shown (--verify checksums)" in said
    assert "hf_alice" not in said and not hub.server.leaks


def test_a_second_push_makes_no_commit(small_run, hub, capsys):
    push(small_run, hub)
    before = commits(hub)
    for _ in range(2):
        assert push(small_run, hub, "--tag", "v1") == 0 and commits(hub) == before
        assert "nothing has changed; no commit was made." in capsys.readouterr().out
    assert tags(hub) == {"v1": before[0]} and pull_requests(hub) == ["1"]


def test_a_change_is_one_commit_that_also_removes_what_is_stale(small_run, hub, capsys):
    push(small_run, hub, "--tag", "v1")
    hub.api.upload_file(path_or_fileobj=b"old", path_in_repo="model-00002-of-00002.safetensors", repo_id=hub.id)
    hub.api.upload_file(path_or_fileobj=b"mine", path_in_repo="assets/logo.svg", repo_id=hub.id)
    change(small_run, "other words")
    before = commits(hub)
    capsys.readouterr()
    with pytest.raises(WorkError, match="tag v1 is already there, on "):
        push(small_run, hub, "--tag", "v1")
    assert commits(hub) == before
    assert push(small_run, hub, "--tag", "v2") == 0 and commits(hub)[1:] == before
    said = capsys.readouterr().out
    assert re.findall(r"^  changed  (\S+)", said, re.MULTILINE) == ["LICENSE", "SHA256SUMS"] * 2
    assert "  removed  model-00002-of-00002.safetensors" in said and "  kept     assets/logo.svg" in said
    snapshot = hub.server.snapshot(hub.id)
    assert "assets/logo.svg" in snapshot and "model-00002-of-00002.safetensors" not in snapshot


def test_create_pr_leaves_the_verified_pull_request_open_and_opens_it_once(small_run, hub, capsys):
    hub.api.create_repo(hub.id)
    before = commits(hub)
    assert push(small_run, hub, "--create-pr") == 0 and push(small_run, hub, "--create-pr") == 0
    said = capsys.readouterr().out
    assert "pull request 1 holds these files already" in said and f"left open: {hub.url}/{hub.id}/discussions/1" in said
    assert commits(hub) == before and holds(hub, small_run, "refs/pr/1") and pull_requests(hub) == ["1"]
    assert push(small_run, hub) == 0, "without --create-pr it is merged"
    assert holds(hub, small_run) and pull_requests(hub) == ["1"]


@pytest.mark.parametrize("branch", ["main", "next"])
def test_revision_commits_straight_to_a_branch(small_run, hub, branch, capsys):
    assert push(small_run, hub, "--revision", branch, "--tag", "v1") == 0
    assert push(small_run, hub, "--revision", branch, "--tag", "v1") == 0
    assert "straight to " + branch in capsys.readouterr().out
    assert holds(hub, small_run, branch) and holds(hub, small_run, "v1") and pull_requests(hub) == []
    assert len(commits(hub, revision=branch)) == 2 and len(commits(hub)) == (2 if branch == "main" else 1)


# --- somebody else


def test_a_main_that_moved_is_refused_and_explained(small_run, hub, monkeypatch):
    """The change comes while the release is verified: nothing is overwritten, and the next run starts from the new main."""
    push(small_run, hub)
    change(small_run, "other words")
    real = upload.verify_files

    def late(*args):
        hub.api.upload_file(path_or_fileobj=b"theirs", path_in_repo="theirs.txt", repo_id=hub.id, commit_message="Mine")
        return real(*args)

    with monkeypatch.context() as patch, pytest.raises(WorkError) as refused:
        patch.setattr(upload, "verify_files", late)
        push(small_run, hub)
    said = str(refused.value)
    assert f"main of {hub.id} is as before; pull request 2 holds the release: somebody changed {hub.id}" in said
    assert "by alice: Mine; theirs.txt" in said
    assert not holds(hub, small_run) and "theirs.txt" in hub.server.snapshot(hub.id)
    assert push(small_run, hub) == 0 and "theirs.txt" in hub.server.snapshot(hub.id)
    assert sorted(pull_requests(hub)) == ["1", "2", "3"], "the second was made for another main"


def test_a_stale_parent_is_refused_on_a_direct_commit(small_run, hub, monkeypatch):
    push(small_run, hub)
    change(small_run, "other words")
    from publishing import commit

    real = commit.operations_of

    def late(*args):
        hub.api.upload_file(path_or_fileobj=os.urandom(9), path_in_repo="theirs.txt", repo_id=hub.id)
        return real(*args)

    monkeypatch.setattr(commit, "operations_of", late)
    with pytest.raises(WorkError, match=f"nothing was pushed: somebody changed {hub.id} meanwhile: main went from"):
        push(small_run, hub, "--revision", "main")
    monkeypatch.setattr(commit, "refuse_if_moved", lambda *_: None)  # the change comes after the last look
    with pytest.raises(WorkError, match=f"nothing was pushed: somebody changed {hub.id} meanwhile. Nothing was over"):
        push(small_run, hub, "--revision", "main")
    assert not holds(hub, small_run)


def test_a_pull_request_that_somebody_added_to_is_not_merged(small_run, hub, monkeypatch):
    real = upload.verify_files

    def late(*args):
        real(*args)
        hub.api.upload_file(path_or_fileobj=b"x", path_in_repo="evil.py", repo_id=hub.id, revision="refs/pr/1")

    monkeypatch.setattr(upload, "verify_files", late)
    with pytest.raises(WorkError, match="somebody changed the pull request 1"):
        push(small_run, hub)
    assert "evil.py" not in hub.server.snapshot(hub.id) and not holds(hub, small_run)


def test_the_pull_request_of_somebody_else_is_not_continued(small_run, hub, monkeypatch):
    """Whoever opened it can still add to it."""
    assert push(small_run, hub, "--create-pr") == 0
    monkeypatch.setattr(upload, "check_account", lambda *_: ("carol", []))
    assert push(small_run, hub) == 0
    assert [hub.api.get_discussion_details(hub.id, n).status for n in (1, 2)] == ["open", "merged"]


def test_pull_requests_that_are_switched_off_are_said(small_run, own_hub):
    own_hub.api.create_repo(own_hub.id)
    fault = Fault("POST", COMMIT, status=403, headers={"X-Error-Message": "Discussions are disabled for this repo"})
    own_hub.server.fault(fault)
    with pytest.raises(WorkError, match=r"pull requests are switched off for .* give --revision main"):
        push(small_run, own_hub)


# --- answers that are lost, and a Hub that is busy


AFTER = ("502 after the work", "dropped after the work")
STEPS = {"create": ("POST", CREATE), "commit": ("POST", COMMIT), "merge": ("POST", MERGE), "tag": ("POST", TAG)}
TWICE = [(step, how) for step in STEPS for how in AFTER]
TWICE += [("commit", "503 before"), ("merge", "429 with Retry-After")]


@pytest.mark.parametrize(("step", "how"), TWICE)
def test_nothing_is_done_twice(small_run, own_hub, step, how, capsys):
    method, path = STEPS[step]
    faults = {
        "502 after the work": lost(method, path),
        "dropped after the work": Fault(method, path, drop=True, after=True),
        "503 before": Fault(method, path, status=503),
        "429 with Retry-After": Fault(method, path, status=429, headers={"Retry-After": "0"}),
    }
    fault = own_hub.server.fault(faults[how])
    assert push(small_run, own_hub, "--tag", "v1") == 0 and fault.fired == 1
    assert holds(own_hub, small_run, "v1") and holds(own_hub, small_run)
    assert len(commits(own_hub)) == 2 and pull_requests(own_hub) == ["1"]
    said = capsys.readouterr().out
    assert ("the answer was lost" if "after the work" in how else "did not land") in said


def test_a_merge_that_came_late_is_not_taken_for_somebody_elses(small_run, hub, monkeypatch, capsys):
    """Ctrl-C while the Hub merged; the same command begins before the merge is there and goes on after it."""
    from huggingface_hub import HfApi

    push(small_run, hub, "--create-pr")
    real = upload.verify

    def late(*words):
        monkeypatch.setattr(upload, "verify", real)
        HfApi(endpoint=hub.url, token="hf_alice").merge_pull_request(hub.id, 1)
        return real(*words)

    monkeypatch.setattr(upload, "verify", late)
    assert push(small_run, hub, "--tag", "v1") == 0
    assert holds(hub, small_run, "v1") and len(commits(hub)) == 2 and "merged into main" in capsys.readouterr().out


def test_a_lost_answer_to_a_direct_commit_is_found(small_run, own_hub):
    own_hub.server.fault(lost("POST", COMMIT))
    assert push(small_run, own_hub, "--revision", "main") == 0
    assert holds(own_hub, small_run) and len(commits(own_hub)) == 2


def test_a_hub_that_stays_busy_ends_the_push_with_what_it_holds(small_run, own_hub):
    own_hub.server.fault(Fault("POST", MERGE, status=503, times=None))
    with pytest.raises(WorkError, match="is as before; pull request 1 holds the release: the Hub answered with status"):
        push(small_run, own_hub)
    own_hub.server.clear_faults()
    assert push(small_run, own_hub) == 0 and pull_requests(own_hub) == ["1"], "the pull request is continued"


def test_a_hub_that_cannot_say_is_said(small_run, own_hub):
    own_hub.server.fault(lost("POST", COMMIT))
    own_hub.server.fault(Fault("GET", r"/refs$|/refs\?", status=503, skip=1, times=None))
    with pytest.raises(WorkError, match="whether the pull request landed is not known, and the Hub cannot say"):
        push(small_run, own_hub)
    own_hub.server.clear_faults()
    assert push(small_run, own_hub) == 0 and pull_requests(own_hub) == ["1"]


def test_ctrl_c_says_what_the_hub_holds_and_the_same_command_continues(small_run, hub, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
        patch.setattr(upload, "verify_files", stop)
        push(small_run, hub)
    assert str(stopped.value) == (
        f"main of {hub.id} is as before; pull request 1 holds the release. The same command continues from there."
    )
    assert push(small_run, hub) == 0 and holds(hub, small_run) and pull_requests(hub) == ["1"]


def test_what_the_hub_has_is_not_sent_again(small_run, own_hub, capsys):
    own_hub.server.fault(Fault("POST", COMMIT, status=400, times=1))
    with pytest.raises(WorkError, match="status 400"):
        push(small_run, own_hub)
    sent = sum(r.method == "PUT" for r in own_hub.server.requests)
    capsys.readouterr()
    assert push(small_run, own_hub) == 0
    assert sum(r.method == "PUT" for r in own_hub.server.requests) == sent > 0
    assert "on the Hub already: model.safetensors" in capsys.readouterr().out


def test_a_stalled_connection_ends(small_run, own_hub, monkeypatch):
    from huggingface_hub import close_session

    from publishing import hub as client

    monkeypatch.setattr(client, "SILENT_SECONDS", 0.5)
    close_session()
    own_hub.server.fault(Fault("GET", "/api/whoami-v2", stall=20, times=None))
    with pytest.raises(WorkError, match=r"the Hub at .* cannot be reached"):
        push(small_run, own_hub)
    close_session()


# --- the command itself


def test_xet_uploads_are_counted_and_loaded_by_a_stranger(made_small, hub, tmp_path):
    """The whole command in its own process through Xet; the logits that from_pretrained gives are those of the release."""
    script = "import sys, upload; upload.check_release = upload.check_built = lambda *_: []; from command import run_command; run_command(upload.main)"
    env = {**hub_environment(hub.url, tmp_path / "home"), "HF_HUB_DISABLE_XET": "0"}
    command = [sys.executable, "-c", script, str(made_small), "--repo-id", hub.id, "--tag", "v1"]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors; all: " in done.stdout
    for revision in (commits(hub)[0], "v1"):
        assert (
            f"from_pretrained('{hub.id}', revision='v1') gives the same logits, bit for bit" in done.stdout or revision
        )
    assert done.stdout.count("gives the same logits, bit for bit") == 2
    assert "hf_alice" not in done.stdout + done.stderr and not hub.server.leaks


def test_a_model_that_is_not_the_releases_is_refused(small_run, hub, monkeypatch):
    """The files are equal, but what from_pretrained gives is not: the proof looks at logits, not at names."""
    from safetensors.torch import load_file, save_file

    from publishing import verification

    tensors = load_file(small_run / "release" / "model.safetensors")
    push(small_run, hub)
    tensors["model.norm.weight"][0] += 1e-3
    save_file(tensors, small_run / "release" / "model.safetensors", metadata={"format": "pt"})
    resum(small_run)
    target = upload.make_target(hub.id, "model", upload.folder_files(small_run / "release"), lambda path: True)
    api = upload.hub_api()
    with (
        verification.fresh_home(api, target) as home,
        pytest.raises(WorkError, match=r"gives another model than .*logits_0, logits_1 differ"),
    ):
        verification.verify_load(target, small_run / "release", commits(hub)[0], home, upload.Held())
    with (
        verification.fresh_home(api, target) as home,
        pytest.raises(
            WorkError, match=r"nothing was pushed, but .*\n  - SHA256SUMS comes .*\n  - model.safetensors comes"
        ),
    ):
        verification.verify_files(target, commits(hub)[0], home, upload.Held())
