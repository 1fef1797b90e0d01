"""Characters that a reader cannot see, or that move the text around them, spelled out: "a⟦U+200B⟧b".

Answers of a model may hold NUL, zero-width characters, marks that turn the direction of a line, half of a surrogate pair.
On a page each of them would hide something or disturb what stands beside it, so it is written as its code point.
"""

import re

_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but for tab and line feed
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufeff\uffa0\ufff9-\ufffb"  # soft hyphen, fillers, marks
    "\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f"  # zero width, line separators, bidi
    "\ud800-\udfff\U000e0000-\U000e0fff"  # lone surrogates, tags
)
_PICTURE = (
    "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"  # between two of these a zero-width joiner makes one picture of them
)
_RUN = re.compile(f"(?:[{_HIDDEN}]|(?<![{_PICTURE}])\u200d|\u200d(?![{_PICTURE}]))+")
SHOWN = 8  # code points spelled out of one run


def visible(text: str) -> str:
    """The text with hidden characters spelled out, a run of more than SHOWN cut to them and its length; CR LF becomes LF."""
    return _RUN.sub(_spell, text.replace("\r\n", "\n"))


def _spell(match: re.Match[str]) -> str:
    run = match[0]
    codes = " ".join(f"U+{ord(character):04X}" for character in run[:SHOWN])
    return f"⟦{codes} … {len(run):,} in all⟧" if len(run) > SHOWN else f"⟦{codes}⟧"
