"""When a run must stop, and what it then says: a loss or gradient that is not finite, a loss that has exploded.

Exploded: the loss of a step is above `stop_loss_above`. Where the recipe gives no number, that is the larger of ln(words of
the vocabulary), the loss of a model that guesses, and twice the first step's loss, for a model that begins without
knowledge. A finite gradient of any size is no reason to stop: it is clipped to max_grad_norm.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from command import WorkError
from run_folder import write_json

SHOWN_PAIRS = 5


class Diverged(WorkError):
    """Training met a step that must not be taken. `record` is what stopped.json will hold; `pairs` index the step's pairs."""

    def __init__(self, reason: str, record: dict[str, Any], pairs: list[int]) -> None:
        super().__init__(reason)
        self.record = record
        self.pairs = pairs


def loss_limit(setting: float | None, vocabulary: int, first_loss: float) -> float:
    """The loss, in nats, above which a step counts as exploded; see the module's docstring."""
    return setting or max(math.log(vocabulary), 2 * first_loss)


def reason_to_stop(loss: float, grad_norm: float, limit: float) -> str | None:
    """Why this step must not be taken; None if it may."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(grad_norm):
        return f"the gradient's norm is {grad_norm} (loss {loss:.4g})"
    if loss > limit:
        return f"the loss is {loss:.4g}, above {limit:.4g} (stop_loss_above)"
    return None


@contextmanager
def told_divergence(accelerator: Any, trained: Sequence[Any], run_dir: Path, learning_rate: float) -> Iterator[None]:
    """Where the block diverges, write RUN_DIR/stopped.json and raise one error with the way on.

    `trained`: the pairs, each with its `where`.
    """
    try:
        yield
    except Diverged as stop:
        each = stop.record.pop("pair_losses")
        order = sorted(range(len(each)), key=lambda i: -each[i] if math.isfinite(each[i]) else -math.inf)
        pairs = [{"where": trained[stop.pairs[i]].where, "loss": said(each[i])} for i in order]
        record = {key: said(value) for key, value in stop.record.items()}
        write_json(run_dir / "stopped.json", {"reason": str(stop), **record, "pairs": pairs})
        accelerator.wait_for_everyone()  # a launcher ends all processes when the first ends
        raise WorkError(message(stop, record, pairs, run_dir, learning_rate)) from None


def message(stop: Diverged, record: dict[str, Any], pairs: list[dict], run_dir: Path, learning_rate: float) -> str:
    """The step, its pairs (worst first), what is kept and the ways on."""
    named = ", ".join(f"{pair['where']} (loss {short(pair['loss'])})" for pair in pairs[:SHOWN_PAIRS])
    more = f" and {len(pairs) - SHOWN_PAIRS} more" if len(pairs) > SHOWN_PAIRS else ""
    return (
        f"step {record['step']} was not taken: {stop}. Its pairs, worst first: {named}{more}; all of them and the values are in "
        f"{run_dir}/stopped.json. The state before the step is {record['checkpoint']}. --resume would come here again. "
        "Mend or remove a pair that is broken, or train anew with a lower learning_rate:\n"
        f"  {sys.executable} -m training.train {run_dir}/recipe.yaml --learning_rate {min(learning_rate / 2, 1e-4):g} "
        f"--output {run_dir}-lower"
    )


def said(value: Any) -> Any:
    """A value that JSON can hold: NaN and infinities as words."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
