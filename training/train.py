"""Train a model with ORPO by a recipe.

    python -m training.train training/recipes/NAME.yaml [--key value …] [--output RUN_DIR] [--resume]

Writes RUN_DIR/ (default runs/NAME): recipe.yaml, data_report.json, checkpoints/, model/, training.json.
"""

import argparse
import dataclasses
import difflib
import hashlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from command import UserError, run_command
from inference.loading import Source, resolve
from run_folder import file_sha256, read_json, require_space, whole_file, whole_folder, write_json
from training.checkpoints import whole_checkpoints
from training.combinations import EXACT, check_machine, state_bytes
from training.memory import keep_heap
from training.preferences import Preferences, load_preferences
from training.recipe import Recipe, load_recipe
from training.scale import (
    awaits_weights,
    check_checkpoint,
    check_launch,
    check_processes,
    hollow_model,
    part,
    whole_state_dict,
)


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
    check_machine(recipe)
    run_dir = options.output or Path("runs") / (recipe.name or options.recipe.stem)
    check_place(run_dir)
    source = resolve(recipe.model)
    copies = 7 if recipe.lora is None else int(recipe.merge_adapter)
    require_space(run_dir, copies * weights_on_disk(source), "training")  # about; exactly once the model is loaded
    data = load_preferences(recipe.dataset)
    if is_finished(run_dir, recipe, data):
        print(f"{run_dir}/model is whole, by this recipe on these pairs: reused.")
        return 0
    checkpoint = choose_checkpoint(run_dir, recipe, data, options.resume)
    train(recipe, data, source, run_dir, checkpoint)
    return 0


def check_place(run_dir: Path) -> None:
    """UserError where the run cannot be here: a file in the way, or a launch that cannot work."""
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"--output {run_dir} is a file. Give a folder.")
    check_launch()


def is_finished(run_dir: Path, recipe: Recipe, data: Preferences) -> bool:
    """Whether the run folder holds this very run, whole. UserError if it holds the finished run of something else."""
    if not (run_dir / "training.json").exists():
        return False
    record = read_json(run_dir / "training.json")
    if record["recipe_sha256"] != recipe.sha256():
        other = record["recipe"]
        here = dataclasses.asdict(recipe)
        differ = [key for key, value in here.items() if other.get(key) != value]
        changed = "; ".join(f"{key} {other.get(key)!r} there, {here[key]!r} here" for key in differ)
        merging = f" To merge it: python -m training.merge_adapter {run_dir}" if differ == ["merge_adapter"] else ""
        raise UserError(f"{run_dir} holds a run by another recipe: {changed}. Choose another --output.{merging}")
    if record["data"]["read_sha256"] != data.sha256:
        raise UserError(f"{run_dir} holds a run on other pairs (the data has changed since). Choose another --output.")
    return any((run_dir / "model" / name).exists() for name in ("config.json", "adapter_config.json"))


def choose_checkpoint(run_dir: Path, recipe: Recipe, data: Preferences, resume: bool) -> Path | None:
    """The checkpoint to continue from, or None to start. UserError where another unfinished run is in the way."""
    found = whole_checkpoints(run_dir / "checkpoints")
    if not found:
        return None
    if not resume:
        raise UserError(
            f"{run_dir} holds an unfinished run at {found[-1].name}. Add --resume, or choose another --output."
        )
    if (run_dir / "recipe.yaml").read_text(encoding="utf-8") != recipe.to_yaml():
        raise UserError(f"{run_dir} holds an unfinished run by another recipe.yaml. Choose another --output.")
    if read_json(run_dir / "data_report.json")["read_sha256"] != data.sha256:
        raise UserError(f"{run_dir} holds an unfinished run on other pairs. Choose another --output.")
    check_checkpoint(found[-1])
    return found[-1]


def train(recipe: Recipe, data: Preferences, source: Source, run_dir: Path, checkpoint: Path | None) -> None:
    """Load, encode, train and save. A stop by signal keeps a checkpoint of the last finished step."""
    started, begun = datetime.now(UTC), time.monotonic()
    arguments = training_arguments(recipe, 1, run_dir)  # a wrong one is told before anything is loaded
    check_processes(arguments.world_size)
    keep_heap()
    print(f"loading {source.name} …", file=sys.stderr)
    from inference.loading import fetch, load_tokenizer
    from training.adapters import load_trainable, merge
    from training.record import steps_of, training_record
    from training.system_prompt import set_system_prompt

    tokenizer = load_tokenizer(source)
    set_system_prompt(tokenizer, recipe.system_prompt)
    encoded, kept = encode(data, tokenizer, recipe.max_length, run_dir)
    if awaits_weights(source.kind):
        model = hollow_model(fetch(source))
    else:
        model = load_trainable(source, recipe.weights, recipe.lora, recipe.quantization, recipe.seed)
    require_space(run_dir, disk_needed(model, recipe), "training")
    with whole_file(run_dir / "recipe.yaml") as stream:
        stream.write(recipe.to_yaml())

    trainer, stop = build_trainer(recipe, model, tokenizer, encoded, run_dir)
    where = f", continuing from {checkpoint.name}" if checkpoint else ""
    print(f"training {trainer.args.max_steps} steps of {recipe.global_batch_size} pairs{where}", file=sys.stderr)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    step = trainer.state.global_step
    stopped = step < trainer.state.max_steps
    weights = None if stopped else whole_state_dict(trainer)
    part(trainer.accelerator)
    if stopped:
        raise KeyboardInterrupt(
            f"Step {step} is kept as a checkpoint; --resume (which ./reproduce.sh adds) continues from it."
        )
    if not trainer.is_world_process_zero():
        return
    save_model(trainer, weights, tokenizer, run_dir)
    if recipe.merge_adapter:
        merge(run_dir, recipe.weights)
    record = training_record(recipe, kept, data.sha256, steps_of(trainer.state.log_history))
    times = {
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "resumed_from": checkpoint.name if checkpoint else None,
        "seconds": round(sum(step["seconds"] for step in record["steps"]), 1),
        "seconds_with_loading": round(time.monotonic() - begun, 1),
    }
    write_json(run_dir / "training.json", record | times | outcome(run_dir, recipe.name, source, model, tokenizer))
    print(f"{run_dir}/model and {run_dir}/training.json are written.")
    if stop.asked:  # in the last step: the run is whole, and what would follow it is not wanted
        raise KeyboardInterrupt("Training had just ended: the model is whole.")


