"""Answer a file of prompts: python -m inference.generate MODEL --prompts FILE --output FILE [--batch-size 32]

In: JSONL (`prompt`: a text or a list of messages; `id`; other keys are kept) or plain text (.txt, or - for stdin: a prompt a line).
Out: JSONL, the same rows in the same order, each with `response`, `finish_reason` (stop, length) and `tokens`, and with
--samples also `sample`. Finished answers are kept in OUTPUT.part; the same command continues from there.
"""

import argparse
import hashlib
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from command import CommandParser, UserError, counted, run_command
from inference.batch.lengths import prompt_lengths, rows_too_long
from inference.batch.part import TOO_LONG, Part, part_folder
from inference.batch.progress import Progress, duration
from inference.batch.prompts import STDIN, Prompts, read_prompts
from inference.loading import (
    Source,
    adapter_base,
    default_dtype,
    fetch,
    load_tokenizer,
    resolve,
    weights_sha256,
)
from inference.noise import DRAWING
from inference.options import (
    MODEL_HELP,
    add_loading,
    add_sampling,
    check_sampling,
    chosen_max_new_tokens,
    chosen_sampling,
    loading_options,
)
from inference.rules import Rules, Sampling, read_rules
from inference.runtime import check_engine, open_engine

CHUNK = 64  # batches that the engine gets at a time: it keeps all their prompts as token ids, and idles a little at each end


def build_parser() -> CommandParser:
    parser = CommandParser(prog="python -m inference.generate", description="Answer a file of prompts.")
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        required=True,
        help="JSONL with `prompt` and, if wanted, `id`; or .txt, a prompt a line; - is such text from stdin",
    )
    parser.add_argument("--output", metavar="FILE", type=Path, required=True, help="JSONL to write")
    parser.add_argument("--system", metavar="TEXT", default="", help="system message of the prompts that have none")
    parser.add_argument("--samples", type=int, default=1, help="answers to each prompt (default 1)")
    parser.add_argument(
        "--skip-long",
        action="store_true",
        help=f"give prompts that leave no room for an answer the finish_reason {TOO_LONG} (default: refuse to begin)",
    )
    add_sampling(parser)
    parser.add_argument("--batch-size", type=int, default=32, help="answers at a time (default 32)")
    add_loading(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    check_options(options)
    prompts, source = read_prompts(options.prompts), resolve(options.model)
    check_engine(source, **loading_options(options))
    with part_folder(options.output) as folder:
        tokenizer = load_tokenizer(source)
        rules = read_rules(source, tokenizer)
        sampling = checked_sampling(rules, options)
        options.max_new_tokens = chosen_max_new_tokens(options, rules.context)
        chosen = settings(prompts, source, rules, sampling, options)
        part = Part(folder, options.output, chosen, len(prompts), options.samples)
        if part.is_done():
            say(f"{options.output} is done: {counted(len(prompts), 'prompt')} with these settings")
            return 0
        lengths = prompt_lengths(prompts, tokenizer, options.system)
        part.skip(rows_too_long(prompts, lengths, rules.context, options.max_new_tokens, options.skip_long))
        say(f"{source.name}: {told_settings(prompts, sampling, options)}")
        part.tell_changes()
        with part.opened():
            progress = run(part, prompts, lengths, sampling, source, options)
            counts = part.finish(prompts, named(source))
    say(summary(options, counts, progress))
    return 0


def check_options(options: argparse.Namespace) -> None:
    """UserError for a value that cannot be meant, before anything is read."""
    check_sampling(options)
    for name in ("batch_size", "samples"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)} must be 1 or more.")
    if str(options.output) == "-" or (options.output.exists() and not options.output.is_file()):
        raise UserError(f"--output {options.output}: the answers need an ordinary file, to survive a stop. Name one.")
    if options.prompts != STDIN and options.output.resolve() == Path(options.prompts).resolve():
        raise UserError(f"--output {options.output} is the file of prompts itself. Name another file.")


def checked_sampling(rules: Rules, options: argparse.Namespace) -> Sampling:
    """What was asked for, else the model's own. UserError if it makes no sense with the other options or the model."""
    if rules.template is None:
        raise UserError(f"MODEL {options.model} has no chat template. Use an instruct or chat model.")
    sampling = chosen_sampling(rules.sampling, options)
    if options.samples > 1 and sampling.temperature == 0:
        raise UserError(
            f"--samples {options.samples}: greedy decoding gives the same answer every time. "
            "Give a --temperature above 0, or leave --samples away."
        )
    return sampling


