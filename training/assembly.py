"""What a recipe becomes: TrainingArguments, the trainer with its plan of steps, and the disk it will need. Torch comes late."""

import dataclasses
import difflib
from pathlib import Path
from typing import Any

from command import UserError
from inference.loading import Source
from training.combinations import EXACT, state_bytes
from training.recipe import Recipe
from training.trackers import give_place

ALL_CHECKPOINTS = 5  # as many as save_total_limit: null keeps at the default save_steps


def weights_on_disk(source: Source) -> int:
    """Bytes of the weight files, 0 where they are not here yet: fp32 weights are no smaller."""
    if source.path is None:
        return 0
    files = [source.path] if source.path.is_file() else source.path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)


def disk_needed(model: Any, recipe: Recipe) -> int:
    """Bytes of the checkpoints (what is trained and its optimizer state) and the model, at the moment of most.

    Two checkpoints, or `save_total_limit` if that is more; with early stopping the best one besides.
    """
    from training.adapters import count_parameters

    limit = recipe.trainer_args.get("save_total_limit", 2)
    kept = max(2, limit or ALL_CHECKPOINTS) + bool(recipe.early_stopping)
    trained = [p for p in model.parameters() if p.requires_grad]
    sizes = [getattr(p, "ds_numel", p.numel()) for p in trained]  # ds_: cut by ZeRO-3
    weights = sum(size * p.element_size() for size, p in zip(sizes, trained, strict=True))
    state = state_bytes(recipe.optimizer) * sum(sizes)
    merged = {"fp32": 4, "bf16": 2}[recipe.weights] * count_parameters(model)["parameters"]
    return kept * (weights + state) + (merged if recipe.merge_adapter else weights)


def weight_bytes(model: Any) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def build_trainer(
    recipe: Recipe, model: Any, tokenizer: Any, pairs: list, held_out: int, run_dir: Path
) -> tuple[Any, Any]:
    """The trainer with its plan of steps and one progress bar, and its graceful Ctrl-C.

    The last `held_out` of the pairs are for validation.
    """
    from transformers import PrinterCallback
    from transformers.utils import logging

    from training.early_stopping import Validate
    from training.optimizers import optimizer_class
    from training.plan import count_steps, plan_steps
    from training.progress import StopOnSignal, progress
    from training.trainer import ORPOTrainer

    logging.disable_progress_bar()  # a bar for each file of a checkpoint would tear ours apart
    trained = len(pairs) - held_out
    steps = recipe.max_steps or count_steps(trained, recipe.global_batch_size, recipe.epochs)
    args = training_arguments(recipe, steps, run_dir)
    trainer = ORPOTrainer(
        model=model,
        args=args,
        optimizer_cls_and_kwargs=optimizer_class(recipe.optimizer, args),
        processing_class=tokenizer,
        pairs=pairs,
        plan=plan_steps(trained, recipe.global_batch_size, steps, recipe.seed),
        beta=recipe.beta,
        objective=recipe.objective,
        micro_batch_tokens=recipe.micro_batch_tokens,
        attention=recipe.attention,
        validation=list(range(trained, len(pairs))),
        stop_loss_above=recipe.stop_loss_above,
        callbacks=[stop := StopOnSignal(), progress()],
    )
    if recipe.validation:
        trainer.add_callback(Validate(recipe.validation["every"], recipe.early_stopping))
    trainer.remove_callback(PrinterCallback)
    return trainer, stop


def training_arguments(recipe: Recipe, steps: int, run_dir: Path) -> Any:
    """transformers.TrainingArguments: the recipe's own words, then what stands under trainer_args."""
    from transformers import TrainingArguments

    give_place(recipe.trainer_args.get("report_to"), run_dir)
    values = {
        "output_dir": str(run_dir / "checkpoints"),
        "max_steps": steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.lr_scheduler,
        "warmup_steps": round(recipe.warmup_ratio * steps),
        "optim": "adamw_torch" if recipe.optimizer == EXACT else recipe.optimizer,  # Trainer does not know ours
        "bf16": recipe.precision == "bf16",
        "seed": recipe.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "ddp_find_unused_parameters": False,  # every step uses all of them; looking for others costs a walk of the graph
        "save_steps": max(1, steps // 4),
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        **recipe.trainer_args,
    }
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    for key in recipe.trainer_args:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise UserError(f"trainer_args: unknown key {key!r}" + (f"; did you mean {near[0]}?" if near else "."))
    defaults = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    for key, value in recipe.trainer_args.items():
        check_kind(key, value, defaults[key])
    try:
        return TrainingArguments(**values)
    except (TypeError, ValueError, ImportError) as error:
        if "bf16" in str(error):
            fix = "Set precision: fp32, or --trainer_args.use_cpu true to compute in bf16 on a CPU."
            raise UserError(f"precision is bf16, and there is no GPU that can. {fix}") from None
        raise UserError(f"trainer_args, precision or optimizer ({EXACT} is one too): {error}") from None


def check_kind(key: str, value: Any, default: Any) -> None:
    """UserError where a trainer argument is of another kind than its default: a text for a number, say."""
    if isinstance(default, bool):
        good = isinstance(value, bool)
    elif isinstance(default, int | float):
        good = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        return
    if not good:
        raise UserError(
            f"trainer_args.{key} is {value!r}; needed: {'true or false' if isinstance(default, bool) else 'a number'}."
        )
