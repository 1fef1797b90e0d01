"""A disk that is really full: one message with the way on, the earlier checkpoint intact, nothing half-written left."""

import os
import shutil
import signal
import subprocess

import pytest

from tests.training.tiny_runs import log_of, make_recipe, same_story, train_in_a_fork, weights
from training import checkpoints, train

SIZE = 1_400_000  # bytes of the disk: two checkpoints and the model of the tiny model fit well


@pytest.fixture
def disk(tmp_path):
    """A file system of its own with SIZE bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module")
def warm(tmp_path_factory, tiny_tokenizer):
    folder = tmp_path_factory.mktemp("warm")
    recipe = make_recipe(folder, tiny_tokenizer)
    assert train.main([str(recipe), "--output", str(folder / "whole")]) == 0
    return recipe, folder / "whole"


def fill(disk, left):
    """Somebody else takes all of the disk but `left` bytes."""
    with (disk / "others").open("wb") as stream:
        stream.write(bytes(shutil.disk_usage(disk).free - left))


def fill_at_step(disk, step, left):
    def patch():
        import torch

        real, calls = torch.optim.AdamW.step, iter(range(1, 10**9))

        def call(*args, **kwargs):
            if next(calls) == step:
                fill(disk, left)
            return real(*args, **kwargs)

        torch.optim.AdamW.step = call

    return patch


def clean_stop(text, status):
    """Status 1, one message, no traceback."""
    assert status == 1, text
    assert "Traceback" not in text
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    return errors[0]


# Bytes left as the second checkpoint is written: nothing fits; weights are cut; the optimizer is; ever smaller files are.
@pytest.mark.parametrize("left", [0, 40_000, 130_000, 260_000, 316_000, 332_000, 344_000])
def test_full_while_a_checkpoint_is_written(warm, disk, tmp_path, left):
    recipe, whole = warm
    run = disk / "run"
    status = train_in_a_fork(recipe, run, before=fill_at_step(disk, 3, left))
    log = log_of(run)
    message = clean_stop(log.read_text(), status)
    assert f"{run}/checkpoints/checkpoint-4 could not be written: " in message
    assert (
        "GB are free without it. checkpoint-2 is intact; free some space and give the same command with --resume"
        in (message)
    )
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["checkpoint-2"]
    assert checkpoints.what_is_wrong(run / "checkpoints" / "checkpoint-2") is None

    again = train_in_a_fork(recipe, run, "--resume")  # too early
    if again:
        clean_stop(log.read_text(), again)
    (disk / "others").unlink()
    assert train_in_a_fork(recipe, run, "--resume") == 0, log.read_text()
    assert same_story(run, whole)


def test_full_as_a_step_must_not_be_taken(warm, disk):
    """Both are told: the step with its pairs, and that the state before it found no room."""
    from tests.training.test_health import spoil

    def both():
        spoil("nan", 4)()
        fill_at_step(disk, 3, 8_000)()

    recipe, _ = warm
    run = disk / "run"
    status = train_in_a_fork(recipe, run, before=both)
    message = clean_stop(log_of(run).read_text(), status)
    assert "step 4 was not taken: the loss is nan" in message
    assert "not saved: " in message
    assert "pairs.jsonl:" in message
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["checkpoint-2"]


def test_full_while_the_model_is_written(warm, disk):
    """The last checkpoint is whole; only model/ did not fit."""
    recipe, whole = warm
    run = disk / "run"

    def full_before_saving():
        real = train.save_model
        train.save_model = lambda *a: (fill(disk, 20_000), real(*a))

    status = train_in_a_fork(recipe, run, before=full_before_saving)
    message = clean_stop(log_of(run).read_text(), status)
    assert f"{run}/model could not be written: " in message
    assert "checkpoint-8 is intact; free some space and give the same command with --resume" in message
    assert not (run / "model").exists()
    assert not list(run.glob(".*.part"))
    (disk / "others").unlink()
    assert train_in_a_fork(recipe, run, "--resume") == 0
    assert weights(run) == weights(whole)


def test_a_file_size_limit_is_told_too(warm, tmp_path):
    """EFBIG, which no disk usage shows: the message carries the system's reason."""
    recipe, _ = warm
    run = tmp_path / "run"

    def limit():
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    status = train_in_a_fork(recipe, run, before=limit)
    message = clean_stop(log_of(run).read_text(), status)
    assert "checkpoint-2 could not be written" in message
    assert os.strerror(27) in message
    assert "There is no earlier checkpoint" in message
