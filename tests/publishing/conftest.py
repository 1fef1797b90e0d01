"""A run that is ready to be pushed, and a Hub on loopback to push it to."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import upload
from publishing import hub as client
from run_folder import file_sha256, write_json
from tests.hub import Fault, Hub
from tests.made_run import BASE, make_model

ID = "alice/smollm2-demo"
CARD = "---\nlicense: apache-2.0\ntags:\n- orpo\n---\n# A model\n"


@pytest.fixture(scope="session")
def made_small(tmp_path_factory) -> Path:
    """A run folder whose release is a model, a card and little else."""
    run = tmp_path_factory.mktemp("small") / "run"
    make_model(run / "release")
    (run / "release" / "README.md").write_text(CARD)
    (run / "release" / "LICENSE").write_text("Apache-2.0\n")
    write_json(run / "release" / "training.json", {"base_model": BASE, "seconds": 23.5})
    resum(run)
    return run


@pytest.fixture
def small_run(made_small, tmp_path, monkeypatch) -> Path:
    """A copy of the small run. Its release is too small for the checks, which have their own tests."""
    monkeypatch.setattr(upload, "check_release", lambda *_: [])
    monkeypatch.setattr(upload, "check_gguf_release", lambda *_: [])
    monkeypatch.setattr(upload, "check_built", lambda *_: [])
    return Path(shutil.copytree(made_small, tmp_path / "run"))


@pytest.fixture
def log_in(monkeypatch):
    """A function: this process works with a Hub as the owner of a token, without Xet, and never waits long."""

    def as_user(url: str, token: str | None = "hf_alice") -> None:
        api = client.hub_api()
        api.endpoint = url
        monkeypatch.setattr(upload, "hub_api", lambda: api)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent")
        monkeypatch.setattr(client, "WAITS", (0.01, 0.01, 0.01, 0.01))
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN", raising=False)

    return as_user


@pytest.fixture
def hub(hub_server, log_in, request) -> SimpleNamespace:
    """The session's Hub with alice logged in, and a name for a repository that no other test has."""
    return pushed_to(hub_server, log_in, request.node.name)


@pytest.fixture
def own_hub(tmp_path, log_in, request):
    """The same on a Hub of the test's own, whose faults can be switched on."""
    with Hub(tmp_path / "hub", xet=False) as server:
        yield pushed_to(server, log_in, request.node.name)


def pushed_to(server: Hub, log_in, test: str) -> SimpleNamespace:
    from huggingface_hub import HfApi

    log_in(server.url)
    name = "upload-" + re.sub(r"\W+", "-", test)[:60].strip("-")
    return SimpleNamespace(
        url=server.url, api=HfApi(endpoint=server.url, token="hf_alice"), id=f"alice/{name}", server=server
    )


def push(run: Path, hub: SimpleNamespace, *options: str) -> int:
    """Push without loading the model, which has its own test."""
    return upload.main([str(run), "--repo-id", hub.id, "--verify", "checksums", *options])


def commits(hub: SimpleNamespace, **where: Any) -> list[str]:
    return [c.commit_id for c in hub.api.list_repo_commits(hub.id, **where)]


def holds(hub: SimpleNamespace, run: Path, revision: str = "main") -> bool:
    """Whether the Hub's own store holds exactly the release, beside the .gitattributes of its making."""
    snapshot = hub.server.snapshot(hub.id, revision)
    snapshot.pop(".gitattributes", None)
    return snapshot == {name: file_sha256(p) for name, p in released(run).items()}


def released(run: Path) -> dict[str, Path]:
    release = run / "release"
    return {p.relative_to(release).as_posix(): p for p in release.rglob("*") if p.is_file()}


def resum(run: Path) -> None:
    """Write SHA256SUMS anew, as someone would who wants a spoiled release to pass."""
    lines = [f"{file_sha256(p)}  {name}\n" for name, p in sorted(released(run).items()) if name != "SHA256SUMS"]
    (run / "release" / "SHA256SUMS").write_text("".join(lines))


def change(run: Path, text: str) -> None:
    """Another release: LICENSE has other words."""
    (run / "release" / "LICENSE").write_text(text)
    resum(run)


def lost(method: str, path: str, **more: Any) -> Fault:
    """The work is done, and the answer is 502."""
    return Fault(method=method, path=path, status=502, after=True, **more)
