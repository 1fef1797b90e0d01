"""upload.py against a Hub on loopback: real pushes, and every fault refused before anything leaves the machine.

The Hub is shared/hub/minihub.py beside the repository; without it the tests that push are skipped.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import upload
from command import UserError, WorkError
from model_card import build
from run_folder import file_sha256
from tests.conftest import free_ports, hub_environment
from tests.made_run import make_run

REPOSITORY = Path(upload.__file__).resolve().parent
ID = "alice/smollm2-demo"


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A run folder with its release."""
    run = make_run(tmp_path_factory.mktemp("built") / "smollm2-demo")
    build.main([str(run), "--repo-id", ID])
    return run


@pytest.fixture
def run_dir(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "smollm2-demo"))


@pytest.fixture
def hub(hub_url, run_dir, monkeypatch, request) -> SimpleNamespace:
    """The Hub, this process logged in as alice without Xet, and run_dir built for a repository that no other test has."""
    from huggingface_hub import HfApi

    monkeypatch.setattr(upload, "hub_api", lambda: HfApi(endpoint=hub_url))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    name = "upload-" + re.sub(r"\W+", "-", request.node.name)[:60].strip("-")
    build.main([str(run_dir), "--repo-id", f"alice/{name}"])
    return SimpleNamespace(url=hub_url, api=HfApi(endpoint=hub_url, token="hf_alice"), id=f"alice/{name}")


def push(run_dir: Path, hub: SimpleNamespace, *options: str) -> int:
    return upload.main([str(run_dir), "--repo-id", hub.id, *options])


def commits(hub: SimpleNamespace) -> list[str]:
    return [c.commit_id for c in hub.api.list_repo_commits(hub.id)]


def paths(hub: SimpleNamespace, revision: str = "main") -> set[str]:
    return set(hub.api.list_repo_files(hub.id, revision=revision)) - {".gitattributes"}


def released(run_dir: Path) -> dict[str, Path]:
    release = run_dir / "release"
    return {p.relative_to(release).as_posix(): p for p in release.rglob("*") if p.is_file()}


def resum(run_dir: Path) -> None:
    """Write SHA256SUMS anew, as someone would who wants a spoiled release to pass."""
    lines = [f"{file_sha256(p)}  {name}\n" for name, p in sorted(released(run_dir).items()) if name != "SHA256SUMS"]
    (run_dir / "release" / "SHA256SUMS").write_text("".join(lines))


