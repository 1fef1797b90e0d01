"""Rows of JSON text, read as they come: memory holds a row and a buffer, however long the file.

A row's place is `file:LINE`, the line on which it begins. In an array it is `file[N]`, counted from 1, for a row that begins
on the line of what stands before it (the opening bracket, or the row before).
"""

import codecs
import json
import re
from pathlib import Path
from typing import Any, BinaryIO

from training.preferences.files import LONGEST, Rows, Unreadable, check_encoding, open_bytes
from training.preferences.findings import BadRow, Finding
from training.preferences.text import shown

FURTHEST = 256 << 20  # a row longer than that is not skipped: what follows is a bomb, or no file of rows
BLANK_LINES = 1_000_000  # in a row: the same
ALL_WRONG = 20  # rows at the beginning that are not UTF-8, none of them readable: then the file is not
BOM = b"\xef\xbb\xbf"
AGAIN = "Fetch or write it again; if it is whole, close or remove its last row."
ICONV = "Convert the file: iconv -f GB18030 -t UTF-8 OLD > NEW (Chinese) or -f CP1252 (Western)."
NOT_UTF8 = "not UTF-8"
# What may stand at the end of a text that was cut: the beginning of a word, a number or an escape.
CUT = re.compile(r"(?:t|tr|tru|f|fa|fal|fals|n|nu|nul|-|\.|[eE][+-]?|\\u?[0-9a-fA-F]{0,4})?\s*\Z")
BAD_BYTES = re.compile("[\udc80-\udcff]")  # as the error handler surrogateescape keeps them
SPACE = re.compile(r"[ \t\r\n]*")
MARKS = re.compile(r'"|[\[{]+|[\]}]+')
IN_TEXT = re.compile(
    r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL
)  # to the closing quote, or the end and a lone backslash there
END_OF_WORD = re.compile(r"[\s,\]}]")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. BadRow if a key stands twice, at any depth: which of the two is meant, nobody knows."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRow("duplicated key", f"`{shown(key, 40)}` stands more than once in an object")
    return found


def no_number(word: str) -> Any:
    raise BadRow("not a finite number", f"{word} is no JSON", "Write null or a number.")


DECODER = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=no_number)
TOO_DEEP = ("too deeply nested", "lists and objects within each other, hundreds deep")
TOO_LONG = ("too long", f"a row of more than {LONGEST >> 20} MiB", "Remove the row, or write one row a line.")
LONG_NUMBER = ("number too long", "a whole number of more than 4,300 digits", "Write it as a text.")


def read_json(path: Path, kind: str, name: str) -> Rows:
    """Rows of a .json or .jsonl file, by what it holds: an array, or a row a line (under .json too: a common accident)."""
    with open_bytes(path, kind) as stream:
        head = stream.read(1 << 16)
    check_encoding(head, path)
    start = head.removeprefix(BOM).lstrip()[:1]
    lines = kind.startswith((".jsonl", ".ndjson"))
    if not lines and not start and len(head) < 1 << 16:
        raise Unreadable("empty file", "no rows", "Fetch or write it again.")
    if lines and start == b"[":
        lines = whole_line(path, kind)
    elif not lines and start != b"[":
        if start != b"{" or not whole_line(path, kind):
            raise no_list(head, path)
        lines = True
    with open_bytes(path, kind) as stream:
        yield from not_all_wrong((read_lines if lines else read_array)(stream, name), name)


def whole_line(path: Path, kind: str) -> bool:
    """Whether the first line is a whole value and another line follows: then the file is a row a line."""
    with open_bytes(path, kind) as stream:
        line = next((line for line in iter(lambda: stream.readline(LONGEST), b"") if line.strip()), b"")
        try:
            parse(line.removeprefix(BOM).decode(errors="replace"))
        except BadRow as problem:
            if problem.reason == "not valid JSON":
                return False
        return bool(stream.read(1 << 16).strip())


def no_list(head: bytes, path: Path) -> Unreadable:
    """What to do about a .json that does not begin with a bracket."""
    text, name = head.decode(errors="replace"), shown(path.name)
    if text.lstrip("\ufeff \r\n\t").startswith("<"):
        return Unreadable(
            "not valid JSON", "it begins like a web page", "Fetch it again, and the file, not its page.", 1
        )
    within = re.match(r'\ufeff?\s*\{\s*"(\w{1,40})"\s*:\s*\[\s*\{\s*"(?!role|from|content|value)', text)
    if within:
        key = within[1]
        return Unreadable(
            "not a list of rows",
            f"an object with the rows in `{key}`",
            f"Take them out: jq .{key} '{name}' > NEW.json.",
            1,
        )
    return Unreadable("not a list of rows", "a list of rows is needed: [{…}, {…}]", "One row a line goes in .jsonl.", 1)


