"""The energy of a training run as the machine's own counters measure it; what no counter says is not estimated.

CPU: the RAPL package counters under /sys/class/powercap, microjoules that start again from 0 at their range
(https://docs.kernel.org/power/powercap/powercap.html). They count the whole package, so other work on it too, and no memory.
GPU: NVML's total energy of each GPU of the run, millijoules since the driver was loaded (nvmlDeviceGetTotalEnergyConsumption),
where the package nvidia-ml-py is installed.
"""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter(TrainerCallback):
    """Adds to each step's entry in the log what the counters say since the step before, validation and checkpoints included.

    The entries are kept in checkpoints, so a resumed run adds up. RAPL counters start again after minutes to hours, by their
    power: they are read at the end of each micro-batch too.
    """

    def __init__(self, counters: list["Counter"]) -> None:
        self.counters = counters

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for counter in self.counters:
            counter.take()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        if logs and "log_odds" in logs:
            state.log_history[-1]["joules"] = {counter.name: counter.take() for counter in self.counters}


class Counter:
    """A counter of energy. `read`: joules so far; `span`: joules after which it starts again from 0, None if it does not."""

    def __init__(self, name: str, read: Callable[[], float], span: float | None = None) -> None:
        self.name, self.read, self.span = name, read, span
        self.last = read()

    def take(self) -> float:
        """Joules since the last call."""
        before, self.last = self.last, self.read()
        again = self.span if self.span is not None and self.last < before else 0.0
        return self.last - before + again
