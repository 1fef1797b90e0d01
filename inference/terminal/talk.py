"""The chat itself: read, do or answer, until the user leaves."""

import errno
from contextlib import suppress
from typing import Any

from command import UserError, WorkError, resource_message
from inference.terminal import commands
from inference.terminal.session import Session, TooLong


def talk(session: Session, screen: Any) -> int:
    """Until /quit, the end of the input, or the end of the terminal. Returns the exit status: of a pipe 1 if a line was refused."""
    draft = ""
    try:
        with suppress(EOFError):
            while True:
                draft = _step(session, screen, screen.read(draft))
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return 1  # the terminal was closed: nobody is left to be told
    return screen.leave()


def _step(session: Session, screen: Any, text: str) -> str:
    """Do or answer what was typed. Returns what the user is to edit next, "" mostly."""
    if not text:
        return ""
    try:
        if commands.is_command(text):
            return commands.run(session, screen, text)
        if not session.opening.ready:
            screen.tell("the model is still loading …")
        session.opening.result()  # a Ctrl-C while it loads leaves the program
        before = session.conversation
        screen.show(lambda: session.ask(commands.message_of(text), screen), "the question is in the editor again")
        return text if session.conversation is before else ""
    except TooLong as error:
        screen.warn(str(error), error.brief)
        return text
    except (UserError, WorkError) as error:
        if not session.opening.ready or session.opening.future.exception():
            raise
        screen.warn(str(error))
    except (MemoryError, RuntimeError) as error:
        if resource_message(error) is None:
            raise
        told = "out of memory. Shorten the message, or /reset; a lower /params max_new_tokens helps too."
        screen.warn(told, "out of memory")
        return text
    return ""
