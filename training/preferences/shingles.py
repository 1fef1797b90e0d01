"""Texts as arrays of 64-bit hashes: tokens and n-grams, without a Python object a token.

The tokens are those of `split_tokens`, Han characters one by one and other words whole; with `signs` also each of
+ - * / ^ % # = < > × ÷, without which 2+3 would be 2-3 and C++ would be C#. The hashes are the same in every process and
on every platform. Two different n-grams share one with a probability of 2^-64, so equal hashes are taken for equal grams.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

WALL = "\0"  # stands between texts that are hashed in one go; no row holds it
SIGNS = "+-*/^%#=<>×÷"
NOTHING, WORD, ALONE, WALLED = range(4)  # what a character is: of no token, of a word, a token by itself, a wall
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so it has an inverse modulo 2^64
INVERSE = np.uint64(pow(int(BASE), -1, 1 << 64))
CHARACTERS = 0x110000
REMEMBERED = 1 << 20


@dataclass(frozen=True)
class Hashed:
    """The tokens of a text: their hashes, and where each begins and ends in `text`, which is the text as it is compared."""

    text: str
    hashes: np.ndarray  # (n,) uint64
    starts: np.ndarray  # (n,) int64, characters
    ends: np.ndarray
    walls: np.ndarray  # the numbers of the tokens that are walls

    def piece(self, first: int, last: int) -> str:
        """The text from one token to another, both included."""
        return " ".join(self.text[self.starts[first] : self.ends[last]].split())


def hash_tokens(text: str, signs: bool = False) -> Hashed:
    """The tokens of a text, NFKC and lower case like `normalise`."""
    plain = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()
    codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.intp)
    kinds = kinds_of_characters(signs)[codes]
    alone, first = kinds > WORD, kinds == WORD
    last = first.copy()
    first[1:] &= ~last[:-1]
    last[:-1] &= kinds[1:] != WORD
    starts, ends = (alone | first).nonzero()[0], (alone | last).nonzero()[0] + 1
    hashes = mix(spans(values_of_characters()[codes], starts, ends))
    return Hashed(plain, hashes, starts, ends, (kinds[starts] == WALLED).nonzero()[0])


def walled(texts: Sequence[str]) -> str:
    """Texts with a wall before, between and behind them."""
    return WALL + WALL.join(text.replace(WALL, " ") for text in texts) + WALL


def grams(hashes: np.ndarray, size: int) -> np.ndarray:
    """The hash of each run of `size` values; none where there are fewer."""
    sums, count = prefix_sums(hashes), max(0, len(hashes) - size + 1)
    return (sums[size:] - sums[:count]) * powers(INVERSE, count) if count else np.empty(0, np.uint64)


def spans(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The hash of values[start:end] for each start and end: a polynomial in BASE modulo 2^64, by differences of its prefixes."""
    sums = prefix_sums(values)
    return (sums[ends] - sums[starts]) * powers(INVERSE, len(sums))[starts]


def prefix_sums(values: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(values) + 1, np.uint64)
    np.multiply(values, powers(BASE, len(values)), out=sums[1:])
    return sums.cumsum(out=sums)


def mix(values: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits (murmur3's last steps): a word and a run of words are then different polynomials."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def powers(base: np.uint64, count: int) -> np.ndarray:
    """base^0, base^1, …, `count` of them; remembered up to REMEMBERED, 8 MiB."""
    return remembered_powers(base)[:count] if count <= REMEMBERED else powers_to(base, count)


@cache
def remembered_powers(base: np.uint64) -> np.ndarray:
    return powers_to(base, REMEMBERED)


def powers_to(base: np.uint64, count: int) -> np.ndarray:
    return np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(count - 1, base)]), dtype=np.uint64)


@cache
def values_of_characters() -> np.ndarray:
    """(CHARACTERS,) uint64, a pseudo-random number a character: mix(code + 1 times BASE)."""
    return mix(np.arange(1, CHARACTERS + 1, dtype=np.uint64) * BASE)


@cache
def kinds_of_characters(signs: bool) -> np.ndarray:
    """(CHARACTERS,) uint8: what each character is to a token. As in `HAN_OR_WORD`, \\w is what isalnum() says and _."""
    kinds = alphanumeric() * np.uint8(WORD)
    kinds[ord("_")] = WORD
    kinds[0x3400:0x4DC0] = kinds[0x4E00:0xA000] = ALONE
    kinds[[ord(sign) for sign in SIGNS]] = ALONE if signs else NOTHING
    kinds[ord(WALL)] = WALLED
    return kinds


@cache
def alphanumeric() -> np.ndarray:
    """(CHARACTERS,) uint8: 1 where isalnum(); a fifth of a second to ask."""
    return np.fromiter((chr(code).isalnum() for code in range(CHARACTERS)), np.uint8, CHARACTERS)