def not_all_wrong(rows: Rows, name: str) -> Rows:
    """The rows, but one fatal finding instead of a finding a row where all of the first are not UTF-8."""
    held: list[tuple[str, Any]] = []
    for item in rows:
        if isinstance(item[1], Finding) and item[1].reason == NOT_UTF8:
            held.append(item)
            if len(held) == ALL_WRONG:
                raise Unreadable(NOT_UTF8, f"none of the first {ALL_WRONG} rows is", ICONV)
            continue
        yield from held
        yield item
        break
    else:
        yield from held
    yield from rows


def parse(text: str) -> Any:
    """One value of JSON. BadRow says what is wrong."""
    try:
        return DECODER.decode(text.strip())  # without the line's end, whose column would be told
    except json.JSONDecodeError as error:
        raise BadRow("not valid JSON", f"{error.msg} at column {error.colno}") from error
    except RecursionError:
        raise BadRow(*TOO_DEEP) from None
    except BadRow:
        raise
    except ValueError:
        raise BadRow(*LONG_NUMBER) from None


# A row a line


def read_lines(stream: BinaryIO, name: str) -> Rows:
    """A row a line; only LF ends one, for U+2028 and the like may stand in a text."""
    number = blank = 0
    while line := stream.readline(LONGEST + 1):
        number += 1
        if line.isspace():
            blank += 1
            if blank == BLANK_LINES:
                raise Unreadable("too long", f"{blank:,} empty lines", "Remove them.", number)
            continue
        blank = 0
        where = f"{name}:{number}"
        try:
            if len(line) > LONGEST and not line.endswith(b"\n"):
                skip_line(stream, number)
                raise BadRow(*TOO_LONG)
            row = parse_line(line, number)
        except Unreadable:
            raise
        except BadRow as problem:
            yield where, problem.at(where)
        else:
            yield where, row


def parse_line(line: bytes, number: int) -> Any:
    """The value of a line. BadRow for a bad row; Unreadable if the file ends within it."""
    is_last = not line.endswith(b"\n")
    try:
        text = line.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        if is_last and error.reason == "unexpected end of data":
            raise Unreadable("file cut short", "it ends within a character", AGAIN, number) from None
        found = f"byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line"
        raise BadRow(NOT_UTF8, found, f"Mend or remove the row. If all are so: {ICONV}") from None
    try:
        return parse(text)
    except BadRow as problem:
        error = problem.__cause__
        if is_last and isinstance(error, json.JSONDecodeError) and is_cut(error):
            raise Unreadable("file cut short", f"it ends within a row ({problem})", AGAIN, number) from None
        raise


def is_cut(error: json.JSONDecodeError) -> bool:
    """Whether what was parsed is the beginning of JSON, and lacks its end."""
    return error.msg.startswith("Unterminated string") or CUT.match(error.doc, error.pos) is not None


def skip_line(stream: BinaryIO, number: int) -> None:
    """Read to the end of a line without holding it."""
    skipped = 0
    while (piece := stream.readline(1 << 20)) and not piece.endswith(b"\n"):
        skipped += len(piece)
        if skipped > FURTHEST:
            raise Unreadable("too long", f"a line of more than {FURTHEST >> 20} MiB", "Write one row a line.", number)


# An array


def read_array(stream: BinaryIO, name: str) -> Rows:
    """The values of an array of JSON."""
    text = Window(stream)
    text.next_mark()
    text.at += 1
    line, number, mark = text.line(), 0, text.next_mark()
    while mark != "]" or number:
        number += 1
        before, line = line, text.line()
        where = f"{name}:{line}" if line > before else f"{name}[{number}]"
        try:
            row = text.value()
        except Unreadable:
            raise
        except BadRow as problem:
            yield where, problem.at(where)
        else:
            yield where, row
        line, mark = text.line(), text.next_mark()
        if mark == "]":
            break
        if mark != ",":
            raise text.broken("Expecting ',' or ']'")
        text.at += 1
        if text.next_mark() == "]":
            raise text.broken("a comma before the closing bracket", "Remove the comma.")
    text.at += 1
    if text.next_mark(at_end=True):
        raise text.broken("more text after the closing bracket", "Remove it; one row a line goes in .jsonl.")


