"""The client's own steps through huggingface_hub, with files going through LFS and through Xet."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, errors, snapshot_download

from tests.conftest import make_tiny_model
from tests.hub import Hub

CARD = "---\nlicense: apache-2.0\npipeline_tag: text-generation\nbase_model: alice/base\n---\n# Tiny 小模型\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with Hub(tmp_path_factory.mktemp("hub"), part_bytes=2**20) as hub:
        yield hub
        assert hub.leaks == [], "no token may reach the objects' or the CAS's origin"


@pytest.fixture(params=["lfs", "xet"])
def api(hub, request, monkeypatch) -> HfApi:
    """Alice, with Xet or without; in the first case the Hub hands out LFS addresses, also for parts."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", request.param == "lfs")
    api = HfApi(endpoint=hub.url, token="hf_alice")
    api.id = api.create_repo(f"alice/{request.node.originalname[5:50]}-{request.param}").repo_id
    return api


@pytest.fixture
def alice(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_alice")


@pytest.fixture
def folder(tmp_path, tiny_tokenizer) -> Path:
    """A release in small: a model (fp32, which Xet packs), a file that does not pack, text, an empty file, Unicode names."""
    folder = tmp_path / "release"
    make_tiny_model(len(tiny_tokenizer)).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    (folder / "noise.bin").write_bytes(os.urandom(2_500_000))
    (folder / "zeros.bin").write_bytes(bytes(500_000))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "figures").mkdir()
    (folder / "figures" / "结果 1.svg").write_text("<svg/>")
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def stored(hub: Hub, repo_id: str, revision: str = "main") -> dict[str, str]:
    return {path: digest for path, digest in hub.snapshot(repo_id, revision).items() if path != ".gitattributes"}


