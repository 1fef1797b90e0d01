"""A run is drawn from its record, the same each time, and a failure to draw loses nothing."""

import json
import xml.etree.ElementTree as ET

import pytest

from command import UserError
from tests.training.tiny_runs import in_a_fork, log_of, make_recipe, train_in_a_fork
from training import plots
from training.plots import running_mean


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_tokenizer):
    folder = tmp_path_factory.mktemp("tiny")
    recipe = make_recipe(folder, tiny_tokenizer)
    more = ["--validation.pairs", "3", "--validation.every", "4", "--beta", "0.25"]
    assert train_in_a_fork(recipe, folder / "run", *more, draw=True) == 0, log_of(folder / "run").read_text()
    return folder / "run"


def points_of(axes, label):
    return next(line for line in axes.get_lines() if line.get_label() == label).get_xydata().tolist()


def test_what_is_drawn_is_what_was_recorded(run):
    record = json.loads((run / "training.json").read_text())
    (losses, odds, accuracy, norm, rate) = plots.draw(record).get_axes()
    steps, checks = record["steps"], record["validation"]
    assert points_of(losses, "loss") == [[s["step"], s["loss"]] for s in steps]
    assert points_of(losses, "NLL of chosen, per token") == [[s["step"], s["nll"]] for s in steps]
    assert points_of(losses, "β × odds-ratio loss") == [[s["step"], 0.25 * s["odds_ratio_loss"]] for s in steps]
    assert points_of(losses, "validation (3 pairs)") == [[c["step"], c["loss"]] for c in checks]
    assert points_of(odds, "training") == [[s["step"], s["log_odds"]] for s in steps]
    assert points_of(accuracy, "training") == [[s["step"], 100 * s["accuracy"]] for s in steps]
    assert points_of(norm, "gradient norm (left)") == [[s["step"], s["grad_norm"]] for s in steps]
    assert points_of(rate, "learning rate (right)") == [[s["step"], s["learning_rate"]] for s in steps]
    assert all(axes.get_ylabel() for axes in (losses, odds, accuracy, norm, rate))


def test_drawn_again_it_is_the_same(run, tmp_path, capsys):
    before = {name: (run / name).read_bytes() for name in ("training.png", "training.svg")}
    assert before["training.png"].startswith(b"\x89PNG")
    words = "".join(ET.fromstring(before["training.svg"]).itertext())
    assert "optimizer step" in words
    assert "8 steps of 4 pairs, objective completion, β 0.25, seed 42" in words
    assert plots.main([str(run)]) == 0
    assert {name: (run / name).read_bytes() for name in before} == before
    assert "training.svg" in capsys.readouterr().out


def test_a_failure_to_draw_loses_nothing(run):
    """The finished run without plots: the command says that it cannot draw, ends well, and draws the next time."""
    from training import train

    (run / "training.svg").unlink()
    words = [str(run.parent / "tiny.yaml"), "--output", str(run), "--validation.pairs", "3", "--validation.every", "4", "--beta", "0.25"]  # fmt: skip

    def broken():
        plots.draw = lambda record: 1 / 0
        return train.main(words)

    assert in_a_fork(broken, run.parent / "log") == 0
    text = (run.parent / "log").read_text()
    assert f"no plots: ZeroDivisionError: division by zero. python -m training.plots {run} draws them." in text
    assert train.main(words) == 0
    assert (run / "training.svg").exists()


def test_a_running_mean_by_hand():
    assert running_mean([0.0, 3.0, 6.0, 0.0], 1) == [1.5, 3.0, 3.0, 3.0]


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match=r"training.json is missing"):
        plots.main([str(tmp_path)])
