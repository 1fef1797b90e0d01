"""A recipe is the run: one YAML, every key known, every value checked before anything heavy is loaded."""

import dataclasses
import difflib
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from command import CommandParser, UserError, run_command
from training.combinations import check_combination, check_lora
from training.trackers import check_trackers
from training.validation import check_validation

CHOICES = {
    "objective": ("completion", "sequence"),
    "precision": ("fp32", "bf16"),
    "attention": ("branches", "varlen", "masked"),
    "weights": ("fp32", "bf16"),
    "quantization": ("nf4",),
    "lr_scheduler": ("cosine", "linear", "constant", "constant_with_warmup"),
}
# What the recipe has words of its own for; under `trainer_args` these would be set twice.
OWN_TRAINER_ARGS = {
    "output_dir": "--output",
    "per_device_train_batch_size": "global_batch_size and micro_batch_tokens",
    "gradient_accumulation_steps": "global_batch_size and micro_batch_tokens",
    "num_train_epochs": "epochs",
    "max_steps": "max_steps",
    "learning_rate": "learning_rate",
    "lr_scheduler_type": "lr_scheduler",
    "warmup_steps": "warmup_ratio",
    "warmup_ratio": "warmup_ratio",
    "optim": "optimizer",
    "seed": "seed",
    "data_seed": "seed",
    "bf16": "precision",
    "fp16": "precision",
    "logging_steps": "record of every step (training.json)",
    "logging_strategy": "record of every step (training.json)",
    "logging_first_step": "record of every step (training.json)",
    "auto_find_batch_size": "micro_batch_tokens",
    "remove_unused_columns": "own loading of the pairs",
}
LAUNCHER_ARGS = ("fsdp", "deepspeed", "parallelism_config", "accelerator_config")  # how processes share the work
PUBLISHING = "upload.py publishes, after its checks, and no token belongs into a recipe"
NOT_SUPPORTED = {
    "save_only_model": "checkpoints could not be continued",
    "ignore_data_skip": "a resumed run would begin at its first pairs again",
    "save_strategy": "save_steps says when",
    "load_best_model_at_end": "early_stopping does it",
    "resume_from_checkpoint": "--resume finds the newest whole checkpoint",
    "use_liger_kernel": "the projection is this trainer's own",
    "push_to_hub": PUBLISHING,
}
MOST = {
    "seed": 2**32 - 1,
    "max_steps": 10**7,
    "epochs": 10**4,
    "global_batch_size": 10**5,
}  # the plan is laid out whole
NO_USE = (
    "dataloader_",
    "eval_",
    "per_device_",
    "group_by",
    "label_",
    "metric_for_",
    "greater_is_",
    "prediction_",
    "do_",
    "length_column",
)  # an item is a whole step


@dataclass(frozen=True)
class Recipe:
    """The resolved recipe, as it is written to runs/NAME/recipe.yaml."""

    model: str
    dataset: list[dict[str, Any]]
    learning_rate: float
    global_batch_size: int
    objective: str = "completion"
    beta: float = 0.05
    max_length: int = 2048
    epochs: float | None = None
    max_steps: int | None = None
    lr_scheduler: str = "cosine"
    warmup_ratio: float = 0.1
    optimizer: str = "adamw_torch"
    precision: str = "fp32"
    attention: str = "branches"  # varlen: FlashAttention, CUDA in bf16; masked: the slow reference
    micro_batch_tokens: int = 1024  # tokens whose activations are kept: bounds memory, never changes the result
    system_prompt: str | None = None  # for conversations without a system turn; null: the model's own template decides
    seed: int = 42
    stop_loss_above: float | None = None  # the loss, in nats, that counts as exploded; None: see training/health.py
    held_out: list[str] = field(
        default_factory=list
    )  # files of other eval sets that no pair may overlap; ours always are
    validation: dict[str, Any] = field(default_factory=dict)  # {pairs or dataset, every}: see training/validation.py
    early_stopping: dict[str, Any] = field(default_factory=dict)  # {patience, threshold}: see training/validation.py
    trainer_args: dict[str, Any] = field(default_factory=dict)
    name: str | None = None  # of the model, and of its folder in runs/; null: the recipe file's
    # Bytes a parameter with fp32 Adam moments (8): fp32 16 (weight 4, gradient 4), bf16 12 (2, 2), with
    # adamw_bf16_exact 16 (2 and 2 of its master's lower half, gradient 4). `precision` is what is computed in.
    weights: str = "fp32"
    lora: dict[str, Any] | None = None  # rank, alpha, dropout, target_modules; null: every parameter is trained
    quantization: str | None = None  # nf4: the frozen weights under a LoRA adapter in 4 bits (QLoRA)
    merge_adapter: bool = False  # model/ becomes the whole model, and adapter/ keeps what was trained

    def sha256(self) -> str:
        """Hex digest of the canonical JSON of all keys."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> str:
        return yaml.safe_dump(dataclasses.asdict(self), allow_unicode=True, sort_keys=False)


SOURCE_KEYS = {
    "path": (str, "a file, a folder of them, or a Hub data set ORG/NAME"),
    "name": (str, "the name of a config of a Hub data set"),
    "revision": (str, "a branch, tag or commit of a Hub data set"),
    "split": (str, "a split of a Hub data set; train if left out"),
    "streaming": (bool, "true or false: whether a Hub data set is read without downloading it first"),
    "max_rows": (int, "a whole number above 0: take at most so many of its rows, drawn by the seed"),
    "weight": (int | float, "a number above 0: its share of the mix beside the other weights; no row is taken twice"),
}

FLAGS = ("output", "resume", "strict")  # the train command's own, which a mistyped key may have meant
KEYS = {f.name: f for f in dataclasses.fields(Recipe)}


def load_recipe(path: Path, overrides: list[str]) -> Recipe:
    """Parse and check a recipe file with `--key value` overrides on top. UserError names the key, value and fix."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (Path(__file__).parent / "recipes").glob("*.yaml")))
        state = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"recipe {path} {state}. Shipped recipes, in training/recipes/: {known}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__}; a recipe is a list of `key: value` lines.")
    for key, value in parse_overrides(overrides):
        set_key(values, key, value)
    return check_recipe(values, str(path))


