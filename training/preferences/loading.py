"""From the sources of a recipe to the pairs to train on, with an account of every row. No torch here.

Read row by row → each row into one form → what cannot be used dropped and counted → the mix drawn → in an order of its own.
Which rows are taken and how they are ordered depends on the rows' content, the sources' names and the seed, not on the order of
rows or sources nor on the number of processes. Pairs lie on disk (store.py): memory does not grow with their texts.
"""

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.preferences.control_tokens import control_pattern
from training.preferences.findings import BadRow, Finding, FindingLog, UnusablePairs, count_words
from training.preferences.forms import parse_row
from training.preferences.hub import pin
from training.preferences.mixing import draw_mix, order_of
from training.preferences.overlap import SUITES, HeldOut, held_out
from training.preferences.pair import Pair, fingerprint, pair_texts
from training.preferences.sources import check_source, read_source
from training.preferences.store import PairStore, sources_of
from training.preferences.text import is_unicode, normalise, shown

NOT_DRAWN = "not drawn (max_rows or weight of the source)"
DUPLICATE = "exact duplicate"
OVERLAP = "overlaps an eval suite"
PROGRESS = 100_000  # rows between two lines on stderr
PORTION = 1 << 18  # characters of the pairs that are compared with the suites at once


@dataclass(frozen=True)
class Preferences:
    """The pairs to train on and the account of every row that was read."""

    pairs: Sequence[Pair]
    sources: list[dict[str, Any]]
    dropped: Counter
    sha256: str  # of the pairs, in order
    log: FindingLog = field(default_factory=FindingLog)  # why each row was dropped; not those that the mix did not draw
    # Of the first 1,000: where, suite, id, rule, share, in (which turn or answer) and text (the piece that is shared).
    overlaps: list[dict[str, Any]] = field(default_factory=list)

    def only(self, kept: Sequence[int], dropped: Counter) -> "Preferences":
        """These pairs alone, the account and the digest with them; `dropped` says why the others went."""
        store = self.pairs
        pairs = store.take(kept) if isinstance(store, PairStore) else [store[i] for i in kept]
        counts = Counter(sources_of(pairs).tolist())
        sources = [{**source, "kept": counts[number]} for number, source in enumerate(self.sources)]
        whole = pairs.fingerprint() if isinstance(pairs, PairStore) else fingerprint(pairs)
        return Preferences(pairs, sources, self.dropped + dropped, whole, self.log, self.overlaps)


def load_preferences(
    sources: list[dict[str, Any]],
    suites: Path = SUITES,
    *,
    validation: Sequence[dict[str, Any]] = (),
    extra_suites: Sequence[Path] = (),
    control_tokens: Iterable[str] = (),
    strict: bool = False,
    seed: int = 42,
) -> Preferences:
    """Read, check, clean and mix all sources; those of `validation` are numbered behind the others and drawn apart.

    Dropped, and counted by reason: rows that are no pair or hold a control token (of the known templates, or of
    `control_tokens`), chosen equal to rejected, exact duplicates, overlap with the eval suites (`suites`, a folder, and
    `extra_suites`, files). UserError lists the findings if a source cannot be read to its end, if nothing is left, or if
    `strict` and there is any.
    """
    everything = [*sources, *validation]
    for source in everything:  # a mistake in the last one is told before the first one is read
        check_source(source)
    everything = [pin(source) for source in everything]
    reading = Reading(held_out(suites, extra_suites), control_pattern(control_tokens))
    for number, source in enumerate(everything):
        reading.read(source, number)
    log = reading.log
    if log.fatal:
        raise UnusablePairs(log.message(), log)
    kept = reading.without_duplicates(len(sources))
    if strict and len(log):
        stopped = "Nothing was trained on: --strict stops where any row is dropped."
        raise UnusablePairs(f"{log.message()}\n{stopped}", log)
    if not len(kept):
        names = ", ".join(shown(str(source["path"])) for source in everything)
        reasons = f" Dropped: {count_words(log.counts)}." if log.counts else ""
        listed = f"\n  {log.message()}" if log.first else ""
        raise UnusablePairs(f"{names}: no pair to train on ({sum(reading.rows):,} rows read).{reasons}{listed}", log)
    return reading.mixed(kept, seed)


