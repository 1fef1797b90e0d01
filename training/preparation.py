"""The pairs made ready for training: encoded or read from the cache, and every cut and loss told."""

import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import UserError
from run_folder import write_json
from training.encoding import UNFIT, EncodedPair, Encoding
from training.preferences import Preferences
from training.preferences.pair import language_of
from training.recipe import Recipe
from training.report.build import Survey, data_report, held_out_report, suggested_max_length, survey
from training.validation import split

SHOWN_NOTES = 5


@dataclass(frozen=True)
class Prepared:
    """`encoded`: token ids of the pairs that fit, those to train on (`kept`) first, then those to validate on (`held_out`)."""

    encoded: list[EncodedPair]
    kept: Preferences
    held_out: Preferences
    encoding: Encoding  # what came of all pairs


def prepare_pairs(
    data: Preferences, tokenizer: Any, recipe: Recipe, run_dir: Path
) -> tuple[list[EncodedPair], Preferences, Preferences]:
    """Token ids of the pairs that fit, those to train on first, and both kinds of pairs.

    Writes data_report.json and says what was kept, dropped, cut, held out.
    """
    prepared = encode_and_split(data, tokenizer, recipe)
    report = report_on(prepared, survey(prepared.kept.pairs), data.sha256, recipe)
    write_json(run_dir / "data_report.json", report)
    held_out = prepared.held_out
    reasons = [f"{len(held_out.pairs)} held out for validation"] if held_out.pairs else []
    reasons += [f"{count} {reason}" for reason, count in report["dropped"].items()]
    reasons += cut_words(report["cut"], report["cut_tokens"])
    account = f"kept {report['kept']:,} of {report['rows']:,} pairs" + (f": {', '.join(reasons)}" if reasons else "")
    print(account, file=sys.stderr)
    return prepared.encoded, prepared.kept, held_out


def encode_and_split(data: Preferences, tokenizer: Any, recipe: Recipe) -> Prepared:
    """The pairs as a run of the recipe trains and validates on them; says on stderr what was cut and left out."""
    encoding = encode(data, tokenizer, recipe.max_length)
    kept, held_out, order = hold_out(data.only(encoding.kept, encoding.dropped), recipe)
    return Prepared([encoding.pairs[index] for index in order], kept, held_out, encoding)


def report_on(prepared: Prepared, found: Survey, read_sha256: str, recipe: Recipe, **cost: Any) -> dict[str, Any]:
    """data_report.json of a run; `cost`: the `shape` and `device` by which its time is estimated."""
    trained = prepared.encoded[: len(prepared.kept.pairs)]
    report = data_report(prepared.kept, found, read_sha256, trained, prepared.encoding, recipe, **cost)
    return report | ({"validation": held_out_report(prepared.held_out)} if recipe.validation else {})


def hold_out(kept: Preferences, recipe: Recipe) -> tuple[Preferences, Preferences, list[int]]:
    """The pairs to train on, those to validate on, and the index of each in `kept`, in that order."""
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


def encode(data: Preferences, tokenizer: Any, max_length: int) -> Encoding:
    """Encode the pairs, or read what was kept of them; says on stderr what was cut and left out. UserError if all were."""
    from training.encoding_cache import cached_encoding

    started = time.monotonic()
    encoding, origin = cached_encoding(data, tokenizer, max_length)
    seconds = time.monotonic() - started
    notes = [note(data, index, reason, tokens, max_length) for index, reason, tokens in encoding.left_out]
    more = [f"… and {len(notes) - SHOWN_NOTES:,} more pairs left out"] if len(notes) > SHOWN_NOTES else []
    origin = f"token ids of {len(data.pairs):,} pairs in {seconds:.1f} s, {origin}"
    for line in (origin, *notes[:SHOWN_NOTES], *more, *suggestion_lines(encoding, tokenizer, max_length)):
        print(line, file=sys.stderr)
    if not encoding.pairs:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in encoding.dropped.items())
        fix = "Raise max_length." if max(encoding.whole_lengths) > max_length else "Mend the rows."
        raise UserError(f"none of {len(data.pairs)} pairs fits into max_length {max_length} ({reasons}). {fix}")
    return encoding


def note(data: Preferences, index: int, reason: str, tokens: int, max_length: int) -> str:
    """Why one pair is left out, with file and line, numbers and the fix."""
    where = data.pairs[index].where
    if reason == UNFIT:
        return (
            f"{where}: prompt is {tokens:,} tokens; max_length {max_length:,} leaves no room for an answer. "
            "Raise max_length or drop the row."
        )
    if reason.endswith("after cutting"):
        return f"{where}: {reason} to max_length {max_length:,}. Raise max_length or drop the row."
    return f"{where}: {reason}. Mend or drop the row."


def suggestion_lines(encoding: Encoding, tokenizer: Any, max_length: int) -> list[str]:
    """What a better max_length would be, where this one cuts."""
    better = suggested_max_length(encoding.whole_lengths, max_length)
    if better is None:
        return []
    longer = sum(length > max_length for length in encoding.whole_lengths)
    all_of_them, most = better.values()
    limit = tokenizer.model_max_length
    return [
        f"{longer:,} of {len(encoding.whole_lengths):,} pairs are longer than max_length {max_length:,}: {all_of_them:,} "
        "would cut nothing"
        + (f", {most:,} keeps 99 % of the pairs whole" if max_length < most < all_of_them else "")
        + (f"; the model itself reads {limit:,} at most" if limit < all_of_them else "")
        + "."
    ]


def cut_words(cut: dict[str, int], cut_tokens: dict[str, int]) -> list[str]:
    """What was cut, for the account of a run: `12 prompts cut to max_length (3,400 tokens)`."""
    return [f"{count:,} {what} cut to max_length ({cut_tokens[what]:,} tokens)" for what, count in cut.items()]