def parse_overrides(arguments: list[str]) -> list[tuple[str, Any]]:
    """`--key value` or `--key=value` pairs, the value read as YAML."""
    pairs = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            raise UserError(f"unexpected argument {argument!r}. Recipe keys are overridden as --key value.")
        key, equals, value = argument[2:].partition("=")
        if not equals:
            value = next(rest, None)
            if value is None:
                raise UserError(f"--{key} has no value. Recipe keys are overridden as --key value.")
        pairs.append((key.replace("-", "_"), parse_value(value)))
    return pairs


def parse_value(text: str) -> Any:
    """A value as YAML reads it; 1e-4, which YAML takes for a text, is a number here."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return as_number(value) if isinstance(value, str) else value


def as_number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    head, _, tail = key.partition(".")
    if tail and head in ("trainer_args", "lora", "validation", "early_stopping"):
        values[head] = {**(values.get(head) or {}), tail: value}
    else:
        values[key] = value
    other = {"max_steps": "epochs", "epochs": "max_steps"}.get(key)
    if other:  # the command line wins over the file's other way to say how long
        values.pop(other, None)


def check_recipe(values: dict[str, Any], name: str) -> Recipe:
    """A Recipe from raw values. UserError on an unknown key (with the nearest), a missing one or a bad value."""
    for key in values:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), [*KEYS, *FLAGS], n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(KEYS)}."
            raise UserError(f"{name}: unknown key {key!r}; {hint}")
    missing = [k for k, f in KEYS.items() if f.default is f.default_factory is dataclasses.MISSING and k not in values]
    if missing:
        raise UserError(f"{name}: missing key(s): {', '.join(missing)}.")
    recipe = Recipe(**{key: convert(key, value, name) for key, value in values.items()})
    if (recipe.epochs is None) == (recipe.max_steps is None):
        raise UserError(f"{name}: give either epochs or max_steps, not both and not neither.")
    check_trainer_args(recipe, name)
    check_combination(recipe, name)
    check_validation(recipe.validation, recipe.early_stopping, name)
    if "dataset" in recipe.validation:
        bad = UserError(
            f"{name}: validation.dataset is {recipe.validation['dataset']!r}; needed: {need('dataset', '')}."
        )
        recipe.validation["dataset"] = check_sources(recipe.validation["dataset"], bad)
        if any("weight" in source for source in recipe.validation["dataset"]):
            raise UserError(
                f"{name}: a source of validation.dataset has a weight; it is no part of the mix. Use max_rows."
            )
    return recipe


def check_trainer_args(recipe: Recipe, name: str) -> None:
    """UserError where a trainer argument would be set twice or do nothing, or its tracker cannot be had."""
    check_trackers(recipe.trainer_args.get("report_to"), name)
    for key in recipe.trainer_args:
        if key in OWN_TRAINER_ARGS:
            raise UserError(f"{name}: trainer_args.{key} is set by the recipe's own {OWN_TRAINER_ARGS[key]}. Use that.")
        reason = PUBLISHING if key.startswith("hub_") else NOT_SUPPORTED.get(key)
        if reason:
            raise UserError(f"{name}: trainer_args.{key} is not supported: {reason}. Remove it.")
        value = recipe.trainer_args[key]
        if isinstance(value, int | float) and value < 0:
            raise UserError(f"{name}: trainer_args.{key} is {value!r}; needed: 0 or above.")
        if key.startswith(LAUNCHER_ARGS):
            raise UserError(
                f"{name}: trainer_args.{key} is the launcher's to say. Remove it and start with "
                "accelerate launch --config_file training/accelerate/NAME.yaml -m training.train …"
            )
        if key.startswith(NO_USE):
            raise UserError(
                f"{name}: trainer_args.{key} would change nothing: pairs are packed by the step. Remove it."
            )


def convert(key: str, value: Any, name: str) -> Any:
    """A value in its key's type and range."""
    kind = str(KEYS[key].type)
    bad = UserError(f"{name}: {key} is {value!r}; needed: {need(key, kind)}.")
    if key == "dataset":
        return check_sources(value, bad)
    if key == "held_out":
        return check_files([value] if isinstance(value, str) else value, bad)
    if "None" in kind and value is None:
        return None
    if "bool" in kind:
        if not isinstance(value, bool):
            raise bad
        return value
    if key == "lora":
        return check_lora(value, name)
    if isinstance(value, str) and ("float" in kind or "int" in kind):
        value = as_number(value)
    if "dict" in kind:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise bad
        return value
    if "str" in kind:
        if not isinstance(value, str) or not value.strip() or value not in CHOICES.get(key, (value,)):
            raise bad
        if key == "name" and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", value, re.ASCII):
            raise bad
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value in (float("inf"),):
        raise bad
    if "float" not in kind and value != int(value):
        raise bad
    if (
        value < 0
        or (value == 0 and key not in ("beta", "warmup_ratio", "seed"))
        or (key == "warmup_ratio" and value >= 1)
        or (key in MOST and value > MOST[key])
    ):
        raise bad
    return float(value) if "float" in kind else int(value)


