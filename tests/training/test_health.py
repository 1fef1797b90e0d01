"""A step that must not be taken is not: nothing silent, the pairs named, the good state saved."""

import json
import math
import signal
import sys

import pytest
import yaml

from command import UserError, WorkError
from tests.training.tiny_runs import in_a_fork, log_of, make_recipe, train_in_a_fork
from training import checkpoints, train
from training.health import loss_limit, reason_to_stop
from training.preferences import load_preferences
from training.recipe import load_recipe


def test_when_a_step_is_stopped():
    """By hand: ln(1000) = 6.9; the first loss 2, then 4, is below; a first loss of 5 allows 10; the recipe's number wins."""
    assert loss_limit(None, 1000, 2.0) == pytest.approx(math.log(1000))
    assert loss_limit(None, 1000, 5.0) == 10.0
    assert loss_limit(3.0, 1000, 5.0) == 3.0
    assert reason_to_stop(2.0, 1e9, 6.9) is None  # a finite gradient is clipped, whatever its size
    assert reason_to_stop(6.9, 1.0, 6.9) is None
    assert reason_to_stop(7.0, 1.0, 6.9) == "the loss is 7, above 6.9 (stop_loss_above)"
    assert reason_to_stop(math.nan, 1.0, 6.9) == "the loss is nan"
    assert reason_to_stop(2.0, math.inf, 6.9) == "the gradient's norm is inf (loss 2)"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_tokenizer):
    return make_recipe(tmp_path_factory.mktemp("tiny"), tiny_tokenizer)


def spoil(what, step):
    """In the given step, the loss or the gradient of its second pair becomes NaN or huge."""

    def patch():
        import torch

        from training import loss
        from training.trainer import ORPOTrainer

        real, real_step = loss.completion_loss, ORPOTrainer.training_step
        now = [0]

        def training_step(self, *args):
            now[0] = self.state.global_step + 1
            return real_step(self, *args)

        def completion_loss(chosen, rejected, beta, pairs):
            value = real(chosen, rejected, beta, pairs)
            if now[0] != step:
                return value
            if what == "gradient" and value.requires_grad:
                value.register_hook(lambda gradient: gradient * torch.inf)
            return value * {"gradient": 1.0, "nan": torch.nan, "huge": 50.0}[what]

        loss.completion_loss, ORPOTrainer.training_step = completion_loss, training_step

    return patch


@pytest.mark.parametrize("what", ["nan", "gradient", "huge"])
def test_the_step_its_pairs_and_the_good_state(recipe, tmp_path, what):
    run = tmp_path / "run"
    status = train_in_a_fork(recipe, run, before=spoil(what, 4))
    text = log_of(run).read_text()
    assert status == 1
    assert "Traceback" not in text
    assert "step 4 was not taken" in text
    stopped = json.loads((run / "stopped.json").read_text())
    assert (stopped["step"], stopped["checkpoint"]) == (4, f"{run}/checkpoints/checkpoint-3")
    assert {"nan": stopped["loss"] == "nan", "gradient": stopped["grad_norm"] in ("nan", "inf")}.get(what, True)
    assert {"loss", "nll", "odds_ratio_loss", "log_odds", "accuracy", "grad_norm", "learning_rate"} <= stopped.keys()

    assert {pair["where"] for pair in stopped["pairs"]} == places_of_the_plan(recipe, 4)
    assert all(pair["where"] in text for pair in stopped["pairs"])
    assert not (run / "model").exists()
    names = [p.name for p in checkpoints.whole_checkpoints(run / "checkpoints")]
    assert names == ["checkpoint-2", "checkpoint-3"]

    again = train_in_a_fork(recipe, run, "--resume", before=spoil(what, 4))  # comes here again, with the same values
    assert again == 1
    values = json.loads((run / "stopped.json").read_text())
    assert {k: v for k, v in values.items() if k != "pairs"} == {k: v for k, v in stopped.items() if k != "pairs"}
    assert [p["where"] for p in values["pairs"]] == [p["where"] for p in stopped["pairs"]]


def places_of_the_plan(recipe, step):
    """Where the pairs of a step stand in the file, by the plan and the order that the loading gives them."""
    from training.plan import plan_steps

    values = yaml.safe_load(recipe.read_text())
    plan = plan_steps(14, values["global_batch_size"], values["max_steps"], load_recipe(recipe, []).seed)
    pairs = load_preferences([{"path": values["dataset"]}]).pairs
    return {pairs[index].where for index in plan[step - 1]}


def test_the_saved_state_is_the_one_before_the_bad_step(recipe, tmp_path):
    """A run stopped in step 4 and resumed healthy equals one that never met the bad step."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train_in_a_fork(recipe, whole) == 0
    assert train_in_a_fork(recipe, run, before=spoil("nan", 4)) == 1
    assert train_in_a_fork(recipe, run, "--resume") == 0
    assert "continuing from checkpoint-3" in log_of(run).read_text()
    from tests.training.tiny_runs import same_story

    assert same_story(run, whole)
    assert not (run / "stopped.json").exists()


def test_in_the_first_step(recipe, tmp_path):
    """The saved state is checkpoint-0, and it can be continued."""
    run = tmp_path / "run"
    assert train_in_a_fork(recipe, run, before=spoil("nan", 1)) == 1
    assert json.loads((run / "stopped.json").read_text())["checkpoint"].endswith("checkpoint-0")
    assert train_in_a_fork(recipe, run, "--resume") == 0, log_of(run).read_text()


def test_the_advice_works(recipe, tmp_path):
    """A real divergence; then the command of the message, as it stands there."""
    run = tmp_path / "run"
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(WorkError) as error:
        train.main([str(recipe), "--output", str(run), "--learning_rate", "1e30"])
    command = str(error.value).splitlines()[-1].split()
    assert command[:3] == [sys.executable, "-m", "training.train"]
    assert command[-1] == f"{run}-lower"
    command[command.index("0.0001")] = "1e-3"
    assert in_a_fork(lambda: train.main(command[3:]), tmp_path / "log") == 0
    assert signal.getsignal(signal.SIGINT) is handler  # given back after the stop


def test_the_key_changes_the_run(recipe, tmp_path):
    """The tiny model's losses are about 6: a limit of 1 stops the first step, one of 100 none."""
    assert train_in_a_fork(recipe, tmp_path / "low", "--stop_loss_above", "1") == 1
    assert "above 1 (stop_loss_above)" in log_of(tmp_path / "low").read_text()
    assert train_in_a_fork(recipe, tmp_path / "high", "--stop_loss_above", "100", before=spoil("huge", 4)) == 1
    assert train_in_a_fork(recipe, tmp_path / "off", "--stop_loss_above", "1e9", before=spoil("huge", 4)) == 0
    with pytest.raises(UserError, match="stop_loss_above is -1; needed: a number above 0"):
        load_recipe(recipe, ["--stop_loss_above", "-1"])
