"""The pairs made ready for training: encoded or read from the cache, and every cut and loss told."""

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from command import UserError
from run_folder import whole_file, write_json
from training.encoded_pairs import EncodedPairs
from training.encoding import CONTROL, GUTTED, UNFIT, Encoding, control_pattern
from training.preferences import Pair, Preferences
from training.preferences.findings import Finding, FindingLog, count_words, list_findings
from training.preferences.pair import pair_texts
from training.preferences.relations import Relations, relate
from training.recipe import Recipe
from training.report.build import Measured, Survey, data_report, suggested_max_length, survey
from training.report.page import page
from training.validation import split

SHOWN_NOTES = 5


@dataclass(frozen=True)
class Prepared:
    """`encoded`: token ids of the pairs that fit, those to train on (`kept`) first, then those to validate on (`held_out`)."""

    encoded: EncodedPairs
    kept: Preferences
    held_out: Preferences
    encoding: Encoding  # what came of all pairs
    relations: Relations  # among `kept`


def prepare_pairs(
    data: Preferences, tokenizer: Any, recipe: Recipe, run_dir: Path, strict: bool = False
) -> tuple[EncodedPairs, Preferences, Preferences]:
    """Token ids of the pairs that fit, those to train on first, and both kinds of pairs.

    Writes data_report.json, data_report.html and dropped.jsonl, and says what was kept, dropped, cut, held out. UserError if
    `strict` and a pair is left out.
    """
    tell_dropped(data.log, run_dir)
    prepared = encode_and_split(data, tokenizer, recipe, strict)
    found = survey(prepared.kept.pairs)
    report = report_on(prepared, found, data.sha256, recipe)
    write_report(run_dir, report, page(report, found, prepared.relations, prepared.kept, run_dir.name), data.log)
    print(account_of(report), file=sys.stderr)
    return prepared.encoded, prepared.kept, prepared.held_out


def tell_dropped(log: FindingLog, run_dir: Path) -> None:
    """The first rows that cannot be used, by name, and where the others are named."""
    for finding in log.first[:SHOWN_NOTES]:
        print(finding, file=sys.stderr)
    if len(log) > SHOWN_NOTES:
        print(f"… and {len(log) - SHOWN_NOTES:,} more rows dropped; all in {run_dir}/dropped.jsonl", file=sys.stderr)


def write_report(folder: Path, report: dict[str, Any], html: str, log: FindingLog) -> None:
    """data_report.json, data_report.html and dropped.jsonl, each whole."""
    write_json(folder / "data_report.json", report)
    with whole_file(folder / "data_report.html") as stream:
        stream.write(html)
    with whole_file(folder / "dropped.jsonl") as stream:
        log.copy_to(stream)


def encode_and_split(data: Preferences, tokenizer: Any, recipe: Recipe, strict: bool = False) -> Prepared:
    """The pairs as a run of the recipe trains and validates on them; says on stderr what was cut and left out."""
    encoding = encode(data, tokenizer, recipe.max_length, strict)
    usable = data.only(encoding.kept, encoding.dropped)
    relations = relate(usable.pairs)
    kept, held_out, order = hold_out(usable, relations.groups, recipe)
    return Prepared(encoding.pairs.take(order), kept, held_out, encoding, relations.only(order[: len(kept.pairs)]))


def report_on(prepared: Prepared, found: Survey, read_sha256: str, recipe: Recipe, **cost: Any) -> dict[str, Any]:
    """data_report.json of a run; `cost`: the `shape` and `device` by which its time is estimated."""
    trained = prepared.encoded[: len(prepared.kept.pairs)]
    measured = Measured(trained, prepared.encoding, recipe, **cost)
    held_out = prepared.held_out if recipe.validation else None
    return data_report(prepared.kept, found, prepared.relations, read_sha256, measured, held_out)


def account_of(report: dict[str, Any]) -> str:
    """What was kept, held out, dropped and cut, in a line."""
    held_out = report.get("validation", {}).get("pairs")
    reasons = [f"{held_out} held out for validation"] if held_out else []
    reasons += [f"{count:,} {reason}" for reason, count in report["dropped"].items()]
    reasons += cut_words(report["cut"], report["cut_tokens"])
    return f"kept {report['kept']:,} of {report['rows']:,} pairs" + (f": {', '.join(reasons)}" if reasons else "")


