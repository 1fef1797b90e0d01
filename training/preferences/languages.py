"""Which language a prompt is in, as far as its script and its commonest words tell."""

import re

from eval.scorers.language_rules import FUNCTION_WORDS

HAN = re.compile("[㐀-䶿一-鿿]")
KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
OTHER_LETTER = re.compile(
    "[\u0370-\u1fff\u2c00-\u2dff\ua640-\uabff]"
)  # Greek, Cyrillic, Hebrew, Arabic, those of India, Thai …
LATIN_WORD = re.compile(r"[a-zà-ɏ]+")
CODES = {"English": "en", "French": "fr", "Spanish": "es", "German": "de", "Italian": "it", "Portuguese": "pt"}
NAMES = {
    "chinese": "zh",
    "mandarin": "zh",
    "中文": "zh",
    "汉语": "zh",
    **{name.lower(): code for name, code in CODES.items()},
}
READ = 400  # characters of a text that are looked at for words
LEAST = 2  # words that a language other than English must have


def language_of_text(text: str) -> str:
    """zh, en, another code of CODES, ja or ko (by their scripts), or "other". A text without letters counts as en.

    Chinese with a few words of English is zh: a prompt about `Python` in Chinese is one. Of English and the languages of
    CODES that one is taken whose function words are most; the others that are written in Latin letters count as en.
    """
    if HAN.search(text) or KANA_OR_HANGUL.search(text):
        sample = text[:4000]
        other = KANA_OR_HANGUL.findall(sample)
        if len(other) * 5 <= len(HAN.findall(sample)):  # fewer: Chinese that cites a word
            return "zh"
        return "ko" if "\uac00" <= other[0] <= "\ud7af" else "ja"
    if len(OTHER_LETTER.findall(text[:READ])) > len(text[:READ]) / 4:
        return "other"
    words = LATIN_WORD.findall(text[:READ].lower())
    counts = {CODES[name]: sum(word in known for word in words) for name, known in FUNCTION_WORDS.items()}
    best = max(counts, key=counts.get)
    return best if counts[best] >= LEAST and counts[best] > counts["en"] else "en"


def language_of_label(label: str) -> str:
    """A row's own label in the same words: zh-CN, Chinese and 中文 are zh."""
    name = label.strip().lower()
    return NAMES.get(name) or re.split(r"[-_]", name)[0] or "other"
