"""How values enter a card: figures formatted once for both languages, foreign text made harmless.

Whatever a template prints passes through `Printer.value`; only what is marked `Markup` here goes in as it is.
"""

import html
import json
import math
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from jinja2 import Undefined
from markupsafe import Markup

from command import UserError

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#!|~@]|^[-+]|:(?=//)|(?<=www)\.|(?<=\d)\.(?= ))", re.IGNORECASE)
_BIDI = set(range(0x202A, 0x202F)) | set(range(0x2066, 0x206A)) | {0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF}


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
        """A metric with its 95 % interval, such as `43.8 % [31.2, 57.1]`."""
        return self._interval(measured, lambda value: by_unit(value, unit), " %" if unit == "proportion" else "")

    def difference(self, measured: dict[str, Any] | None, unit: str | None) -> str:
        """A difference with its interval, all signed, such as `+12.5 pp [+3.1, +21.9]`; percentage points for proportions."""
        mark = " pp" if unit == "proportion" else ""
        return self._interval(measured, lambda value: by_unit(value, unit, signed=True), mark)

    def _interval(self, measured: dict[str, Any] | None, show: Callable[[float], str], mark: str) -> str:
        if not measured or measured.get("value") is None:
            return self.missing
        low, high = measured.get("low"), measured.get("high")
        interval = f" [{show(low)}, {show(high)}]" if low is not None and high is not None else ""
        return Markup(f"{show(measured['value'])}{mark}{interval}")

    def code(self, value: Any, none: str | None = None, cell: bool = True) -> str:
        """A value as inline code that nothing inside can leave; `none` (default: the word for missing) stands for None.

        In a table cell a `|` must be escaped, elsewhere (cell=False) it must not.
        """
        if value is None or isinstance(value, Undefined):
            return none or self.missing
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = visible(text).replace("\n", " ")
        if not text.strip():
            return none or self.missing
        ticks = "`" * (longest_run(text) + 1)
        pad = " " if text.startswith("`") or text.endswith("`") else ""
        return Markup(f"{ticks}{pad}{text.replace('|', chr(92) + '|') if cell else text}{pad}{ticks}")

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


def plain(text: str) -> str:
    """Foreign text as one line of inert Markdown: no HTML, link, heading, table cell, code or autolink comes of it."""
    line = " ".join(visible(text).split())
    return Markup(_MARKDOWN.sub(r"\\\1", html.escape(line, quote=False)))


def fenced(text: str, limit: int) -> Markup:
    """Foreign text as a code block whose fence is longer than any run of backticks inside; cut after `limit` characters."""
    return fenced_as("text", visible(text[:limit]) + (" […]" if len(text) > limit else ""))


def fenced_as(language: str, text: str) -> Markup:
    """Text as a code block of a language."""
    fence = "`" * max(3, longest_run(text) + 1)
    return Markup(f"{fence}{language}\n{text}\n{fence}")


def longest_run(text: str) -> int:
    """Length of the longest run of backticks."""
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def visible(text: str) -> str:
    """Control, bidirectional and lone-surrogate characters as U+XXXX, so that what is read is what is there."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c if c == "\n" or not _hidden(c) else f"<U+{ord(c):04X}>" for c in text.replace("\t", "    "))


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") or ord(char) in _BIDI