class Reading:
    """What has been read so far: the usable pairs on disk, and an account of the others."""

    def __init__(self, suites: HeldOut, control: Any) -> None:
        self.suites, self.control = suites, control
        self.store, self.log = PairStore(), FindingLog()
        self.sources: list[dict[str, Any]] = []
        self.rows: list[int] = []
        self.waiting: list[Pair] = []
        self.characters = 0  # of those
        self.overlaps: list[dict[str, Any]] = []

    def read(self, source: dict[str, Any], number: int) -> None:
        """Read one source to its end, or to what cannot be read."""
        rows = 0
        for where, row in read_source(source):
            rows += 1
            if rows % PROGRESS == 0:
                print(f"{shown(str(source['path']))}: {rows:,} rows read", file=sys.stderr)
            finding = row if isinstance(row, Finding) else self.take(row, where, number)
            if finding is not None:
                self.log.add(finding)
        self.store_waiting()
        folder = {"folder": True} if os.path.isdir(source["path"]) else {}  # noqa: PTH112  (a name with a NUL raises there)
        name = source["path"] if is_unicode(source["path"]) else shown(source["path"])  # a record is UTF-8
        self.sources.append(
            source | folder | {"path": name}
        )  # the record tells data/pairs, a folder, from ORG/NAME on the Hub
        self.rows.append(rows)

    def take(self, row: Any, where: str, number: int) -> Finding | None:
        """Keep a row, or say why not; whether it overlaps an eval suite is asked of many at once."""
        try:
            pair = parse_row(row, where, number)
        except BadRow as bad:
            return bad.at(where)
        finding = self.reason_to_drop(pair)
        if finding is None:
            self.waiting.append(pair)
            self.characters += sum(map(len, pair_texts(pair)))
            if self.characters >= PORTION:
                self.store_waiting()
        return finding

    def reason_to_drop(self, pair: Pair) -> Finding | None:
        """Why a well-formed pair is not trained on, or None."""
        if found := next(filter(None, map(self.control.search, pair_texts(pair))), None):
            detail = f"the text holds {found.group()!r}, which a chat template would read as its own"
            return Finding(pair.where, "control token", detail, "Remove it from the text.")
        if normalise(pair.chosen) == normalise(pair.rejected):
            return Finding(pair.where, "chosen equals rejected", "", "Remove the row: it teaches nothing.")
        return None

    def store_waiting(self) -> None:
        """Store the pairs that wait, but those that overlap an eval suite."""
        for pair, overlap in zip(self.waiting, self.suites.overlaps(self.waiting), strict=True):
            if overlap is None:
                self.store.append(pair)
                continue
            if len(self.overlaps) < FindingLog.MOST:
                self.overlaps.append({**dataclasses.asdict(overlap), "in": overlap.where, "where": pair.where})
            fix = "Remove the row; dropped, it cannot leak into the scores."
            self.log.add(Finding(pair.where, OVERLAP, str(overlap), fix))
        self.waiting, self.characters = [], 0

    def without_duplicates(self, training_sources: int) -> np.ndarray:
        """Places of one of each set of equal rows, ascending; the others are entered as findings.

        Which one stays, and so which source it counts for, depends on what the sources hold and not on their order: it is of
        a source to train on, of the one with the fewest different rows, then of the first by name; then by its labels.
        """
        if not len(self.store):
            return np.zeros(0, np.int64)
        whole = self.store.digests
        digests = np.ascontiguousarray(whole).view(f"V{whole.shape[1]}").ravel()
        _, rows = np.unique(digests, return_inverse=True)  # the number of each different row
        numbers = self.store.sources
        order = np.lexsort((self.store.labels, self.ranks(rows, numbers, training_sources)[numbers], rows))
        first = np.append(True, np.diff(rows[order]) != 0)
        kept = order[first]
        for place in np.sort(order[~first]).tolist():
            original = self.store[int(kept[rows[place]])].where
            self.log.add(Finding(self.store[place].where, DUPLICATE, f"the same as {original}", "Remove the row."))
        return np.sort(kept)

    def ranks(self, rows: np.ndarray, numbers: np.ndarray, training_sources: int) -> np.ndarray:
        """The place of each source among those that may keep a row which several have."""

        def key(number: int) -> tuple:
            source = [str(self.sources[number].get(name)) for name in ("path", "name", "split", "revision")]
            return number >= training_sources, len(np.unique(rows[numbers == number])), *source, number

        ranks = np.zeros(len(self.sources), np.int64)
        ranks[sorted(range(len(self.sources)), key=key)] = np.arange(len(self.sources))
        return ranks

    def mixed(self, kept: np.ndarray, seed: int) -> Preferences:
        """The pairs that the mix takes, ordered by their content."""
        usable = self.store.take(kept)
        numbers = usable.sources
        drawn = draw_mix(usable.digests, numbers, self.sources, seed)
        pairs = usable.take(drawn).take(order_of(usable.digests[drawn]))
        counts = np.bincount(numbers[drawn], minlength=len(self.sources)).tolist()
        account = [
            {**source, "rows": rows, "kept": count}
            for source, rows, count in zip(self.sources, self.rows, counts, strict=True)
        ]
        missed = len(kept) - len(drawn)
        dropped = self.log.counts + (Counter({NOT_DRAWN: missed}) if missed else Counter())
        return Preferences(pairs, account, dropped, pairs.fingerprint(), self.log, self.overlaps)