def settings(
    prompts: Prompts, source: Source, rules: Rules, sampling: Sampling, options: argparse.Namespace
) -> dict[str, Any]:
    """All that decides the answers, as it is compared and stored. A model counts by its files, not by its name."""
    loading = loading_options(options)
    if source.kind != "gguf":  # of a GGUF file the runtime decides
        loading["dtype"] = loading["dtype"] or default_dtype()
    drawing = {"drawing": DRAWING} if sampling.temperature else {}
    return {
        "model_sha256": digest_of(source),
        "template_sha256": hashlib.sha256(rules.template.encode()).hexdigest(),
        "stop_ids": list(rules.stop_ids),
        "prompts_sha256": prompts.sha256(),
        "system": options.system,
        "loading": loading,
        "max_new_tokens": options.max_new_tokens,
        "sampling": asdict(sampling),
        "seed": options.seed,
        "samples": options.samples,
        **drawing,
    }


def digest_of(source: Source) -> str:
    """SHA-256 of the weights; of an adapter also its base's, after a +."""
    path = fetch(source)
    base = f"+{digest_of(adapter_base(path))}" if (path / "adapter_config.json").is_file() else ""
    return weights_sha256(path) + base


def named(source: Source) -> dict[str, str | None]:
    """What the model was called, for the record; a Hub model with its commit."""
    revision = fetch(source).name if source.kind == "hub" else source.revision
    return {"model": source.spec, "name": source.name, "revision": revision}


def told_settings(prompts: Prompts, sampling: Sampling, options: argparse.Namespace) -> str:
    """In a line for the user, before the work."""
    seed = f", seed {options.seed}" if sampling.temperature else ""
    samples = f" × {options.samples} samples" if options.samples > 1 else ""
    blank = f" ({counted(prompts.blank, 'blank line')} skipped)" if prompts.blank else ""
    longest = counted(options.max_new_tokens, "new token")
    return f"{sampling.told()}{seed}, at most {longest}; {counted(len(prompts), 'prompt')}{samples}{blank}"


def run(
    part: Part, prompts: Prompts, lengths: array, sampling: Sampling, source: Source, options: argparse.Namespace
) -> Progress:
    """Answer what the part lacks, the longest prompts first, each answer kept as soon as it is there."""
    todo = sorted(part.left(), key=lambda number: -lengths[number // options.samples])
    if len(todo) < part.wanted():
        say(f"continuing: {part.wanted() - len(todo):,} of {part.wanted():,} answers are there")
    if todo:  # else the weights are not needed
        engine = open_engine(source, **loading_options(options))
        part.begin(engine.made_by())
    progress = Progress(part.wanted(), [lengths[number // options.samples] for number in todo], options.batch_size)
    try:
        for start in range(0, len(todo), CHUNK * options.batch_size):
            chunk = todo[start : start + CHUNK * options.batch_size]
            for number, found in answers(engine, chunk, prompts, sampling, options):
                part.add(number, found.text, found.finish_reason, len(found.token_ids))
                progress.add(lengths[number // options.samples], len(found.token_ids))
    except KeyboardInterrupt:
        kept = f"{part.wanted() - len(part.left()):,} of {part.wanted():,} answers are kept"
        raise KeyboardInterrupt(f"{kept}; the same command continues from there.") from None
    finally:
        progress.close()
    return progress


def answers(
    engine: Any, numbers: list[int], prompts: Prompts, sampling: Sampling, options: argparse.Namespace
) -> Iterator[tuple[int, Any]]:
    """Yield (number, Answer) as they finish. The first sample of a prompt is the same however many there are."""
    rows = [divmod(number, options.samples) for number in numbers]
    found = engine.generate(
        [prompts.conversation(row, options.system) for row, _ in rows],
        max_new_tokens=options.max_new_tokens,
        sampling=sampling,
        seed=options.seed,
        batch_size=options.batch_size,
        streams=[row + (sample << 32) for row, sample in rows],
    )
    for answer in found:
        yield numbers[answer.index], answer


def summary(options: argparse.Namespace, counts: Counter, progress: Progress) -> str:
    """The last line: what is there, and how fast this call was."""
    long = f", {counts[TOO_LONG]:,} left out (prompt too long)" if counts[TOO_LONG] else ""
    return (
        f"{options.output}: {counted(counts['stop'] + counts['length'], 'answer')}, {counts['stop']:,} ended by {'itself' if counts['stop'] == 1 else 'themselves'}, "
        f"{counts['length']:,} cut at {counted(options.max_new_tokens, 'token')}{long}; {counted(counts['tokens'], 'token')}. "
        f"This call: {counted(progress.answers, 'answer')} in {duration(progress.seconds())}, {progress.speed():,.0f} tokens/s"
    )


def say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
