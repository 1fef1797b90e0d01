"""Chat in the terminal: python -m inference.chat MODEL [--system TEXT|@FILE] [--load FILE] [--temperature T]

On a terminal: a line editor with history and completion; /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.
From a pipe: a line is a question, and stdout gets the answers alone.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command import CommandParser, UserError, run_command
from inference.chat_format import encode_chat
from inference.loading import Source, resolve
from inference.options import (
    MODEL_HELP,
    add_loading,
    add_sampling,
    check_sampling,
    chosen_max_new_tokens,
    chosen_sampling,
    loading_options,
)
from inference.rules import read_rules
from inference.runtime import open_engine
from inference.terminal.conversation import Conversation, load, system_text
from inference.terminal.lines import Lines
from inference.terminal.opening import Opened, Opening
from inference.terminal.session import Session
from inference.terminal.talk import talk
from inference.terminal.text import one_line


def build_parser() -> CommandParser:
    parser = CommandParser(prog="python -m inference.chat", description="Chat with a model in the terminal.")
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--system", metavar="TEXT|@FILE", help="the system message, or the file that holds it")
    parser.add_argument("--load", metavar="FILE", type=Path, help="go on with a conversation that /save wrote")
    parser.add_argument("--no-history", action="store_true", help="keep no line of what is typed for later sessions")
    add_sampling(parser)
    add_loading(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    check_sampling(options)
    conversation = first_conversation(options)
    source = resolve(options.model)
    terminal = sys.stdin.isatty() and (sys.stdout.isatty() or sys.stderr.isatty())
    # What must be downloaded first shows its progress, which an open editor would garble.
    here = source.kind in ("folder", "gguf") or (source.kind == "pypi" and source.path is not None)
    opening = Opening(lambda: open_model(source, options, conversation), ahead=terminal and here)
    session = Session(one_line(source.name), opening, conversation, options.seed)
    try:
        with open_screen(session, terminal, not options.no_history) as screen:
            status = talk(session, screen)
    except KeyboardInterrupt as stop:
        if opening.ready or not opening.thread:
            raise KeyboardInterrupt("A conversation that was not saved is gone.") from stop
        print(f"stopped while the model was loading. {stop}".rstrip(), file=sys.stderr)
        status = 130
    return opening.leave(status)


def first_conversation(options: argparse.Namespace) -> Conversation:
    """What --load or --system begin with. UserError for both: a saved conversation has its own system message."""
    if options.load is None:
        return Conversation(system_text(options.system or ""))
    if options.system is not None:
        raise UserError("--load and --system: a saved conversation has its own system message. Give one of the two.")
    return load(options.load)


def open_model(source: Source, options: argparse.Namespace, conversation: Conversation) -> Opened:
    """The engine and how it is to answer. UserError also if the model's template refuses the loaded conversation."""
    engine = open_engine(source, **loading_options(options))
    if conversation.turns:
        encode_chat(engine.tokenizer, conversation.messages())
    own = read_rules(source, engine.tokenizer).sampling
    return Opened(engine, own, chosen_sampling(own, options), chosen_max_new_tokens(options, engine.context))


@contextmanager
def open_screen(session: Session, terminal: bool, keep_history: bool) -> Iterator[Lines]:
    """The editor on a terminal, lines from a pipe. Of a pipe the model is loaded first."""
    if terminal:
        from inference.terminal.screen import open_terminal

        with open_terminal(session, keep_history) as screen:
            yield screen
    else:
        screen = Lines()
        session.opening.result()
        screen.tell(f"{session.status()}. /help lists what can be done.")
        yield screen


if __name__ == "__main__":
    run_command(main)
