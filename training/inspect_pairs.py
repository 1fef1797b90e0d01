"""Report on a preference data set without training.

    python -m training.inspect_pairs PATH_OR_RECIPE

Checks every row and prints what was kept, what was dropped and why, topics, faults and lengths in characters.
"""

import argparse
import statistics
from pathlib import Path

from command import run_command
from training.preferences import Preferences, load_preferences
from training.recipe import load_recipe


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.inspect_pairs", description="Report on preference data.", allow_abbrev=False
    )
    parser.add_argument("source", help="a recipe (.yaml), a data file (.json, .jsonl, .parquet) or a Hub data set")
    return parser


def main(argv: list[str] | None = None) -> int:
    source = build_parser().parse_args(argv).source
    if source.endswith((".yaml", ".yml")):
        sources = load_recipe(Path(source), []).dataset
    else:
        sources = [{"path": source}]
    print("\n".join(report_lines(load_preferences(sources))))
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


if __name__ == "__main__":
    run_command(main)