def encode(data: Preferences, tokenizer: Any, max_length: int, run_dir: Path) -> tuple[list, Preferences]:
    """Token ids of the pairs that fit, and these pairs; writes data_report.json and says what was kept, dropped, cut."""
    from training.preparation import cut_words, prepare_pairs
    from training.record import data_report

    encoding = prepare_pairs(data, tokenizer, max_length)
    kept = data.only(encoding.kept, encoding.dropped)
    report = data_report(kept, encoding, data.sha256, max_length)
    write_json(run_dir / "data_report.json", report)
    reasons = [f"{count} {reason}" for reason, count in report["dropped"].items()]
    reasons += cut_words(report["cut"], report["cut_tokens"])
    account = f"kept {report['kept']:,} of {report['rows']:,} pairs" + (f": {', '.join(reasons)}" if reasons else "")
    print(account, file=sys.stderr)
    return encoding.pairs, kept


def weights_on_disk(source: Source) -> int:
    """Bytes of the weight files, 0 where they are not here yet: fp32 weights are no smaller."""
    if source.path is None:
        return 0
    files = [source.path] if source.path.is_file() else source.path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)


def disk_needed(model: Any, recipe: Recipe) -> int:
    """Bytes of two checkpoints (what is trained and its optimizer state) and the model, at the moment of most."""
    from training.adapters import count_parameters

    trained = [p for p in model.parameters() if p.requires_grad]
    sizes = [getattr(p, "ds_numel", p.numel()) for p in trained]  # ds_: cut by ZeRO-3
    weights = sum(size * p.element_size() for size, p in zip(sizes, trained, strict=True))
    state = state_bytes(recipe.optimizer) * sum(sizes)
    merged = {"fp32": 4, "bf16": 2}[recipe.weights] * count_parameters(model)["parameters"]
    return 2 * (weights + state) + (merged if recipe.merge_adapter else weights)


def build_trainer(recipe: Recipe, model: Any, tokenizer: Any, pairs: list, run_dir: Path) -> tuple[Any, Any]:
    """The trainer with its plan of steps and one progress bar, and its graceful Ctrl-C."""
    from transformers import PrinterCallback
    from transformers.utils import logging

    from training.optimizers import optimizer_class
    from training.packing import count_steps, plan_steps
    from training.progress import StepBar, StopOnSignal
    from training.trainer import ORPOTrainer

    logging.disable_progress_bar()  # a bar for each file of a checkpoint would tear ours apart
    steps = recipe.max_steps or count_steps(len(pairs), recipe.global_batch_size, recipe.epochs)
    args = training_arguments(recipe, steps, run_dir)
    trainer = ORPOTrainer(
        model=model,
        args=args,
        optimizer_cls_and_kwargs=optimizer_class(recipe.optimizer, args),
        processing_class=tokenizer,
        pairs=pairs,
        plan=plan_steps(len(pairs), recipe.global_batch_size, steps, recipe.seed),
        beta=recipe.beta,
        objective=recipe.objective,
        micro_batch_tokens=recipe.micro_batch_tokens,
        attention=recipe.attention,
        callbacks=[stop := StopOnSignal(), StepBar()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, stop


def training_arguments(recipe: Recipe, steps: int, run_dir: Path) -> Any:
    """transformers.TrainingArguments: the recipe's own words, then what stands under trainer_args."""
    from transformers import TrainingArguments

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
        "save_total_limit": 1,
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
        raise UserError(f"trainer_args, precision or optimizer ({EXACT} is one too): {error}") from None


def save_model(trainer: Any, weights: dict | None, tokenizer: Any, run_dir: Path) -> None:
    """model/: safetensors, config, tokenizer with its template, and a generation_config with every stop token.

    `weights`: all of them, or None where the model itself holds them whole.
    Sampling is the article's: temperature 0.6, top_p 0.9.
    """
    from transformers import GenerationConfig

    from inference.loading import stop_token_ids
    from training.adapters import finish_adapter

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
        model.save_pretrained(folder, state_dict=weights)
        finish_adapter(model, folder)
        tokenizer.save_pretrained(folder)


def outcome(run_dir: Path, name: str | None, source: Source, model: Any, tokenizer: Any) -> dict[str, Any]:
    """What came of the run: the part of training.json that identifies base, template and weights."""
    from inference.loading import identity
    from training.adapters import adapter_record, count_parameters

    return {
        "status": "finished",
        "run_name": name or run_dir.resolve().name,
        "base_model": identity(source),
        "template_sha256": hashlib.sha256(tokenizer.chat_template.encode()).hexdigest(),
        **count_parameters(model),
        "adapter": adapter_record(run_dir),
        "model_sha256": {p.name: file_sha256(p) for p in sorted((run_dir / "model").glob("*.safetensors"))},
    }


if __name__ == "__main__":
    run_command(main)
