"""Clients that are not huggingface_hub see the same bytes: git with git-lfs, and npm @huggingface/hub with its own Xet.

They keep this Hub from being a mock of one client. Each downloads what huggingface_hub uploaded, uploads files of its own,
and huggingface_hub downloads these.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import HfApi, snapshot_download

from tests.hub import Hub

NPM_HUB = "2.17.5"  # of npm @huggingface/hub
has_git_lfs = shutil.which("git-lfs") is not None


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with Hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub
        assert hub.leaks == [], "no token may reach the objects' or the CAS's origin"


@pytest.fixture(params=["lfs", "xet"])
def repo(hub, request, tmp_path, monkeypatch) -> str:
    """A repository with files that huggingface_hub uploaded, with Xet or without."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", request.param == "lfs")
    api = HfApi(endpoint=hub.url, token="hf_alice")
    repo = api.create_repo(f"alice/{request.node.originalname[5:30]}-{request.param}", private=True).repo_id
    make_files(tmp_path / "python", "python")
    api.upload_folder(repo_id=repo, folder_path=tmp_path / "python")
    return repo


def make_files(folder: Path, prefix: str) -> dict[str, str]:
    """A folder with noise, numbers (fp32, which Xet packs in groups of four) and text; SHA-256 by path."""
    folder.mkdir()
    (folder / f"{prefix}-noise.bin").write_bytes(os.urandom(300_000))
    (folder / f"{prefix}.safetensors").write_bytes(b"".join(b"%c\0\x80\x3f" % (n % 200) for n in range(100_000)))
    (folder / f"{prefix}.txt").write_text("小模型\n")
    return digests(folder)


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and not {".git", ".cache"} & set(p.parts)]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def downloaded(hub: Hub, repo: str, cache: Path) -> dict[str, str]:
    return digests(Path(snapshot_download(repo, cache_dir=cache, endpoint=hub.url, token="hf_alice")))


def run(*command: str, cwd: Path | None = None) -> str:
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.skipif(not has_git_lfs, reason="git-lfs is not installed (Debian package git-lfs)")
def test_git_clones_and_pushes(hub, repo, tmp_path):
    address = f"{hub.url}/{repo}".replace("//", "//alice:hf_alice@", 1)
    clone = tmp_path / "clone"
    run("git", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false", "clone", "-q", address, str(clone))
    run("git", "lfs", "install", "--local", cwd=clone)
    run("git", "lfs", "pull", cwd=clone)
    assert digests(clone) == hub.snapshot(repo)
    made = make_files(tmp_path / "git", "git")
    shutil.copytree(tmp_path / "git", clone, dirs_exist_ok=True)
    run("git", "add", "-A", cwd=clone)
    who = ("-c", "user.name=alice", "-c", "user.email=alice@localhost")
    run("git", *who, "commit", "-q", "-m", "From git", cwd=clone)
    run("git", "push", "-q", "origin", "main", cwd=clone)
    assert made.items() <= hub.snapshot(repo).items()
    assert downloaded(hub, repo, tmp_path / "cache") == hub.snapshot(repo)
    run("git", "-C", str(hub.git_folder(repo)), "fsck", "--strict")


@pytest.mark.parametrize("user", ["nobody:hf_expired", "bob:hf_bob", "alice:hf_alice_read"])
def test_git_pushes_only_for_those_who_may_write(hub, tmp_path, user):
    repo = f"alice/push-{user.split('_', 1)[1]}".replace("_", "-")
    HfApi(endpoint=hub.url, token="hf_alice").create_repo(repo)
    clone = tmp_path / "clone"
    run("git", "clone", "-q", f"{hub.url}/{repo}", str(clone))
    who = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    run("git", *who, "commit", "-q", "--allow-empty", "-m", "x", cwd=clone)
    with pytest.raises(AssertionError, match="fatal:"):
        run("git", "push", f"{hub.url}/{repo}".replace("//", f"//{user}@", 1), "main", cwd=clone)
    assert len(HfApi(endpoint=hub.url).list_repo_commits(repo)) == 1


@pytest.fixture(scope="module")
def npm_packages(tmp_path_factory) -> Path:
    """A folder where npm has installed @huggingface/hub."""
    if not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("npm")
    install = [
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--prefix",
        folder,
        f"@huggingface/hub@{NPM_HUB}",
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm cannot install @huggingface/hub {NPM_HUB}: {done.stderr.strip()[:200]}")
    return folder


def test_npm_uploads_and_downloads(hub, repo, tmp_path, npm_packages):
    made = make_files(tmp_path / "npm", "npm")
    script, kind = Path(__file__).with_name("peer.mjs"), repo.rsplit("-", 1)[1]
    start = len(hub.requests)
    seen = json.loads(run("node", str(script), str(npm_packages), hub.url, repo, str(tmp_path / "npm"), kind))
    assert seen == hub.snapshot(repo) and made.items() <= seen.items()
    sent = {(r.origin, r.method) for r in hub.requests[start:] if r.origin != "api" and r.status == 200}
    assert sent == ({("cas", "POST"), ("cas", "GET")} if kind == "xet" else {("cdn", "PUT"), ("cdn", "GET")})
    assert downloaded(hub, repo, tmp_path / "cache") == seen
    assert set(hub.snapshot(repo, "refs/pr/1")) == {*seen, "proposed.txt"}
