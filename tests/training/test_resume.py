"""Killed with -9 anywhere and resumed: the same weights to the bit, the same history; torn checkpoints named and skipped."""

import os
import random
import shutil
import signal
import threading
from pathlib import Path

import pytest

from command import UserError
from tests.training.tiny_runs import log_of, make_recipe, record, same_story, train_in_a_fork, weights
from training import checkpoints, train

# What writing, publishing and removing checkpoints is made of, and at which of a run's calls of each it dies.
STAGES = {
    "write": ("torch", "save", (1, 3, 6, 8, 15)),
    "weights": ("transformers.modeling_utils", "safe_save_file", (1, 3, 4, 5)),  # the fifth is that of model/
    "sync": ("os", "fsync", (1, 4, 9, 16, 30, 47, 58)),
    "rename": ("pathlib.Path", "rename", (1, 2, 3, 5)),
    "replace": ("pathlib.Path", "replace", (1, 3, 6)),
    "unlink": ("os", "unlink", (1, 9, 20)),
    "rmdir": ("os", "rmdir", (1, 2, 5)),
    "manifest": ("training.checkpoints", "write_json", (1, 2, 4)),
    "step": ("torch.optim.AdamW", "step", (1, 4, 8)),
}


@pytest.fixture(scope="module")
def warm(tmp_path_factory, tiny_tokenizer):
    """A recipe, and its run that nobody interrupted; whatever a run imports is imported here."""
    import transformers.models.llama.modeling_llama

    folder = tmp_path_factory.mktemp("warm")
    recipe = make_recipe(folder, tiny_tokenizer)
    assert train.main([str(recipe), "--output", str(folder / "whole")]) == 0
    assert transformers.models.llama
    return recipe, folder / "whole"


def die_at(stage, number):
    """Patch one call so that the process kills itself as it is made for the `number`th time, before it does anything."""

    def patch():
        import importlib

        place, name, _ = STAGES[stage]
        module, _, inner = place.rpartition(".")
        target = getattr(importlib.import_module(module), inner) if module else importlib.import_module(place)
        real, calls = getattr(target, name), iter(range(1, 10**9))

        def call(*args, **kwargs):
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(target, name, call)

    return patch


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_call_and_resumed(warm, tmp_path, stage):
    """One run a number, each killed at that call, resumed, and compared to the bit."""
    recipe, whole = warm
    for number in STAGES[stage][2]:
        run = tmp_path / f"run{number}"
        status = train_in_a_fork(recipe, run, before=die_at(stage, number))
        assert status == -signal.SIGKILL, log_of(run).read_text()
        assert train_in_a_fork(recipe, run, "--resume") == 0, log_of(run).read_text()
        assert same_story(run, whole), f"{stage} {number}: {log_of(run).read_text()}"
        assert not [p for p in (run / "checkpoints").iterdir() if not p.name.startswith("checkpoint-")]
        shutil.rmtree(run)


def test_killed_again_and_again(warm, tmp_path):
    """One run that dies at random times until it is whole."""
    recipe, whole = warm
    luck = random.Random(7)
    deaths = 0
    for attempt in range(100):

        def timer():
            threading.Timer(luck.uniform(0.05, 0.5), os.kill, (os.getpid(), signal.SIGKILL)).start()

        status = train_in_a_fork(recipe, tmp_path / "run", "--resume", before=timer if attempt < 15 else lambda: None)
        luck.random()  # the fork has drawn from a copy
        if status == 0:
            break
        deaths += 1
        assert status == -signal.SIGKILL, log_of(tmp_path / "run").read_text()
    assert deaths
    assert same_story(tmp_path / "run", whole)


def test_the_random_state_matters_here(warm, tmp_path):
    """Without it in the checkpoint the weights end otherwise: the tests above would see a lost random state."""
    recipe, whole = warm
    assert train_in_a_fork(recipe, tmp_path / "run", before=die_at("step", 6)) == -signal.SIGKILL
    newest = checkpoints.whole_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    (newest / "rng_state.pth").unlink()
    content = checkpoints.read_json(newest / "manifest.json")
    del content["files"]["rng_state.pth"]
    checkpoints.write_json(newest / "manifest.json", {"files": content["files"]})
    assert train_in_a_fork(recipe, tmp_path / "run", "--resume") == 0
    assert weights(tmp_path / "run") != weights(whole)


