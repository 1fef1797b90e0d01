"""What is asked, kept, taken back, left out and refused, with an engine that says what it was asked."""

import json

import pytest

from command import UserError
from inference.chat_format import encode_chat
from inference.rules import Sampling
from inference.terminal.conversation import Conversation, Turn
from inference.terminal.talk import talk
from tests.inference.terminal.scripted import Kept, session_of

VERDICT = "could not be done; what was wrong stands above. Exit status 1."


@pytest.fixture
def chat(tiny_tokenizer):
    """Run lines through a session; returns (session, screen). The last line on the screen is no verdict on them."""

    def run(*script, **settings):
        session, screen = session_of(tiny_tokenizer, **settings), Kept(*script)
        status = talk(session, screen)
        if screen.refused:
            lines = "1 line" if screen.refused == 1 else f"{screen.refused} lines"
            assert screen.told.pop() == f"{lines} {VERDICT}"
        assert status == (1 if screen.refused else 0)
        return session, screen

    return run


def answers(session):
    return [turn.answer for turn in session.conversation.turns]


def test_a_conversation_grows_and_a_stopped_answer_is_kept_as_said(chat):
    session, screen = chat("one", "stop", "", "three", conversation=Conversation("S"))
    assert answers(session) == ["2:one@0", "4:stop", "6:three@2"]
    assert [turn.finish_reason for turn in session.conversation.turns] == ["stop", "stopped", "stop"]
    assert session.engine.calls[2]["messages"][:4] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "2:one@0"},
        {"role": "user", "content": "stop"},
    ]
    assert len(screen.told) == 1 and screen.told[0].startswith("(stopped") and screen.drafts == [""] * 5


def test_a_question_that_was_stopped_before_a_word_comes_back_to_the_editor(chat):
    session, screen = chat("at once")
    assert session.conversation.turns == () and screen.drafts == ["", "at once"]
    assert screen.told == ["(stopped; the question is in the editor again)"]


def test_what_the_model_has_not_read_yet_is_counted(chat, tiny_tokenizer):
    def tokens(*messages):
        said = [
            {"role": role, "content": text} for role, text in zip(("user", "assistant") * 3, messages, strict=False)
        ]
        return len(encode_chat(tiny_tokenizer, said))

    long = "x " * 300  # the scripted answer repeats it, and counts as read
    _, screen = chat(long, "b", "/regenerate", "/reset", "c")
    first, second, again, anew = screen.read_tokens
    assert first == tokens(long) > 300
    grown = tokens(long, f"1:{long}@0", "b") - tokens(long)
    assert 0 < second < 30 < grown and again == 0 and 0 < anew < tokens("c")


def test_a_cut_answer_is_marked(chat):
    session, screen = chat("long")
    assert session.conversation.turns[0].finish_reason == "length" and "cut at max_new_tokens" in screen.told[0]


def test_regenerate_takes_the_next_seed_and_undo_brings_the_earlier_answer_back(chat):
    session, _ = chat("a", "b", "/regenerate", "/regenerate", seed=10)
    assert answers(session) == ["1:a@10", "3:b@13"]
    session, screen = chat("a", "b", "/regenerate", "/undo", seed=10)
    assert answers(session) == ["1:a@10", "3:b@11"] and "the last answer is: 3:b@11" in screen.told[-1]
    session, _ = chat("a", "b", "/regenerate", "/undo", "/regenerate", seed=10)
    assert answers(session)[-1] == "3:b@13"  # not the answer that was just taken back


def test_a_stopped_regenerate_without_a_word_keeps_the_earlier_answer(chat):
    turn = Turn("at once", "earlier")
    session, screen = chat("/regenerate", conversation=Conversation(turns=(turn,)))
    assert session.conversation.turns == (turn,)
    assert screen.told == ["(stopped; the earlier answer stays)"] and screen.drafts == ["", ""]


def test_undo_gives_the_question_back_for_editing(chat):
    session, screen = chat("a", "b", "/undo")
    assert answers(session) == ["1:a@0"] and screen.drafts[-1] == "b"
    session, screen = chat("a", "/reset", "/undo")
    assert answers(session) == ["1:a@0"] and screen.drafts[-1] == ""
    assert "nothing to undo" in chat("/undo")[1].told[0]
    assert "no answer to make anew" in chat("/regenerate")[1].told[0]


def test_same_seed_and_same_inputs_are_the_same_conversation(chat):
    script = ("a", "/regenerate", "b", "/params seed 5", "c", "/undo", "d")
    assert chat(*script)[0].conversation == chat(*script)[0].conversation