def own(path: Path) -> Path:
    """A copy of its own in place of a file that may be a hard link."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    return path


# --- a real push


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_the_command_pushes_and_the_model_loads_from_the_hub(run_dir, hub, tmp_path, xet):
    env = {**hub_environment(hub.url, tmp_path / "home"), "HF_HUB_DISABLE_XET": "0" if xet else "1"}
    command = [sys.executable, "upload.py", str(run_dir), "--repo-id", hub.id, "--tag", "v1"]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (
        "verified: 17 files" in done.stdout
        and "tagged v1" in done.stdout
        and "hf_alice" not in done.stdout + done.stderr
    )
    assert paths(hub, "v1") == set(released(run_dir)) and len(commits(hub)) == 2
    if xet:
        return
    load = (
        "import sys, torch; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T\n"
        "a, b = M.from_pretrained(sys.argv[1], revision='v1'), M.from_pretrained(sys.argv[2])\n"
        "assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))\n"
        "assert T.from_pretrained(sys.argv[1]).chat_template == T.from_pretrained(sys.argv[2]).chat_template\n"
    )
    again = [sys.executable, "-c", load, hub.id, str(run_dir / "model")]
    done = subprocess.run(again, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_second_push_makes_no_commit(run_dir, hub, capsys):
    push(run_dir, hub)
    before = commits(hub)
    for _ in range(2):
        assert push(run_dir, hub, "--tag", "v1") == 0 and commits(hub) == before
        assert "nothing has changed; no commit was made." in capsys.readouterr().out
    assert [(t.name, t.target_commit) for t in hub.api.list_repo_refs(hub.id).tags] == [("v1", before[0])]


def test_a_change_is_one_commit_that_also_removes_what_is_stale(run_dir, hub, capsys):
    push(run_dir, hub, "--tag", "v1")
    hub.api.upload_file(path_or_fileobj=b"old", path_in_repo="model-00002-of-00002.safetensors", repo_id=hub.id)
    hub.api.upload_file(path_or_fileobj=b"mine", path_in_repo="assets/logo.svg", repo_id=hub.id)
    record = json.loads((run_dir / "training.json").read_text())
    (run_dir / "training.json").write_text(json.dumps({**record, "seconds": 99.5}))
    build.main([str(run_dir), "--repo-id", hub.id])
    before = commits(hub)
    capsys.readouterr()
    with pytest.raises(WorkError, match="tag v1 is already there"):
        push(run_dir, hub, "--tag", "v1")
    assert commits(hub) == before
    assert push(run_dir, hub, "--tag", "v2") == 0
    assert commits(hub)[1:] == before
    said = capsys.readouterr().out
    assert (
        re.findall(r"^  changed  (\S+)", said, re.MULTILINE)
        == ["README.md", "README_zh.md", "SHA256SUMS", "training.json"] * 2
    )
    assert "  removed  model-00002-of-00002.safetensors" in said
    assert paths(hub) == {*released(run_dir), "assets/logo.svg"}


def test_a_pull_request_leaves_main_alone_and_is_opened_once(run_dir, hub, capsys):
    hub.api.create_repo(hub.id)
    before = commits(hub)
    assert push(run_dir, hub, "--create-pr") == 0 and push(run_dir, hub, "--create-pr") == 0
    assert "pull request 1 holds these files already" in capsys.readouterr().out
    assert commits(hub) == before and paths(hub) == set()
    assert paths(hub, "refs/pr/1") == set(released(run_dir))
    assert len(hub.api.list_repo_refs(hub.id, include_pull_requests=True).pull_requests) == 1


def test_a_change_by_somebody_else_is_never_overwritten(run_dir, hub, monkeypatch):
    from huggingface_hub import HfApi

    push(run_dir, hub)
    (run_dir / "data_report.json").write_text(
        (run_dir / "data_report.json").read_text().replace('"rows": 25', '"rows": 26')
    )
    build.main([str(run_dir), "--repo-id", hub.id])
    real = HfApi.create_commit

    def late(self, *args, **kwargs):
        monkeypatch.setattr(HfApi, "create_commit", real)
        hub.api.upload_file(path_or_fileobj=b"theirs", path_in_repo="theirs.txt", repo_id=hub.id)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "create_commit", late)
    with pytest.raises(WorkError, match=f"nothing was pushed: somebody changed {hub.id} meanwhile"):
        push(run_dir, hub)
    assert len(commits(hub)) == 3 and "theirs.txt" in paths(hub)


@pytest.mark.parametrize("option", [None, "--create-pr"])
def test_a_commit_whose_answer_was_lost_is_found(run_dir, hub, monkeypatch, capsys, option):
    import httpx2
    from huggingface_hub import HfApi

    real = HfApi.create_commit

    def lossy(self, *args, **kwargs):
        real(self, *args, **kwargs)
        raise httpx2.ReadError("connection reset")

    monkeypatch.setattr(HfApi, "create_commit", lossy)
    assert push(run_dir, hub, *([option] if option else [])) == 0
    assert "the answer was lost" in capsys.readouterr().out
    assert paths(hub, "refs/pr/1" if option else "main") == set(released(run_dir))


def test_an_error_before_the_commit_says_that_nothing_was_pushed(run_dir, hub, monkeypatch):
    import httpx2
    from huggingface_hub import HfApi

    def fails(self, *args, **kwargs):
        raise httpx2.ConnectError("connection refused")

    monkeypatch.setattr(HfApi, "create_commit", fails)
    with pytest.raises(WorkError, match="nothing was pushed: the Hub cannot be reached"):
        push(run_dir, hub)
    assert paths(hub) == set()


def test_what_comes_back_different_is_reported(run_dir, hub, monkeypatch):
    push(run_dir, hub)
    files = {name: p for name, p in released(run_dir).items() if name in ("config.json", "model.safetensors")}
    wrong = upload.verify(hub.api, hub.id, "main", files, dict.fromkeys(files, "0" * 64))
    assert wrong == ["model.safetensors has another hash there", "config.json comes back with other bytes"]


def test_gguf_files_are_pushed_on_request(run_dir, hub):
    with pytest.raises(UserError, match=rf"Put \.gguf files into {run_dir / 'gguf'}"):
        push(run_dir, hub, "--gguf")
    (run_dir / "gguf").mkdir()
    (run_dir / "gguf" / "smollm2-demo-q8_0.gguf").write_bytes(b"GGUF" + bytes(100))
    assert push(run_dir, hub, "--gguf") == 0 and "smollm2-demo-q8_0.gguf" in paths(hub)
    plain = released(run_dir)
    diff = upload.compare(hub.api, hub.id, "main", plain, {name: file_sha256(p) for name, p in plain.items()}, False)
    assert diff.empty and "smollm2-demo-q8_0.gguf" in diff.kept, "without --gguf they are left alone"
    (run_dir / "gguf" / "smollm2-demo-q8_0.gguf").write_bytes(b"nothing of the kind")
    with pytest.raises(WorkError, match="is not a GGUF file"):
        push(run_dir, hub, "--gguf")


def test_private_is_never_quietly_public(run_dir, hub):
    assert push(run_dir, hub, "--private") == 0 and hub.api.repo_info(hub.id).private
    hub.api.update_repo_settings(hub.id, visibility="public")
    with pytest.raises(WorkError, match="is public already"):
        push(run_dir, hub, "--private")


# --- dry run


def test_dry_run_shows_the_exact_difference_without_a_token(run_dir, hub, monkeypatch, capsys):
    push(run_dir, hub)
    before = commits(hub)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(run_dir / "no-token"))
    assert push(run_dir, hub, "--dry-run") == 0 and "holds exactly these files" in capsys.readouterr().out
    hub.api.delete_file("NOTICE", repo_id=hub.id)
    hub.api.upload_file(path_or_fileobj=b"{}", path_in_repo="generation_config.json", repo_id=hub.id)
    hub.api.upload_file(path_or_fileobj=b"x", path_in_repo="vocab.json", repo_id=hub.id)
    assert push(run_dir, hub, "--dry-run") == 0
    said = capsys.readouterr().out
    assert re.findall(r"^  (added|changed|removed) +(\S+)", said, re.MULTILINE) == [
        ("added", "NOTICE"),
        ("changed", "generation_config.json"),
        ("removed", "vocab.json"),
    ]
    assert len(commits(hub)) == len(before) + 3 and f"{(run_dir / 'release' / 'LICENSE').stat().st_size:,}" in said


def test_dry_run_without_a_hub_still_lists_the_files(run_dir, monkeypatch, capsys):
    from huggingface_hub import HfApi

    monkeypatch.setattr(upload, "hub_api", lambda: HfApi(endpoint=f"http://127.0.0.1:{free_ports()}"))
    assert upload.main([str(run_dir), "--repo-id", ID, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "cannot be reached" in said and "model.safetensors" in said and "Nothing was pushed" in said


def test_dry_run_of_a_new_repository(run_dir, hub, capsys):
    assert push(run_dir, hub, "--dry-run") == 0
    assert "would make it and add all files" in capsys.readouterr().out


# --- tokens


def test_each_fault_of_a_token_has_its_message(run_dir, hub, monkeypatch):
    from huggingface_hub import HfApi

    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(WorkError, match="wrong or has expired"):
        push(run_dir, hub)
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    with pytest.raises(WorkError, match="belongs to alice, not to acme"):
        upload.main([str(run_dir), "--repo-id", "acme/demo"])
    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "whoami", lambda self: {"name": "alice", "auth": {"accessToken": {"role": "read"}}})
        with pytest.raises(WorkError, match="read-only"):
            push(run_dir, hub)
    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "whoami", lambda self: {"name": "alice", "orgs": [{"name": "acme"}]})
        build.main([str(run_dir), "--repo-id", "acme/demo"])
        with pytest.raises(WorkError, match="nothing was pushed: the token may not write to acme"):
            upload.main([str(run_dir), "--repo-id", "acme/demo"])
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(run_dir / "no-token"))
    with pytest.raises(WorkError, match="there is no Hub token"):
        push(run_dir, hub)
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
        ([".", "--repo-id", ID, "--tag", "a b"], 2, "is not a tag name"),
        ([".", "--repo-id", ID, "--dry"], 2, "unrecognized"),
        ([".", "--repo-id", ID], 1, "python -m model_card.build"),
    ],
)
def test_usage(arguments, status, said):
    command = [sys.executable, "upload.py", *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, said in done.stdout + done.stderr, "Traceback" in done.stderr) == (status, True, False)
    assert time.perf_counter() - start < 2, "a message comes within two seconds"