@pytest.fixture
def broken(warm, tmp_path):
    """A run killed in its sixth step, with checkpoint-2 and checkpoint-4."""
    recipe, whole = warm
    run = tmp_path / "run"
    assert train_in_a_fork(recipe, run, before=die_at("step", 6)) == -signal.SIGKILL
    assert [p.name for p in checkpoints.whole_checkpoints(run / "checkpoints")] == ["checkpoint-2", "checkpoint-4"]
    return recipe, run, whole


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def blank(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


TEARS = {
    "model.safetensors cut": ("model.safetensors", cut, r"model.safetensors has [\d,]+ bytes of [\d,]+"),
    "model.safetensors blank": ("model.safetensors", blank, "model.safetensors holds other bytes than were written"),
    "optimizer.pt missing": ("optimizer.pt", Path.unlink, "optimizer.pt is missing"),
    "optimizer.pt empty": ("optimizer.pt", lambda f: os.truncate(f, 0), "optimizer.pt has 0 bytes of"),
    "trainer_state.json cut": ("trainer_state.json", cut, "trainer_state.json has"),
    "manifest missing": ("manifest.json", Path.unlink, "manifest.json is missing"),
    "manifest cut": ("manifest.json", cut, "manifest.json cannot be read"),
}


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_checkpoint_is_named_and_skipped(broken, tear):
    import re

    recipe, run, whole = broken
    name, damage, said = TEARS[tear]
    damage(run / "checkpoints" / "checkpoint-4" / name)
    assert train_in_a_fork(recipe, run, "--resume") == 0
    text = log_of(run).read_text()
    assert re.search(f"checkpoint-4 is torn: {said}.*Skipped", text)
    assert "continuing from checkpoint-2" in text
    assert record(run)["resumed_from"] == "checkpoint-2"
    assert same_story(run, whole)
    assert [p.name for p in checkpoints.checkpoints(run / "checkpoints")] == ["checkpoint-6", "checkpoint-8"]


def test_the_record_of_a_resumed_run_is_one_story(broken):
    """The steps before the kill keep the seconds they took, and the progress counts on from them."""
    recipe, run, _ = broken
    before = [
        entry["seconds"] for entry in checkpoints.logged(run / "checkpoints" / "checkpoint-4") if "seconds" in entry
    ]
    assert len(before) == 4
    assert train_in_a_fork(recipe, run, "--resume") == 0
    result = record(run)
    assert [step["seconds"] for step in result["steps"]][:4] == before
    assert result["seconds"] == round(sum(step["seconds"] for step in result["steps"]), 1)
    assert (result["total_steps"], result["resumed_from"]) == (8, "checkpoint-4")
    assert [line.split()[0] for line in log_of(run).read_text().splitlines() if "tok/s" in line] == ["5/8", "8/8"]


def test_an_unfinished_run_is_not_overwritten(broken):
    recipe, run, _ = broken
    with pytest.raises(UserError, match=r"holds an unfinished run at checkpoint-4\. Add --resume"):
        train.main([str(recipe), "--output", str(run)])
    with pytest.raises(UserError, match=r"unfinished run by another recipe\.yaml"):
        train.main([str(recipe), "--output", str(run), "--resume", "--beta", "0.3"])


def test_only_torn_checkpoints(broken):
    recipe, run, whole = broken
    for name in ("checkpoint-2", "checkpoint-4"):
        (run / "checkpoints" / name / "optimizer.pt").unlink()
    with pytest.raises(UserError, match=r"holds no whole checkpoint: checkpoint-4 is torn: .*checkpoint-2 .*Remove"):
        train.main([str(recipe), "--output", str(run), "--resume"])
    shutil.rmtree(run / "checkpoints")  # what the message says
    assert train_in_a_fork(recipe, run, "--resume") == 0
    assert "holds no checkpoint: starting from the beginning" in log_of(run).read_text()
    assert same_story(run, whole)


def test_a_large_file_is_checked_by_samples(tmp_path):
    """Blank stretches, cuts and swapped ends of a file of 40 MB are seen by reading 8 MiB of it."""
    file = tmp_path / "weights"
    file.write_bytes(random.Random(1).randbytes(40_000_000))
    before = checkpoints.digest_of(file)
    size = file.stat().st_size
    for place in (0, size // 2, size - 4096):
        shutil.copy(file, tmp_path / "copy")
        with (tmp_path / "copy").open("r+b") as stream:
            stream.seek(min(place, size - 1_000_000) if place != size - 4096 else place)
            stream.write(bytes(1_000_000 if place != size - 4096 else 4096))
        assert checkpoints.digest_of(tmp_path / "copy") != before
    assert checkpoints.digest_of(file) == before
