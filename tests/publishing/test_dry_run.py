"""--dry-run: the exact difference, and that it changes nothing."""

import re
from types import SimpleNamespace

import upload
from tests.conftest import free_ports
from tests.publishing.conftest import change, commits, push


def lines(said: str) -> list[tuple[str, str]]:
    return re.findall(r"^  (added|changed|removed|kept) +(\S+)", said, re.MULTILINE)


def test_the_exact_difference_without_a_token(small_run, hub, log_in, capsys):
    push(small_run, hub)
    log_in(hub.url, None)
    capsys.readouterr()
    assert push(small_run, hub, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "holds exactly these files" in said and "10 unchanged; to send: 0 bytes" in said and "commits: 0" in said
    assert "a push would be refused: there is no Hub token" in said
    assert "without a token it is not known whether a pull request" in said
    change(small_run, "other words")
    hub.api.delete_file("config.json", repo_id=hub.id)
    hub.api.upload_file(path_or_fileobj=b"x", path_in_repo="vocab.json", repo_id=hub.id)
    before = commits(hub)
    assert push(small_run, hub, "--dry-run", "--tag", "v2") == 0
    said = capsys.readouterr().out
    assert lines(said) == [
        ("added", "config.json"),
        ("changed", "LICENSE"),
        ("changed", "SHA256SUMS"),
        ("removed", "vocab.json"),
        ("kept", ".gitattributes"),
    ]
    size = sum((small_run / "release" / name).stat().st_size for name in ("config.json", "LICENSE", "SHA256SUMS"))
    assert f"7 unchanged; to send: {size:,} bytes" in said
    assert "commits: 1 (as a pull request, merged when verified); tag v2" in said and "Nothing was pushed" in said
    assert commits(hub) == before


def test_content_that_the_hub_has_already_is_not_counted(small_run, hub, capsys):
    push(small_run, hub)
    (small_run / "release" / "model.safetensors").rename(small_run / "release" / "model-00001-of-00001.safetensors")
    capsys.readouterr()
    push(small_run, hub, "--dry-run")
    said = capsys.readouterr().out
    assert "added    model-00001-of-00001.safetensors  (its content is on the Hub already)" in said
    assert "to send: 0 bytes" in said and "removed  model.safetensors" in said


def test_what_would_be_made_set_continued_and_refused(small_run, hub, capsys):
    push(small_run, hub, "--dry-run", "--private", "--gated", "auto", "--collection", "Ours")
    said = capsys.readouterr().out
    assert "would make it and add all files" in said and "would become private, gated: auto" in said
    assert f"collection 'Ours' of alice: would be made\n  would add the model {hub.id}" in said
    assert "commits: 1" in said and not hub.api.repo_exists(hub.id)
    push(small_run, hub, "--create-pr")
    push(small_run, hub, "--dry-run")
    assert "would continue with pull request 1, which holds these files already" in capsys.readouterr().out
    push(small_run, hub, "--tag", "v1")
    change(small_run, "other words")
    push(small_run, hub, "--dry-run", "--tag", "v1")
    said = capsys.readouterr().out
    assert f"tag v1 is there already, on {commits(hub)[0]}: a push would be refused" in said
    push(small_run, hub, "--dry-run", "--revision", "next")
    assert "commits: 1 (straight to next)" in capsys.readouterr().out


def test_without_a_hub_the_files_are_still_listed(small_run, log_in, capsys):
    log_in(f"http://127.0.0.1:{free_ports()}")
    assert push(small_run, SimpleNamespace(id="alice/demo"), "--dry-run") == 0
    said = capsys.readouterr().out
    assert "cannot be reached" in said and "model.safetensors  (37,280 bytes)" in said and "Nothing was pushed" in said


def test_upload_has_no_option_that_a_dry_run_ignores():
    """A new option has to be thought of here: what would it change on the Hub?"""
    options = {o for action in upload.build_parser()._actions for o in action.option_strings if o.startswith("--")}
    shown = {"--tag", "--private", "--gated", "--create-pr", "--revision", "--gguf", "--space", "--collection", "--new-version-of"}  # fmt: skip
    assert options - shown == {"--help", "--repo-id", "--dry-run", "--verify"}