def test_a_slash_can_begin_a_message_and_an_unknown_command_has_a_nearest(chat):
    session, screen = chat("//etc is a folder", "/regenrate", "/etc/passwd\nis a file", "/reset now")
    assert answers(session) == ["1:/etc is a folder@0"]
    assert "Did you mean /regenerate?" in screen.told[0] and "// begins a message" in screen.told[1]
    assert "/reset takes nothing" in screen.told[2]


def test_system_shows_sets_and_takes_off(chat, tmp_path):
    (tmp_path / "system.txt").write_text("从文件\n", encoding="utf-8")
    session, screen = chat("a", "/system 你是助手", "/system", f"/system @{tmp_path / 'system.txt'}")
    assert session.conversation == Conversation("从文件")
    assert screen.told[:2] == ["system message: 你是助手; the conversation starts anew", "system message: 你是助手"]
    assert chat("/system x", "/system none")[0].conversation == Conversation()
    assert "no such file" in chat("/system @/no/such")[1].told[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/params temperature 101", "0 (greedy) to 100"),
        ("/params temperature nan", "0 (greedy) to 100"),
        ("/params top_p 0", "above 0"),
        ("/params top_k 1.5", "a whole number"),
        ("/params min_p two", "a number"),
        ("/params seed -1", "0 to 2,147,483,647"),
        ("/params max_new_tokens 0", "1 to 99"),
        ("/params max_new_tokens 100", "1 to 99"),
        ("/params temprature 1", "Did you mean temperature?"),
        ("/params temperature", "takes a name and a value"),
        ("/params \x1b[31m 1", "no parameter ␛[31m"),
    ],
)
def test_params_refuses_with_the_range(chat, line, said):
    session, screen = chat(line, context=100)
    assert said in screen.told[0] and "\x1b" not in screen.told[0]
    assert (session.sampling, session.seed, session.max_new_tokens) == (Sampling(0.6, 0.9), 0, 8)


def test_params_sets_shows_and_resets(chat):
    lines = ("/params temperature 0.2", "/params top_k=5", "/params max_new_tokens 9", "/params seed 7", "q")
    session, screen = chat(*lines)
    call = session.engine.calls[0]
    assert (call["sampling"], call["max_new_tokens"], call["seed"]) == (Sampling(0.2, 0.9, 5), 9, 7)
    assert "temperature         0.2     (the model: 0.6)" in screen.told[0].split("\n")
    assert chat(*lines, "/params reset")[0].sampling == Sampling(0.6, 0.9)
    assert "greedy" in chat("/params temperature 0")[1].told[0]


def test_the_oldest_whole_turns_are_left_out_and_said_so_once_per_change(chat, tiny_tokenizer):
    turns = tuple(Turn("q" * 20, "a" * 20) for _ in range(5))
    conversation = Conversation("SYSTEM", turns)
    room = len(encode_chat(tiny_tokenizer, conversation.messages(2, "new")))
    session, screen = chat("new", conversation=conversation, context=room + 8)
    sent = session.engine.calls[0]["messages"]
    assert [message["role"] for message in sent] == ["system", *["user", "assistant"] * 3, "user"]
    assert screen.told == [
        f"turns 1 to 2 no longer fit the context of {room + 8} tokens and are not sent; /reset starts anew"
    ]
    again = Kept("/regenerate", "/params max_new_tokens 7", "/regenerate", "/reset", "x")
    talk(session, again)
    assert [call["messages"] for call in session.engine.calls[1:3]] == [sent, sent]
    assert [call["max_new_tokens"] for call in session.engine.calls[1:3]] == [8, 7]
    assert not [line for line in again.told if "fit" in line]  # the same two turns: nothing new to say
    assert [message["content"] for message in session.engine.calls[3]["messages"]] == ["SYSTEM", "x"]
    assert session.left_out == 0 and "1 turn · " in session.status()


def test_one_turn_more_is_left_out_and_said_when_there_is_less_room(chat, tiny_tokenizer):
    conversation = Conversation(turns=tuple(Turn("q" * 20, "a" * 20) for _ in range(3)))
    room = len(encode_chat(tiny_tokenizer, conversation.messages(1, "new"))) + 8
    session, screen = chat("new", "/params max_new_tokens 9", "/regenerate", conversation=conversation, context=room)
    assert [line[:24] for line in screen.told if "fit" in line] == [
        "turn 1 no longer fits th",
        "turns 1 to 2 no longer f",
    ]
    assert [len(call["messages"]) for call in session.engine.calls] == [5, 3]


