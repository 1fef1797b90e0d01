"""What a reader of the report must see first: one sentence each, the gravest first, from the numbers of data_report.json alone."""

from collections import Counter
from typing import Any, NamedTuple

from training.preferences.loading import NOT_DRAWN, OVERLAP
from training.report.statistics import few_rows
from training.report.text import shorten

FEW = 0.02  # share of a language's pairs below which "teaches the language" is few
BIAS = 0.6  # share of pairs whose chosen is the longer one, from which length itself is taught (or the shorter one)
NAMED = 4  # languages with an alarm of their own; the rest in one
LANGUAGES = {"zh": "Chinese", "en": "English"}


class Alarm(NamedTuple):
    """`grave`: rows were lost, a leak, or the data teach the opposite; else worth knowing."""

    grave: bool
    text: str


def alarms(report: dict[str, Any]) -> list[Alarm]:
    """All of them, the grave ones first."""
    found = [*drops(report), *overlaps(report), *language(report), *loss(report), *sides(report), *length(report)]
    found += relatives(report)
    return sorted(found, key=lambda alarm: not alarm.grave)


def percent(share: float) -> str:
    """A share with the digits that tell it apart from 0 and 1: 0.24 %, 7.6 %, 71 %."""
    value = 100 * share
    if value in (0, 100):
        digits = f"{value:.0f}"
    elif value < 10:
        digits = f"{value:.2g}"
    else:
        digits = f"{value:.0f}" if value < 99.5 else f"{min(value, 99.9):.1f}"
    return f"{digits}\u00a0%"  # a line does not end before the sign


def tongue(name: str) -> str:
    return LANGUAGES.get(name, name)


def drops(report: dict[str, Any]) -> list[Alarm]:
    """All reasons in one sentence; rows that the mix was told not to draw are no loss."""
    counts = Counter(report["dropped"])
    found = []
    if spared := counts.pop(NOT_DRAWN, 0):
        found.append(Alarm(False, f"{spared:,} rows not drawn, as max_rows or weight of their source says."))
    if counts:
        reasons = ", ".join(f"{shorten(reason, 100)} {count:,}" for reason, count in counts.most_common())
        found.append(Alarm(True, f"{counts.total():,} of {report['rows']:,} rows dropped: {reasons}."))
    return found


def overlaps(report: dict[str, Any]) -> list[Alarm]:
    """How many rows, of all that were dropped for it; by suite those that are listed, which are the first ones."""
    count, suites = report["dropped"].get(OVERLAP, 0), Counter(one["suite"] for one in report["overlap"])
    if not count:
        return []
    named = ", ".join(f"{shorten(str(suite), 60)} {number:,}" for suite, number in suites.most_common())
    first = f"the first {suites.total():,} listed: " if suites.total() < count else ""
    found = f"{count:,} rows overlap a set to evaluate on ({first}{named}). They were removed before training."
    return [Alarm(True, found)]


def language(report: dict[str, Any]) -> list[Alarm]:
    """Whether each language's pairs teach that a prompt is answered in its language."""
    found = []
    for name, counts in few_rows(report["contrast"]["by_language"], NAMED).items():
        if counts["unclear"] == sum(counts.values()):  # neither Chinese nor English: not judged
            continue
        n, teaches, against = sum(counts.values()), counts["teaches"], counts["against"]
        if against > teaches:
            text = f"{against:,} of {n:,} {tongue(name)} pairs teach AGAINST answering in the prompt's language; {teaches:,} teach it."
            found.append(Alarm(True, text))
        elif teaches < FEW * n:
            amount = f"Only {teaches:,}" if teaches else "None"
            verb = "teach" if teaches > 1 else "teaches"
            text = f"{amount} of {n:,} {tongue(name)} pairs {verb} to answer in the prompt's language."
            found.append(Alarm(True, text))
    return found


def loss(report: dict[str, Any]) -> list[Alarm]:
    """What max_length cuts, and the length that would not."""
    lost = report.get("lost_to_max_length")
    if not lost or not lost["pairs_longer"]:
        return []
    better = report["suggested_max_length"] or {}
    text = (
        f"{lost['pairs_longer']:,} pairs ({percent(lost['share_of_pairs'])}) are longer than max_length "
        f"{report['max_length']:,}; {lost['tokens_lost']:,} tokens ({percent(lost['share_of_tokens'])}) are lost: "
        f"{lost['tokens_cut']:,} cut"
    )
    if lost["pairs_left_out"]:
        text += f", {lost['tokens_left_out']:,} in {lost['pairs_left_out']:,} pairs left out"
    if better:
        text += f". max_length {better['cuts_nothing']:,} would cut nothing"
        if better["keeps_99_percent_whole"] < better["cuts_nothing"]:
            text += f", {better['keeps_99_percent_whole']:,} keeps 99 % whole"
    return [Alarm(True, text + ".")]


def sides(report: dict[str, Any]) -> list[Alarm]:
    """What stands more often in chosen than in rejected, and so is taught."""
    words = {"emoji": "an emoji", "refusals": "a refusal", "mixing": "words of another language"}
    found = []
    for section, what in words.items():
        counts = report[section]["counts"]
        better, worse = counts["only_chosen"], counts["only_rejected"]
        if better - worse > 2 * (better + worse) ** 0.5:  # more than chance makes of as many on either side
            text = f"{better:,} pairs have {what} in chosen alone, {worse:,} in rejected alone: the data teach it."
            found.append(Alarm(better >= FEW * report[section]["n"], text))
    return found


def length(report: dict[str, Any]) -> list[Alarm]:
    unit = "tokens" if report["length_bias"]["tokens"] else "characters"
    bias = report["length_bias"][unit]
    if not bias:
        return []
    shorter = 1 - bias["value"] - bias["equal"] / bias["n"]
    word, share = ("longer", bias["value"]) if bias["value"] >= BIAS else ("shorter", shorter)
    if share < BIAS:
        return []
    text = f"Chosen is the {word} answer in {percent(share)} of the pairs ({bias['median_ratio']:.2f} times rejected at the median): length is taught too."
    return [Alarm(False, text)]


def relatives(report: dict[str, Any]) -> list[Alarm]:
    found, counts = [], report["duplicates"]
    if counts["contradictions"]:
        text = (
            f"{counts['contradictions']:,} kept rows contradict another: the same prompt, chosen and rejected swapped. They "
            "pull in both directions."
        )
        found.append(Alarm(True, text))
    if counts["near_rows"]:
        text = f"{counts['near_rows']:,} kept rows have nearly the same prompt as another, in {counts['near_groups']:,} groups."
        found.append(Alarm(False, text))
    if counts["twins"]:
        found.append(
            Alarm(False, f"{counts['twins']:,} pairs of rows may say the same in Chinese and English (twins).")
        )
    return found
