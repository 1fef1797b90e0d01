"""Runs of the real command on a tiny model, forked from one warm process: a kill -9 costs a tenth of a second.

The model has dropout, so that a run resumed with another random state ends with other weights.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.conftest import make_tiny_model

ROWS = [
    {"prompt": f"问题{i}" if i % 3 else f"question {i}", "chosen": f"答案是{i}。", "rejected": f"answer {i * 7}"}
    for i in range(14)
]


def make_recipe(folder: Path, tokenizer, **values) -> Path:
    """A recipe of 8 steps with a checkpoint every second, its data and its model with attention dropout, in `folder`."""
    model = make_tiny_model(len(tokenizer))
    model.config.attention_dropout = 0.3
    model.save_pretrained(folder / "tiny")
    tokenizer.save_pretrained(folder / "tiny")
    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    recipe = {"model": str(folder / "tiny"), "dataset": str(data), "learning_rate": 1e-2, "global_batch_size": 4, "max_steps": 8, "max_length": 256, "trainer_args": {"save_steps": 2, "use_cpu": True}}  # fmt: skip
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**recipe, **values}), encoding="utf-8")
    return path


def in_a_fork(work: Callable[[], object], log: Path) -> int:
    """Run `work` in a forked process with its output in `log`; its exit status, or minus the signal that ended it."""
    from command import run_command

    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # else the fork's collections walk, and so copy, all that pytest and torch hold: half of its time
    pid = os.fork()
    if pid:
        gc.unfreeze()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:  # never comes back to pytest
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        run_command(work)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    os._exit(99)


def train_in_a_fork(
    recipe: Path, output: Path, *more: str, before: Callable[[], object] = lambda: None, draw: bool = False
) -> int:
    """The train command in a fork, after `before`; its output goes to RUN_DIR.log. Plots, a second each, only on demand."""
    from training import train

    def work() -> int:
        before()
        if not draw:
            train.draw_or_tell = lambda run_dir: None
        return train.main([str(recipe), "--output", str(output), *more])

    return in_a_fork(work, log_of(output))


def log_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.log")


def weights(run_dir: Path) -> bytes:
    return (run_dir / "model" / "model.safetensors").read_bytes()


def record(run_dir: Path) -> dict:
    return json.loads((run_dir / "training.json").read_text(encoding="utf-8"))


def same_story(one: Path, two: Path) -> bool:
    """Whether two runs have the same weights, bit for bit, and the same history of losses and validations."""
    timed = ("seconds",)
    stories = [
        [{k: v for k, v in step.items() if k not in timed} for step in r["steps"] + r.get("validation", [])]
        for r in (record(one), record(two))
    ]
    return weights(one) == weights(two) and stories[0] == stories[1]