def need(key: str, kind: str) -> str:
    if key in CHOICES:
        return "one of " + ", ".join(CHOICES[key])
    if key == "name":
        return "letters, digits, . _ and -, as a folder and a repository are called"
    if "bool" in kind:
        return "true or false"
    if key == "dataset":
        return (
            f"a path, or a list of {{path: …}} with, where wanted, {', '.join(k for k in SOURCE_KEYS if k != 'path')}"
        )
    if key == "held_out":
        return "a list of files"
    if key == "warmup_ratio":
        return "a number from 0 to below 1"
    if "dict" in kind:
        return "a mapping"
    if "str" in kind:
        return "a text" + (", or null for the model's own template" if key == "system_prompt" else "")
    sign = "0 or above" if key in ("beta", "seed") else "above 0"
    most = f", at most {MOST[key]:,}" if key in MOST else ""
    return f"a {'number' if 'float' in kind else 'whole number'} {sign}{most}"


def check_sources(value: Any, bad: UserError) -> list[dict[str, Any]]:
    """The data sources, each a mapping with `path` and what else SOURCE_KEYS names."""
    sources = [value] if isinstance(value, str | dict) else value
    if not isinstance(sources, list) or not sources:
        raise bad
    checked = [{"path": source} if isinstance(source, str) else source for source in sources]
    for source in checked:
        if not isinstance(source, dict) or "path" not in source:
            raise bad
        for key, item in source.items():
            if key not in SOURCE_KEYS:
                near = difflib.get_close_matches(str(key), SOURCE_KEYS, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(SOURCE_KEYS)}."
                raise UserError(f"{bad}\n  Unknown key {key!r} of the source {source['path']!r}{hint}")
            kind, needed = SOURCE_KEYS[key]
            number = isinstance(item, int | float) and not isinstance(item, bool)
            fits = isinstance(item, kind) and isinstance(item, bool) == (kind is bool)
            if not fits or item == "" or (number and not 1e-9 <= item <= 1e12):
                raise UserError(f"{bad}\n  {key} of the source {source['path']!r} is {item!r}; needed: {needed}.")
    return checked


def check_files(value: Any, bad: UserError) -> list[str]:
    """A list of files that are there."""
    if not isinstance(value, list) or not all(isinstance(file, str) for file in value):
        raise bad
    for file in value:
        if not Path(file).is_file():
            raise UserError(f"{bad}\n  {file} does not exist or is no file.")
    return value


def main(argv: list[str] | None = None) -> int:
    """Print the name of a recipe's run, which reproduce.sh asks for: python -m training.recipe FILE"""
    parser = CommandParser(prog="python -m training.recipe", description=main.__doc__)
    parser.add_argument("recipe", type=Path)
    path = parser.parse_args(argv).recipe
    print(load_recipe(path, []).name or path.stem)
    return 0


if __name__ == "__main__":
    run_command(main)
