"""Train a model with ORPO by a recipe.

    python -m training.train training/recipes/NAME.yaml [--key value …] [--output RUN_DIR] [--resume]

Writes RUN_DIR/ (default runs/NAME): recipe.yaml, data_report.json, checkpoints/, model/, training.json.
"""

import argparse
import dataclasses
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from command import UserError, run_command
from run_folder import file_sha256, read_json, require_space, whole_file, whole_folder, write_json
from training.preferences import Preferences, load_preferences
from training.recipe import Recipe, load_recipe


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train a model with ORPO by a recipe.",
        epilog="Any key of the recipe can be set on the command line: --learning_rate 1e-5 --trainer_args.save_steps 5",
        allow_abbrev=False,
    )
    parser.add_argument("recipe", type=Path, help="a recipe file, such as training/recipes/smollm2-demo.yaml")
    parser.add_argument("--output", type=Path, metavar="RUN_DIR", help="the run folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="continue the newest whole checkpoint of the run folder")
    return parser


def main(argv: list[str] | None = None) -> int:
    options, overrides = build_parser().parse_known_args(argv)
    recipe = load_recipe(options.recipe, overrides)
    run_dir = options.output or Path("runs") / options.recipe.stem
    data = load_preferences(recipe.dataset)
    if is_finished(run_dir, recipe, data):
        print(f"{run_dir}/model is finished, by this recipe on this data: reused.")
        return 0
    source = check_model(recipe.model)
    checkpoint = choose_checkpoint(run_dir, recipe, options.resume)
    train(recipe, data, source, run_dir, checkpoint)
    return 0


def is_finished(run_dir: Path, recipe: Recipe, data: Preferences) -> bool:
    """Whether the run folder holds this very run, whole. UserError if it holds the finished run of something else."""
    if not (run_dir / "training.json").exists():
        return False
    record = read_json(run_dir / "training.json")
    if record["recipe_sha256"] != recipe.sha256():
        other = record["recipe"]
        changed = [
            f"{k} {other.get(k)!r} there, {v!r} here"
            for k, v in dataclasses.asdict(recipe).items()
            if other.get(k) != v
        ]
        raise UserError(f"{run_dir} holds a run by another recipe: {'; '.join(changed)}. Choose another --output.")
    if record["data"]["sha256"] != data.sha256:
        raise UserError(f"{run_dir} holds a run on other data (the pairs have changed since). Choose another --output.")
    return (run_dir / "model" / "config.json").exists()


def check_model(model: str) -> Any:
    from inference.loading import resolve

    return resolve(model)


def choose_checkpoint(run_dir: Path, recipe: Recipe, resume: bool) -> Path | None:
    """The checkpoint to continue from, or None. UserError where an unfinished run is in the way."""
    found = sorted((run_dir / "checkpoints").glob("checkpoint-*"), key=lambda p: p.stat().st_mtime)
    whole = [p for p in found if (p / "trainer_state.json").is_file()]
    if not whole:
        return None
    if not resume:
        raise UserError(
            f"{run_dir} holds an unfinished run at {whole[-1].name}. Add --resume, or choose another --output."
        )
    if (run_dir / "recipe.yaml").read_text(encoding="utf-8") != recipe.to_yaml():
        raise UserError(
            f"{run_dir} holds an unfinished run by another recipe ({run_dir}/recipe.yaml). Choose another --output."
        )
    return whole[-1]


def train(recipe: Recipe, data: Preferences, source: Any, run_dir: Path, checkpoint: Path | None) -> None:
    """Load, encode, train and save. A stop by signal keeps a checkpoint of the last finished step."""
    started = datetime.now(UTC)
    begun = time.monotonic()
    print(f"loading {source.name} …", file=sys.stderr)
    from inference.loading import identity, load_model, load_tokenizer

    from training.encoding import encode_pairs
    from training.record import data_report, steps_of, training_record

    tokenizer = load_tokenizer(source)
    encoding = encode_pairs(data.pairs, tokenizer, recipe.max_length)
    report = data_report(data, encoding) if encoding.pairs else None
    for note in encoding.notes[:5]:
        print(note, file=sys.stderr)
    if report is None:
        raise UserError(f"no pair fits into max_length {recipe.max_length}: {encoding.notes[0]}")
    print(account(report), file=sys.stderr)
    model = load_model(source, dtype="float32")
    require_space(run_dir, disk_needed(model), "training")
    with whole_file(run_dir / "recipe.yaml") as stream:
        stream.write(recipe.to_yaml())
    write_json(run_dir / "data_report.json", report)

    trainer = build_trainer(recipe, model, tokenizer, encoding.pairs, run_dir)
    print(f"training {trainer.args.max_steps} steps of {recipe.global_batch_size} pairs"
          + (f", continuing from {checkpoint.name}" if checkpoint else ""), file=sys.stderr)  # fmt: skip
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < trainer.state.max_steps:
        raise KeyboardInterrupt
    save_model(trainer, tokenizer, run_dir)
    record = training_record(recipe, data, encoding.pairs, steps_of(trainer.state.log_history))
    write_json(
        run_dir / "training.json",
        {
            "status": "finished",
            "run_name": run_dir.resolve().name,
            **record,
            "base_model": identity(source),
            "template_sha256": template_sha256(tokenizer),
            "parameters": sum(p.numel() for p in model.parameters()),
            "started": started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "resumed_from": checkpoint.name if checkpoint else None,
            "seconds": round(sum(step["seconds"] for step in record["steps"]), 1),
            "seconds_with_loading": round(time.monotonic() - begun, 1),
            "model_sha256": {p.name: file_sha256(p) for p in sorted((run_dir / "model").glob("*.safetensors"))},
        },
    )
    print(f"{run_dir}/model and {run_dir}/training.json are written.")


def account(report: dict[str, Any]) -> str:
    """Every row accounted for, in one line: kept 448 of 452: 4 overlaps an eval suite."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in report["dropped"].items())
    cut = ", ".join(f"{count} {what} cut to max_length" for what, count in report["cut"].items())
    return f"kept {report['kept']:,} of {report['rows']:,} pairs" + "".join(f": {x}" for x in (reasons, cut) if x)


def disk_needed(model: Any) -> int:
    """Bytes of two checkpoints (weights and two Adam moments each) and the model, at the moment of most."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return 2 * 3 * weights + weights


def build_trainer(recipe: Recipe, model: Any, tokenizer: Any, pairs: list, run_dir: Path) -> Any:
    from training.packing import count_steps, plan_steps
    from training.progress import StopOnSignal
    from training.trainer import ORPOTrainer

    steps = recipe.max_steps or count_steps(len(pairs), recipe.global_batch_size, recipe.epochs)
    return ORPOTrainer(
        model=model,
        args=training_arguments(recipe, steps, run_dir),
        processing_class=tokenizer,
        pairs=pairs,
        plan=plan_steps(len(pairs), recipe.global_batch_size, steps, recipe.seed),
        beta=recipe.beta,
        objective=recipe.objective,
        micro_batch_tokens=recipe.micro_batch_tokens,
        callbacks=[StopOnSignal()],
    )


def training_arguments(recipe: Recipe, steps: int, run_dir: Path) -> Any:
    """transformers.TrainingArguments: the recipe's own words, then what stands under trainer_args."""
    from transformers import TrainingArguments

    values = {
        "output_dir": str(run_dir / "checkpoints"),
        "max_steps": steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.lr_scheduler,
        "warmup_steps": round(recipe.warmup_ratio * steps),
        "optim": recipe.optimizer,
        "bf16": recipe.precision == "bf16",
        "seed": recipe.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_steps": max(1, steps // 4),
        "save_total_limit": 1,
        "report_to": "none",
        "remove_unused_columns": False,
        **recipe.trainer_args,
    }
    try:
        return TrainingArguments(**values)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"trainer_args, precision or optimizer: {str(error).replace('TrainingArguments.__init__() ', '')}"
        ) from None


def save_model(trainer: Any, tokenizer: Any, run_dir: Path) -> None:
    """model/: safetensors, config, generation_config, tokenizer and its chat template, whole or not at all."""
    with whole_folder(run_dir / "model") as folder:
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def template_sha256(tokenizer: Any) -> str:
    import hashlib

    return hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()


if __name__ == "__main__":
    run_command(main)
