"""Report on preference data without training.

    python -m training.inspect_pairs PATH_OR_RECIPE … [--model MODEL] [--device NAME] [--output DIR] [--strict] [--json]

Checks every row and says what is kept, dropped and why, what the pairs teach, which are duplicates, twins, or overlap the suites
to evaluate on. With a model (a recipe's, or --model) also in tokens: what max_length cuts, and what a run costs. Prints a table and
writes DIR/ (default runs/NAME-data): data_report.json, data_report.html, and dropped.jsonl with every row that is left out.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from command import UserError, did_you_mean, run_command
from inference.loading import Source, resolve
from run_folder import FILES_OF_PAIRS, is_hub_data_set
from training.preferences.text import shown
from training.recipe import KEYS, SOURCE_KEYS, Recipe, check_recipe, load_recipe, parse_overrides, set_key


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.inspect_pairs",
        description="Report on preference data.",
        epilog="Any key of a recipe can be set on the command line, as for training.train: --seed 7",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source", nargs="+", help="a recipe (.yaml), or data: files, folders or Hub data sets ORG/NAME, one or more"
    )
    parser.add_argument("--config", help="the config of the Hub data sets, such as zh")
    for key in ("revision", "split"):
        parser.add_argument(f"--{key}", help=SOURCE_KEYS[key][1])
    parser.add_argument("--streaming", action="store_true", help="read Hub data sets without downloading them first")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: runs/NAME-data)")
    parser.add_argument("--model", metavar="MODEL", help="whose tokenizer counts (of a recipe: instead of its own)")
    parser.add_argument("--max-length", type=int, metavar="N", help="tokens of a prompt and an answer (a file's: 2048)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="for the estimate of time (default: this one)")
    parser.add_argument("--strict", action="store_true", help="end with status 2 where any row is left out")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, write no file and no table")
    return parser


def main(argv: list[str] | None = None) -> int:
    options, overrides = build_parser().parse_known_args(argv)
    recipe = recipe_of(options, overrides)
    model = resolve(recipe.model) if recipe.model else None
    name = name_of(options.source, recipe)
    folder = None if options.json else options.output or Path("runs") / f"{name}-data"
    if folder is not None:
        check_folder(folder)
    from training.report.cost import find_device

    device = find_device(options.device) if model or options.device != "auto" else None
    if model and device is None:
        print("this machine's GPU is not in the table: no estimate of time. Give --device.", file=sys.stderr)
    from training.preferences.findings import UnusablePairs

    try:
        data = read(recipe, model)
    except UnusablePairs as error:
        raise UserError(f"{error}{kept_findings(error.log, folder)}") from None
    if len(data.log):
        print(data.log.message(), file=sys.stderr, flush=True)
    asked = options.model is not None and not options.source[0].endswith((".yaml", ".yml"))
    report, found, relations, kept = inspect(data, recipe, model, device, asked)
    if folder is None:
        import json

        plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        print(json.dumps({"schema_version": 1, **report}, ensure_ascii=plain, indent=1, allow_nan=False))
    else:
        write(folder, report, found, relations, kept, name)
    return 2 if options.strict and len(data.log) else 0


def kept_findings(log: Any, folder: Path | None) -> str:
    """Write every finding of pairs that nothing can be reported on; where they are, as a sentence."""
    from run_folder import whole_file

    if folder is None or not len(log):
        return ""
    with whole_file(folder / "dropped.jsonl") as stream:
        log.copy_to(stream)
    return f"\nAll {len(log):,} are in {folder}/dropped.jsonl."


def recipe_of(options: argparse.Namespace, overrides: list[str]) -> Recipe:
    """The recipe that is asked about; for bare data one without a model (its `model` is empty), unless --model says which."""
    if options.max_length is not None and options.max_length < 1:
        raise UserError(f"--max-length is {options.max_length}; needed: a whole number above 0.")
    own = [] if options.model is None else ["--model", options.model]
    own += [] if options.max_length is None else ["--max_length", str(options.max_length)]
    check_flags(overrides)
    asked = {"name": options.config, **{key: getattr(options, key) for key in ("revision", "split", "streaming")}}
    where = {key: value for key, value in asked.items() if value}
    if options.source[0].endswith((".yaml", ".yml")):
        if len(options.source) > 1:
            raise UserError(
                f"{options.source[0]} is a recipe, and {options.source[1]} stands beside it. Give one recipe."
            )
        if where:
            flags = "--config, --revision, --split and --streaming are"
            raise UserError(f"{flags} for bare data; a recipe says these of each source under `dataset`.")
        return load_recipe(Path(options.source[0]), [*overrides, *own])
    data = [{"path": path, **keys_for(path, where)} for path in options.source]
    values = {"model": "none", "dataset": data, "learning_rate": 5e-6, "global_batch_size": 64, "epochs": 1}
    for key, value in parse_overrides([*overrides, *own]):
        set_key(values, key, value)
    recipe = check_recipe(values, ", ".join(options.source))
    return recipe if options.model else dataclasses.replace(recipe, model="")


def check_flags(overrides: list[str]) -> None:
    """UserError for a mistyped flag of this command, which would be told as an unknown key of a recipe."""
    flags = [word for action in build_parser()._actions for word in action.option_strings]
    for word in overrides:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag[2:].partition(".")[0].replace("-", "_") not in KEYS:
            raise UserError(f"unknown flag {flag}{did_you_mean(flag, [*flags, *(f'--{key}' for key in KEYS)])}")


def keys_for(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What of --config, --revision, --split and --streaming has a meaning for this source: nothing for a file."""
    if os.path.isdir(path):  # noqa: PTH112  (a name with a NUL raises there)
        return {key: value for key, value in asked.items() if key == "split"}
    return {} if os.path.exists(path) or not is_hub_data_set(path) else asked  # noqa: PTH110  (the same)


