"""The command line of upload.py, and that nothing is pushed while a check has a finding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import upload
from command import WorkError
from tests.conftest import cpu_seconds
from tests.publishing.conftest import ID, push

REPOSITORY = Path(upload.__file__).resolve().parent


def test_all_findings_come_at_once_and_nothing_is_pushed(small_run, hub, monkeypatch):
    monkeypatch.setattr(upload, "check_release", lambda *_: ["one thing", "another"])
    with pytest.raises(WorkError, match=r"nothing was pushed:\n  - one thing\n  - another$"):
        push(small_run, hub)
    with pytest.raises(WorkError, match="nothing was pushed:\n  - one thing"):
        push(small_run, hub, "--dry-run")
    assert not hub.api.repo_exists(hub.id)


def test_a_card_that_the_hub_would_refuse_is_refused_before_anything_is_sent(small_run, hub):
    (small_run / "release" / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(WorkError, match=f"README.md of {hub.id}: the Hub says: "):
        push(small_run, hub)
    assert not hub.api.repo_exists(hub.id)


def test_too_little_room_to_read_it_back_is_said_before_anything_is_sent(small_run, hub, monkeypatch):
    from publishing import verification

    monkeypatch.setattr(verification, "MARGIN", 10**18)
    with pytest.raises(WorkError, match=f"reading {hub.id} back from the Hub .*TMPDIR"):
        push(small_run, hub)
    assert not hub.api.repo_exists(hub.id)


# --- usage


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "--create-pr"),
        ([], 2, "required"),
        (["no-such-run", "--repo-id", ID], 2, "is not a folder"),
        ([".", "--repo-id", "no-owner"], 2, "Give ORG/NAME"),
        ([".", "--repo-id", "a/b/c"], 2, "--repo-id"),
        ([".", "--repo-id", ID, "--tag", "a b"], 2, "--tag 'a b' cannot be the name"),
        *(
            ([".", "--repo-id", ID, "--tag", tag], 2, f"--tag {tag!r} cannot be")
            for tag in ("v1.", "a..b", "x.lock", "main", "0123abcd")
        ),
        ([".", "--repo-id", ID, "--revision", "-x/y"], 2, "expected one argument"),
        ([".", "--repo-id", ID, "--revision", "x/y"], 2, "--revision 'x/y' cannot be the name"),
        ([".", "--repo-id", ID, "--tag", "v2", "--revision", "v2"], 2, "--tag 'v2' cannot be"),
        ([".", "--repo-id", ID, "--collection", " "], 2, "1 to 60 characters"),
        ([".", "--repo-id", ID, "--collection", "x" * 61], 2, "1 to 60 characters"),
        ([".", "--repo-id", ID, "--create-pr", "--tag", "v1"], 2, "--tag is for what is on it"),
        ([".", "--repo-id", ID, "--create-pr", "--revision", "x"], 2, "--revision is for what is on it"),
        ([".", "--repo-id", ID, "--space", "a/b/c"], 2, "--space"),
        ([".", "--repo-id", ID, "--new-version-of", ID], 2, "is the repository itself"),
        ([".", "--repo-id", ID, "--gated", "maybe"], 2, "invalid choice"),
        ([".", "--repo-id", ID, "--dry"], 2, "unknown option --dry"),
        ([".", "--repo-id", ID], 2, "python -m model_card.build"),
    ],
)
def test_usage(arguments, status, said):
    command = [sys.executable, "upload.py", *arguments]
    start = cpu_seconds()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, said in done.stdout + done.stderr, "Traceback" in done.stderr) == (status, True, False)
    assert cpu_seconds() - start < 2, "a message comes within two seconds"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HF_TOKEN", "中文", "characters that no token has"),
        ("HF_ENDPOINT", "http://127.0.0.1:99999", "HF_ENDPOINT 'http://127.0.0.1:99999' is not an address"),
        ("HF_ENDPOINT", "garbage", "HF_ENDPOINT 'garbage' is not an address"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "the proxy that the environment names cannot be used"),
    ],
)
def test_an_environment_that_cannot_work_is_told(tmp_path, variable, value, said):
    """Through the client alone: the command's other checks come before it."""
    code = "from publishing.account import check_account\nfrom publishing.hub import hub_api\n"
    code += "from command import run_command\nrun_command(lambda: print(check_account(hub_api(), ['alice/x'], False)))"
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_alice", variable: value}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=upload_folder()
    )
    assert said in done.stdout + done.stderr and "Traceback" not in done.stderr


def upload_folder() -> Path:
    return Path(upload.__file__).parent
