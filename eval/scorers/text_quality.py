"""How varied a text is: distinct-n (Li et al. 2016, arXiv:1510.03055) and repetition, over characters for Chinese, words for English.

These fall with length by nature, so compare answers of like length; the length in tokens is reported beside them.
"""

import re
from collections import Counter
from collections.abc import Sequence

VERSION = 1
REPEATED_GRAM = 4


def units(text: str, language: str) -> list[str]:
    """What is counted: for "zh" Han characters and Latin words or numbers as one each, for "en" lower-case words and numbers."""
    pattern = r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+" if language == "zh" else r"[^\W_]+(?:['’-][^\W_]+)*"
    return re.findall(pattern, text.lower())


def _grams(sequence: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(sequence[i:] for i in range(n)), strict=False))


def distinct(texts: Sequence[str], n: int, language: str) -> float | None:
    """Different n-grams / all n-grams over the texts together, 0 to 1; None where no text has n units."""
    grams = [gram for text in texts for gram in _grams(units(text, language), n)]
    return len(set(grams)) / len(grams) if grams else None


def repetition(text: str, language: str) -> float | None:
    """Share of the text's 4-grams that occurred before in it, 0 (none) to near 1 (a loop); None for fewer than 4 units."""
    grams = _grams(units(text, language), REPEATED_GRAM)
    return 1 - len(Counter(grams)) / len(grams) if grams else None
