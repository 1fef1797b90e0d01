"""How values enter a card: figures formatted once for both languages, foreign text made harmless.

Whatever a template prints passes through `Printer.value`; only what is marked `Markup` here goes in as it is.
"""

import html
import itertools
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import Undefined
from markupsafe import Markup

from command import UserError

# Punctuation that means something somewhere in Markdown, and what does so only at the start of a line or after a number.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#!|~^]|^[-+=:]|(?<=\d)\.(?= |$))")
# What readers turn into links, mentions, pictures or formulas even where it is escaped: GFM's autolinks look at the text that
# the escapes leave (remark-gfm), as emoji and formulas do elsewhere. Nothing looks into code.
_LINKED = re.compile(r"//|www\.|@|\$|\\|:[\w+-]+:", re.IGNORECASE)
_LONG_WORD = re.compile(
    r"[^\s\u2e80-\u9fff\uac00-\ud7ff\uf900-\uffef\U00020000-\U0003ffff]{101,}"
)  # Han text breaks anywhere
_TICKS = re.compile("`{33,}")  # cmark reads no code span of more than 80 backticks and no fence of more than 255
_BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u2800\u3164\uffa0"
)  # letters and marks that show nothing
NBSP = "\u00a0"  # keeps a number and its unit on one line
_MARKS = 4  # combining marks on one letter; more would grow over the lines around it
_COLUMNS = 76  # of a code block in a column of 720 pixels
_CLOSING = "，。、；：？！）》」』”"
_SPELLED = 8  # of a longer run of hidden characters as many are spelled out


class Printer:
    """Prints values in one language; `missing` is its word for what was not measured."""

    def __init__(self, missing: str):
        self.missing = missing

    def value(self, value: Any) -> str:
        """Any value a template prints: None is the word for missing, numbers are formatted, strings escaped."""
        if isinstance(value, Markup):
            return value
        if value is None or isinstance(value, Undefined):
            return self.missing
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int | float):
            return number(value)
        return plain(str(value))

    def figure(self, measured: dict[str, Any] | None, unit: str | None) -> str:
        """A metric with its 95 % interval, such as `43.8 % [31.2, 57.1]`; a line may break before the bracket alone."""
        return self._interval(measured, lambda value: by_unit(value, unit), f"{NBSP}%" if unit == "proportion" else "")

    def difference(self, measured: dict[str, Any] | None, unit: str | None) -> str:
        """A difference with its interval, all signed, such as `+12.5 pp [+3.1, +21.9]`; percentage points for proportions."""
        mark = f"{NBSP}pp" if unit == "proportion" else ""
        return self._interval(measured, lambda value: by_unit(value, unit, signed=True), mark)

    def _interval(self, measured: dict[str, Any] | None, show: Callable[[float], str], mark: str) -> str:
        if not measured or measured.get("value") is None:
            return self.missing
        low, high = measured.get("low"), measured.get("high")
        interval = f" [{show(low)},{NBSP}{show(high)}]" if low is not None and high is not None else ""
        return Markup(f"{show(measured['value'])}{mark}{interval}")

    def code(self, value: Any, none: str | None = None, cell: bool = True) -> str:
        """A value as inline code that nothing inside can leave; `none` (default: the word for missing) stands for None.

        In a table cell a `|` must be escaped, elsewhere (cell=False) it must not.
        """
        if value is None or isinstance(value, Undefined):
            return none or self.missing
        text = one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        if not text:
            return none or self.missing
        return in_code(in_cell(text) if cell else text)

    def span(self, value: Any) -> str:
        """Inline code outside a table."""
        return self.code(value, cell=False)

    def setting(self, value: Any) -> str:
        """A setting in a table cell; one that was left unset is a dash."""
        return self.code(value, none="–")


def number(value: float) -> str:
    """A figure: thousands marked, four significant digits. UserError for NaN and Infinity, which no record may hold."""
    if not math.isfinite(value):
        raise UserError(f"a record holds {value}, which is no measured figure. Run the step that wrote it again.")
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def by_unit(value: float, unit: str | None, signed: bool = False) -> str:
    """A metric's figure with the decimals of its unit, as eval.report prints it; a unit it does not know, as `number` does."""
    plain_figure, sign = number(value), "+" if signed else ""
    if unit == "proportion":
        return f"{100 * value:{sign}.1f}"
    if unit in ("ratio", "tokens", "perplexity"):
        return f"{value:{sign}.{3 if unit == 'ratio' else 1}f}"
    return sign * (value > 0) + plain_figure


