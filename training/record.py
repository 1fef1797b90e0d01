"""What a run writes down: training.json and data_report.json."""

import dataclasses
import importlib.metadata
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from run_folder import source_state
from training.encoding import EncodedPair, Encoding
from training.preferences import Pair, Preferences, language_of
from training.recipe import Recipe

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "huggingface_hub", "gguf")
STEP_KEYS = (
    "step", "loss", "nll", "odds_ratio_loss", "log_odds", "accuracy", "grad_norm", "learning_rate", "pairs", "tokens",
    "seconds",
)  # fmt: skip


def data_report(
    data: Preferences, encoded: list[EncodedPair], encoding: Encoding, read_sha256: str, max_length: int
) -> dict[str, Any]:
    """Counts and token lengths of the pairs that are trained on, and every row that is not, by reason.

    `data` holds the pairs that are trained on, as `encoded`; `encoding` what came of all; `read_sha256` is the digest of all pairs that were read, before encoding.
    `suggested_max_length` is null where nothing was cut.
    """
    longer = sum(len(pair.chosen) > len(pair.rejected) for pair in encoded)
    return {
        "sha256": data.sha256,
        "read_sha256": read_sha256,
        "rows": sum(source["rows"] for source in data.sources),
        "kept": len(data.pairs),
        "sources": data.sources,
        "dropped": dict(data.dropped),
        "cut": dict(+encoding.cut),
        "cut_tokens": dict(+encoding.cut_tokens),
        "max_length": max_length,
        "suggested_max_length": suggested_max_length(encoding.whole_lengths, max_length),
        "languages": dict(Counter(language_of(pair) for pair in data.pairs)),
        **{name: count_labels(data.pairs, key) for name, key in (("topics", "topic"), ("faults", "fault"))},
        "multi_turn": sum(sum(m["role"] == "user" for m in pair.prompt) > 1 for pair in data.pairs),
        "with_system": sum(pair.prompt[0]["role"] == "system" for pair in data.pairs),
        "tokens": {
            part: lengths([len(getattr(p, part)) for p in encoded]) for part in ("prompt", "chosen", "rejected")
        },
        "tokens_per_pass": sum(pair.length for pair in encoded),
        "chosen_longer": {"value": longer / len(encoded), "n": len(encoded)},
    }


def suggested_max_length(whole_lengths: list[int], max_length: int) -> dict[str, int] | None:
    """The least max_length that cuts nothing, and the least that keeps 99 % of the pairs whole; None where nothing is cut."""
    ordered = sorted(whole_lengths)
    if not ordered or ordered[-1] <= max_length:
        return None
    return {"cuts_nothing": ordered[-1], "keeps_99_percent_whole": ordered[math.ceil(0.99 * len(ordered)) - 1]}


def held_out_report(data: Preferences) -> dict[str, Any]:
    """What data_report.json says of the pairs to validate on."""
    languages = Counter(language_of(pair) for pair in data.pairs)
    return {"pairs": len(data.pairs), "sha256": data.sha256, "languages": dict(languages)}


def count_labels(pairs: list[Pair], key: str) -> dict[str, int]:
    return dict(Counter(pair.labels[key] for pair in pairs if key in pair.labels).most_common())


def lengths(values: list[int]) -> dict[str, float]:
    return {"mean": round(statistics.fmean(values), 1), "median": statistics.median(values), "max": max(values)}


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
