"""What is shown while training runs, and that nothing is written or sent unasked."""

import os
import pty
import struct
import subprocess
import sys
import types

import pytest

from command import UserError
from tests.conftest import ROOT
from tests.training.tiny_runs import log_of, make_recipe, record, train_in_a_fork
from training import progress
from training.recipe import load_recipe

LARGE = {"loss": 12.3456, "nll": 11.2345, "odds_ratio_loss": 10.1234, "log_odds": -12.345, "accuracy": 0.5, "tokens": 987654, "seconds": 1.0}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_tokenizer):
    return make_recipe(tmp_path_factory.mktemp("tiny"), tiny_tokenizer)


def state(step, of=5678):
    return types.SimpleNamespace(global_step=step, max_steps=of, is_world_process_zero=True)


def test_lines_in_a_log(recipe, tmp_path):
    """First and last step, no carriage return; each line fits 120 columns."""
    assert train_in_a_fork(recipe, tmp_path / "run", "--validation.pairs", "3", "--validation.every", "4") == 0
    text = log_of(tmp_path / "run").read_text()
    lines = [line for line in text.splitlines() if "tok/s" in line]
    assert [line.split()[0] for line in lines] == ["1/8", "8/8"]
    for word in ("left", "loss", "nll", "or-loss", "log-odds", "accuracy"):
        assert all(word in line for line in lines)
    assert text.count("validation after step") == 2
    assert "\r" not in text


def test_lines_come_by_the_clock(monkeypatch, capsys):
    lines, clock = progress.StepLines(), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    lines.on_train_begin(None, state(1000), None)
    for step in range(1001, 1031):
        clock[0] += 1.0
        lines.on_log(None, state(step), None, logs=LARGE)
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in shown] == ["1001/5678", "1011/5678", "1021/5678"]
    assert shown[0].split()[1] == "1:17:57"  # 4,677 steps of a second
    assert max(map(len, shown)) <= 120


def test_the_bar_on_a_terminal_fits_120_columns(recipe, tmp_path):
    """A real pseudo-terminal of 120 columns: time left and all numbers, in one line."""
    import fcntl
    import termios

    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    code = f"""
import sys
from training import progress
from types import SimpleNamespace as S
bar = progress.progress()
state = S(global_step=1234, max_steps=5678, is_world_process_zero=True)
bar.on_train_begin(None, state, None)
bar.bar.start_t -= 4000
state.global_step += 1
bar.on_log(None, state, None, logs={LARGE!r})
bar.on_step_end(None, state, None)
bar.bar.refresh()
bar.on_train_end(None, state, None)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=side)
    os.close(side)
    text = b""
    try:
        while chunk := os.read(main, 65536):
            text += chunk
    except OSError:  # the other side is closed
        pass
    assert process.wait() == 0
    last = text.decode().replace("\n", "\r").strip("\r").split("\r")[-1].strip()
    assert last.startswith("1235/5678"), last
    assert last.endswith("loss 12.346 nll 11.235 or-loss 10.123 log-odds -12.35 accuracy 0.50 987,654 tok/s"), last
    assert "1:06:40<" in last
    assert len(last) <= 120


def test_nothing_is_written_or_imported_unasked(recipe, tmp_path):
    import sys

    def no_trackers():
        for name in ("tensorboard", "tensorboardX", "wandb", "mlflow"):
            sys.modules[name] = None  # an import of it fails

    run = tmp_path / "run"
    assert train_in_a_fork(recipe, run, before=no_trackers, draw=True) == 0
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints",
        "data_report.html",
        "data_report.json",
        "dropped.jsonl",
        "model",
        "recipe.yaml",
        "training.json",
        "training.png",
        "training.svg",
    ]


def test_tensorboard_gets_the_orpo_numbers(recipe, tmp_path):
    pytest.importorskip("tensorboardX")
    run = tmp_path / "run"
    more = ["--trainer_args.report_to", "tensorboard", "--validation.pairs", "3", "--validation.every", "4"]
    assert train_in_a_fork(recipe, run, *more) == 0, log_of(run).read_text()
    seen = scalars(next((run / "tensorboard").glob("events*")))
    for tag in ("loss", "nll", "odds_ratio_loss", "log_odds", "accuracy", "grad_norm", "learning_rate"):
        assert seen[f"train/{tag}"] == pytest.approx([step[tag] for step in record(run)["steps"]], rel=1e-5)
    assert seen["eval/log_odds"] == pytest.approx([v["log_odds"] for v in record(run)["validation"]], rel=1e-5)


def scalars(file):
    """tag → values of an event file: records of length (8 bytes), its CRC (4), an Event, its CRC (4)."""
    from tensorboardX.proto.event_pb2 import Event

    data, found = file.read_bytes(), {}
    while data:
        length = struct.unpack("<Q", data[:8])[0]
        event = Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, []).append(value.simple_value)
        data = data[16 + length :]
    return found


def test_a_tracker_that_cannot_be_had(recipe, monkeypatch):
    with pytest.raises(UserError, match=r"report_to is 'all'; needed: none, or one or several of tensorboard"):
        load_recipe(recipe, ["--trainer_args.report_to", "all"])
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda *a: None)
    with pytest.raises(UserError, match=r"report_to wandb needs a package: \.venv/bin/pip install wandb"):
        load_recipe(recipe, ["--trainer_args.report_to", "[none, wandb]"])
