"""A file is there whole or not at all."""

import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

import run_folder
from command import UserError, WorkError, resource_message
from tests.conftest import ROOT


def test_json_round_trip_with_version(tmp_path):
    run_folder.write_json(tmp_path / "deep" / "a.json", {"词": 1})
    assert run_folder.read_json(tmp_path / "deep" / "a.json") == {"schema_version": 1, "词": 1}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    run_folder.write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        run_folder.write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text())["x"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "release"
    with run_folder.whole_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), run_folder.whole_folder(target) as folder:
        (folder / "a").write_text("new")
        raise RuntimeError
    assert (target / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["release"]


def test_a_folder_is_replaced_not_merged(tmp_path):
    for name in ("a", "b"):
        with run_folder.whole_folder(tmp_path / "release") as folder:
            (folder / name).write_text(name)
    assert [p.name for p in (tmp_path / "release").iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing"), ("{", "not valid JSON"), ('{"schema_version": 99}', "schema_version 99"), ("[]", "None")],
)
def test_bad_records_are_named(tmp_path, content, message):
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        run_folder.read_json(path)


def test_weights_in_several_files_have_one_digest(tmp_path):
    """The digest of `sha256sum *.safetensors`, from the files and from the record of them alike."""
    from inference.loading import weights_sha256

    for name in ("b.safetensors", "a.safetensors"):
        (tmp_path / name).write_text(name)
    digests = {p.name: run_folder.file_sha256(p) for p in tmp_path.iterdir()}
    lines = "".join(f"{digests[name]}  {name}\n" for name in ("a.safetensors", "b.safetensors"))
    assert run_folder.joint_sha256(digests) == weights_sha256(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()
    assert run_folder.joint_sha256({"a": digests["a.safetensors"]}) == digests["a.safetensors"]


@pytest.mark.parametrize(
    ("path", "is_one"),
    [("hiyouga/DPO-En-Zh-20k", True), ("a/b.c", True), ("data/p.jsonl", False), ("data/p.parquet", False),
     ("../p.json", False), ("/a/b", False), ("a/b/c", False), ("pairs", False)],
)  # fmt: skip
def test_a_hub_data_set_is_told_from_a_local_path(path, is_one):
    assert run_folder.is_hub_data_set(path) is is_one


def test_space_is_asked_for_where_the_file_will_be(tmp_path):
    run_folder.require_space(tmp_path / "not" / "there" / "yet", 1, "x")
    with pytest.raises(WorkError, match=r"x needs 1000000000\.0 GB"):
        run_folder.require_space(tmp_path, 10**18, "x")
    with pytest.raises(WorkError, match=r"Free some space or say a prayer\.$"):
        run_folder.require_space(tmp_path, 10**18, "x", "say a prayer")


@pytest.mark.parametrize(
    ("value", "said"),
    [({"a": 1, "b": [{"c": "x"}]}, None), ({"a": None}, None), ([], "it is no object"), ({}, "it has no a"),
     ({"a": "1"}, "it.a is '1', which cannot be"), ({"a": 1, "b": {}}, "it.b is no list"),
     ({"a": 1, "b": [{"c": "x"}, {}]}, "it.b[1] has no c"), ({"a": 1, "more": {"x": 3}}, "it.more.x is no object")],
)  # fmt: skip
def test_the_first_place_that_does_not_fit_is_told(value, said):
    form = {"a": (int, type(None)), "b?": [{"c": str}], "more?": {"*": {}}}
    assert run_folder.misfit(value, form, "it") == said


@pytest.mark.parametrize(
    ("name", "line"),
    [("Llama-3-8B-x", "Built with Meta Llama 3"), ("Llama-3.1-8B-x", "Built with Llama"),
     ("Llama-x", "Built with Llama"), ("smollm2-demo", None), ("TinyLlama", None)],
)  # fmt: skip
def test_a_name_that_a_llama_licence_asks_for_has_its_line(name, line):
    assert run_folder.built_with(name) == line


def test_what_ran_out_is_said():
    assert "no disk space" in resource_message(OSError(errno.ENOSPC, "No space left on device", "f"))
    assert "no disk space" in resource_message(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert "out of memory" in resource_message(RuntimeError("CUDA out of memory. Tried"))
    assert "out of memory" in resource_message(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert resource_message(KeyError("x")) is None


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_the_shell_closed_is_no_traceback(closed):
    done = subprocess.run(
        f"{sys.executable} -m inference.chat /no/such {closed}", shell=True, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr


WRITERS = {"whole_file": "stream.write('x'); stream.flush()", "whole_folder": "(stream / 'weights').write_text('x')"}


def killed_writer(writer, path):
    """The part that a writer leaves when it is killed with -9 in the middle."""
    code = f"import os, run_folder, pathlib, sys\nwith run_folder.{writer}(pathlib.Path(sys.argv[1])) as stream:\n    {WRITERS[writer]}; os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    (part,) = path.parent.glob(f".{path.name}.*.part")
    return part


def write(writer, path):
    with getattr(run_folder, writer)(path) as stream:
        (stream / "weights").write_text("new") if writer == "whole_folder" else stream.write("new")


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_kill_left_is_removed_by_the_next_writer_of_the_same_name(tmp_path, writer):
    path = tmp_path / "a"
    part = killed_writer(writer, path)
    write(writer, tmp_path / "b")
    write(writer, path)
    assert part.exists(), "written a moment ago: its writer may not have locked it yet"
    os.utime(part, (0, 0))
    others = [tmp_path / name for name in (".a.part", ".a.json.abcdefgh.part", ".b.abcdefgh.part")]
    for other in others:
        other.touch()
        os.utime(other, (0, 0))
    write(writer, path)
    assert not part.exists() and all(other.exists() for other in others)
    assert len(list(tmp_path.iterdir())) == 2 + len(others)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_part_that_is_being_written_stays_however_old(tmp_path, writer):
    path = tmp_path / "a"
    with getattr(run_folder, writer)(path) as first:
        (part,) = tmp_path.iterdir()
        os.utime(part, (0, 0))
        write(writer, path)
        assert part.exists()
        (first / "weights").write_text("first") if writer == "whole_folder" else first.write("first")
    content = (path / "weights" if writer == "whole_folder" else path).read_text()
    assert content == "first" and [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        ("KeyboardInterrupt()", 130, "stopped. What was finished is kept"),
        ("KeyboardInterrupt('Step 3 is kept.')", 130, "stopped. Step 3 is kept."),
        ("FileExistsError(17, 'File exists', 'x')", 2, "error: x cannot be used: File exists"),
        ("UserError('bad')", 2, "error: bad"),
        ("WorkError('failed')", 1, "error: failed"),
        ("OSError(28, 'No space left on device', 'f')", 1, "no disk space left for f"),
    ],
)
def test_how_a_command_ends(raised, status, said):
    code = f"from command import *\ndef main(): raise {raised}\nrun_command(main)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_files_of_a_whole_folder_can_be_read_by_others(tmp_path):
    with run_folder.whole_folder(tmp_path / "model") as folder:
        (folder / "weights").touch(mode=0o600)
    assert (tmp_path / "model" / "weights").stat().st_mode & 0o777 == 0o644


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    def hold():
        return run_folder.held(tmp_path / "run", "--output")

    with hold(), pytest.raises(UserError, match=r"--output .*run is being written by another process"), hold():
        pass
    with hold():
        assert (tmp_path / "run").is_dir()


@pytest.mark.parametrize("follows", ["nobody", "another"])
def test_a_folder_that_its_holder_removes_while_it_is_opened_is_made_anew(tmp_path, monkeypatch, follows):
    """Removed between the opening and the lock, and perhaps made anew by a third: the lock of the removed one keeps nobody out."""
    folder, flock, removed = tmp_path / "run", fcntl.flock, []

    def late(handle, kind):
        if not removed:
            removed.append(folder.rmdir())
            if follows == "another":
                folder.mkdir()
        flock(handle, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with run_folder.held(folder, "--output"):
        assert removed and folder.is_dir()
        with pytest.raises(UserError, match="is being written by another process"), run_folder.held(folder, "--output"):
            pass


def test_a_folder_that_is_removed_between_making_and_opening_is_made_anew(tmp_path, monkeypatch):
    folder, real, removed = tmp_path / "run", os.open, []

    def late(path, flags, *rest, **options):
        if path == folder and not removed:
            removed.append(folder.rmdir())
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", late)
    with run_folder.held(folder, "--output"):
        assert removed and folder.is_dir()


def test_what_is_no_folder_cannot_be_held(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, error in (("file", NotADirectoryError), ("link", FileNotFoundError)):
        with pytest.raises(error, match=name), run_folder.held(tmp_path / name, "--output"):
            pass
