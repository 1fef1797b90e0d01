"""Train a model with ORPO by a recipe.

    python -m training.train training/recipes/NAME.yaml [--key value …] [--output RUN_DIR] [--resume]

Writes RUN_DIR/ (default runs/NAME): recipe.yaml, data_report.json, checkpoints/, model/, training.json,
training.png and training.svg; stopped.json where a step must not be taken (training/health.py).
"""

import argparse
import dataclasses
import difflib
import hashlib
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from command import UserError, run_command
from inference.loading import Source, resolve
from run_folder import file_sha256, read_json, require_space, whole_file, whole_folder, write_json
from training.checkpoints import bytes_in, checkpoints, newest_whole, sweep, told_write_failure
from training.preferences import Preferences, load_preferences
from training.recipe import Recipe, load_recipe
from training.trackers import give_place
from training.validation import split, validations_of


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
    check_place(run_dir)
    source = resolve(recipe.model)
    space = 7 * weights_on_disk(source) - bytes_in(run_dir / "checkpoints")
    require_space(run_dir, space, "training")  # at least; exactly once the model is loaded
    data = load_preferences([*recipe.dataset, *recipe.validation.get("dataset", [])])
    if is_finished(run_dir, recipe, data):
        print(f"{run_dir}/model is whole, by this recipe on these pairs: reused.")
        if not (run_dir / "training.svg").exists():  # killed while drawing
            draw_or_tell(run_dir)
        return 0
    checkpoint = choose_checkpoint(run_dir, recipe, data, options.resume)
    train(recipe, data, source, run_dir, checkpoint)
    return 0


def check_place(run_dir: Path) -> None:
    """UserError where the run cannot be here: a file in the way, or a launcher whose sharding is not supported."""
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"--output {run_dir} is a file. Give a folder.")
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() not in ("false", "0", ""):
            raise UserError(f"training under {name} is not supported yet. Use one process, or DDP (accelerate launch).")


def is_finished(run_dir: Path, recipe: Recipe, data: Preferences) -> bool:
    """Whether the run folder holds this very run, whole. UserError if it holds the finished run of something else."""
    if not (run_dir / "training.json").exists():
        return False
    record = read_json(run_dir / "training.json")
    if record["recipe_sha256"] != recipe.sha256():
        other = record["recipe"]
        here = dataclasses.asdict(recipe)
        changed = "; ".join(f"{k} {other.get(k)!r} there, {v!r} here" for k, v in here.items() if other.get(k) != v)
        raise UserError(f"{run_dir} holds a run by another recipe: {changed}. Choose another --output.")
    if record["data"]["read_sha256"] != data.sha256:
        raise UserError(f"{run_dir} holds a run on other pairs (the data has changed since). Choose another --output.")
    return (run_dir / "model" / "config.json").exists()


def choose_checkpoint(run_dir: Path, recipe: Recipe, data: Preferences, resume: bool) -> Path | None:
    """The checkpoint to continue from, or None to start. UserError where another unfinished run is in the way."""
    folder = run_dir / "checkpoints"
    found = checkpoints(folder)
    if not found:
        if resume:
            print(f"{folder} holds no checkpoint: starting from the beginning.", file=sys.stderr)
        return None
    if not resume:
        raise UserError(
            f"{run_dir} holds an unfinished run at {found[-1].name}. Add --resume, or choose another --output."
        )
    if (run_dir / "recipe.yaml").read_text(encoding="utf-8") != recipe.to_yaml():
        raise UserError(f"{run_dir} holds an unfinished run by another recipe.yaml. Choose another --output.")
    if read_json(run_dir / "data_report.json")["read_sha256"] != data.sha256:
        raise UserError(f"{run_dir} holds an unfinished run on other pairs. Choose another --output.")
    checkpoint, torn = newest_whole(folder)
    for line in torn:
        print(f"{line}. Skipped.", file=sys.stderr)
    return checkpoint


