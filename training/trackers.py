"""Trackers by trainer_args.report_to: none unless named, each checked before anything is loaded. No torch here."""

import importlib.util
import os
from pathlib import Path
from typing import Any

from command import UserError

# The modules of which one must be there, by transformers' name of the tracker.
MODULES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
    "comet_ml": ("comet_ml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "dvclive": ("dvclive",),
    "swanlab": ("swanlab",),
}


def trackers_of(report_to: Any) -> list[str]:
    """The names in a report_to as it stands in a recipe: null, "none", one name or a list."""
    names = report_to if isinstance(report_to, list) else [report_to]
    return [name for name in names if name not in (None, "none")]


def check_trackers(report_to: Any, name: str) -> None:
    """UserError for a tracker that is not known or not installed; "all" is refused, since it would send unasked."""
    for tracker in trackers_of(report_to):
        if tracker not in MODULES:
            raise UserError(
                f"{name}: trainer_args.report_to is {tracker!r}; needed: none, or one or several of {', '.join(MODULES)}."
            )
        if not any(importlib.util.find_spec(module) for module in MODULES[tracker]):
            raise UserError(
                f"{name}: trainer_args.report_to {tracker} needs a package: .venv/bin/pip install {MODULES[tracker][0]}"
            )


def give_place(report_to: Any, run_dir: Path) -> None:
    """TensorBoard's files belong into RUN_DIR/tensorboard; transformers asks the environment for the place."""
    if "tensorboard" in trackers_of(report_to):
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(run_dir / "tensorboard"))
