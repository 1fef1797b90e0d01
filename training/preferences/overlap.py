"""Overlap of a pair with the eval sets: whole prompts, 13-grams and near copies, in every turn and in both answers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from command import UserError
from training.preferences.eval_texts import HeldText, held_texts
from training.preferences.pair import Pair
from training.preferences.shingles import WALL, Hashed, grams, hash_tokens, spans, walled

SUITES = Path(__file__).resolve().parents[2] / "eval" / "suites"
SIZE = 13
NEAR = 0.4
LEAST_SHARED = 5
BOILERPLATE = 3  # what so many texts of one set share is its instruction, not its content
TELLING = 5  # of the 13 tokens
LEAST_WHOLE = 8  # tokens of an answer that is an eval text to be more than a coincidence
SHOWN = 200  # characters of a text in a finding
PORTION = 1 << 17  # characters that are looked at in one go, some 10 MiB of arrays
FILTER_BITS = 24  # 16 MiB: a hash that is not there is turned down in one look-up


@dataclass(frozen=True)
class Overlap:
    """What a pair shares with an eval set."""

    suite: str
    id: str
    rule: str  # "whole" | "13-gram" | "near copy"
    where: str  # "user turn", "user turn 2", "assistant turn 1", "system turn", "chosen" or "rejected"
    share: float  # whole: 1; 13-gram: of the eval text's 13-grams; near copy: of both texts' bigrams (Jaccard)
    text: str  # the shared piece, or the eval text; SHOWN characters at the most

    def __str__(self) -> str:
        return f"{self.rule} in {self.where} of {self.suite} {self.id} ({self.share:.0%}): {self.text}"


class Index:
    """Which of some 64-bit hashes each text holds."""

    def __init__(self, hashes: Sequence[np.ndarray]) -> None:
        self.sizes = np.array([len(one) for one in hashes], np.int64)
        flat = np.concatenate([*hashes, np.empty(0, np.uint64)])
        order = np.argsort(flat, kind="stable")
        self.keys, starts = np.unique(flat[order], return_index=True)
        self.starts = np.append(starts, len(flat))
        self.owners = np.repeat(np.arange(len(hashes)), self.sizes)[order]
        self.filter = np.zeros(1 << FILTER_BITS, bool)
        self.filter[self.bits(flat)] = True

    @staticmethod
    def bits(hashes: np.ndarray) -> np.ndarray:
        return (hashes >> np.uint64(64 - FILTER_BITS)).astype(np.intp)

    def contain(self, hashes: np.ndarray) -> np.ndarray:
        """Whether each hash is there: (n,) bool."""
        there = self.filter[self.bits(hashes)]
        maybe = there.nonzero()[0]
        there[maybe] = self.keys[self.position(hashes[maybe])] == hashes[maybe] if len(maybe) else False
        return there

    def position(self, hashes: np.ndarray) -> np.ndarray:
        return np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)

    def owners_of(self, hashes: np.ndarray) -> np.ndarray:
        """The texts that hold each of the hashes, all of which are there, one after the other."""
        return np.concatenate([self.owners[self.starts[i] : self.starts[i + 1]] for i in self.position(hashes)])


@dataclass(frozen=True)
class Places:
    """The turns and answers of some pairs as one array of tokens."""

    hashed: Hashed
    starts: np.ndarray  # (places,) int64: the first token of each
    ends: np.ndarray  # the wall behind it
    user: np.ndarray  # (places,) bool
    names: list[str]
    pairs: list[int]  # the number of the pair it is of

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> "Places":
        names, texts, numbers = [], [], []
        for number, pair in enumerate(pairs):
            names += place_names(pair)
            texts += [message["content"] for message in pair.prompt]
            texts += [pair.chosen, pair.rejected]
            numbers += [number] * (len(pair.prompt) + 2)
        hashed = hash_tokens(walled(texts))
        user = np.array([name.startswith("user") for name in names])
        return cls(hashed, hashed.walls[:-1] + 1, hashed.walls[1:], user, names, numbers)


class HeldOut:
    """The texts of eval sets, as Han characters and words: whole, as 13-grams, and the prompts as bigrams for near copies.

    A near copy shares at least 0.4 of the bigrams (Jaccard), and five of them at the least. Among the demo's 452 pairs as
    first written, eight reached 0.4: seven copies of an eval prompt and one that shared only its form ("write a Python
    function that tests for …"); to lose such a row costs little. Below, at 0.33 and less, copies and strangers mix.
    Short prompts of one form ("… 是什么意思") share four bigrams. Free paraphrases and translations need a reader.
    A 13-gram or a whole prompt that three texts of one set hold is that set's instruction, and is not looked for, nor are
    its bigrams.
    """

    def __init__(self, texts: Sequence[HeldText]) -> None:
        self.texts = texts
        tokens = [hash_tokens(text.text.replace(WALL, " ")) for text in texts]
        hashed = [one.hashes for one in tokens]
        keys = [np.append(spans(h, np.array([0]), np.array([len(h)])), grams(h, SIZE)) for h in hashed]
        common = boilerplate(keys, [text.suite for text in texts])
        self.whole: dict[int, int] = {}
        for number, key in enumerate(int(key[0]) for key in keys):
            if key not in common and len(hashed[number]):
                self.whole.setdefault(key, number)
        self.wholes = Index([np.array(list(self.whole), np.uint64)])
        without = np.array(sorted(common), np.uint64)
        told = [key[1:][telling(one)] for key, one in zip(keys, tokens, strict=True)]
        self.grams = Index([np.setdiff1d(one, without) for one in told])
        asked = [grams(h, 2)[: 0 if text.answer else None] for text, h in zip(texts, hashed, strict=True)]
        kept = [bigrams[outside(key[1:], without)[: len(bigrams)]] for bigrams, key in zip(asked, keys, strict=True)]
        self.bigrams = Index([distinct(bigrams) for bigrams in kept])

    @classmethod
    def of(cls, files: Sequence[Path]) -> "HeldOut":
        """UserError for a file that cannot be read or holds no text."""
        return cls([text for file in files for text in held_texts(file)])

    def overlap(self, pair: Pair) -> Overlap | None:
        """The plainest overlap: a whole prompt before a 13-gram before a near copy, the prompt before the answers."""
        return self.overlaps([pair])[0]

    def overlaps(self, pairs: Sequence[Pair]) -> list[Overlap | None]:
        """`overlap` of each; many at once are faster, some hundreds are enough."""
        return [overlap for few in portions(pairs) for overlap in self.overlaps_of_few(few)]

    def overlaps_of_few(self, pairs: Sequence[Pair]) -> list[Overlap | None]:
        found: list[Overlap | None] = [None] * len(pairs)
        places = Places.of(pairs)
        for rule in (self.find_whole, self.find_grams, self.find_near):
            for place, overlap in rule(places):
                number = places.pairs[place]
                found[number] = found[number] or overlap
        return found

    def find_whole(self, places: "Places") -> Iterator[tuple[int, Overlap]]:
        """A user turn that is an eval prompt; an answer that is an eval text of LEAST_WHOLE tokens."""
        keys = spans(places.hashed.hashes, places.starts, places.ends)
        for place in self.wholes.contain(keys).nonzero()[0].tolist():
            number, name = self.whole[int(keys[place])], places.names[place]
            long = places.ends[place] - places.starts[place] >= LEAST_WHOLE
            if not self.texts[number].answer if name.startswith("user") else long:
                yield place, self.found(number, "whole", name, 1.0)

    def find_grams(self, places: "Places") -> Iterator[tuple[int, Overlap]]:
        """The text that a place shares most 13-grams with; the piece shown is the longest run of them."""
        keys = grams(places.hashed.hashes, SIZE)
        hits = self.grams.contain(keys).nonzero()[0]
        at = np.searchsorted(places.ends, hits, side="right")
        for place in np.unique(at).tolist():
            inside = hits[at == place]
            shared = self.grams.owners_of(np.unique(keys[inside]))
            number, count = Counter(shared.tolist()).most_common(1)[0]
            first, last = max(runs(inside.tolist()), key=lambda run: run[1] - run[0])
            piece = places.hashed.piece(first, last + SIZE - 1)
            share = count / int(self.grams.sizes[number])
            yield place, self.found(number, f"{SIZE}-gram", places.names[place], share, piece)

    def find_near(self, places: "Places") -> Iterator[tuple[int, Overlap]]:
        """The eval prompt that a user turn is nearest to; only prompts that share a bigram are looked at."""
        keys = grams(places.hashed.hashes, 2)
        known = self.bigrams.contain(keys)
        counts = np.append(0, np.cumsum(known))
        lasts = np.maximum(places.starts, places.ends - 1)  # a turn of n tokens has n - 1 bigrams
        enough = places.user & (counts[lasts] - counts[places.starts] >= LEAST_SHARED)
        for place in enough.nonzero()[0].tolist():
            own = slice(places.starts[place], lasts[place])
            size, shared = len(distinct(keys[own])), distinct(keys[own][known[own]])
            if len(shared) < max(LEAST_SHARED, NEAR * size):  # it is at least NEAR of the union, and so of the turn's
                continue
            shared = np.bincount(self.bigrams.owners_of(shared))
            numbers = (shared >= LEAST_SHARED).nonzero()[0]
            shares = shared[numbers] / (size + self.bigrams.sizes[numbers] - shared[numbers])
            if len(shares) and shares.max() >= NEAR:
                number = int(numbers[shares.argmax()])
                yield place, self.found(number, "near copy", places.names[place], float(shares.max()))

    def found(self, number: int, rule: str, where: str, share: float, text: str | None = None) -> Overlap:
        held = self.texts[number]
        shown = " ".join((text or held.text).split())
        shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"
        return Overlap(held.suite, held.id, rule, where, round(share, 3), shown)


def held_out(suites: Path = SUITES, extra: Sequence[Path] = ()) -> HeldOut:
    """All suites of a folder (*.jsonl) and other sets by file. A missing folder is an error: silence would hide a leak."""
    files = sorted(suites.glob("*.jsonl"))
    if not files:
        raise UserError(f"{suites} holds no eval suite, so overlap with it cannot be ruled out. Restore the folder.")
    return HeldOut.of([*files, *extra])


def portions(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Some pairs at a time: PORTION characters and the pair that goes beyond them."""
    few, characters = [], 0
    for pair in pairs:
        few.append(pair)
        characters += len(pair.chosen) + len(pair.rejected) + sum(len(message["content"]) for message in pair.prompt)
        if characters >= PORTION:
            yield few
            few, characters = [], 0
    if few:
        yield few


def place_names(pair: Pair) -> list[str]:
    """The names of a pair's texts: turns are numbered by role where a role has several."""
    roles = [message["role"] for message in pair.prompt]
    if len(roles) == 1:
        return [f"{roles[0]} turn", "chosen", "rejected"]
    seen: Counter = Counter()
    names = []
    for role in roles:
        seen[role] += 1
        names.append(f"{role} turn {seen[role]}" if roles.count(role) > 1 else f"{role} turn")
    return [*names, "chosen", "rejected"]


def distinct(values: np.ndarray) -> np.ndarray:
    """np.unique, faster where there are few."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def boilerplate(keys: Sequence[np.ndarray], suites: Sequence[str]) -> set[int]:
    """The hashes that BOILERPLATE texts of one suite share."""
    common: set[int] = set()
    for suite in set(suites):
        own = [np.unique(key) for key, name in zip(keys, suites, strict=True) if name == suite]
        values, counts = np.unique(np.concatenate(own), return_counts=True)
        common.update(values[counts >= BOILERPLATE].tolist())
    return common


def telling(hashed: Hashed) -> np.ndarray:
    """Which 13-grams hold TELLING different tokens that are no numbers: 1 to 13, or 哈 and nothing else, say nothing."""
    count = len(hashed.hashes) - SIZE + 1
    if count < 1:
        return np.empty(0, bool)
    numbers = np.array([hashed.text[start].isdecimal() for start in hashed.starts.tolist()])
    windows = np.lib.stride_tricks.sliding_window_view(np.where(numbers, 0, hashed.hashes), SIZE)
    windows = np.sort(windows, axis=1)
    return (windows[:, 1:] != windows[:, :-1]).sum(axis=1) + (windows[:, 0] != 0) >= TELLING


def outside(keys: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Of a text's bigrams, by its 13-grams: whether each lies in none that is common. All of them in a shorter text."""
    there = np.isin(keys, common).nonzero()[0]
    free = np.ones(len(keys) + SIZE, bool)
    free[there[:, None] + np.arange(SIZE - 1)] = False
    return free


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    first = before = numbers[0]
    for number in numbers[1:]:
        if number != before + 1:
            yield first, before
            first = number
        before = number
    yield first, before