def train(recipe: Recipe, data: Preferences, source: Source, run_dir: Path, checkpoint: Path | None) -> None:
    """Load, encode, train and save. A stop by signal keeps a checkpoint of the last finished step."""
    started, begun = datetime.now(UTC), time.monotonic()
    training_arguments(recipe, 1, run_dir)  # a wrong one is told before anything is loaded
    print(f"loading {source.name} …", file=sys.stderr)
    from inference.loading import load_model, load_tokenizer
    from training.early_stopping import has_stopped, load_best, run_steps
    from training.health import told_divergence
    from training.record import steps_of, training_record

    tokenizer = load_tokenizer(source)
    encoded, kept, held_out = encode(data, tokenizer, recipe, run_dir)
    model = load_model(source, dtype="float32", device="cpu")  # the trainer moves it to its process's device
    sweep(run_dir / "checkpoints")
    require_space(run_dir, disk_needed(model, recipe) - bytes_in(run_dir / "checkpoints"), "training")
    with whole_file(run_dir / "recipe.yaml") as stream:
        stream.write(recipe.to_yaml())

    trainer, stop = build_trainer(recipe, model, tokenizer, encoded, len(held_out.pairs), run_dir)
    where = f", continuing from {checkpoint.name}" if checkpoint else ""
    print(f"training {trainer.args.max_steps} steps of {recipe.global_batch_size} pairs{where}", file=sys.stderr)
    with told_divergence(trainer.accelerator, [pair.where for pair in kept.pairs], run_dir, recipe.learning_rate):
        run_steps(trainer, checkpoint, recipe.early_stopping)
    early = has_stopped(trainer.state.log_history, recipe.early_stopping)
    if trainer.state.global_step < trainer.state.max_steps and not early:
        step = trainer.state.global_step
        raise KeyboardInterrupt(
            f"Step {step} is kept as a checkpoint; --resume (which ./reproduce.sh adds) continues from it."
        )
    step = load_best(trainer) if recipe.early_stopping else trainer.state.global_step
    if not trainer.is_world_process_zero():
        return
    with told_write_failure(run_dir / "checkpoints", f"{run_dir}/model", weight_bytes(model)):
        save_model(trainer, tokenizer, run_dir)
    record = training_record(recipe, kept, data.sha256, steps_of(trainer.state.log_history))
    times = {
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "resumed_from": checkpoint.name if checkpoint else None,
        "stopped_early": early,
        "model_step": step,
        "seconds": round(sum(step["seconds"] for step in record["steps"]), 1),
        "seconds_with_loading": round(time.monotonic() - begun, 1),
    }
    if recipe.validation:
        record["validation"] = validations_of(trainer.state.log_history)
    write_json(run_dir / "training.json", record | times | outcome(run_dir, source, model, tokenizer))
    (run_dir / "stopped.json").unlink(missing_ok=True)  # of an earlier attempt
    draw_or_tell(run_dir)
    if recipe.early_stopping:
        print(f"the weights are those after step {step}, the least validation loss.")
    print(f"{run_dir}/model and {run_dir}/training.json are written.")
    if stop.asked:  # in the last step: the run is whole, and what would follow it is not wanted
        raise KeyboardInterrupt("Training had just ended: the model is whole.")


def draw_or_tell(run_dir: Path) -> None:
    """training.png and training.svg. The run is whole without them, so a failure is told and no more."""
    try:
        from training.plots import draw_run

        draw_run(run_dir, read_json(run_dir / "training.json"))
    except Exception as error:
        print(
            f"no plots: {type(error).__name__}: {error}. python -m training.plots {run_dir} draws them.",
            file=sys.stderr,
        )


def encode(data: Preferences, tokenizer: Any, recipe: Recipe, run_dir: Path) -> tuple[list, Preferences, Preferences]:
    """Token ids of the pairs that fit, those to train on first, and both kinds of pairs.

    Writes data_report.json and says what was kept, dropped, cut, held out.
    """
    from training.encoding import encode_pairs
    from training.record import data_report, held_out_report

    max_length = recipe.max_length
    encoding = encode_pairs(data.pairs, tokenizer, max_length)
    for note in encoding.notes[:5]:
        print(note, file=sys.stderr)
    if not encoding.pairs:
        raise UserError(f"none of {len(data.pairs)} pairs fits into max_length {max_length}. Raise max_length.")
    kept = data.only(encoding.kept, encoding.dropped)
    kept, held_out, order = hold_out(kept, recipe)
    encoded = [encoding.pairs[index] for index in order]
    report = data_report(kept, encoded[: len(kept.pairs)], encoding.cut, data.sha256)
    if recipe.validation:
        report["validation"] = held_out_report(held_out)
    write_json(run_dir / "data_report.json", report)
    reasons = [f"{len(held_out.pairs)} held out for validation"] if held_out.pairs else []
    reasons += [f"{count} {reason}" for reason, count in report["dropped"].items()]
    reasons += [f"{count} {what} cut to max_length" for what, count in report["cut"].items()]
    account = f"kept {report['kept']:,} of {report['rows']:,} pairs" + (f": {', '.join(reasons)}" if reasons else "")
    print(account, file=sys.stderr)
    return encoded, kept, held_out


