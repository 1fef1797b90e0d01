"""The demo without a browser: its command, its words, and how two sides answer together."""

import importlib.util
import json
import re
import socket
import subprocess
import sys

import pytest

from command import UserError
from inference import demo
from inference.engine import Engine
from inference.rules import Sampling
from tests.inference.conftest import CHATS, ROOT

needs_gradio = pytest.mark.skipif(not importlib.util.find_spec("gradio"), reason="needs requirements-demo.txt")
HERE = ROOT / "inference" / "page"


def test_neither_torch_nor_gradio_is_imported_before_it_is_needed():
    code = "import sys, inference.demo; sys.exit(bool({'torch', 'transformers', 'gradio'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_without_gradio_the_command_to_install_it_is_told(monkeypatch, tiny_folder):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs gradio.*pip install -r requirements-demo\.txt"):
        demo.main([str(tiny_folder)])


@needs_gradio
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["./no/such"], "no such folder"),
        (["MODEL", "--base", "./no/such"], "no such folder"),
        (["MODEL", "--port", "70000"], "between 1 and 65535"),
        (["MODEL", "--host", "256.1.1.1"], "cannot listen there"),
        (["MODEL", "--temperature", "-1"], "--temperature -1"),
    ],
)
def test_a_mistake_is_told_before_a_model_is_loaded(tiny_folder, monkeypatch, arguments, reason):
    monkeypatch.setattr(demo, "make_page", lambda *_: pytest.fail("the models were loaded"))
    with pytest.raises(UserError, match=reason):
        demo.main([str(tiny_folder) if word == "MODEL" else word for word in arguments])


@needs_gradio
def test_a_busy_port_is_one_message(command, tiny_folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("inference.demo", tiny_folder, "--port", str(port))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr == f"error: --port {port} is busy on 127.0.0.1. Give another, such as --port {port + 1}.\n"


def test_address_comes_from_gradios_own_variables_or_is_this_machine_alone(monkeypatch):
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    options = demo.build_parser().parse_args(["m"])
    assert (options.host, options.port) == ("127.0.0.1", 7860)
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "8000")
    options = demo.build_parser().parse_args(["m"])
    assert (options.host, options.port) == ("0.0.0.0", 8000)


def test_both_languages_have_the_same_words_with_the_same_figures():
    words = json.loads((HERE / "words.json").read_text(encoding="utf-8"))

    def fields(language: str) -> dict:
        parts = words[language]
        return {(part, key): set(re.findall(r"{.*?}", parts[part][key])) for part in parts for key in parts[part]}

    assert fields("en") == fields("zh")
    assert {prompt["category"] for prompt in prompts()} <= words["en"]["page"].keys()


def prompts() -> list[dict]:
    return json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))


def test_the_articles_prompts_are_among_the_examples():
    lines = (ROOT / "eval" / "suites" / "seed.jsonl").read_text(encoding="utf-8").splitlines()
    article = [{key: json.loads(line)[key] for key in ("category", "prompt")} for line in lines]
    assert len(article) == 11 and [prompt for prompt in prompts() if prompt["category"] != "english"] == article


def side(tiny):
    from inference.page.sides import Side

    return Side("tuned", "tiny", None, None, Engine(*tiny))


def test_sides_that_take_turns_answer_as_each_does_alone(tiny):
    from inference.page.sides import answer_together

    settings = {"max_new_tokens": 24, "sampling": Sampling(0.8, 0.9), "seed": 3}
    steps = list(answer_together([side(tiny), side(tiny)], [CHATS[0], CHATS[3]], **settings))
    engine = Engine(*tiny)
    alone = [list(engine.stream(chat, **settings)) for chat in (CHATS[0], CHATS[3])]
    assert [one.text for one in steps[-1]] == ["".join(piece.text for piece in pieces) for pieces in alone]
    assert [one.cut for one in steps[-1]] == [pieces[-1].finish_reason == "length" for pieces in alone]
    assert any(
        all(0 < len(one.text) < len(end.text) for one, end in zip(step, steps[-1], strict=True)) for step in steps
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a <b>bold</b> ![x](http://e/x.png)", "a &lt;b>bold&lt;/b> !\\[x](http://e/x.png)"),
        ("```html\n<b>\n```\n<i>", "```html\n<b>\n```\n&lt;i>"),
        ("`<b>` <b>", "`<b>` &lt;b>"),
        ("```c\nwhile (a < b", "```c\nwhile (a < b"),
        ("say ``` <b>", "say ``` &lt;b>"),
        ("` <b> ``", "` &lt;b> ``"),
        ("\\`<b>`", "\\`&lt;b>`"),
        ("一元 < 二元", "一元 &lt; 二元"),
    ],
)
def test_only_code_keeps_its_tags(text, shown):
    from inference.page.sides import without_html

    assert without_html(text) == shown


def test_a_model_of_the_hub_is_told_with_tag_and_commit(monkeypatch, tmp_path):
    from inference.loading import resolve
    from inference.page import sides

    commit = "1a2b3c4d5e6f" + "0" * 28
    monkeypatch.setattr(sides, "fetch", lambda source: tmp_path / commit)
    found = sides.make_side("tuned", resolve("alice/x@v1"), None)
    assert (found.name, found.revision) == ("alice/x", "v1 (1a2b3c4d5e6f)")
    assert found.url == f"https://huggingface.co/alice/x/tree/{commit}"
    assert sides.make_side("tuned", resolve(f"alice/x@{commit}"), None).revision == "1a2b3c4d5e6f"
