"""data_report.json: what the pairs are, what they teach, what was lost on the way, and what training on them costs.

It reads Preferences (`pairs` once, `sources`, `dropped`, `sha256`, `log`, `overlaps`), Relations (`near`, `twins`) and, where a
recipe and its model say how the pairs are read, their token ids (Measured).

The report holds numbers, places and short reasons, for it is released; texts of the data go on the page alone (page.py), through
Survey.examples and shown_finding(…, texts=True), and into dropped.jsonl.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from run_folder import is_hub_data_set
from training.encoded_pairs import EncodedPairs
from training.encoding import CONTROL, TOO_LONG, Encoding
from training.preferences import Pair, Preferences
from training.preferences.findings import Finding
from training.preferences.loading import DUPLICATE, OVERLAP
from training.preferences.pair import language_of
from training.preferences.relations import Relations
from training.preferences.store import digests_of
from training.preferences.text import shown
from training.report import contrast
from training.report.contradictions import Contradictions
from training.report.cost import Shape, estimate
from training.report.statistics import (
    LABEL_CHARACTERS,
    OTHER,
    Labels,
    Lengths,
    by_size,
    first_names,
    histogram,
    longer_bias,
    proportion,
    summary,
    under,
)
from training.report.text import shorten

REFUSAL_SAMPLE = 2500  # rows whose answers are asked for refusals: 1 to 2 ms each
EXAMPLES = 3  # of each class
EXAMPLE_CHARACTERS = 400
SHOWN_FINDINGS = 1000
SHOWN_GROUPS = 20
SHOWN_OVERLAPS = 1000
SHOWN_CONTRADICTIONS = 20
SHOWN_LABELS = 100
MOST_LANGUAGES = 40
SAME_AS = "the same as "  # before the place of the row that an exact duplicate repeats
QUOTING = (CONTROL, "unknown role", "duplicated key")  # findings whose detail quotes the row
PARTS = ("prompt", "chosen", "rejected")
LABELS = {"topics": "topic", "faults": "fault"}


@dataclass
class Survey:
    """What one pass over the pairs counts. `examples`: a few pairs of each (section, class), shortened, in order of their rows."""

    pairs: int = 0
    languages: Counter = field(default_factory=Counter)
    counts: dict[str, dict[str, Counter]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Counter)))
    turns: Counter = field(default_factory=Counter)
    systems: int = 0
    asked_refusals: int = 0
    labels: dict[str, Labels] = field(default_factory=lambda: {name: Labels() for name in LABELS})
    characters: dict[str, Lengths] = field(default_factory=lambda: {part: Lengths() for part in PARTS})
    source: Lengths = field(default_factory=Lengths)
    language: Lengths = field(default_factory=Lengths)  # number of each pair's language among `languages`' keys
    contradictions: Contradictions = field(default_factory=Contradictions)
    examples: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def note(self, section: str, kind: str, pair: Pair, language: str) -> None:
        """Count a pair in a section and keep it as an example while few are."""
        self.counts[section][language][kind] += 1
        shown = self.examples[section, kind]
        if len(shown) < EXAMPLES:
            shown.append(example(pair))


def example(pair: Pair) -> dict[str, str]:
    texts = {"prompt": pair.prompt[-1]["content"], "chosen": pair.chosen, "rejected": pair.rejected}
    return {"where": pair.where} | {name: shorten(text, EXAMPLE_CHARACTERS) for name, text in texts.items()}


def survey(pairs: Sequence[Pair]) -> Survey:
    """Go through the pairs once. Refusals are asked of all, or of about REFUSAL_SAMPLE of them chosen by their digests."""
    found = Survey()
    limit = (1 << 64) * REFUSAL_SAMPLE // len(pairs) if len(pairs) > REFUSAL_SAMPLE else None
    numbers: dict[str, int] = {}
    digests = digests_of(pairs) if limit is not None else None
    for number, pair in enumerate(pairs):
        language = language_of(pair)[:LABEL_CHARACTERS]
        if language not in numbers and len(numbers) >= MOST_LANGUAGES:  # labels that are no languages
            language = OTHER
        found.pairs += 1
        found.languages[language] += 1
        found.language.add(numbers.setdefault(language, len(numbers)))
        found.source.add(pair.source)
        found.turns[sum(message["role"] == "user" for message in pair.prompt)] += 1
        found.systems += pair.prompt[0]["role"] == "system"
        for name, key in LABELS.items():
            if key in pair.labels:
                found.labels[name].add(pair.labels[key])
        found.contradictions.add(pair)
        found.characters["prompt"].add(sum(len(message["content"]) for message in pair.prompt))
        found.characters["chosen"].add(len(pair.chosen))
        found.characters["rejected"].add(len(pair.rejected))
        kind, mixing = ("unclear", "neither") if contrast.is_foreign(language) else contrast.language_contrast(pair)
        found.note("contrast", kind, pair, language)
        found.note("mixing", mixing, pair, language)
        found.note("emoji", contrast.emoji_contrast(pair), pair, language)
        if limit is None or int.from_bytes(digests[number, :8].tobytes(), "big") < limit:
            found.asked_refusals += 1
            found.note("refusals", contrast.refusal_contrast(pair), pair, language)
    return found


@dataclass(frozen=True)
class Measured:
    """What can be said in tokens: the ids of the pairs that are trained on, what came of all that were read, and by which recipe."""

    encoded: EncodedPairs
    encoding: Encoding
    recipe: Any
    shape: Shape | None = None  # of the model; with a device, the time is estimated
    device: str | None = None


def data_report(
    data: Preferences,
    found: Survey,
    relations: Relations,
    read_sha256: str,
    measured: Measured | None = None,
    held_out: Preferences | None = None,
) -> dict[str, Any]:
    """Everything that is known of the pairs that are trained on, and of every row that is not, by reason.

    `data` holds the pairs that are trained on, `found` what survey() counted of them, `relations` which belong together;
    `read_sha256` is the digest of all pairs that were read, before encoding; `held_out`: those to validate on, where there are
    any: `rows` are `kept`, `validation.pairs` and `dropped` together. Without `measured` nothing is said in tokens.
    `suggested_max_length` is null where nothing was cut.
    """
    characters = {part: lengths.numbers() for part, lengths in found.characters.items()}
    report = {
        "sha256": data.sha256,
        "read_sha256": read_sha256,
        "rows": sum(source["rows"] for source in data.sources),
        "kept": len(data.pairs),
        "sources": data.sources,
        "dropped": dict(data.dropped),
        "languages": {name: found.languages[name] for name in by_size(found.languages)},
        **{name: labels.first(SHOWN_LABELS) for name, labels in found.labels.items()},
        "multi_turn": found.pairs - found.turns[1],
        "with_system": found.systems,
        "turns": {str(turns): count for turns, count in sorted(found.turns.items())},
        "characters": {part: summary(values) for part, values in characters.items()},
        **contrasts(found),
        "duplicates": duplicates(data, relations) | contradictions(data, found),
        "overlap": [shown_overlap(one) for one in data.overlaps[:SHOWN_OVERLAPS]],
        "findings": findings(data),
        "findings_in_all": len(data.log),
        "length_bias": {"characters": longer_bias(characters["chosen"], characters["rejected"]), "tokens": None},
    }
    if held_out is not None:
        report["validation"] = held_out_report(held_out)
    if measured is None:
        histograms = {"unit": "characters"} | {part: histogram(values) for part, values in characters.items()}
        return report | {"histograms": histograms} | by_kind(data, found, None, held_out)
    tokens = token_report(measured)
    report["length_bias"]["tokens"] = tokens.pop("length_bias_in_tokens")
    return report | tokens | by_kind(data, found, measured.encoded.lengths.sum(1), held_out)


def token_report(measured: Measured) -> dict[str, Any]:
    """The part of the report that is in tokens."""
    encoding, recipe = measured.encoding, measured.recipe
    lengths = dict(zip(PARTS, measured.encoded.lengths.T, strict=True))  # int32
    prompt, chosen, rejected = lengths.values()
    total = sum(int(values.sum(dtype=np.int64)) for values in lengths.values())
    bias = longer_bias(chosen, rejected)
    return {
        "cut": dict(+encoding.cut),
        "cut_tokens": dict(+encoding.cut_tokens),
        "max_length": recipe.max_length,
        "suggested_max_length": suggested_max_length(encoding.whole_lengths, recipe.max_length),
        "lost_to_max_length": lost(encoding, recipe.max_length),
        "tokens": {part: summary(values) for part, values in lengths.items()},
        "tokens_per_pass": total,
        "chosen_longer": {"value": bias["value"], "n": bias["n"]},
        "length_bias_in_tokens": bias,
        "histograms": {"unit": "tokens"} | {part: histogram(values) for part, values in lengths.items()},
        "cost": estimate(prompt, chosen, rejected, recipe, measured.shape, measured.device),
    }


def contrasts(found: Survey) -> dict[str, Any]:
    """The sections contrast, mixing, emoji and refusals: counts over all, and by language; shares with their interval."""
    report: dict[str, Any] = {}
    classes = {"contrast": contrast.LANGUAGE_CLASSES}
    for section in ("contrast", "mixing", "emoji", "refusals"):
        by_language = found.counts[section]
        order = classes.get(section, contrast.SIDES)
        counts = {kind: sum(by_language[language][kind] for language in by_language) for kind in order}
        report[section] = {
            "n": sum(counts.values()),
            "of": found.pairs,
            "counts": counts,
            "by_language": {
                name: {kind: by_language[name][kind] for kind in order} for name in by_size(found.languages)
            },
        }
    teaches = report["contrast"]["counts"]["teaches"]
    report["contrast"]["teaches"] = proportion(teaches, report["contrast"]["n"])
    for section in ("mixing", "emoji", "refusals"):
        counts = report[section]["counts"]
        report[section]["only_rejected"] = proportion(counts["only_rejected"], report[section]["n"])
        report[section]["only_chosen"] = proportion(counts["only_chosen"], report[section]["n"])
    return report


def by_kind(
    data: Preferences, found: Survey, tokens: np.ndarray | None, held_out: Preferences | None
) -> dict[str, Any]:
    """by_source and by_language: pairs, what they teach, tokens of a pass (null where there are none)."""
    sources, languages = found.source.numbers(), found.language.numbers()
    numbers = {name: number for number, name in enumerate(found.languages)}
    names = by_size(found.languages)
    held = Counter(pair.source for pair in held_out.pairs) if held_out is not None else Counter()

    def of(mask: np.ndarray) -> dict[str, Any]:
        characters = [found.characters[part].numbers()[mask] for part in PARTS]
        return {
            "pairs": int(mask.sum()),
            "characters_per_pair": round(float(np.mean(sum(characters))), 1) if mask.any() else None,
            "tokens": None if tokens is None else int(tokens[mask].sum(dtype=np.int64)),
        }

    return {
        "by_source": [
            {"path": str(source["path"]), "name": source.get("name"), "rows": source["rows"], "languages": {
                name: int(((sources == number) & (languages == numbers[name])).sum()) for name in names
            }} | of(sources == number) | {"held_out": held[number]}
            for number, source in enumerate(data.sources)
        ],
        "by_language": {
            name: of(languages == numbers[name]) | {"teaches": found.counts["contrast"][name]["teaches"]}
            for name in names
        },
    }  # fmt: skip


def lost(encoding: Encoding, max_length: int) -> dict[str, Any]:
    """What max_length takes away: pairs that are longer, cut or left out, and tokens, each with its share.

    `tokens_lost` are `tokens_cut` from pairs that stay and `tokens_left_out` with pairs that do not fit; their share is of these
    and of what is left of all pairs, those to validate on too. What is left out for another reason is no loss to the length.
    """
    whole = np.asarray(encoding.whole_lengths, dtype=np.int64)
    cut, left_out = encoding.cut_tokens.total(), encoding.lost_tokens.total()
    every = int(encoding.pairs.lengths.sum(dtype=np.int64)) + cut + left_out
    longer = int((whole > max_length).sum())
    return {
        "pairs_longer": longer,
        "share_of_pairs": longer / len(whole) if len(whole) else 0.0,
        "pairs_left_out": sum(encoding.dropped[reason] for reason in TOO_LONG),
        "prompts_cut": encoding.cut["prompts"],
        "responses_cut": encoding.cut["responses"],
        "tokens_cut": cut,
        "tokens_left_out": left_out,
        "tokens_lost": cut + left_out,
        "share_of_tokens": (cut + left_out) / every if every else 0.0,
    }


def duplicates(data: Preferences, relations: Relations) -> dict[str, Any]:
    """Exact ones that were dropped, groups of near ones among the kept, twins in two languages; places, no texts."""
    groups = near_groups(relations.near)
    twins = relations.twins
    return {
        "exact": data.dropped.get("exact duplicate", 0),
        "near_groups": len(groups),
        "near_rows": sum(map(len, groups)),
        "near_largest": [
            {"rows": len(group), "where": [data.pairs[i].where for i in group[:10]]} for group in groups[:SHOWN_GROUPS]
        ],
        "twins": len(twins),
        "twins_searched": relations.searched,
        "twins_best": [
            {"one": data.pairs[i].where, "other": data.pairs[j].where, "score": round(float(score), 3)}
            for i, j, score in sorted(twins, key=lambda twin: -twin[2])[:SHOWN_GROUPS]
        ],
    }


def contradictions(data: Preferences, found: Survey) -> dict[str, Any]:
    """How many rows another contradicts, and the places of the first of them."""
    rows, couples = found.contradictions.find(SHOWN_CONTRADICTIONS)
    places = [{"one": data.pairs[i].where, "other": data.pairs[j].where} for i, j in couples]
    return {"contradictions": rows, "contradictions_first": places}


def near_groups(near: np.ndarray) -> list[list[int]]:
    """Indices of the pairs of each group of near duplicates, two at least, the largest group first."""
    values, counts = np.unique(near, return_counts=True)
    members: dict[int, list[int]] = {int(value): [] for value in values[counts > 1]}
    for index in np.flatnonzero(np.isin(near, values[counts > 1])).tolist():
        members[int(near[index])].append(index)
    return sorted(members.values(), key=len, reverse=True)


def shown_overlap(overlap: dict[str, Any]) -> dict[str, Any]:
    found = {key: overlap.get(key) for key in ("where", "suite", "id", "rule", "share")}
    return {key: shorten(value, 200) if isinstance(value, str) else value for key, value in found.items()}


def findings(data: Preferences, texts: bool = False) -> list[dict[str, str]]:
    """The first findings. For the record without texts of the data; with `texts`, for the page, with what was found."""
    overlaps = {one["where"]: one for one in data.overlaps}
    return [shown_finding(one, data.sources, overlaps, texts) for one in data.log.first[:SHOWN_FINDINGS]]


def shown_finding(
    finding: Finding, sources: Sequence[dict[str, Any]], overlaps: dict[str, dict[str, Any]], texts: bool
) -> dict[str, str]:
    """A finding with a detail that is short, names no folder of this machine and, but for `texts`, quotes nothing of a row."""
    record = {key: getattr(finding, key) for key in ("where", "reason", "detail", "fix")}
    if finding.reason == DUPLICATE and finding.detail.startswith(SAME_AS):
        record["detail"] = SAME_AS + without_folder(finding.detail.removeprefix(SAME_AS), sources)
    elif finding.reason == OVERLAP and not texts:
        record["detail"] = overlap_words(overlaps.get(finding.where, {}))
    elif finding.reason in QUOTING and not texts:
        record["detail"] = ""
    return {key: shorten(text, 160) for key, text in record.items()}


def overlap_words(overlap: dict[str, Any]) -> str:
    """What an overlap is with, without the text that is shared: `13-gram in chosen of math gsm-7 (75%)`."""
    if not overlap:
        return ""
    place = f" in {overlap['in']}" if overlap.get("in") else ""
    return f"{overlap['rule']}{place} of {overlap['suite']} {overlap['id']} ({overlap['share']:.0%})"


def without_folder(place: str, sources: Sequence[dict[str, Any]]) -> str:
    """A place that begins with the whole path of a file or folder here, by its name alone; another as it is."""
    for source in sources:
        path = shown(str(Path(source["path"])))  # as the readers begin a place
        here = source.get("folder") or not is_hub_data_set(source["path"])
        if here and place.startswith(path) and place[len(path) :][:1] in ("", ":", "[", "/"):
            return path.rpartition("/")[2] + place[len(path) :]
    return place


def suggested_max_length(whole_lengths: Sequence[int], max_length: int) -> dict[str, int] | None:
    """The least max_length that cuts nothing, and the least that keeps 99 % of the pairs whole; None where nothing is cut."""
    ordered = sorted(whole_lengths)
    if not ordered or ordered[-1] <= max_length:
        return None
    return {
        "cuts_nothing": int(ordered[-1]),
        "keeps_99_percent_whole": int(ordered[math.ceil(0.99 * len(ordered)) - 1]),
    }


def held_out_report(data: Preferences) -> dict[str, Any]:
    """What data_report.json says of the pairs to validate on."""
    counts = Counter(language_of(pair)[:LABEL_CHARACTERS] for pair in data.pairs)
    languages = under(first_names(dict(counts.most_common()), MOST_LANGUAGES), counts)
    return {"pairs": len(data.pairs), "sha256": data.sha256, "languages": languages}
