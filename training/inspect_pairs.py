"""Report on a preference data set without training.

    python -m training.inspect_pairs PATH_OR_RECIPE

Checks every row and prints what was kept, what was dropped and why, topics, faults and lengths in characters. Of a
recipe whose model is on this disk also the lengths in tokens, and what its max_length cuts.
"""

import argparse
import statistics
from pathlib import Path

from command import run_command
from inference.loading import Source, resolve
from training.preferences import Preferences, load_preferences
from training.recipe import Recipe, load_recipe


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.inspect_pairs", description="Report on preference data.", allow_abbrev=False
    )
    parser.add_argument("source", help="a recipe (.yaml), a data file (.json, .jsonl, .parquet) or a Hub data set")
    return parser


def main(argv: list[str] | None = None) -> int:
    source = build_parser().parse_args(argv).source
    if not source.endswith((".yaml", ".yml")):
        print("\n".join(report_lines(load_preferences([{"path": source}]))))
        return 0
    recipe = load_recipe(Path(source), [])
    data = load_preferences(recipe.dataset)
    print("\n".join(report_lines(data)), flush=True)
    if (model := resolve(recipe.model)).path is not None:
        print("\n".join(token_lines(data, model, recipe)))
    return 0


def report_lines(data: Preferences) -> list[str]:
    from training.record import count_labels, language_of

    rows = sum(source["rows"] for source in data.sources)
    lines = [f"{rows:,} rows, {len(data.pairs):,} kept"]
    lines += [f"  dropped {count:,}: {reason}" for reason, count in data.dropped.items()]
    languages: dict[str, int] = {}
    for pair in data.pairs:
        languages[language_of(pair)] = languages.get(language_of(pair), 0) + 1
    tables = {
        "language": languages,
        "topic": count_labels(data.pairs, "topic"),
        "fault": count_labels(data.pairs, "fault"),
    }
    for name, counts in tables.items():
        lines += [f"{name}:", *(f"  {count:6,}  {label}" for label, count in counts.items())] if counts else []
    for part in ("chosen", "rejected"):
        sizes = [len(getattr(pair, part)) for pair in data.pairs]
        lines.append(f"{part}: median {statistics.median(sizes):.0f} characters, longest {max(sizes):,}")
    return lines


def token_lines(data: Preferences, model: Source, recipe: Recipe) -> list[str]:
    """Lengths in tokens as the run would train on them; encode itself tells what is cut and what better length there is."""
    from inference.loading import load_tokenizer
    from training.preparation import cut_words, encode
    from training.record import lengths
    from training.system_prompt import set_system_prompt

    tokenizer = load_tokenizer(model)
    set_system_prompt(tokenizer, recipe.system_prompt)
    encoding = encode(data, tokenizer, recipe.max_length)
    lines = [f"tokens of {model.name}, max_length {recipe.max_length:,}:"]
    for part in ("prompt", "chosen", "rejected"):
        found = lengths([len(getattr(pair, part)) for pair in encoding.pairs])
        lines.append(f"  {part}: median {found['median']:,.0f}, longest {found['max']:,}")
    lines.append(f"  longest pair as it was read: {max(encoding.whole_lengths):,}")
    dropped = [f"{count:,} dropped: {reason}" for reason, count in encoding.dropped.items()]
    return lines + [f"  {words}" for words in [*dropped, *cut_words(+encoding.cut, encoding.cut_tokens)]]


if __name__ == "__main__":
    run_command(main)