class Window:
    """A part of a long text of JSON: `text` from `at` on is not read yet. More comes as it is asked for.

    A value that does not end within the window is tried again with at least twice as much, so the time stays linear.
    """

    CHUNK = 1 << 20  # bytes
    MARGIN = 16  # a value or an error that near the end of the window may be another one with more text: `tr|ue`, `1|2`

    def __init__(self, stream: BinaryIO):
        self.stream, self.text, self.at, self.ended = stream, "", 0, False
        self.tail, self.lines, self.counted, self.passed = b"", 1, 0, 0
        self.has_bad_bytes = self.had_bad_bytes = False
        self.more()
        self.text = self.text.removeprefix("\ufeff")

    def more(self) -> None:
        """Drop what is read, and add as much as is kept or more."""
        self.line()
        kept = self.text[self.at :]
        data = self.stream.read(max(self.CHUNK, len(kept)))
        self.ended = not data
        try:
            text, used = codecs.utf_8_decode(self.tail + data, "strict", self.ended)
            self.has_bad_bytes = self.has_bad_bytes and BAD_BYTES.search(kept) is not None
        except UnicodeDecodeError:
            text, used = codecs.utf_8_decode(self.tail + data, "surrogateescape", self.ended)
            self.has_bad_bytes = self.had_bad_bytes = True
        self.tail = (self.tail + data)[used:]
        self.text, self.at, self.counted = kept + text, 0, 0

    def line(self) -> int:
        """The line of what is read next."""
        self.lines += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.lines

    def next_mark(self, at_end: bool = False) -> str:
        """The next character that is no space, "" at the end. Unreadable there unless the text may end."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if self.ended:
                break
            self.more()
        if not at_end:
            raise Unreadable("file cut short", "the closing bracket is missing", AGAIN, self.line())
        return ""

    def value(self) -> Any:
        """The next value. BadRow for one that is skipped, Unreadable if nobody knows where it ends."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                near = error.pos > len(self.text) - self.MARGIN or error.msg.startswith("Unterminated string")
                if self.ended or not near:
                    raise self.invalid(error) from None
            except RecursionError:
                raise self.skipped(BadRow(*TOO_DEEP)) from None
            except BadRow as problem:
                raise self.skipped(problem) from None
            except ValueError:
                raise self.skipped(BadRow(*LONG_NUMBER)) from None
            else:
                if self.ended or end <= len(self.text) - self.MARGIN:
                    return self.taken(value, end)
            if len(self.text) - self.at > LONGEST:
                raise self.skipped(BadRow(*TOO_LONG))
            self.more()

    def taken(self, value: Any, end: int) -> Any:
        """The value, which ends at `end`. BadRow if it is too long or holds bytes that are not UTF-8."""
        start, self.at = self.at, end
        if end - start > LONGEST:
            raise BadRow(*TOO_LONG)
        if self.has_bad_bytes and (found := BAD_BYTES.search(self.text, start, end)):
            raise BadRow(
                NOT_UTF8, f"byte 0x{ord(found[0]) - 0xDC00:02x}", f"Mend or remove the row. If all are so: {ICONV}"
            )
        return value

    def invalid(self, error: json.JSONDecodeError) -> Unreadable:
        if is_cut(error):
            return Unreadable("file cut short", f"it ends within a row ({error.msg})", AGAIN, self.line())
        self.at = min(error.pos, len(self.text))
        return self.broken(error.msg)

    def broken(
        self, detail: str, fix: str = "Mend the file there; what follows in an array cannot be read."
    ) -> Unreadable:
        """Not JSON at this place; if there were bytes that are not UTF-8, those are the likelier cause."""
        if self.had_bad_bytes:
            return Unreadable(NOT_UTF8, f"and therefore no JSON here: {detail}", ICONV, self.line())
        return Unreadable("not valid JSON", detail, fix, self.line())

    def skipped(self, problem: BadRow) -> BadRow:
        """The problem, once the value is passed by its brackets and quotes alone, holding none of it."""
        if self.text[self.at] not in '"[{':
            self.seek(END_OF_WORD)
            self.at -= 1
            return problem
        depth, self.passed = 0, 0
        while True:
            mark = self.seek(MARKS)
            if mark == '"':
                self.pass_text()
            elif mark[0] in "[{":
                depth += len(mark)
            else:
                self.at -= max(0, len(mark) - depth)
                depth = max(0, depth - len(mark))
            if not depth:
                return problem

    def pass_text(self) -> None:
        """Go behind the quote that closes a text."""
        while True:
            self.at = IN_TEXT.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.text[self.at : self.at + 1] == '"':
                self.at += 1
                return
            self.pass_window()

    def pass_window(self) -> None:
        """More text, from `at` on. Unreadable at the end, or if a value is far too long."""
        self.passed += self.at
        if self.ended:
            raise Unreadable("file cut short", "it ends within a row", AGAIN, self.line())
        if self.passed > FURTHEST:
            raise Unreadable("too long", f"a row of more than {FURTHEST >> 20} MiB", "Remove it.", self.line())
        self.more()

    def seek(self, pattern: re.Pattern[str]) -> str:
        """Go behind the next match and return it."""
        while (found := pattern.search(self.text, self.at)) is None:
            self.at = len(self.text)
            self.pass_window()
        self.at = found.end()
        return found[0]