def test_upload_tag_and_load_from_an_empty_cache(hub, api, folder, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    start = len(hub.requests)
    done = api.upload_folder(repo_id=api.id, folder_path=folder)
    assert stored(hub, api.id) == digests(folder)
    assert api.repo_info(api.id).sha == done.oid == hub.refs(api.id)["refs/heads/main"]
    api.create_tag(api.id, tag="v1", revision=done.oid, tag_message="first")
    api.upload_file(repo_id=api.id, path_in_repo="config.json", path_or_fileobj=b"{}")
    there = snapshot_download(api.id, revision="v1", cache_dir=tmp_path / "cache", endpoint=hub.url)
    assert digests(Path(there)).items() >= digests(folder).items()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(there), AutoTokenizer.from_pretrained(there)
    ids = tokenizer("你好", return_tensors="pt").input_ids
    assert torch.equal(model(ids).logits, AutoModelForCausalLM.from_pretrained(folder)(ids).logits)
    ways = {r.path.split("/")[1] for r in hub.requests[start:] if r.method in ("PUT", "POST") and r.origin != "api"}
    assert ways >= ({"v1"} if api.id.endswith("xet") else {"objects", "parts"}), "noise.bin is longer than a part"
    fsck = subprocess.run(["git", "-C", hub.git_folder(api.id), "fsck", "--strict"], capture_output=True, text=True)
    assert (fsck.returncode, fsck.stderr) == (0, "")


def test_a_rerun_sends_only_what_is_missing(hub, api, folder):
    api.upload_folder(repo_id=api.id, folder_path=folder)
    (folder / "zeros.bin").write_bytes(bytes(499_999) + b"1")
    start = len(hub.requests)
    api.upload_folder(repo_id=api.id, folder_path=folder)
    sent = [
        r
        for r in hub.requests[start:]
        if r.origin != "api" and r.method in ("PUT", "POST") and "telemetry" not in r.path
    ]
    assert stored(hub, api.id) == digests(folder)
    assert 1 <= len([r for r in sent if r.status == 200]) <= 2, "one object, or one xorb and one shard"


def test_a_stale_parent_is_refused_and_a_pull_request_is_merged(hub, api):
    def add(path, data=b"x", **options):
        return api.create_commit(api.id, [CommitOperationAdd(path, data)], commit_message=f"Add {path}", **options)

    old = api.repo_info(api.id).sha
    add("a.txt")
    with pytest.raises(errors.HfHubHTTPError) as refused:
        add("b.txt", parent_commit=old)
    assert refused.value.response.status_code == 412 and "b.txt" not in hub.snapshot(api.id)
    made = add("weights.bin", os.urandom(100_000), create_pr=True, parent_commit=api.repo_info(api.id).sha)
    assert made.pr_revision == "refs/pr/1" and "weights.bin" not in hub.snapshot(api.id)
    add("c.txt", revision="refs/pr/1")
    add("d.txt")
    api.comment_discussion(api.id, 1, "Looks good")
    api.merge_pull_request(api.id, 1, comment="Merged")
    details = api.get_discussion_details(api.id, 1)
    assert details.status == "merged" and details.conflicting_files == []
    assert details.merge_commit_oid == hub.refs(api.id)["refs/heads/main"] != made.oid
    assert [type(e).__name__ for e in details.events[1:]] == [
        "DiscussionComment",
        "DiscussionComment",
        "DiscussionStatusChange",
    ]
    assert set(stored(hub, api.id)) == {"a.txt", "c.txt", "d.txt", "weights.bin"}
    assert api.list_repo_commits(api.id)[0].title == "Add weights.bin (#1)"


def test_conflicts_drafts_and_closed_pull_requests_are_not_merged(alice, hub):
    repo = alice.create_repo("alice/conflict").repo_id
    mine = alice.create_commit(repo, [CommitOperationAdd("a.txt", b"mine")], commit_message="mine", create_pr=True)
    alice.create_commit(repo, [CommitOperationAdd("a.txt", b"theirs")], commit_message="theirs")
    before = hub.refs(repo)["refs/heads/main"]
    with pytest.raises(errors.HfHubHTTPError, match=r"Merge conflict in a\.txt") as conflict:
        alice.merge_pull_request(repo, mine.pr_num)
    assert conflict.value.response.status_code == 409
    assert alice.get_discussion_details(repo, 1).conflicting_files == ["a.txt"]
    draft = alice.create_pull_request(repo, title="Later")
    assert draft.status == "draft"
    with pytest.raises(errors.BadRequestError, match="only an open pull request"):
        alice.merge_pull_request(repo, draft.num)
    alice.change_discussion_status(repo, 1, "closed", comment="no")
    with pytest.raises(errors.BadRequestError, match="is closed"):
        alice.merge_pull_request(repo, 1)
    listed = {d.num: d.status for d in alice.get_repo_discussions(repo)}
    assert listed == {1: "closed", 2: "draft"} and hub.refs(repo)["refs/heads/main"] == before


def test_what_a_commit_may_not_do(alice, hub):
    repo = alice.create_repo("alice/refused").repo_id
    for operation, problem in [
        (CommitOperationDelete("nothing.txt"), "does not exist"),
        (CommitOperationAdd("README.md", b"---\nlicense: mine\n---\n"), '"license" must be one of'),
    ]:
        with pytest.raises((errors.HfHubHTTPError, ValueError), match=problem):
            alice.create_commit(repo, [operation], commit_message="x")
    with pytest.raises(errors.RevisionNotFoundError):
        alice.create_commit(repo, [CommitOperationAdd("a.txt", b"a")], commit_message="x", revision="nowhere")
    assert list(hub.snapshot(repo)) == [".gitattributes"]


def test_an_object_that_was_never_uploaded_cannot_be_committed(hub, alice):
    import httpx2

    repo = alice.create_repo("alice/phantom").repo_id
    header = {"key": "header", "value": {"summary": "x"}}
    address, headers = f"{hub.url}/api/models/{repo}/commit/main", {"Authorization": "Bearer hf_alice"}

    def refuse(operation, reason):
        lines = "\n".join(json.dumps(line) for line in (header, operation))
        answer = httpx2.post(address, content=lines.encode(), headers=headers)
        assert answer.status_code == 400 and reason in answer.headers["X-Error-Message"]

    refuse({"key": "lfsFile", "value": {"path": "a.bin", "oid": "0" * 64}}, "does not exist: a.bin")
    for path in ("../up.txt", ".git/config", "a//b", ""):
        refuse({"key": "file", "value": {"path": path, "content": ""}}, "invalid path")


def test_tokens_roles_and_organisations(hub, alice):
    bob, reader, expired, nobody = (
        HfApi(endpoint=hub.url, token=t) for t in ("hf_bob", "hf_alice_read", "hf_expired", False)
    )
    me = alice.whoami()
    assert (me["name"], [o["name"] for o in me["orgs"]], me["auth"]["accessToken"]["role"]) == (
        "alice",
        ["acme"],
        "write",
    )
    assert reader.whoami()["auth"]["accessToken"]["role"] == "read" and bob.whoami()["orgs"] == []
    with pytest.raises(errors.HfHubHTTPError, match="Invalid user token") as refused:
        expired.whoami()
    assert refused.value.response.status_code == 401
    repo = alice.create_repo("acme/roles", private=True).repo_id
    assert alice.create_repo(repo, exist_ok=True).repo_id == repo
    for other, name in [(reader, repo), (reader, "alice/new"), (bob, "acme/new"), (bob, "alice/new")]:
        with pytest.raises(errors.HfHubHTTPError) as refused:
            other.create_repo(name)
        assert refused.value.response.status_code == 403
    with pytest.raises(errors.HfHubHTTPError) as refused:
        reader.upload_file(repo_id=repo, path_in_repo="a", path_or_fileobj=b"a")
    assert refused.value.response.status_code == 403
    assert reader.repo_info(repo).private
    for stranger in (bob, nobody):
        with pytest.raises(errors.RepositoryNotFoundError):
            stranger.repo_info(repo)
    alice.update_repo_settings(repo, visibility="public", gated="manual")
    assert bob.repo_info(repo).gated == "manual", "the page of a gated repository is public"


def test_a_gated_repository_lets_in_whom_its_owner_lets_in(hub, alice, tmp_path):
    repo = alice.create_repo("alice/gated").repo_id
    alice.upload_file(repo_id=repo, path_in_repo="a.txt", path_or_fileobj=b"a")
    alice.update_repo_settings(repo, gated="auto")
    bob = HfApi(endpoint=hub.url, token="hf_bob")
    for stranger in (bob, HfApi(endpoint=hub.url, token=False)):
        with pytest.raises(errors.GatedRepoError):
            stranger.auth_check(repo)
        with pytest.raises(errors.GatedRepoError):
            stranger.hf_hub_download(repo, "a.txt", cache_dir=tmp_path / "cache")
    alice.grant_access(repo, "bob")
    bob.auth_check(repo)
    with pytest.raises(errors.HfHubHTTPError):
        bob.auth_check(repo, write=True)
    assert Path(bob.hf_hub_download(repo, "a.txt", cache_dir=tmp_path / "cache")).read_bytes() == b"a"


def test_every_lookup_that_fails_says_what_is_missing(alice, tmp_path):
    repo = alice.create_repo("alice/lookups").repo_id
    with pytest.raises(errors.RepositoryNotFoundError):
        alice.repo_info("alice/none")
    with pytest.raises(errors.RevisionNotFoundError):
        alice.repo_info(repo, revision="v9")
    with pytest.raises(errors.EntryNotFoundError):
        alice.hf_hub_download(repo, "none.json", cache_dir=tmp_path)
    with pytest.raises(errors.EntryNotFoundError):
        list(alice.list_repo_tree(repo, "additional_chat_templates"))
    assert alice.get_paths_info(repo, ["none.json"]) == []


def test_refs_history_and_long_lists(alice, hub):
    repo = alice.create_repo("alice/history").repo_id
    for number in range(51):
        alice.create_commit(repo, [CommitOperationAdd("n.txt", b"%d" % number)], commit_message=f"n {number}")
    files = [CommitOperationAdd(f"many/{n:04d}.txt", b"%d" % n) for n in range(1001)]
    alice.create_commit(repo, files, commit_message="1001 files", commit_description="in one commit")
    assert len(list(alice.list_repo_tree(repo, recursive=True))) == 1001 + 3, (
        "two pages; with n.txt, .gitattributes, many/"
    )
    commits = alice.list_repo_commits(repo)
    assert len(commits) == 53 and commits[1].title == "n 50" and commits[0].message == "in one commit"
    alice.create_branch(repo, branch="old", revision=commits[-1].commit_id)
    alice.create_tag(repo, tag="v1")
    for make in (lambda: alice.create_branch(repo, branch="old"), lambda: alice.create_tag(repo, tag="v1")):
        with pytest.raises(errors.HfHubHTTPError) as refused:
            make()
        assert refused.value.response.status_code == 409
    refs = alice.list_repo_refs(repo)
    assert {b.name: b.target_commit for b in refs.branches} == {
        "main": commits[0].commit_id,
        "old": commits[-1].commit_id,
    }
    alice.delete_tag(repo, tag="v1")
    alice.delete_branch(repo, branch="old")
    assert set(hub.refs(repo)) == {"refs/heads/main"}
    alice.delete_repo(repo)
    assert not alice.repo_exists(repo)


def test_model_info_shows_what_the_card_says(alice):
    repo = alice.create_repo("alice/card").repo_id
    card = CARD.replace(
        "base_model: alice/base",
        "base_model: alice/base\nbase_model_relation: finetune\ndatasets: [alice/pairs]\ntags: [orpo]",
    )
    alice.upload_file(repo_id=repo, path_in_repo="README.md", path_or_fileobj=card.encode())
    info = alice.model_info(repo, files_metadata=True)
    assert info.pipeline_tag == "text-generation" and info.card_data.base_model == "alice/base"
    assert {"license:apache-2.0", "base_model:finetune:alice/base", "dataset:alice/pairs", "orpo"} <= set(info.tags)
    assert {s.rfilename: s.size for s in info.siblings}["README.md"] == len(card.encode())


def test_collections_and_spaces(alice, hub):
    model, space = "alice/shown", "alice/shown-demo"
    alice.create_repo(model)
    alice.create_repo(space, repo_type="space", space_sdk="gradio")
    made = alice.create_collection("Shown", namespace="alice", description="all of it")
    assert alice.create_collection("Shown", namespace="alice", exists_ok=True).slug == made.slug
    for item, kind in [(model, "model"), (space, "space"), (model, "model")]:
        alice.add_collection_item(made.slug, item, kind, exists_ok=True)
    assert [(i.item_id, i.item_type) for i in alice.get_collection(made.slug).items] == [
        (model, "model"),
        (space, "space"),
    ]
    assert [c.slug for c in alice.list_collections(owner="alice", item=f"models/{model}")] == [made.slug]
    with pytest.raises(errors.HfHubHTTPError):
        alice.add_collection_item(made.slug, "alice/none", "model")
    with pytest.raises(errors.HfHubHTTPError) as refused:
        HfApi(endpoint=hub.url, token="hf_bob").add_collection_item(made.slug, model, "model")
    assert refused.value.response.status_code == 403
    app = [
        CommitOperationAdd("app.py", b"print()"),
        CommitOperationAdd("README.md", b"---\ntitle: x\nsdk: gradio\n---\n"),
    ]
    alice.create_commit(space, app, commit_message="App", repo_type="space")
    assert alice.space_info(space).sdk == "gradio" and alice.get_space_runtime(space).stage == "BUILDING"
    assert set(hub.snapshot(space, kind="space")) == {".gitattributes", "README.md", "app.py"}
    with pytest.raises(ValueError, match="colorFrom"):
        wrong = CommitOperationAdd("README.md", b"---\nsdk: gradio\ncolorFrom: orange\n---\n")
        alice.create_commit(space, [wrong], commit_message="x", repo_type="space")
