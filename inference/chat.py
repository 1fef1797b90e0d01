"""Chat in the terminal: python -m inference.chat MODEL [--system TEXT] [--temperature T]

Commands: /reset forgets the conversation, /system TEXT sets the system message and starts anew, /quit leaves, /help.
Ctrl-C stops an answer; Ctrl-D leaves. Lines from a pipe are answered one after the other.
"""

import argparse
import sys

from command import UserError, run_command
from inference.loading import resolve
from inference.options import MODEL_HELP, add_loading, add_sampling, check_sampling, chosen_sampling, loading_options
from inference.rules import read_rules
from inference.runtime import open_engine

HELP = "/reset forgets the conversation · /system TEXT sets the system message · /quit leaves · /help"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference.chat", description="Chat with a model in the terminal.", allow_abbrev=False
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--system", default="", help="the system message")
    add_sampling(parser, 512)
    add_loading(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    check_sampling(options)
    source = resolve(options.model)
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    engine = open_engine(source, **loading_options(options))
    sampling = chosen_sampling(read_rules(source, engine.tokenizer).sampling, options)
    settings = {"max_new_tokens": options.max_new_tokens, "sampling": sampling}
    print(f"{source.name}, {sampling.told()}. {HELP}", file=sys.stderr)
    Chat(engine, options.system, settings, options.seed).run()
    return 0


class Chat:
    """A conversation and what the user does with it."""

    def __init__(self, engine, system: str, settings: dict, seed: int):
        self.engine, self.settings, self.seed = engine, settings, seed
        self.begin(system)

    def begin(self, system: str) -> None:
        self.system = system
        self.messages = [{"role": "system", "content": system}] if system else []

    def run(self) -> None:
        """Until /quit or the end of the input."""
        while (line := self.read()) is not None:
            if line.startswith("/"):
                if not self.command(line):
                    return
            elif line:
                self.answer(line)

    def read(self) -> str | None:
        """The next line, stripped; None at the end of the input or at Ctrl-C on an empty prompt."""
        if sys.stdin.isatty():
            print("\n> ", end="", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            return None
        return line.strip() if line else None

    def command(self, line: str) -> bool:
        """Do a /command; False if it is to leave."""
        word, _, rest = line.partition(" ")
        if word == "/quit":
            return False
        if word == "/reset":
            self.begin(self.system)
            print("the conversation is forgotten", file=sys.stderr)
        elif word == "/system":
            self.begin(rest.strip())
            print(f"system message: {self.system or 'none'}; the conversation starts anew", file=sys.stderr)
        else:
            print(HELP if word == "/help" else f"no command {word}. {HELP}", file=sys.stderr)
        return True

    def answer(self, line: str) -> None:
        """Stream the answer. Ctrl-C keeps what was said so far; what the model refuses is said and leaves no trace."""
        said, asked = "", [*self.messages, {"role": "user", "content": line}]
        try:
            for piece in self.engine.stream(asked, seed=self.seed + len(asked), **self.settings):
                said += piece.text
                print(piece.text, end="", flush=True)
            print(flush=True)
        except KeyboardInterrupt:
            print("\n(stopped)", file=sys.stderr)
        except UserError as error:
            print(f"{error} /reset starts anew.", file=sys.stderr)
            return
        self.messages = [*asked, {"role": "assistant", "content": said}]


if __name__ == "__main__":
    run_command(main)
