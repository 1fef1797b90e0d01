"""A file of prompts, read strictly: every malformed line is told at once, before anything is loaded.

JSONL: an object a line with `prompt` (a text or a list of messages), an `id` in every line or in none (then the line's number is
the id), and whatever else, which the output keeps. Plain text (`.txt`, or `-` for stdin): a prompt a line. UTF-8, with or
without a byte order mark; lines end with LF or CRLF; blank lines are skipped and counted.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from command import UserError, counted
from inference.chat_format import check_conversation

STDIN = "-"
MOST_SHOWN = 20  # faults told one by one
WRITTEN = ("response", "finish_reason", "tokens", "sample")  # keys of the output


@dataclass(frozen=True)
class Prompts:
    """The rows, each kept as a line of JSON: a million of 120 bytes take 0.3 GB so, and several times that as objects."""

    lines: list[bytes]
    blank: int = 0

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, number: int) -> dict[str, Any]:
        """The row as it was read, with its id."""
        return json.loads(self.lines[number])

    def conversation(self, number: int, system: str = "") -> list[dict[str, Any]]:
        """The messages of a row; `system` is put before those that have no system message."""
        prompt = self.row(number)["prompt"]
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if not system or any(message["role"] == "system" for message in messages):
            return messages
        return [{"role": "system", "content": system}, *messages]

    def sha256(self) -> str:
        """Digest of all rows in their order; of neither blank lines nor how the JSON was spelt."""
        hashed = hashlib.sha256()
        for line in self.lines:
            hashed.update(line + b"\n")
        return hashed.hexdigest()


def read_prompts(name: str) -> Prompts:
    """The prompts of a file, or of stdin. UserError lists every malformed line as file:line and why."""
    try:
        with _open(name) as stream:
            return _read(stream, name, _TextRows() if name == STDIN or name.endswith(".txt") else _JsonRows())
    except _NoText as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"--prompts {name}: {error.strerror}. Give a JSONL or .txt file, or - for stdin.") from None


def _open(name: str) -> AbstractContextManager[IO[bytes]]:
    if name != STDIN:
        return Path(name).open("rb")
    if sys.stdin is None:
        raise UserError("--prompts -: there is no stdin. Pipe the prompts in, or name a file.")
    return nullcontext(sys.stdin.buffer)


def _read(stream: IO[bytes], name: str, parse: Callable[[str, int], dict[str, Any]]) -> Prompts:
    lines, faults, blank = [], [], 0
    for number, line in enumerate(stream, 1):
        try:
            text = _decoded(line, name, number).removeprefix("\ufeff" if number == 1 else "")
            if text.strip():
                lines.append(json.dumps(parse(text, number), ensure_ascii=False).encode())
            else:
                blank += 1
        except UnicodeEncodeError:
            faults.append(f"{name}:{number}: holds a lone surrogate (\\ud800 to \\udfff), which is no character")
        except RecursionError:
            faults.append(f"{name}:{number}: nested too deeply")
        except ValueError as error:  # UserError, JSONDecodeError and a number of too many digits
            faults.append(f"{name}:{number}: {error}")
    if faults:
        raise UserError("\n".join([f"malformed lines in {name}: {len(faults):,}", *most_of(faults)]))
    if not lines:
        only = f", only {counted(blank, 'blank line')}" if blank else ""
        raise UserError(f"--prompts {name} has no prompts{only}.")
    return Prompts(lines, blank)


def _decoded(line: bytes, name: str, number: int) -> str:
    """The line as text. _NoText at the first place of the file that is none: every further one would be told for nothing."""
    try:
        text, place = line.decode(), line.find(0)
    except UnicodeDecodeError as error:
        text, place = "", error.start
    if place >= 0:
        raise _NoText(
            f"--prompts {name} is not UTF-8 text: byte {place + 1:,} of line {number:,} is {line[place]:#04x}. "
            "Convert it to UTF-8, or give another file."
        )
    return text


class _NoText(Exception):
    """The file is no text at all, so that its lines mean nothing."""


def most_of(told: list[str]) -> list[str]:
    """The first MOST_SHOWN, and how many more there are."""
    more = len(told) - MOST_SHOWN
    return [*told[:MOST_SHOWN], *([f"and {more:,} more"] if more > 0 else [])]


class _TextRows:
    """A line of plain text is the prompt, without its end."""

    def __call__(self, text: str, number: int) -> dict[str, Any]:
        return {"id": number, "prompt": text.removesuffix("\n").removesuffix("\r")}


class _JsonRows:
    """A line of JSON is the row. It knows the ids so far, and whether there are any."""

    def __init__(self) -> None:
        self.seen: dict[str | int, int] = {}
        self.first: tuple[bool, int] | None = None  # whether the first row has an id, and its line

    def __call__(self, text: str, number: int) -> dict[str, Any]:
        row = json.loads(text, parse_constant=_refuse)
        if not isinstance(row, dict):
            raise UserError("not a JSON object")
        taken = [f"`{key}`" for key in WRITTEN if key in row]
        if taken:
            raise UserError(f"has {', '.join(taken)}, which the output gets from here. Rename or remove it.")
        row = self._with_id(row, number)
        check_prompt(row.get("prompt"))
        return row

    def _with_id(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        self.first = self.first or ("id" in row, number)
        if self.first[0] != ("id" in row):
            has, line = ("has no", "has one") if self.first[0] else ("has an", "has none")
            raise UserError(f"{has} `id` where line {self.first[1]} {line}. Give every row one, or none.")
        if "id" not in row:
            return {"id": number, **row}
        if not isinstance(row["id"], str | int) or isinstance(row["id"], bool):
            raise UserError("`id` must be a text or a whole number")
        if row["id"] in self.seen:
            raise UserError(f"`id` {row['id']!r} is also on line {self.seen[row['id']]}")
        self.seen[row["id"]] = number
        return row


def check_prompt(prompt: object) -> None:
    """UserError unless there is something to answer, without a NUL, at which programs end a text."""
    if isinstance(prompt, str) and prompt.strip():
        _check_nul("`prompt`", prompt)
        return
    if not isinstance(prompt, list):
        raise UserError("`prompt` must be a text that is not empty, or a list of messages")
    check_conversation(prompt)
    if prompt[-1]["role"] not in ("user", "tool"):
        raise UserError(f"the last message is the {prompt[-1]['role']}'s: there is nothing to answer")
    if not prompt[-1]["content"].strip():
        raise UserError("the last message is empty")
    for number, message in enumerate(prompt):
        _check_nul(f"message {number}", message["content"])


def _check_nul(what: str, text: str) -> None:
    if "\0" in text:
        raise UserError(f"{what} holds a NUL (\\u0000), which is no text. Take it out.")


def _refuse(constant: str) -> None:
    raise UserError(f"{constant} is not JSON")
