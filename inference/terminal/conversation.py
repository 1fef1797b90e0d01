"""A conversation: a system message and turns of a question and an answer; as messages, and as a JSON file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import UserError
from inference.terminal.text import one_line, well_formed
from run_folder import SCHEMA_VERSION, write_json

LARGEST = 16_000_000  # bytes of a file to load: far more than any context holds
ENDINGS = ("stop", "length", "stopped")


@dataclass(frozen=True)
class Turn:
    """A question and its answer. `seed` is the one that the answer was drawn with, None where it is not known."""

    question: str
    answer: str
    finish_reason: str = "stop"  # "stop" | "length" | "stopped", by the user
    seed: int | None = None


@dataclass(frozen=True)
class Conversation:
    """Without a system message the chat template puts in its own, if it has one."""

    system: str = ""
    turns: tuple[Turn, ...] = ()

    def messages(self, first: int = 0, question: str | None = None) -> list[dict[str, str]]:
        """As a chat template takes them: the system message, the turns from `first` on, and a new question."""
        said = [("system", self.system)] if self.system else []
        for turn in self.turns[first:]:
            said += [("user", turn.question), ("assistant", turn.answer)]
        said += [] if question is None else [("user", question)]
        return [{"role": role, "content": content} for role, content in said]


def save(path: Path, conversation: Conversation, made_with: dict[str, Any], overwrite: bool) -> None:
    """Write the conversation, whole, with what it was made with. UserError says why it cannot be written."""
    messages: list[dict[str, Any]] = conversation.messages()
    answers = [message for message in messages if message["role"] == "assistant"]
    for message, turn in zip(answers, conversation.turns, strict=True):
        message |= {"finish_reason": turn.finish_reason, "seed": turn.seed}
    try:
        if path.exists() and not overwrite:
            raise UserError(f"{one_line(str(path))} exists. /save! FILE overwrites it; or choose another name.")
        if not path.parent.is_dir():
            raise UserError(f"{one_line(str(path.parent))}: no such folder. Create it, or choose another.")
        write_json(path, {**made_with, "messages": messages})
    except OSError as error:
        raise UserError(f"{one_line(str(path))} cannot be written: {error.strerror}. Choose another place.") from None


def load(path: Path) -> Conversation:
    """Read what `save` wrote, or a person in its form. UserError names the file, the message and what is wrong."""
    name = one_line(str(path))
    record = _read(path, name)
    if not isinstance(record, dict) or not isinstance(record.get("messages"), list):
        raise UserError(f"{name} is not an object with a list under `messages`, as /save writes it.")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{name} has schema_version {record.get('schema_version')!r}; this program reads {SCHEMA_VERSION}."
        )
    try:
        return _from_messages(record["messages"])
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def _read(path: Path, name: str) -> Any:
    text = read_text(path, name)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{name}:{error.lineno}: not valid JSON, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise UserError(f"{name}: nested too deep to be a conversation.") from None


def read_text(path: Path, name: str) -> str:
    """The text of a file in UTF-8. UserError if it cannot be had."""
    try:
        if not path.is_file():
            raise UserError(f"{name}: no such file.")
        if path.stat().st_size > LARGEST:
            raise UserError(f"{name} has {path.stat().st_size:,} bytes; at most {LARGEST:,} are read.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8: byte {error.start:,} is {error.object[error.start]:#04x}.") from None
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}.") from None


def _from_messages(messages: list[Any]) -> Conversation:
    """Roles in order: a system message or none, then user and assistant by turns."""
    texts = [_content(number, message) for number, message in enumerate(messages)]
    start = 1 if messages and messages[0]["role"] == "system" else 0
    for number, message in enumerate(messages[start:], start):
        wanted = ("user", "assistant")[(number - start) % 2]
        if message["role"] != wanted:
            raise UserError(f"message {number} has the role {message['role']!r} where {wanted!r} must come.")
    if (len(messages) - start) % 2:
        raise UserError(f"message {len(messages) - 1} is a question without an answer. Remove it, or add the answer.")
    turns = [
        Turn(question, answer, *_ending(number, messages[number]))
        for question, answer, number in zip(
            texts[start::2], texts[start + 1 :: 2], range(start + 1, len(messages), 2), strict=True
        )
    ]
    return Conversation(texts[0] if start else "", tuple(turns))


def _content(number: int, message: Any) -> str:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise UserError(f"message {number} is not an object with a text under `content`.")
    if message.get("role") not in ("system", "user", "assistant"):
        raise UserError(f"message {number} has the role {message.get('role')!r}; system, user and assistant can be.")
    return well_formed(message["content"])


def _ending(number: int, message: dict[str, Any]) -> tuple[str, int | None]:
    ending, seed = message.get("finish_reason", "stop"), message.get("seed")
    if ending not in ENDINGS:
        raise UserError(f"message {number} has the finish_reason {ending!r}; one of {', '.join(ENDINGS)} can be.")
    if seed is not None and not isinstance(seed, int):
        raise UserError(f"message {number} has the seed {seed!r}; a whole number can be.")
    return ending, seed


def system_text(text: str) -> str:
    """The system message that --system and /system mean: TEXT itself, or what is in FILE for @FILE."""
    if not text.startswith("@"):
        return well_formed(text)
    path = path_of(text[1:])
    return read_text(path, one_line(str(path))).strip()


def path_of(text: str) -> Path:
    """The path that a user typed, with ~ and ~NAME. UserError if there is no such home, or if it holds a NUL."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise UserError(f"{one_line(text)}: no such home. Give the whole path.") from None
    if "\0" in text:
        raise UserError(f"{one_line(text)} is no name of a file: it holds a NUL.")
    return path