def hold_out(kept: Preferences, groups: np.ndarray, recipe: Recipe) -> tuple[Preferences, Preferences, list[int]]:
    """The pairs to train on, those to validate on, and the index of each in `kept`, in that order."""
    held: list[int] = []
    if recipe.validation:
        held = split(kept, groups, len(recipe.dataset), recipe.validation.get("pairs"), recipe.seed)
    apart = set(held)
    trained = [i for i, pair in enumerate(kept.pairs) if i not in apart and pair.source < len(recipe.dataset)]
    if not trained:
        raise UserError("no pair is left to train on beside those to validate on. Give more pairs.")
    lost = len(kept.pairs) - len(trained) - len(held)
    dropped = Counter({"validation pair belongs to one that is trained on": lost} if lost else {})
    return kept.only(trained, dropped), kept.only(held, Counter()), trained + held


def encode(data: Preferences, tokenizer: Any, max_length: int, strict: bool = False) -> Encoding:
    """Encode the pairs, or read what was kept of them; says on stderr what was cut and left out, and enters it into the log.

    UserError if nothing is left, or if `strict` and any pair is left out.
    """
    from training.encoding_cache import cached_encoding

    started = time.monotonic()
    encoding, origin = cached_encoding(data, tokenizer, max_length)
    seconds = time.monotonic() - started
    control = control_pattern(tokenizer)
    findings = [finding(data.pairs[index], *why, max_length, control) for index, *why in encoding.left_out]
    findings.sort(key=lambda one: one.place)  # as they stand in their files
    for one in findings:
        data.log.add(one)
    if strict and findings:
        raise UserError(list_findings(findings))
    better = suggested_max_length(encoding.whole_lengths, max_length)
    more = [f"… and {len(findings) - SHOWN_NOTES:,} more pairs left out"] if len(findings) > SHOWN_NOTES else []
    origin = f"token ids of {len(data.pairs):,} pairs in {seconds:.1f} s, {origin}"
    for line in (origin, *findings[:SHOWN_NOTES], *more, *suggestion_lines(encoding, tokenizer, max_length, better)):
        print(line, file=sys.stderr)
    if not encoding.pairs:
        fix = f"Raise max_length: {better_words(better, max_length)}." if better else "Mend the rows."
        reasons = count_words(encoding.dropped)
        raise UserError(f"none of {len(data.pairs)} pairs fits into max_length {max_length} ({reasons}). {fix}")
    return encoding


def finding(pair: Pair, reason: str, tokens: int, max_length: int, control: re.Pattern) -> Finding:
    """Why one pair is left out, with file and line, numbers and the fix."""
    if reason == UNFIT:
        detail = f"prompt is {tokens:,} tokens; max_length {max_length:,} leaves no room for an answer"
        return Finding(pair.where, reason, detail, "Raise max_length or drop the row.")
    if reason == CONTROL:
        token = next(filter(None, map(control.search, pair_texts(pair)))).group()
        return Finding(pair.where, reason, f"the text holds {token!r}, one of this model's", "Remove it from the text.")
    if reason == GUTTED or reason.endswith("after cutting"):
        return Finding(pair.where, reason, f"max_length is {max_length:,}", "Raise max_length or drop the row.")
    return Finding(pair.where, reason, "", "Mend or drop the row.")


def suggestion_lines(encoding: Encoding, tokenizer: Any, max_length: int, better: dict[str, int] | None) -> list[str]:
    """What a better max_length would be, where this one cuts."""
    if better is None:
        return []
    longer = sum(length > max_length for length in encoding.whole_lengths)
    limit = tokenizer.model_max_length
    return [
        f"{longer:,} of {len(encoding.whole_lengths):,} pairs are longer than max_length {max_length:,}: "
        + better_words(better, max_length)
        + (f"; the model itself reads {limit:,} at most" if limit < better["cuts_nothing"] else "")
        + "."
    ]


def better_words(better: dict[str, int], max_length: int) -> str:
    """`119 would cut nothing, 109 keeps 99 % of the pairs whole`; the second only where it is another and above this one."""
    all_of_them, most = better["cuts_nothing"], better["keeps_99_percent_whole"]
    words = f"{all_of_them:,} would cut nothing"
    return words + (f", {most:,} keeps 99 % of the pairs whole" if max_length < most < all_of_them else "")


def cut_words(cut: dict[str, int], cut_tokens: dict[str, int]) -> list[str]:
    """What was cut, for the account of a run: `12 prompts cut to max_length (3,400 tokens)`."""
    return [f"{count:,} {what} cut to max_length ({cut_tokens[what]:,} tokens)" for what, count in cut.items()]
