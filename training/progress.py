"""What a user sees and does while training runs: stop with Ctrl-C and lose nothing."""

import signal
import sys
from typing import Any

from transformers import TrainerCallback


class StopOnSignal(TrainerCallback):
    """The first Ctrl-C (or SIGTERM) ends training after the running step, with a checkpoint; a second one at once."""

    def __init__(self) -> None:
        self.asked = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._ask)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.asked:
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _ask(self, signum: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this step, with a checkpoint (again: stop now) …", file=sys.stderr)
