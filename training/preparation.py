"""The pairs made ready for training: encoded or read from the cache, and every cut and loss told."""

import math
import sys
import time
from typing import Any

from command import UserError
from training.encoding import UNFIT, Encoding
from training.preferences import Preferences

SHOWN_NOTES = 5


def prepare_pairs(data: Preferences, tokenizer: Any, max_length: int) -> Encoding:
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


def suggested_max_length(whole_lengths: list[int], max_length: int) -> dict[str, int] | None:
    """The least max_length that cuts nothing, and the least that keeps 99 % of the pairs whole; None where nothing is cut."""
    ordered = sorted(whole_lengths)
    if not ordered or ordered[-1] <= max_length:
        return None
    return {"cuts_nothing": ordered[-1], "keeps_99_percent_whole": ordered[math.ceil(0.99 * len(ordered)) - 1]}


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
