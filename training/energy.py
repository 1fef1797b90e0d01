"""The energy of a training run as the machine's own counters measure it; what no counter says is not estimated.

CPU: the RAPL package counters, microjoules that start again from 0 at their range
(https://docs.kernel.org/power/powercap/powercap.html). They count the whole package, so other work on it too, and no memory.
Many systems let only root read them. GPU: NVML's total energy of each GPU of the run, millijoules since its driver was loaded,
where the package nvidia-ml-py is installed.
"""

import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

POWERCAP = Path("/sys/class/powercap")
SECONDS = 30  # between two readings; a package at 1,000 W goes through the usual range of 262 kJ in 262 s


class Counter:
    """A counter of energy. `read`: joules so far; `span`: joules after which it starts again from 0, None if it does not."""

    def __init__(self, name: str, read: Callable[[], float], span: float | None = None) -> None:
        self.name, self.read, self.span = name, read, span
        self.last = read()

    def take(self) -> float:
        """Joules since the last call."""
        before, self.last = self.last, self.read()
        return self.last - before + (self.span if self.span is not None and self.last < before else 0.0)


class EnergyMeter(TrainerCallback):
    """Writes into each step's entry of the loss history what the counters measured since the step before.

    Validation and checkpoints between two steps are in it. Checkpoints hold the history, so a resumed run adds up, as for
    seconds. A thread reads in between, so that no counter starts again twice unseen.
    """

    def __init__(self, counters: list[Counter]) -> None:
        self.counters = counters
        self.joules = {counter.name: 0.0 for counter in counters}
        self.lock, self.ended = threading.Lock(), threading.Event()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.read()
        self.joules = dict.fromkeys(self.joules, 0.0)  # loading is no training
        threading.Thread(target=self._keep_reading, daemon=True).start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        if not (logs and "log_odds" in logs):
            return
        self.read()
        if self.counters:
            with self.lock:
                state.log_history[-1]["joules"], self.joules = self.joules, dict.fromkeys(self.joules, 0.0)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ended.set()

    def read(self) -> None:
        """Add up all counters. One that fails ends the measurement, said once; the steps so far keep theirs."""
        with self.lock:
            try:
                for counter in self.counters:
                    self.joules[counter.name] += counter.take()
            except OSError as error:
                print(f"energy is no longer measured: {error}", file=sys.stderr)
                self.counters = []

    def _keep_reading(self) -> None:
        while not self.ended.wait(SECONDS):
            self.read()


def meter_energy(trainer: Any) -> None:
    """Give the trainer an EnergyMeter where counters can be read; the first process reads those of its machine."""
    if not trainer.is_world_process_zero():
        return
    counters = find_counters(trainer.args.device, trainer.args.world_size)
    if counters:
        trainer.add_callback(EnergyMeter(counters))


def find_counters(device: Any, processes: int) -> list[Counter]:
    """The counters of what this run computes on. None if it has GPUs that cannot all be read: the rest would mislead."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    where = f" of 1 of {processes // here} machines" if processes > here else ""
    packages = package_counters(where)
    if device.type == "cpu":
        return packages
    if device.type != "cuda":
        return []
    gpus = list(range(here)) if here > 1 else [device.index or 0]
    found = gpu_counters(gpus, where)
    return packages + found if found else []


def package_counters(where: str = "") -> list[Counter]:
    """RAPL's CPU packages; their parts (intel-rapl:0:0), the same over MMIO and the whole platform would count twice.

    The kernel's driver names AMD's so too.
    """
    found = []
    for folder in sorted(POWERCAP.glob("intel-rapl:*")):
        if not re.fullmatch(r"intel-rapl:\d+", folder.name):
            continue
        name = (folder / "name").read_text().strip()
        if name.startswith("package") and os.access(folder / "energy_uj", os.R_OK):
            span = int((folder / "max_energy_range_uj").read_text()) / 1e6
            found.append(
                Counter(f"CPU {name}{where}", lambda file=folder / "energy_uj": int(file.read_text()) / 1e6, span)
            )
    return found


def gpu_counters(gpus: list[int], where: str = "") -> list[Counter]:
    """NVML's counters of these CUDA devices, which are numbered otherwise than NVML's; empty where one has none."""
    if importlib.util.find_spec("pynvml") is None:
        return []
    import pynvml
    import torch

    def counter(gpu: int) -> Counter:
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(gpu).uuid}")

        def read() -> float:
            try:
                return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
            except pynvml.NVMLError as error:
                raise OSError(f"NVML: {error}") from None

        return Counter(f"GPU {gpu}{where}", read)

    try:
        pynvml.nvmlInit()
        return [counter(gpu) for gpu in gpus]
    except (pynvml.NVMLError, OSError) as error:  # no driver, a part of a GPU (MIG), one older than Volta
        print(f"energy is not measured: {error}", file=sys.stderr)
        return []


def energy_of(log_history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What training.json says: {"joules", "source", "scope"} over the steps that were measured; None if none was.

    >>> energy_of([{"log_odds": 0.1, "joules": {"CPU package-0": 3.0}}, {"log_odds": 0.2}])
    {'joules': 3.0, 'source': 'RAPL', 'scope': 'CPU package-0: 1 of 2 steps'}
    """
    steps = [entry.get("joules", {}) for entry in log_history if "log_odds" in entry]
    names = list(dict.fromkeys(name for step in steps for name in step))
    if not names:
        return None
    sources = [told for start, told in (("CPU", "RAPL"), ("GPU", "NVML")) if any(n.startswith(start) for n in names)]
    counts = {name: sum(name in step for step in steps) for name in names}
    return {
        "joules": round(sum(joules for step in steps for joules in step.values()), 1),
        "source": ", ".join(sources),
        "scope": "; ".join(f"{name}: {count} of {len(steps)} steps" for name, count in counts.items()),
    }