def test_turns_come_back_when_there_is_room_again(chat, tiny_tokenizer):
    conversation = Conversation(turns=(Turn("q" * 20, "a" * 20), Turn("x", "y")))
    room = len(encode_chat(tiny_tokenizer, conversation.messages(0, "new"))) + 8
    session, screen = chat("new", conversation=conversation, context=room, max_new_tokens=9)
    assert screen.told[0].startswith("turn 1 no longer fits")
    again = Kept("/params max_new_tokens 8", "/regenerate")
    talk(session, again)
    assert "all turns fit the context again and are sent" in again.told
    assert len(session.engine.calls[1]["messages"]) == 5


def test_a_message_that_does_not_fit_alone_is_refused_and_stays_editable(chat):
    session, screen = chat("x" * 200, context=100)
    assert "leaves 92 beside an answer of max_new_tokens 8" in screen.told[0] and screen.drafts[-1] == "x" * 200
    assert session.conversation.turns == () and session.engine.calls == []


def test_out_of_memory_is_told_and_the_conversation_goes_on(chat):
    session, screen = chat("memory", "next")
    assert "out of memory" in screen.told[0] and answers(session) == ["1:next@0"] and screen.drafts[1] == "memory"


def test_status_counts_what_is_sent(chat, tiny_tokenizer):
    session, _ = chat("a", context=500)
    tokens = len(encode_chat(tiny_tokenizer, session.conversation.messages()))
    assert session.status() == f"tiny · 1 turn · {tokens} of 500 tokens · temperature 0.6, top_p 0.9"
    session.change(Conversation())
    assert "0 turns · 0 of 500 tokens" in session.status()


def test_history_marks_what_was_cut_stopped_and_left_out(chat):
    turns = (Turn("q", "a\x1b[2J"), Turn("long", "b", "length"), Turn("s", "c", "stopped"))
    session, screen = chat(conversation=Conversation("S", turns))
    session.left_out = 1
    screen.script = ["/history", "/help"]
    talk(session, screen)
    shown = "\n".join(screen.told)
    assert "1 (not sent) › q\n\na␛[2J" in shown and "b (cut)" in shown and "c (stopped)" in shown
    assert "/regenerate" in shown and "\x1b" not in shown


def test_save_is_whole_refuses_to_overwrite_and_comes_back_by_load(chat, tmp_path):
    path = tmp_path / "一次 对话.json"
    session, screen = chat(
        "你好 😀", "long", f"/save {path}", f"/save {path}", "c", f"/save! {path}", "/reset", f"/load {path}"
    )
    assert (
        "2 turns saved" in screen.told[1] and "exists. /save!" in screen.told[2] and "3 turns loaded" in screen.told[-1]
    )
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["schema_version"] == 1 and record["model"] == "tiny" and record["sampling"]["temperature"] == 0.6
    assert record["messages"][3] == {"role": "assistant", "content": "3:long@1", "finish_reason": "length", "seed": 1}
    assert session.conversation.turns[1] == Turn("long", "3:long@1", "length", 1)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_save_says_why_it_cannot(chat, tmp_path):
    assert "nothing to save" in chat("/save x")[1].told[0]
    assert "needs the name" in chat("a", "/save")[1].told[0]
    assert "no such folder" in chat("a", f"/save {tmp_path}/no/such/file")[1].told[0]
    assert "cannot be written: File name too long" in chat("a", f"/save {tmp_path}/{'x' * 300}")[1].told[0]
    assert "Is a directory" in chat("a", f"/save! {tmp_path}")[1].told[0]
    assert "~nobody-here/x: no such home" in chat("a", "/save ~nobody-here/x")[1].told[0]
    assert "holds a NUL" in chat("a", "/save a\0b")[1].told[0]
    assert "~nobody-here/x: no such home" in chat("/load ~nobody-here/x", "/system @~nobody-here/x")[1].told[1]
    assert "cannot be read: File name too long" in chat(f"/load {'x' * 300}")[1].told[0]


def test_engine_errors_are_told_and_leave_no_trace(chat):
    def refuse(*_, **__):
        raise UserError("the template refuses")

    session, screen = chat()
    session.engine.stream, screen.script = refuse, ["a"]
    talk(session, screen)
    assert screen.told == ["the template refuses", f"1 line {VERDICT}"] and session.conversation.turns == ()