def name_of(sources: list[str], recipe: Recipe) -> str:
    """The run's name, else the first source's, without its suffixes."""
    name = Path(sources[0].rstrip("/")).name
    suffix = max((one for one in (*FILES_OF_PAIRS, ".yaml", ".yml") if name.lower().endswith(one)), key=len, default="")
    return recipe.name or name[: len(name) - len(suffix)] or "pairs"


def check_folder(folder: Path) -> None:
    """UserError, before anything is read, where the report cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file. Give a folder.")
    there = folder
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):  # the folder itself is made when there is something to put into it
            pass
    except OSError as error:
        raise UserError(
            f"--output {shown(str(folder))} cannot be written: {error.strerror}. Give another place."
        ) from None


def read(recipe: Recipe, model: Source | None) -> Any:
    """The pairs of all sources, as train reads them."""
    from training.preferences import load_preferences
    from training.preferences.control_tokens import control_tokens_of

    return load_preferences(
        recipe.dataset,
        validation=recipe.validation.get("dataset", []),
        extra_suites=[Path(file) for file in recipe.held_out],
        control_tokens=control_tokens_of(model) if model else (),
        seed=recipe.seed,
    )


def inspect(data: Any, recipe: Recipe, model: Source | None, device: str | None, asked: bool = False) -> tuple:
    """(report, survey, relations, the pairs that are trained on): in tokens where the model's tokenizer can be had.

    WorkError if it cannot and the model was `asked` for by its name.
    """
    from training.preferences.relations import relate
    from training.preparation import encode_and_split, hold_out, report_on
    from training.report.build import data_report, survey

    if model is None or not is_here(model, asked):
        relations = relate(data.pairs)
        kept, held_out, order = hold_out(data, relations.groups, recipe)
        found, relations = survey(kept.pairs), relations.only(order[: len(kept.pairs)])
        held_out = held_out if recipe.validation else None
        return data_report(kept, found, relations, data.sha256, held_out=held_out), found, relations, kept
    from inference.loading import load_tokenizer
    from training.report.cost import shape_of
    from training.system_prompt import set_system_prompt

    tokenizer = load_tokenizer(model)
    set_system_prompt(tokenizer, recipe.system_prompt)
    prepared = encode_and_split(data, tokenizer, recipe)
    found = survey(prepared.kept.pairs)
    report = report_on(prepared, found, data.sha256, recipe, shape=shape_of(model), device=device)
    return report, found, prepared.relations, prepared.kept


def is_here(model: Source, asked: bool) -> bool:
    """Whether the tokenizer is on this disk or could be fetched, which needs no weights. Says why not; WorkError if `asked` for."""
    from command import WorkError
    from inference.loading import fetch

    try:
        fetch(model, weights=False)
    except WorkError as error:
        if asked:
            raise
        print(f"{error} Lengths are in characters alone.", file=sys.stderr)
        return False
    return True


def write(folder: Path, report: dict[str, Any], found: Any, relations: Any, kept: Any, name: str) -> None:
    """data_report.json, data_report.html and dropped.jsonl, each whole; then the table on stdout."""
    from training.preparation import write_report
    from training.report.page import page
    from training.report.terminal import print_report

    write_report(folder, report, page(report, found, relations, kept, name), kept.log)
    print_report(report, name, environment=dict(os.environ))
    place = shown(str(folder))
    print(f"\n{place}/: data_report.html to read, data_report.json, dropped.jsonl ({len(kept.log):,} rows)")


if __name__ == "__main__":
    run_command(main)
