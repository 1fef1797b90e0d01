"""What a user sees and does while training runs: one bar with the time left; Ctrl-C loses nothing."""

import signal
import sys
import time
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from training.scale import any_process


class StepBar(TrainerCallback):
    """One bar over the optimizer steps: time left, loss, accuracy (chosen above rejected) and tokens per second."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        hidden = not state.is_world_process_zero
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc="training",
            unit="step",
            disable=hidden,
            mininterval=1,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        if logs and "log_odds" in logs:
            speed = f"{logs['tokens'] / logs['seconds']:.0f} tok/s"
            self.bar.set_postfix_str(f"loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.2f}, {speed}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()


class StopOnSignal(TrainerCallback):
    """The first Ctrl-C (or SIGTERM) ends training after the running step, with a checkpoint; a second one at once.

    All processes stop at the same step, whichever was asked. A launcher passes on what the terminal has sent to all, so
    what comes within a second of the first is the same wish.
    """

    def __init__(self) -> None:
        self.asked = False
        self.asked_at = 0.0
        self.before: dict[int, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.before = {name: signal.signal(name, self._ask) for name in (signal.SIGINT, signal.SIGTERM)}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.asked = any_process(self.asked, args.device)
        if self.asked:
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for name, handler in self.before.items():
            signal.signal(name, handler)

    def _ask(self, signum: int, frame: object) -> None:
        if self.asked and time.monotonic() - self.asked_at > 1:
            raise KeyboardInterrupt
        if self.asked:
            return
        self.asked, self.asked_at = True, time.monotonic()
        print("\nstopping after this step, with a checkpoint (again: stop now) …", file=sys.stderr)
