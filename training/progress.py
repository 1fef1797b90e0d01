"""What a user sees and does while training runs: one bar with the time left, or lines in a log; Ctrl-C loses nothing."""

import signal
import sys
import time
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from training.scale import any_process

LINE_SECONDS = 10  # between two lines where stderr is a file


def progress() -> TrainerCallback:
    """The bar for a terminal, lines for a log."""
    return StepBar() if sys.stderr.isatty() else StepLines()


def step_numbers(logs: dict[str, Any]) -> str:
    """A step's numbers in at most 80 columns; accuracy is the share of pairs with chosen above rejected."""
    return (
        f"loss {logs['loss']:.3f} nll {logs['nll']:.3f} or-loss {logs['odds_ratio_loss']:.3f} "
        f"log-odds {logs['log_odds']:+.2f} accuracy {logs['accuracy']:.2f} {logs['tokens'] / logs['seconds']:,.0f} tok/s"
    )


def validation_numbers(step: int, metrics: dict[str, Any]) -> str:
    return (
        f"validation after step {step}: loss {metrics['eval_loss']:.4f} nll {metrics['eval_nll']:.4f} "
        f"or-loss {metrics['eval_odds_ratio_loss']:.4f} log-odds {metrics['eval_log_odds']:+.3f} "
        f"accuracy {metrics['eval_accuracy']:.2f} ({metrics['eval_pairs']} pairs)"
    )


class StepBar(TrainerCallback):
    """One bar over the optimizer steps, in 120 columns: steps, time passed and left, the ORPO numbers, tokens a second."""

    bar: Any = None  # until training begins

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            bar_format="{n_fmt}/{total_fmt} {bar:6} {elapsed}<{remaining} {desc}",
            disable=not state.is_world_process_zero,
            mininterval=1,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        if logs and "log_odds" in logs:
            self.bar.set_description_str(step_numbers(logs), refresh=False)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict, **kwargs: Any) -> None:
        if not self.bar.disable:
            self.bar.write(validation_numbers(state.global_step, metrics), file=sys.stderr)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()


class StepLines(TrainerCallback):
    """A line every LINE_SECONDS, and for the first and the last step: what the bar shows, without its carriage returns."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began, self.before, self.last = time.monotonic(), state.global_step, -float("inf")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        now = time.monotonic()
        due = now - self.last >= LINE_SECONDS or state.global_step >= state.max_steps
        if not (due and state.is_world_process_zero and logs and "log_odds" in logs):
            return
        self.last = now
        each = (now - self.began) / (state.global_step - self.before)
        left = tqdm.format_interval(each * (state.max_steps - state.global_step))
        print(f"{state.global_step}/{state.max_steps} {left} left {step_numbers(logs)}", file=sys.stderr, flush=True)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            print(validation_numbers(state.global_step, metrics), file=sys.stderr, flush=True)


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
        if any_process(self.asked, args.device):  # never set to False again: a signal may come while this is found out
            self.asked = True
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
