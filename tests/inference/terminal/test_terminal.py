"""The chat in a real pseudo-terminal: what a user types and sees, and what a signal does."""

import json
import os
import signal
import stat
import struct
import subprocess
import sys
import time

import pytest

from tests.conftest import tried_again
from tests.inference.terminal.pseudo_terminal import (
    ALT_ENTER,
    BACKSPACE,
    CTRL_C,
    CTRL_D,
    CTRL_J,
    ENTER,
    LEFT,
    ROOT,
    TAB,
    UP,
    PseudoTerminal,
)  # fmt: skip

MODULE = "tests.inference.terminal.scripted_chat"


@pytest.fixture
def folder(tmp_path):
    """What `resolve` takes for a model; the scripted chat loads nothing from it."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    return folder


@pytest.fixture
def start(tmp_path, folder):
    """Start a scripted chat whose history lies in tmp_path."""
    began = []

    def run(*arguments, module=MODULE, model=folder, **environment) -> PseudoTerminal:
        command = [sys.executable, "-m", module, str(model), "--max-new-tokens", "100", *map(str, arguments)]
        environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "", **environment}
        began.append(PseudoTerminal(command, **environment))
        return began[-1]

    yield run
    for terminal in began:
        terminal.__exit__()


@pytest.fixture
def chat(start):
    """A scripted chat that is ready."""
    terminal = start()
    terminal.wait_for("0 turns")
    return terminal


def row_of(terminal, text: str) -> int:
    return next(y for y, row in enumerate(terminal.screen.display) if text in row)


def test_wide_characters_are_edited_in_the_right_cells(chat):
    chat.send("你好😀吗")
    chat.wait_for("你好😀吗")
    row = row_of(chat, "› 你")
    cells = chat.screen.buffer[row]
    assert [cells[x].data for x in (2, 4, 6, 8)] == ["你", "好", "😀", "吗"] and chat.screen.cursor.x == 10
    chat.send(LEFT, LEFT, "们")
    chat.settle()
    assert [cells[x].data for x in (2, 4, 6, 8, 10)] == ["你", "好", "们", "😀", "吗"] and chat.screen.cursor.x == 8
    chat.send(BACKSPACE, BACKSPACE, ENTER)
    chat.wait_for("<你😀吗>")


def test_a_paste_of_several_lines_is_one_message(chat):
    chat.paste("第一行\n  second\nthird")
    chat.wait_for("third")
    assert "1 turn" not in chat.text()
    chat.send(ENTER)
    chat.wait_for("<第一行\n  second\nthird>")
    assert "1 turn ·" in chat.settle()


def test_new_lines_by_keys_and_by_triple_quotes(chat):
    chat.send("a", ALT_ENTER, "b", CTRL_J, "c", ENTER)
    chat.wait_for("<a\nb\nc>")
    chat.send('"""', ENTER, "  x", ENTER, "y", ENTER, '"""', ENTER)
    chat.wait_for("<  x\ny>")


def test_ctrl_c_stops_an_answer_and_not_the_program(chat):
    chat.send("slow", ENTER)
    chat.wait_for("3 ")
    chat.send("next")  # typed ahead: not shown amid the answer
    assert "next" not in chat.wait_for(" 9 ")
    chat.send(CTRL_C, CTRL_C, CTRL_C)
    chat.wait_for("(stopped; what was said is kept)")
    chat.wait_for("› next")
    chat.send(ENTER)
    chat.wait_for("<next>")
    assert "2 turns" in chat.wait_for("2 turns") and chat.process.poll() is None


@tried_again
def test_ctrl_c_before_an_answer_gives_the_question_back(start):
    terminal = start(CHAT_READING=json.dumps({"很长的\n问题": 60}))
    terminal.wait_for("0 turns")
    terminal.paste("很长的\n问题")
    terminal.send(ENTER)
    terminal.wait_until(lambda text: "0 turns" not in text, "the editor's end")
    terminal.send(CTRL_C)
    terminal.wait_for("(stopped before anything was said; the question is in the editor again)")
    terminal.wait_for("› 很长的\n  问题", times=2)
    assert "is kept" not in terminal.settle() and " stopped before anything was said" in terminal.screen.display[-1]
    terminal.send("？")
    terminal.wait_for("0 turns")
    terminal.send(ENTER)
    terminal.wait_for("<很长的\n问题？>")


def test_a_long_prompt_is_told_while_it_is_read(start):
    terminal = start(CHAT_READING=json.dumps({"a" * 600: 1.5, "b" * 600: 60}), CHAT_CONTEXT="4000")
    terminal.wait_for("0 turns")
    for stop in (False, True):
        terminal.paste(("b" if stop else "a") * 600)
        terminal.send(ENTER)
        terminal.wait_until(
            lambda _, times=1 + stop: terminal.raw.count(b"\x1b[2mreading 602 tokens") == times, "reading"
        )
        if stop:
            terminal.send(CTRL_C)
            terminal.wait_for("(stopped before anything")
        else:
            terminal.wait_for("1 turn ·")
        assert "reading" not in terminal.settle()
    terminal.send(BACKSPACE * 595, ENTER)
    terminal.wait_for("<bbbbb>")
    assert terminal.raw.count(b"reading") == 2


def test_ctrl_c_at_the_prompt_clears_the_line_and_leaves_at_the_second(chat):
    chat.send("half a thought", CTRL_C)
    chat.wait_for("Ctrl-C again, or Ctrl-D, leaves")
    assert "half" not in chat.text()
    chat.send("x", CTRL_C)  # typing in between disarms it
    chat.settle()
    assert chat.process.poll() is None
    chat.send(CTRL_C)
    assert chat.ended() == 0 and "Traceback" not in chat.text()


def test_a_hostile_answer_changes_nothing_on_the_terminal(chat):
    chat.send("hostile", ENTER)
    chat.wait_for("1 turn ·")
    assert "␛]0;owned␇␛[2J␛[31mred␍<U+202E>gnp.exe<U+009B>5m" in chat.text()
    assert chat.screen.title == "" and "› hostile" in chat.text()


def test_completion_shows_meanings_and_completes(chat):
    chat.send("/re")
    chat.wait_for("answer the last question again")
    chat.send("g", TAB, ENTER)
    chat.wait_for("there is no answer to make anew")
    chat.send("/params te", TAB, " 0.3", ENTER)
    chat.wait_for("(the model: 0.6)")


def test_a_resize_during_an_answer_and_at_the_prompt(chat):
    chat.send("slow", ENTER)
    chat.wait_for("1 2 ")
    chat.resize(40, 12)
    chat.wait_for("9 ")
    chat.send(CTRL_C)
    chat.wait_for("1 turn")
    chat.send("这是一句很长很长的话，在窄窄的窗口里要折成好几行才能放得下")
    chat.wait_for("放得下")
    chat.resize(60, 20)
    chat.send(ENTER)
    chat.wait_for("放得下>")
    assert "Traceback" not in chat.text()


def test_a_message_that_does_not_fit_can_be_edited(chat):
    chat.paste("x" * 600)
    chat.send(ENTER)
    chat.wait_for("Shorten the message")
    chat.send(BACKSPACE * 590, ENTER)
    chat.wait_for("<xxxxxxxxxx>")


def test_why_a_message_does_not_fit_is_seen_beside_it_however_long(chat):
    chat.resize(60, 14)
    chat.settle()
    chat.paste("x" * 5000)
    chat.send(ENTER)
    chat.wait_for("too long: 5,002 tokens where 412 fit")
    chat.settle()
    assert "too long: 5,002 tokens where 412 fit" in chat.screen.display[-1] and "xxxx" in chat.screen.display[0]
    chat.send(BACKSPACE)
    chat.wait_until(lambda _: "0 turns" in chat.screen.display[-1], "the status line")


def test_history_is_kept_for_its_owner_alone_and_not_at_all_if_asked(start, tmp_path):
    first = start("--no-history")
    first.wait_for("0 turns")
    first.send("secret", ENTER)
    first.wait_for("<secret>")
    assert not (tmp_path / "state").exists()
    second = start()
    second.wait_for("0 turns")
    second.send("一\r")
    second.wait_for("<一>")
    path = tmp_path / "state" / "llama3-chinese-chat" / "history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "+一" in path.read_text(encoding="utf-8")
    second.send("/quit", ENTER)
    assert second.ended() == 0
    third = start()
    third.wait_for("0 turns")
    third.send(UP, UP)
    third.wait_for("› 一")


def test_a_history_that_cannot_be_kept_is_told(start, tmp_path):
    (tmp_path / "state").write_text("")
    shown = "".join(start().wait_for("0 turns").split())  # the path is long: the line wraps anywhere
    assert "--no-historyasksfornone" in shown


def test_a_history_that_cannot_be_written_any_more_is_told_once(folder, tmp_path):
    """With a limit of no bytes to a file, as on a full disk."""
    shell = f"ulimit -f 0; exec {sys.executable} -m {MODULE} {folder}"
    with PseudoTerminal(["sh", "-c", shell], XDG_STATE_HOME=str(tmp_path / "state")) as terminal:
        terminal.wait_for("0 turns")
        terminal.send("one", ENTER, "two", ENTER)
        terminal.wait_for("<two>")
        assert terminal.text().count("earlier lines are no longer kept: File too large") == 1


def test_what_is_typed_while_the_model_loads_is_kept(start):
    terminal = start(CHAT_LOADING="4")
    terminal.wait_for("loading …")
    terminal.send("early", ENTER)
    terminal.wait_for("the model is still loading")
    terminal.wait_for("<early>")


@pytest.mark.parametrize("typed", ["", "half", "sent\r"])
def test_ctrl_c_while_the_model_loads_leaves_at_once(start, typed):
    terminal = start(CHAT_LOADING="60")
    terminal.wait_for("loading …")
    terminal.send(typed)
    if typed.endswith("\r"):
        terminal.wait_for("the model is still loading")
    terminal.settle()
    terminal.send(CTRL_C)
    assert terminal.ended(5) == 130
    assert terminal.text().count("stopped while the model was loading") == 1 and "Traceback" not in terminal.text()


def test_a_model_that_cannot_be_loaded_ends_the_editor_with_one_message(start):
    terminal = start(CHAT_LOADING="1", CHAT_FAILS="MODEL x: a file of it is broken.")
    assert terminal.ended() == 2
    assert terminal.text().count("error: MODEL x: a file of it is broken.") == 1 and "Traceback" not in terminal.text()


@pytest.mark.parametrize("answering", [True, False])
def test_sigterm_leaves_with_130_and_the_terminal_as_it_was(chat, answering):
    if answering:
        chat.send("slow", ENTER)
        chat.wait_for("1 2 ")
    os.kill(chat.process.pid, signal.SIGTERM)
    assert chat.ended() == 130
    assert "stopped. A conversation that was not saved is gone." in chat.text() and "Traceback" not in chat.text()


@pytest.mark.parametrize("answering", [True, False, "soon"])
def test_a_closed_terminal_ends_the_program(tmp_path, folder, answering):
    """With SIGHUP ignored, as under nohup: reading and writing then fail."""
    errors = tmp_path / "errors"
    code = f"import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); sys.stderr = open({str(errors)!r}, 'w'); import runpy; runpy.run_module({MODULE!r}, run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", code, str(folder), "--max-new-tokens", "100"]
    with PseudoTerminal(command, XDG_STATE_HOME=str(tmp_path)) as terminal:
        terminal.wait_for("0 turns")
        if answering:
            terminal.send("slow", ENTER)
            terminal.wait_for("1 2 ") if answering is True else terminal.wait_until(
                lambda text: "0 turns" not in text, "the editor's end"
            )
        terminal.close()
        assert terminal.process.wait(10) in (0, 1)
    assert "Traceback" not in errors.read_text()


def test_no_colour_where_none_is_wanted(start):
    for environment, coloured in (({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)):
        terminal = start(**environment)
        terminal.wait_for("0 turns")
        terminal.send("/reset", ENTER)
        terminal.wait_for("is forgotten")
        assert (b"\x1b[2m" in terminal.raw) == coloured and (b"36" in terminal.raw) == coloured


def test_a_dumb_terminal_has_a_plain_prompt(start):
    terminal = start(TERM="dumb")
    terminal.wait_for("›")
    terminal.send("plain", ENTER)
    terminal.wait_for("<plain>")
    terminal.send(CTRL_D)
    assert terminal.ended() == 0


def test_answers_alone_go_to_a_file(tmp_path, folder):
    answers = tmp_path / "answers"
    shell = f"exec {sys.executable} -m {MODULE} {folder} --max-new-tokens 100 > {answers}"
    with PseudoTerminal(["sh", "-c", shell], XDG_STATE_HOME=str(tmp_path)) as terminal:
        terminal.wait_for("0 turns")
        terminal.send("emoji", ENTER)
        terminal.wait_for("1 turn ·")
        terminal.send(CTRL_D)
        assert terminal.ended() == 0
    assert answers.read_text(encoding="utf-8") == "🙂你好\n👍🏽ok\n"


def test_a_pipe_gives_answers_alone_without_colour_and_ctrl_c_ends_it(folder):
    command = [sys.executable, "-m", MODULE, str(folder), "--max-new-tokens", "100"]
    done = subprocess.run(command, cwd=ROOT, input=b"\xef\xbb\xbfone\r\n\xff\nhostile\n", capture_output=True)
    assert done.returncode == 0
    assert done.stdout.decode().split("\n")[:2] == ["<one>", "<\ufffd>"] and b"\x1b" not in done.stdout + done.stderr
    assert b"could not be done" not in done.stderr
    refused = subprocess.run(command, cwd=ROOT, input=f"{'x' * 600}\n/nosuch\none\n".encode(), capture_output=True)
    assert refused.returncode == 1 and refused.stdout == b"<one>\n"
    assert refused.stderr.endswith(b"2 lines could not be done; what was wrong stands above. Exit status 1.\n")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        process.stdin.write(b"slow\nnever asked\n")
        process.stdin.flush()
        assert process.stdout.read(2) == b"0 "
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=10)
    assert process.returncode == 130 and b"never" not in out and b"Traceback" not in errors


SAID = [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--load", "talk.json"], ["system: S", "1 › q", "<next>"]),
        (["--system", "@system.txt"], ["system: 从文件", "<next>"]),
        (["--system", "plain"], ["system: plain", "<next>"]),
    ],
)
def test_a_conversation_begins_with_what_was_given(folder, tmp_path, arguments, shown):
    (tmp_path / "talk.json").write_text(json.dumps({"schema_version": 1, "messages": SAID}))
    (tmp_path / "system.txt").write_text("从文件\n", encoding="utf-8")
    done = piped(folder, tmp_path, *arguments)
    assert done.returncode == 0 and all(text in done.stdout + done.stderr for text in shown)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--load", "talk.json", "--system", "x"], "--load and --system: a saved conversation has its own"),
        (["--load", "none.json"], "none.json: no such file"),
        (["--system", "@none.txt"], "none.txt: no such file"),
        (["--max-new-tokens", "512"], "--max-new-tokens 512 leaves no room for a prompt"),
    ],
)
def test_what_cannot_begin_a_conversation_is_refused(folder, tmp_path, arguments, said):
    done = piped(folder, tmp_path, *arguments)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def piped(folder, tmp_path, *arguments):
    command = [sys.executable, "-m", MODULE, str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=tmp_path, env=environment, input="next\n/history\n", capture_output=True, text=True
    )
