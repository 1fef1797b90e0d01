"""What a user sees and does while training runs: one bar with the time left; Ctrl-C loses nothing."""

import signal
import sys
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback


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
    """The first Ctrl-C (or SIGTERM) ends training after the running step, with a checkpoint; a second one at once."""

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[int, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.before = {name: signal.signal(name, self._ask) for name in (signal.SIGINT, signal.SIGTERM)}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.asked:
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for name, handler in self.before.items():
            signal.signal(name, handler)

    def _ask(self, signum: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this step, with a checkpoint (again: stop now) …", file=sys.stderr)
