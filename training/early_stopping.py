"""Validation by the recipe's calendar, the end of a run that no longer improves, and its best weights.

Everything is decided from the loss history, which every checkpoint holds: a resumed run decides as an uninterrupted one.
"""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState

from command import WorkError
from training.checkpoints import best_entry, logged, what_is_wrong
from training.validation import is_stale, losses_of


class Validate(TrainerCallback):
    """Asks for a validation every `every` steps and after the last; stops the run by `early_stopping`, if that is given.

    With early stopping, each validation with a new least loss is saved as a checkpoint.
    """

    def __init__(self, every: int, early_stopping: dict[str, Any]) -> None:
        self.every = every
        self.early_stopping = early_stopping

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0 or state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.early_stopping:
            return
        if has_stopped(state.log_history, self.early_stopping):
            control.should_training_stop = control.should_save = True
        if best_entry(state.log_history)["step"] == state.global_step:
            control.should_save = True


def has_stopped(log_history: list[dict[str, Any]], early_stopping: dict[str, Any]) -> bool:
    """Whether a run with this history is at its end before its last step."""
    if not early_stopping:
        return False
    return is_stale(losses_of(log_history), early_stopping["patience"], early_stopping.get("threshold", 0.0))


def run_steps(trainer: Any, checkpoint: Path | None, early_stopping: dict[str, Any]) -> None:
    """Train from the checkpoint or from the start; nothing is left to do if early stopping had just ended the run.

    However it ends, the bar is closed, the signals are given back and the trackers are finished.
    """
    if checkpoint and has_stopped(logged(checkpoint), early_stopping):
        trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        return
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except BaseException:
        trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
        raise


def load_best(trainer: Any) -> int:
    """Put the weights of the least validation loss into the model; their step. WorkError if their checkpoint is torn."""
    step = best_entry(trainer.state.log_history)["step"]
    best = Path(trainer.args.output_dir) / f"checkpoint-{step}"
    wrong = what_is_wrong(best)
    if wrong:
        raise WorkError(f"{best}, the best by validation, is torn: {wrong}. Train anew with another --output.")
    trainer.state.best_model_checkpoint = str(best)
    trainer._load_best_model()
    return step
