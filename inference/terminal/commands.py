"""What a user can do with a session beside asking: the commands that begin with a slash."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from command import UserError
from inference.rules import Sampling
from inference.terminal.conversation import Conversation, load, path_of, save, system_text
from inference.terminal.session import Screen, Session
from inference.terminal.text import harmless, one_line

SETTINGS = (*(field.name for field in fields(Sampling)), "max_new_tokens", "seed")


@dataclass(frozen=True)
class Command:
    """`run(session, screen, rest)` may return a text for the user to edit next."""

    usage: str
    meaning: str
    run: Callable[[Session, Screen, str], str | None]


def is_command(text: str) -> bool:
    """Whether a line is a command; `//` begins a message with a slash."""
    return text.startswith("/") and not text.startswith("//")


def message_of(text: str) -> str:
    """The message that a line means."""
    return text.removeprefix("/") if text.startswith("//") else text


def run(session: Session, screen: Screen, line: str) -> str:
    """Do a command. Returns what the user may want to edit next, "" mostly; EOFError leaves the chat."""
    word, _, rest = line.partition(" ")
    if word not in COMMANDS:
        near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"no command {one_line(word)}.{hint} /help lists them; // begins a message with a slash.")
    if rest.strip() and COMMANDS[word].usage == word:
        raise UserError(f"{word} takes nothing after it; this has {one_line(rest.strip())!r}.")
    return COMMANDS[word].run(session, screen, rest.strip()) or ""


def _help(session: Session, screen: Screen, rest: str) -> None:
    width = max(len(command.usage) for command in COMMANDS.values())
    screen.tell("\n".join(f"{command.usage:<{width}}  {command.meaning}" for command in COMMANDS.values()))
    screen.tell(f"\n{screen.keys}")


def _reset(session: Session, screen: Screen, rest: str) -> None:
    session.change(Conversation(session.conversation.system))
    screen.tell("the conversation is forgotten")


def _system(session: Session, screen: Screen, rest: str) -> None:
    if rest:
        session.change(Conversation("" if rest == "none" else system_text(rest)))
    shown = harmless(session.conversation.system) or "none but what the model's chat template puts in itself"
    screen.tell(f"system message: {shown}{'; the conversation starts anew' if rest else ''}")


def _save(session: Session, screen: Screen, rest: str, overwrite: bool = False) -> None:
    if not session.conversation.turns:
        raise UserError("there is nothing to save yet.")
    path = _path(rest, "/save")
    save(path, session.conversation, session.made_with(), overwrite)
    screen.tell(f"{_turns(session.conversation)} saved in {one_line(str(path))}")


def _overwrite(session: Session, screen: Screen, rest: str) -> None:
    _save(session, screen, rest, overwrite=True)


def _load(session: Session, screen: Screen, rest: str) -> None:
    path = _path(rest, "/load")
    session.change(load(path))
    screen.tell(f"{_turns(session.conversation)} loaded from {one_line(str(path))}; sampling and seed stay (/params)")


def _path(rest: str, word: str) -> Path:
    if not rest:
        raise UserError(f"{word} needs the name of a file: {word} FILE.")
    return path_of(rest)


def _turns(conversation: Conversation) -> str:
    count = len(conversation.turns)
    return f"{count:,} {'turn' if count == 1 else 'turns'}"


def _undo(session: Session, screen: Screen, rest: str) -> str:
    question = session.undo()
    turns = session.conversation.turns
    screen.tell(f"back to {_turns(session.conversation)}{_last_line(turns[-1].answer) if turns else ''}")
    return question


def _last_line(answer: str) -> str:
    line = one_line(" ".join(answer.split()))
    return f"; the last answer is: {line[:60]}{'…' if len(line) > 60 else ''}"


def _history(session: Session, screen: Screen, rest: str) -> None:
    if session.conversation.system:
        screen.tell(f"system: {harmless(session.conversation.system)}")
    for number, turn in enumerate(session.conversation.turns, 1):
        notes = {"length": " (cut)", "stopped": " (stopped)"}.get(turn.finish_reason, "")
        sent = " (not sent)" if number <= session.left_out else ""
        screen.tell(f"\n{number}{sent} › {harmless(turn.question)}\n\n{harmless(turn.answer)}{notes}")
    if not session.conversation.turns:
        screen.tell("nothing was said yet")


def _params(session: Session, screen: Screen, rest: str) -> None:
    words = rest.replace("=", " ").split()
    if words == ["reset"]:
        session.sampling = session.opening.result().own
    elif len(words) == 2:
        _set(session, *words)
    elif words:
        raise UserError(f"/params takes a name and a value, or `reset`; this has {one_line(rest)!r}.")
    screen.tell("\n".join(_told_params(session)))


def _set(session: Session, name: str, value: str) -> None:
    if name not in SETTINGS:
        near = difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(SETTINGS)}."
        raise UserError(f"no parameter {one_line(name)}. {hint}")
    number = _number(name, value)
    if name == "seed":
        _check(name, number, 0 <= number < 2**31, "0 to 2,147,483,647")
        session.seed = number
    elif name == "max_new_tokens":
        context = session.engine.context or 2**31
        _check(name, number, 1 <= number < context, f"1 to {context - 1:,}")
        session.max_new_tokens = number
    else:
        session.sampling = replace(session.sampling, **{name: number})


def _number(name: str, value: str) -> Any:
    kind = int if name in ("seed", "max_new_tokens", "top_k") else float
    try:
        return kind(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise UserError(f"{name} {one_line(value)!r} must be {wanted}.") from None


def _check(name: str, value: int, good: bool, wanted: str) -> None:
    if not good:
        raise UserError(f"{name} {value} must be {wanted}.")


def _told_params(session: Session) -> list[str]:
    """A line for each parameter; the model's own value where another is set."""
    own, now = vars(session.opening.result().own), vars(session.sampling)
    lines = [
        f"{name:<20}{value:<8g}{'' if value == own[name] else f'(the model: {own[name]:g})'}".rstrip()
        for name, value in now.items()
    ]
    greedy = ["temperature 0 is greedy: only the repetition penalty counts"] if not session.sampling.temperature else []
    return [*lines, f"{'max_new_tokens':<20}{session.max_new_tokens}", f"{'seed':<20}{session.seed}", *greedy]


def _regenerate(session: Session, screen: Screen, rest: str) -> None:
    screen.show(lambda: session.regenerate(screen), "the earlier answer stays")


def _quit(session: Session, screen: Screen, rest: str) -> None:
    raise EOFError


COMMANDS = {
    command.usage.partition(" ")[0]: command
    for command in (
        Command("/help", "this list", _help),
        Command("/reset", "forget the conversation, keep the system message", _reset),
        Command("/system [TEXT|@FILE|none]", "show the system message; set it and start anew", _system),
        Command("/regenerate", "answer the last question again, with the next seed", _regenerate),
        Command("/undo", "take back the last turn, change or /regenerate", _undo),
        Command("/history", "show the conversation", _history),
        Command("/params [NAME VALUE|reset]", "show or set how answers are drawn, or reset that", _params),
        Command("/save FILE", "write the conversation as JSON", _save),
        Command("/save! FILE", "the same, over a file that is there", _overwrite),
        Command("/load FILE", "go on with a saved conversation", _load),
        Command("/quit", "leave", _quit),
    )
}
