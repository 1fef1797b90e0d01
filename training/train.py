"""Train a model with ORPO by a recipe.

    python -m training.train training/recipes/NAME.yaml [--key value …] [--output RUN_DIR] [--resume]

Writes RUN_DIR/ (default runs/NAME): recipe.yaml, data_report.json, checkpoints/, model/, training.json, training.png and
training.svg; where a step could not be taken, stopped.json.
"""

import dataclasses
import os
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from command import CommandParser, UserError, run_command
from inference.loading import Source, resolve
from run_folder import held, read_json, require_space, whole_file
from training.assembly import build_trainer, disk_needed, training_arguments, weight_bytes, weights_on_disk
from training.checkpoints import bytes_in, checkpoints, newest_whole, sweep, told_write_failure
from training.combinations import check_machine
from training.outcome import draw_or_tell, save_model, write_outcome
from training.preferences import Preferences, load_preferences
from training.preferences.control_tokens import control_tokens_of
from training.preparation import prepare_pairs
from training.recipe import Recipe, load_recipe
from training.scale import (
    awaits_weights,
    check_checkpoint,
    check_launch,
    check_processes,
    check_same_data,
    hollow_model,
    part,
    whole_state_dict,
)


def build_parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m training.train",
        description="Train a model with ORPO by a recipe.",
        epilog="Any key of the recipe can be set on the command line: --learning_rate 1e-5 --trainer_args.save_steps 5",
    )
    parser.add_argument("recipe", type=Path, help="a recipe file, such as training/recipes/smollm2-demo.yaml")
    parser.add_argument("--output", type=Path, metavar="RUN_DIR", help="the run folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="continue the newest whole checkpoint of the run folder")
    parser.add_argument("--strict", action="store_true", help="stop where a row cannot be used, instead of dropping it")
    return parser


def main(argv: list[str] | None = None) -> int:
    options, overrides = build_parser().parse_known_args(argv)
    recipe = load_recipe(options.recipe, overrides)
    check_machine(recipe)
    run_dir = options.output or Path("runs") / (recipe.name or options.recipe.stem)
    check_place(run_dir)
    source = resolve(recipe.model)
    copies = 7 if recipe.lora is None else int(recipe.merge_adapter)
    space = copies * weights_on_disk(source) - bytes_in(run_dir / "checkpoints")
    require_space(run_dir, space, "training")  # about; exactly once the model is loaded
    data = load_preferences(
        recipe.dataset,
        validation=recipe.validation.get("dataset", []),
        extra_suites=[Path(file) for file in recipe.held_out],
        control_tokens=control_tokens_of(source),
        strict=options.strict,
        seed=recipe.seed,
    )
    if is_finished(run_dir, recipe, data):
        print(f"{run_dir}/model is whole, by this recipe on these pairs: reused.")
        if not (run_dir / "training.svg").exists():  # killed while drawing
            draw_or_tell(run_dir)
        return 0
    checkpoint = choose_checkpoint(run_dir, recipe, data, options.resume)
    alone = held(run_dir, "--output") if os.environ.get("RANK", "0") == "0" else nullcontext()
    with alone:
        train(recipe, data, source, run_dir, checkpoint, options.strict)
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
    if checkpoint:
        check_checkpoint(checkpoint)
    return checkpoint


def train(
    recipe: Recipe, data: Preferences, source: Source, run_dir: Path, checkpoint: Path | None, strict: bool
) -> None:
    """Load, encode, train and save. A stop by signal keeps a checkpoint of the last finished step."""
    started, begun = datetime.now(UTC), time.monotonic()
    arguments = training_arguments(recipe, 1, run_dir)  # a wrong one is told before anything is loaded
    check_processes(arguments.world_size)
    print(f"loading {source.name} …", file=sys.stderr)
    from inference.loading import fetch, load_tokenizer
    from training.adapters import load_trainable, merge
    from training.early_stopping import has_stopped, load_best, run_steps
    from training.encoded_examples import encoding_record
    from training.energy import energy_of, meter_energy
    from training.health import told_divergence
    from training.system_prompt import set_system_prompt

    tokenizer = load_tokenizer(source)
    set_system_prompt(tokenizer, recipe.system_prompt)
    encoding = encoding_record(tokenizer)
    encoded, kept, held_out = prepare_pairs(data, tokenizer, recipe, run_dir, strict, resumed=checkpoint is not None)
    if awaits_weights(source.kind):
        model = hollow_model(fetch(source))
    else:
        model = load_trainable(source, recipe.weights, recipe.lora, recipe.quantization, recipe.seed)
    sweep(run_dir / "checkpoints")
    require_space(run_dir, disk_needed(model, recipe) - bytes_in(run_dir / "checkpoints"), "training")
    with whole_file(run_dir / "recipe.yaml") as stream:
        stream.write(recipe.to_yaml())

    trainer, stop = build_trainer(recipe, model, tokenizer, encoded, len(held_out.pairs), run_dir)
    check_same_data(trainer.accelerator, kept.sha256 + held_out.sha256)
    meter_energy(trainer)
    where = f", continuing from {checkpoint.name}" if checkpoint else ""
    print(f"training {trainer.args.max_steps} steps of {recipe.global_batch_size} pairs{where}", file=sys.stderr)
    with told_divergence(trainer.accelerator, kept.pairs, run_dir, recipe.learning_rate):
        run_steps(trainer, checkpoint, recipe.early_stopping)
    step = trainer.state.global_step
    early = has_stopped(trainer.state.log_history, recipe.early_stopping)
    stopped = step < trainer.state.max_steps and not early
    if recipe.early_stopping and not stopped:
        step = load_best(trainer)
    weights = None if stopped else whole_state_dict(trainer)
    part(trainer.accelerator)
    if stopped:
        raise KeyboardInterrupt(
            f"Step {step} is kept as a checkpoint; --resume (which ./reproduce.sh adds) continues from it."
        )
    if not trainer.is_world_process_zero():
        return

    with told_write_failure(run_dir / "checkpoints", f"{run_dir}/model", weight_bytes(model)):
        save_model(trainer, weights, tokenizer, run_dir)
        if recipe.merge_adapter:
            merge(run_dir, recipe.weights)
    ended = {
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "resumed_from": checkpoint.name if checkpoint else None,
        "stopped_early": early,
        "model_step": step,
        "seconds_with_loading": round(time.monotonic() - begun, 1),
        "energy": energy_of(trainer.state.log_history),
        **encoding,
    }
    write_outcome(run_dir, recipe, kept, data.sha256, trainer, source, tokenizer, ended)
    if recipe.early_stopping:
        print(f"the weights are those after step {step}, the least validation loss.")
    print(f"{run_dir}/model and {run_dir}/training.json are written.")
    if stop.asked:  # in the last step: the run is whole, and what would follow it is not wanted
        raise KeyboardInterrupt("Training had just ended: the model is whole.")


if __name__ == "__main__":
    run_command(main)