def hold_out(kept: Preferences, recipe: Recipe) -> tuple[Preferences, Preferences, list[int]]:
    """The pairs to train on, those to validate on, and the index of each in `kept`, in that order."""
    from collections import Counter

    from training.record import language_of

    held: list[int] = []
    dropped: Counter = Counter()
    everything = range(len(kept.pairs))
    if recipe.validation:
        languages = [language_of(pair) for pair in kept.pairs]
        held = split(kept, languages, len(recipe.dataset), recipe.validation.get("pairs"), recipe.seed)
    trained = [i for i in everything if i not in set(held) and kept.pairs[i].source < len(recipe.dataset)]
    if not trained:
        raise UserError("no pair is left to train on beside those to validate on. Give more pairs.")
    lost = len(everything) - len(trained) - len(held)
    dropped += Counter({"validation prompt is trained on": lost} if lost else {})
    return kept.only(trained, dropped), kept.only(held, Counter()), trained + held


def weights_on_disk(source: Source) -> int:
    """Bytes of the weight files, 0 where they are not here yet: fp32 weights are no smaller."""
    if source.path is None:
        return 0
    files = [source.path] if source.path.is_file() else source.path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)


def disk_needed(model: Any, recipe: Recipe) -> int:
    """Bytes of the checkpoints (weights and two Adam moments each) and the model, at the moment of most.

    Two checkpoints, or `save_total_limit` if that is more; with early stopping the best one besides.
    """
    kept = max(2, recipe.trainer_args.get("save_total_limit") or 2) + bool(recipe.early_stopping)
    return (kept * 3 + 1) * weight_bytes(model)


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
    from training.packing import count_steps, plan_steps
    from training.progress import StopOnSignal, progress
    from training.trainer import ORPOTrainer

    logging.disable_progress_bar()  # a bar for each file of a checkpoint would tear ours apart
    trained = len(pairs) - held_out
    steps = recipe.max_steps or count_steps(trained, recipe.global_batch_size, recipe.epochs)
    trainer = ORPOTrainer(
        model=model,
        args=training_arguments(recipe, steps, run_dir),
        processing_class=tokenizer,
        pairs=pairs,
        plan=plan_steps(trained, recipe.global_batch_size, steps, recipe.seed),
        beta=recipe.beta,
        objective=recipe.objective,
        micro_batch_tokens=recipe.micro_batch_tokens,
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
        "optim": recipe.optimizer,
        "bf16": recipe.precision == "bf16",
        "seed": recipe.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
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
    try:
        return TrainingArguments(**values)
    except (TypeError, ValueError, ImportError) as error:
        raise UserError(f"trainer_args, precision or optimizer: {error}") from None


def save_model(trainer: Any, tokenizer: Any, run_dir: Path) -> None:
    """model/: safetensors, config, tokenizer with its template, and a generation_config with every stop token.

    Sampling is the article's: temperature 0.6, top_p 0.9.
    """
    from transformers import GenerationConfig

    from inference.loading import stop_token_ids

    model = trainer.accelerator.unwrap_model(trainer.model)
    stops = stop_token_ids(model, tokenizer)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
    )
    with whole_folder(run_dir / "model") as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def outcome(run_dir: Path, source: Source, model: Any, tokenizer: Any) -> dict[str, Any]:
    """What came of the run: the part of training.json that identifies base, template and weights."""
    from inference.loading import identity

    return {
        "status": "finished",
        "run_name": run_dir.resolve().name,
        "base_model": identity(source),
        "template_sha256": hashlib.sha256(tokenizer.chat_template.encode()).hexdigest(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "model_sha256": {p.name: file_sha256(p) for p in sorted((run_dir / "model").glob("*.safetensors"))},
    }


if __name__ == "__main__":
    run_command(main)
