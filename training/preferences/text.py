"""Text as it is compared: normalised, as Han characters and words, as n-grams."""

import re
import unicodedata

HAN_OR_WORD = re.compile(r"[一-鿿㐀-䶿]|[^\W一-鿿㐀-䶿]+")
SURROGATE = re.compile("[\ud800-\udfff]")


def normalise(text: str) -> str:
    """Text as compared for sameness: NFKC, lower case, runs of space as one."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def split_tokens(text: str) -> tuple[str, ...]:
    """Han characters one by one, other words whole; no punctuation."""
    return tuple(HAN_OR_WORD.findall(normalise(text)))


def ngrams(tokens: tuple[str, ...], size: int) -> set[tuple[str, ...]]:
    return {tokens[i : i + size] for i in range(len(tokens) - size + 1)}


def is_unicode(text: str) -> bool:
    """Whether a text is encodable: JSON may hold half of a surrogate pair, which no tokenizer takes."""
    return SURROGATE.search(text) is None


def shown(text: str, most: int = 200) -> str:
    """A name or text from outside as it may stand in a message: on one line, at most `most` characters, no escape sequence.

    What does not print (controls, line ends, bidirectional marks, bytes of a file name that are no UTF-8) stands as \\x1b.
    """
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
