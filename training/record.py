"""What a run writes down of its training: training.json. Of its data: training/report/."""

import dataclasses
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from run_folder import source_state
from training.preferences import Preferences
from training.recipe import Recipe

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "huggingface_hub", "gguf")
STEP_KEYS = (
    "step", "loss", "nll", "odds_ratio_loss", "log_odds", "accuracy", "grad_norm", "learning_rate", "pairs", "tokens",
    "seconds",
)  # fmt: skip


def steps_of(log_history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record a step, from the trainer's log, which checkpoints keep."""
    return [{key: entry[key] for key in STEP_KEYS} for entry in log_history if "log_odds" in entry]


def training_record(recipe: Recipe, data: Preferences, read_sha256: str, steps: list[dict]) -> dict[str, Any]:
    """The part of training.json that does not depend on the model object."""
    return {
        "recipe": dataclasses.asdict(recipe),
        "recipe_sha256": recipe.sha256(),
        "data": {
            "sha256": data.sha256,
            "read_sha256": read_sha256,
            "pairs": len(data.pairs),
            "sources": data.sources,
            "dropped": dict(data.dropped),
        },
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "hardware": hardware(),
        "git": git_state(),
        "seed": recipe.seed,
        "total_steps": len(steps),
        "steps": steps,
        "tokens": sum(step["tokens"] for step in steps),
        "peak_memory_bytes": peak_memory(),
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def hardware() -> dict[str, Any]:
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": gpus or None,
        "platform": f"{platform.system()} {platform.machine()}",
    }


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def git_state() -> dict[str, Any]:
    """Commit of the code and whether it was changed since; nulls outside a checkout.

    A release carries its scripts with a SOURCE.json. That wins: a repository around them is the model's, not the code's.
    """
    here = Path(__file__).resolve()
    if source := source_state(here.parents[1]):
        return source

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here.parent), *words], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if (
        git("ls-files", "--error-unmatch", here.name) is None
    ):  # no repository, or one that merely lies around this folder
        return {"commit": None, "dirty": None}
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def peak_memory() -> int:
    """Peak resident set of this process in bytes, or of the GPU's allocator where there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
