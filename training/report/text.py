"""Text of the data as it is shown: short, and with whatever hides or moves text spelled out as code points.

The rule is that of the report on evaluations (eval/visible_text.py), a pure function that must not be written twice: the
map of the design (pyproject.toml) lets this module import it.
"""

import unicodedata

from eval.visible_text import visible

__all__ = ["pad", "shorten", "visible", "width", "wrap", "wrap_path"]


def shorten(text: str, length: int, end: str = " …") -> str:
    """Visible text of at most about `length` characters; what was left out is marked by `end`."""
    cut = text[: length + 1]
    shown = visible(cut[:length].strip())
    return shown[: 4 * length] + (end if len(cut) > length else "")


def width(text: str) -> int:
    """Columns of a terminal: two for wide characters, none for marks that combine."""
    return sum(
        0
        if unicodedata.combining(c) or unicodedata.category(c) == "Me"
        else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def pad(text: str, columns: int, right: bool = False) -> str:
    """The text filled up with spaces to so many columns, or cut with an ellipsis."""
    if width(text) > columns:
        while text and width(text) > columns - 1:
            text = text[:-1]
        text += "…"
    space = " " * (columns - width(text))
    return space + text if right else text + space


def wrap(text: str, columns: int, first: str = "", rest: str = "") -> list[str]:
    """The text in lines of so many columns at most, broken at spaces, else in a word; `first` and `rest` begin the lines."""
    lines, line = [], first
    for word in text.split():
        gap = "" if line in (first, rest) else " "
        if width(line + gap + word) > columns and gap:
            lines.append(line)
            line, gap = rest, ""
        line += gap + word
        while width(line) > columns:
            cut = len(line)
            while width(line[:cut]) > columns:
                cut -= 1
            lines.append(line[:cut])
            line = rest + line[cut:]
    return [*lines, line] if line.strip() else lines


def wrap_path(text: str, columns: int) -> str:
    """The end of a long path, which tells more than its beginning."""
    while width(text) > columns:
        text = "…" + text[2:]
    return text
