"""The release folder: what it carries, written whole or not at all; its scripts, and its signature."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command import UserError
from model_card import build, release, scripts, signature
from run_folder import GGUF_RELEASE_FILES, file_sha256, is_release_file, source_state, write_json
from tests.conftest import ROOT
from tests.made_run import make_run
from training import record

NO_SIGNING = [n for n in ("model_signing", "OpenSSL") if importlib.util.find_spec(n) is None]
needs_signing = pytest.mark.skipif(bool(NO_SIGNING), reason=f"{NO_SIGNING} not installed: requirements-signing.txt")


# --- what a release may hold


@pytest.mark.parametrize(
    ("path", "model", "gguf"),
    [("model-00001-of-00004.safetensors", True, False), ("model.safetensors.index.json", True, False),
     ("figures/results.png", True, False), ("figures/deep/results.png", False, False), ("figures/a.svg", False, False),
     ("scripts/training/loss.py", True, False), ("scripts/SOURCE.json", True, False), ("scriptsx/a.py", False, False),
     ("model.sig", True, False), ("optimizer.pt", False, False), ("README_zh.md", True, True),
     ("demo-q4_0.gguf", False, True), ("deep/demo.gguf", False, False), ("Modelfile", False, True)],
)  # fmt: skip
def test_the_lists_of_release_files(path, model, gguf):
    assert (is_release_file(path), is_release_file(path, GGUF_RELEASE_FILES)) == (model, gguf)


def test_a_folder_is_written_by_its_own_list(tmp_path):
    files = {"demo-q8_0.gguf": b"GGUF", "README.md": b"# x\n"}
    with pytest.raises(AssertionError, match=r"demo-q8_0\.gguf"):
        release.write_release(tmp_path / "release-gguf", files)
    assert release.write_release(tmp_path / "release-gguf", files, allowed=GGUF_RELEASE_FILES)
    assert not release.write_release(tmp_path / "release-gguf", files, allowed=GGUF_RELEASE_FILES), "unchanged"
    assert {p.name for p in (tmp_path / "release-gguf").iterdir()} == {*files, "SHA256SUMS"}


# --- scripts


@pytest.fixture
def repository(tmp_path) -> Path:
    """A small checkout with a second commit and an uncommitted change."""
    root = tmp_path / "repository"
    for name in (
        "training/train.py",
        "tests/test_x.py",
        "benchmarks/b.py",
        ".ci/run",
        ".gitignore",
        "test.sh",
        "upload.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("one\n")
    git(root, "init", "-q")
    for text in ("one\n", "two\n"):
        (root / "upload.py").write_text(text)
        git(root, "add", "-A", "-f")
        git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", text)
    (root / "upload.py").write_text("three\n")
    (root / "notes.txt").write_text("not of the code\n")
    return root


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write(files: dict, folder: Path) -> Path:
    for path, content in files.items():
        target = folder / path.removeprefix("scripts/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def trained(commit: str | None, dirty: bool | None = False) -> dict:
    return {"git": {"commit": commit, "dirty": dirty}}


def test_the_scripts_are_those_of_the_commit_that_trained(repository):
    first = git(repository, "rev-parse", "HEAD~1")
    files = scripts.scripts_of(trained(first), repository)
    assert set(files) == {"scripts/training/train.py", "scripts/upload.py", "scripts/SOURCE.json"}
    assert files["scripts/upload.py"] == b"one\n", "not what lies there now"
    source = json.loads(files["scripts/SOURCE.json"])
    assert (source["schema_version"], source["commit"], source["dirty"]) == (1, first, False)
    assert set(source["sha256"]) == {"training/train.py", "upload.py"}
    assert json.loads(scripts.scripts_of(trained(first, True), repository)["scripts/SOURCE.json"])["dirty"]


def test_a_commit_that_is_not_here_gives_the_tracked_files_and_says_so(repository):
    files = scripts.scripts_of(trained("0" * 40), repository)
    source = json.loads(files["scripts/SOURCE.json"])
    assert (files["scripts/upload.py"], source["dirty"]) == (b"three\n", True)
    assert "scripts/notes.txt" not in files, "what merely lies there is not published"


def test_downloaded_scripts_are_carried_on_and_tell_when_they_were_changed(repository, tmp_path):
    """Also inside a git repository that is not the code's: the clone of the model's own repository."""
    head = git(repository, "rev-parse", "HEAD")
    files = scripts.scripts_of(trained(head), repository)
    git(tmp_path, "init", "-q")
    copy = write(files, tmp_path / "clone" / "scripts")
    assert source_state(copy) == {"commit": head, "dirty": False}
    (copy / "runs").mkdir()
    (copy / "runs" / "made-by-running.txt").write_text("x")
    assert scripts.scripts_of(trained(head), copy) == files
    other = json.loads(scripts.scripts_of(trained("f" * 40), copy)["scripts/SOURCE.json"])
    assert (other["commit"], other["dirty"]) == ("f" * 40, True), "trained by other code than this"
    (copy / "upload.py").write_text("changed\n")
    assert source_state(copy) == {"commit": head, "dirty": True}
    again = scripts.scripts_of(trained(head), copy)
    assert again["scripts/upload.py"] == b"changed\n" and json.loads(again["scripts/SOURCE.json"])["dirty"]
    (copy / "upload.py").unlink()
    assert source_state(copy)["dirty"]


def test_without_git_and_source_json_there_are_no_scripts(tmp_path):
    (tmp_path / "upload.py").write_text("x")
    assert scripts.scripts_of(trained(None, None), tmp_path) == {}


def test_the_record_of_a_training_goes_by_source_json(tmp_path, monkeypatch):
    """In the scripts of a release, a repository around them is the model's: its commit is not the code's."""
    code = tmp_path / "scripts" / "training" / "record.py"
    code.parent.mkdir(parents=True)
    code.write_text("x")
    monkeypatch.setattr(record, "__file__", str(code))
    git(tmp_path, "init", "-q")
    git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", "--allow-empty")
    assert record.git_state() == {"commit": None, "dirty": None}, "the repository around it does not know this file"
    source = {
        "schema_version": 1,
        "commit": "a" * 40,
        "dirty": False,
        "sha256": {"training/record.py": file_sha256(code)},
    }
    (tmp_path / "scripts" / "SOURCE.json").write_text(json.dumps(source))
    assert record.git_state() == {"commit": "a" * 40, "dirty": False}
    code.write_text("y")
    assert record.git_state() == {"commit": "a" * 40, "dirty": True}


def test_this_checkout_is_its_own_source():
    assert record.git_state()["commit"] == git(ROOT, "rev-parse", "HEAD")


def test_reproduce_runs_without_the_executable_bit(tmp_path):
    """The Hub keeps no file modes: what is downloaded is started with `bash`, and no script starts another without it."""
    copy = write({"scripts/reproduce.sh": (ROOT / "reproduce.sh").read_bytes()}, tmp_path)
    (copy / "training" / "recipes").mkdir(parents=True)
    done = subprocess.run(["bash", copy / "reproduce.sh", "--help"], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0 and "usage:" in done.stdout
    assert not (copy / "reproduce.sh").stat().st_mode & 0o111
    calls = [line for line in (ROOT / "reproduce.sh").read_text().splitlines() if "./" in line and ".sh" in line]
    assert all("usage" in line or "echo" in line or "fail" in line or "KeyboardInterrupt" in line for line in calls), (
        calls
    )


# --- the recipe


@pytest.mark.parametrize(("own", "given"), [("null", '"smollm2-demo"'), ("mine", "mine")])
def test_a_released_recipe_makes_the_same_folder_again(tmp_path, own, given):
    run = make_run(tmp_path / "smollm2-demo", evaluated=False)
    with (run / "recipe.yaml").open("a", encoding="utf-8") as stream:
        stream.write(f"name: {own}\n")
    build.main([str(run), "--repo-id", "alice/another-name"])
    assert f"\nname: {given}\n" in (run / "release" / "recipe.yaml").read_text(encoding="utf-8")


def test_weights_are_read_once_and_stand_once_on_the_disk(tmp_path, monkeypatch):
    read = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(release, "file_sha256", counted)
    run = make_run(tmp_path / "smollm2-demo", evaluated=False)
    build.main([str(run)])
    assert read.count("model.safetensors") == 1
    assert (run / "release" / "model.safetensors").samefile(run / "model" / "model.safetensors")


# --- signature


@pytest.fixture
def signed(tmp_path) -> tuple[Path, Path]:
    run = make_run(tmp_path / "smollm2-demo", evaluated=False)
    build.main([str(run), "--repo-id", "alice/smollm2-demo"])
    key = make_key(tmp_path / "key.pem")
    assert signature.sign(run / "release", key)
    return run / "release", key


def make_key(path: Path) -> Path:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    return path


def unsound(folder: Path) -> list[str]:
    from publishing.file_checks import check_signature

    return check_signature(folder, {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()})


@needs_signing
def test_a_signature_covers_every_file_and_is_made_once(signed):
    folder, key = signed
    assert unsound(folder) == []
    assert "model.sig" not in (folder / "SHA256SUMS").read_text()
    before = (folder / "model.sig").read_bytes()
    assert not signature.sign(folder, key), "signed already"
    assert build.main([str(folder.parent), "--repo-id", "alice/smollm2-demo"]) == 0
    assert (folder / "model.sig").read_bytes() == before, "an unchanged release keeps its signature"
    assert signature.sign(folder, make_key(key.with_name("other.pem"))) and unsound(folder) == []


@needs_signing
def test_a_signature_that_goes_with_its_files_is_told(signed, capsys):
    folder, _ = signed
    build.main([str(folder.parent), "--repo-id", "alice/another-name"])
    assert not (folder / "model.sig").exists() and "Sign again: --sign-key FILE" in capsys.readouterr().out


@needs_signing
def test_a_reader_checks_the_signature_by_the_command_that_is_told(signed, tmp_path):
    """On a folder as `hf download --local-dir` leaves it: .gitattributes and the download's notes are there, too."""
    folder, key = signed
    name = Path(shutil.copytree(folder, tmp_path / "NAME"))
    (name / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (name / ".cache" / "huggingface").mkdir(parents=True)
    (name / ".cache" / "huggingface" / "notes").write_text("x")
    (command,) = (line for line in signature.__doc__.splitlines() if "model_signing verify" in line)
    (tmp_path / "KEY").write_bytes(signature.public_half(key))
    program = Path(sys.executable).with_name("model_signing")

    def verify() -> int:
        return subprocess.run([program, *command.split()[1:]], cwd=tmp_path, capture_output=True).returncode

    assert verify() == 0
    (name / "scripts" / "more.py").write_text("x")
    assert verify() != 0


@needs_signing
@pytest.mark.parametrize("change", ["edited", "added", "removed", "signature", "key", "half"])
def test_what_was_changed_after_signing_is_found(signed, change):
    folder, key = signed
    if change == "edited":
        (folder / "scripts" / "upload.py").write_text("x")
    elif change == "added":
        (folder / "scripts" / "more.py").write_text("x")
    elif change == "removed":
        (folder / "NOTICE").unlink()
    elif change == "signature":
        (folder / "model.sig").write_text("{}")
    elif change == "key":
        (folder / "model.pub").write_bytes(signature.public_half(make_key(key.with_name("other.pem"))))
    else:
        (folder / "model.pub").unlink()
    (said,) = unsound(folder)
    assert "model.sig is" in said and "--sign-key" in said
    assert signature.sign(folder, key) and unsound(folder) == []


@needs_signing
@pytest.mark.parametrize(
    ("content", "said"), [(None, "is missing"), (b"hello", "is not a private key"), ("rsa", "is no elliptic-curve key")]
)
def test_a_bad_key_is_one_clear_error(tmp_path, content, said):
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = tmp_path / "key.pem"
    if content == "rsa":
        made = rsa.generate_private_key(65537, 2048)
        content = made.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(UserError, match=said):
        signature.sign(tmp_path, key)


@needs_signing
@pytest.mark.parametrize("key", ["missing", "folder", "secp256k1", "encrypted"])
def test_a_bad_key_is_refused_before_anything_is_written(tmp_path, key):
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    run, path = make_run(tmp_path / "smollm2-demo", evaluated=False), tmp_path / "key.pem"
    if key == "folder":
        path.mkdir()
    elif key != "missing":
        made = ec.generate_private_key(ec.SECP256K1() if key == "secp256k1" else ec.SECP256R1())
        lock = s.NoEncryption() if key == "secp256k1" else s.BestAvailableEncryption(b"geheim")
        path.write_bytes(made.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, lock))
    before = sorted(run.rglob("*"))
    with pytest.raises(
        UserError, match=f"--sign-key {path} (is missing|is a folder|lies on secp256k1|is not a private)"
    ):
        build.main([str(run), "--repo-id", "alice/smollm2-demo", "--sign-key", str(path)])
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("given", ["alice/x.git", "alice/中文", "a" * 120, "alice/-x", "a--b/c", "", "demo"])
def test_what_upload_refuses_for_an_id_is_refused_here(tmp_path, given):
    with pytest.raises(UserError, match="--repo-id"):
        build.main([str(tmp_path), "--repo-id", given])


def test_a_gguf_record_of_another_form_leaves_the_release_as_it_was(tmp_path):
    run = make_run(tmp_path / "smollm2-demo", evaluated=False)
    write_json(run / "gguf" / "export.json", {})
    with pytest.raises(UserError, match=r"export\.json has no name\. Export again"):
        build.main([str(run), "--repo-id", "alice/smollm2-demo"])
    assert not (run / "release").exists() and not (run / "release-gguf").exists()


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"model_signing and OpenSSL.*requirements-signing\.txt"):
        signature.sign(tmp_path, tmp_path / "key.pem")
    (tmp_path / "model.pub").write_text("x")
    (tmp_path / "model.sig").write_text("x")
    assert unsound(tmp_path) == ["model.sig was not checked: pip install -r requirements-signing.txt"]


def test_signing_is_not_imported_by_building(tmp_path):
    code = "import sys, model_card.signature; assert not {'model_signing', 'cryptography'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
