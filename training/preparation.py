"""The pairs made ready for training: encoded or read from the cache, and every cut and loss told."""

import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from command import UserError
from run_folder import read_json, whole_file, write_json
from training.encoded_pairs import EncodedPairs
from training.encoding import CONTROL, GUTTED, UNFIT, Encoding, control_pattern
from training.preferences import Pair, Preferences
from training.preferences.findings import Finding, FindingLog, count_words, list_findings
from training.preferences.pair import pair_texts
from training.preferences.relations import Relations, relate
from training.preferences.store import sources_of
from training.recipe import Recipe
from training.report.build import Measured, Survey, data_report, suggested_max_length, survey
from training.report.page import page
from training.validation import split

SHOWN_NOTES = 5
NEAR_TRAINED = "validation pair belongs to one that is trained on"


@dataclass(frozen=True)
class Prepared:
    """`encoded`: token ids of the pairs that fit, those to train on (`kept`) first, then those to validate on (`held_out`)."""

    encoded: EncodedPairs
    kept: Preferences
    held_out: Preferences
    encoding: Encoding  # what came of all pairs
    relations: Relations  # among `kept`


def prepare_pairs(
    data: Preferences, tokenizer: Any, recipe: Recipe, run_dir: Path, strict: bool = False, resumed: bool = False
) -> tuple[EncodedPairs, Preferences, Preferences]:
    """Token ids of the pairs that fit, those to train on first, and both kinds of pairs.

    Writes data_report.json, data_report.html and dropped.jsonl, and says what was kept, dropped, cut, held out; of several
    processes the first one does. UserError if `strict` and a pair is left out, or if `resumed` and the pairs are not those
    of the run so far.
    """
    tell_dropped(data.log, run_dir)
    prepared = encode_and_split(data, tokenizer, recipe, strict)
    if resumed:
        check_same_pairs(run_dir, prepared)
    if is_first_process():
        found = survey(prepared.kept.pairs)
        report = report_on(prepared, found, data.sha256, recipe)
        write_report(run_dir, report, page(report, found, prepared.relations, prepared.kept, run_dir.name), data.log)
        tell(account_of(report))
    return prepared.encoded, prepared.kept, prepared.held_out


def is_first_process() -> bool:
    """Of those that a launcher started; without one there is only this."""
    return os.environ.get("RANK", "0") == "0"


def tell(line: Any) -> None:
    if is_first_process():
        print(line, file=sys.stderr)


def check_same_pairs(run_dir: Path, prepared: "Prepared") -> None:
    """UserError where a run that is continued would train on other pairs than it has, or on some that it had held out."""
    before = read_json(run_dir / "data_report.json")
    now = {"sha256": prepared.kept.sha256, "validation": prepared.held_out.sha256 if prepared.held_out.pairs else None}
    then = {"sha256": before["sha256"], "validation": before.get("validation", {}).get("sha256")}
    if now != then:
        raise UserError(
            f"{run_dir} was begun on other pairs of the same data, or with others held out (another version of a package that "
            "divides or encodes them?). Continue it where it was begun, or choose another --output."
        )


def tell_dropped(log: FindingLog, run_dir: Path) -> None:
    """The first rows that cannot be used, by name, and where the others are named."""
    for finding in log.first[:SHOWN_NOTES]:
        tell(finding)
    if len(log) > SHOWN_NOTES:
        tell(f"… and {len(log) - SHOWN_NOTES:,} more rows dropped; all in {run_dir}/dropped.jsonl")


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
    kept, held_out, order = hold_out(usable, relations.groups, recipe, strict)
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


def hold_out(
    kept: Preferences, groups: np.ndarray, recipe: Recipe, strict: bool = False
) -> tuple[Preferences, Preferences, np.ndarray]:
    """The pairs to train on, those to validate on, and the index of each in `kept`, in that order.

    A pair of a validation set of its own that belongs to one that is trained on is dropped; UserError if `strict`.
    """
    held = np.zeros(len(kept.pairs), bool)
    if recipe.validation:
        held[split(kept, groups, len(recipe.dataset), recipe.validation.get("pairs"), recipe.seed)] = True
        asked = recipe.validation.get("pairs", 0)
        if held.sum() < asked:
            tell(
                f"validation: {held.sum():,} of {asked:,} pairs are held out; no more fit without dividing what belongs together"
            )
    of_training = sources_of(kept.pairs) < len(recipe.dataset)
    trained, lost = np.flatnonzero(~held & of_training), np.flatnonzero(~held & ~of_training)
    if not len(trained):
        raise UserError("no pair is left to train on beside those to validate on. Give more pairs.")
    fix = "Remove it from the validation set: its loss would be that of a pair which was learnt."
    findings = [Finding(kept.pairs[index].where, NEAR_TRAINED, "", fix) for index in lost.tolist()]
    for finding in findings:
        kept.log.add(finding)
    if strict and findings:
        raise UserError(list_findings(findings))
    dropped = Counter({NEAR_TRAINED: len(lost)} if len(lost) else {})
    chosen = np.flatnonzero(held)
    return kept.only(trained, dropped), kept.only(chosen, Counter()), np.concatenate([trained, chosen])


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
        tell(line)
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