def percent(value: float) -> str:
    """A proportion in percent with one decimal, without the sign."""
    number(value)
    return f"{100 * value:.1f}".replace("-0.0", "0.0") if abs(value) < 0.0005 else f"{100 * value:.1f}"


def plain(text: str) -> Markup:
    """Foreign text as one line of inert Markdown: no HTML, link, heading, table cell, formula, mention comes of it.

    A word that a reader might link stands as code.
    """
    return Markup(" ".join(_plain_word(word) for word in one_line(text).split(" ")))


def _plain_word(word: str) -> str:
    """A word, escaped; each part of it between bars as code where it must be: `|` is escaped outside of code alone."""
    if not _LINKED.search(word):
        return _MARKDOWN.sub(r"\\\1", html.escape(word, quote=False))
    return r"\|".join(in_code(part) if part else "" for part in word.split("|"))


def in_code(line: str) -> Markup:
    """One line as inline code, within more backticks than any run of them inside."""
    ticks = "`" * (longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return Markup(f"{ticks}{pad}{line}{pad}{ticks}")


def in_cell(line: str) -> str:
    """Code for a table's cell. A bar is escaped; after a backslash readers differ on that, so there it is spelled out."""
    return line.replace("\\|", "\\<U+007C>").replace("|", "\\|")


def one_line(text: str) -> str:
    """Foreign text on one line, its white space as single spaces, a word of more than 100 letters cut: it would not wrap."""
    line = " ".join(visible(text).split())
    return _LONG_WORD.sub(lambda found: found[0][:100] + "[…]", line)


def fenced(text: str, limit: int) -> Markup:
    """Foreign text as a code block whose fence is longer than any run of backticks inside; cut after `limit` characters."""
    return fenced_as("text", visible(text[:limit]) + (" […]" if len(text) > limit else ""))


def wrapped(text: str) -> str:
    """Text whose lines fit a page's column: a code block does not wrap, and Chinese prose comes as one line of hundreds."""
    return "\n".join(piece for line in text.split("\n") for piece in _pieces(line))


def _pieces(line: str) -> Iterator[str]:
    """The line in pieces of at most _COLUMNS, Han characters being two wide, broken after a blank where one is near."""
    start = columns = 0
    for place, char in enumerate(line):
        width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if columns + width > _COLUMNS + width * (char in _CLOSING):  # Chinese begins no line with these
            blank = line.rfind(" ", start + _COLUMNS // 4, place) + 1
            yield line[start : blank or place]
            start = blank or place
            columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line[start:place])
        columns += width
    yield line[start:]


def fenced_as(language: str, text: str) -> Markup:
    """Text as a code block of a language."""
    fence = "`" * max(3, longest_run(text) + 1)
    return Markup(f"{fence}{language}\n{text}\n{fence}")


def longest_run(text: str) -> int:
    """Length of the longest run of backticks."""
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def visible(text: str) -> str:
    """What cannot be seen, or moves what can, as `<U+XXXX>`, so that what is read is what is there.

    Controls, bidirectional and zero-width characters, tags, private and unknown ones, lone surrogates, blank letters, more
    combining marks than a letter has. A run of more than 8, as of more than 32 backticks, is given with its length.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    text = _TICKS.sub(lambda found: f"<U+0060 … {len(found[0])} in all>", text)
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    shown = []
    for hidden, run in itertools.groupby(range(len(text)), lambda place: _hidden(text, place)):
        places = list(run)
        piece = text[places[0] : places[-1] + 1]
        shown.append(_spell(piece) if hidden else piece)
    return "".join(shown)


def _spell(run: str) -> str:
    codes = [f"U+{ord(character):04X}" for character in run[:_SPELLED]]
    return "".join(f"<{c}>" for c in codes) if len(run) <= _SPELLED else f"<{' '.join(codes)} … {len(run)} in all>"


def _hidden(text: str, place: int) -> bool:
    char = text[place]
    if char.isascii():
        return not (char.isprintable() or char == "\n")
    if char == "\u200d":  # between pictures it joins them to one, such as a family
        return not (_is_picture(text[place - 1 : place]) and _is_picture(text[place + 1 : place + 2]))
    kind = unicodedata.category(char)
    if kind in ("Mn", "Me"):
        before = text[max(0, place - _MARKS) : place]
        return (
            char in _BLANKS
            or char >= "\U000e0000"
            or (len(before) == _MARKS and all(map(unicodedata.combining, before)))
        )
    return kind[0] == "C" or kind in ("Zl", "Zp") or char in _BLANKS


def _is_picture(char: str) -> bool:
    return char == "\ufe0f" or (char != "" and unicodedata.category(char) in ("So", "Sk"))
