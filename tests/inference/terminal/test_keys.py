"""Keys that arrive all at once, as over a slow line: what they do depends on their order alone."""

import math

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from inference.terminal.keys import CommandCompleter, Presses, bindings


def typed(keys: str, presses: Presses) -> str:
    """What the editor returns."""
    with create_pipe_input() as source:
        source.send_text(keys)
        settings = {"multiline": True, "completer": CommandCompleter(), "input": source, "output": DummyOutput()}
        return PromptSession(key_bindings=bindings(presses, lambda: False), **settings).prompt()


def test_ctrl_c_does_nothing_just_after_an_answer_was_stopped():
    assert typed("ab\x03\x03c\r", Presses(deaf_until=math.inf)) == "abc"
    with pytest.raises(EOFError):
        typed("ab\x03\x03c\r", Presses())
    assert typed("ab\x03c\r", Presses()) == "c"


@pytest.mark.parametrize(
    ("keys", "line"), [("/reg\t\r", "/regenerate"), ("/params te\t 0.3\r", "/params temperature 0.3"), ("\t\r", "")]
)
def test_tab_is_done_before_the_next_key(keys, line):
    assert typed(keys, Presses()) == line


def test_enter_sends_and_the_others_break_the_line():
    assert typed("a\x1b\rb\nc\r", Presses()) == "a\nb\nc"
    assert typed('"""\ra\r"""\r', Presses()) == '"""\na\n"""'
