"""The demo's page in a real Chromium. Screenshots of every test lie in its tmp_path, to be looked at by a person."""

import time
from dataclasses import replace

import pytest

from tests.conftest import free_ports, tried_again
from tests.inference.demo_browser import Visitor, find

gr = pytest.importorskip("gradio", reason="needs requirements-demo.txt")
pytestmark = pytest.mark.skipif(not find(), reason="no Chromium on PATH (Debian: apt-get install chromium)")

from inference.answers import Piece  # noqa: E402
from inference.engine import Engine  # noqa: E402
from inference.page.app import Page, Settings, start  # noqa: E402
from inference.page.sides import Side  # noqa: E402
from inference.rules import GREEDY, Sampling  # noqa: E402

SENDING = "document.querySelector('#send')?.checkVisibility()"
QUESTION = "春天为什么暖和？"


class Scripted:
    """An engine that says what it is told to, a character every `pause` seconds, and keeps what it was asked."""

    context = 512

    def __init__(self, tokenizer):
        self.tokenizer, self.text, self.pause, self.error = tokenizer, "", 0.0, None
        self.asked, self.running, self.most_running = [], 0, 0

    def stream(self, conversation, **settings):
        self.asked.append(conversation)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.error:
                raise self.error
            for character in self.text:
                time.sleep(self.pause)
                yield Piece(character, None)
        finally:
            self.running -= 1


def served(page: Page) -> str:
    port = free_ports()
    start(page, "127.0.0.1", port)
    return f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def tiny_url(tiny):
    """The same model on both sides."""
    model = Side("tuned", "smollm2/tiny", "v1 (1a2b3c4d5e6f)", "https://huggingface.co/a/b", Engine(*tiny))
    page = Page([replace(model, role="base"), model], Settings(Sampling(0.8, 0.9), 24, 7))
    yield served(page)
    page.blocks.close(verbose=False)


@pytest.fixture(scope="module")
def scripted_page(tiny):
    engine = Scripted(tiny[1])
    page = Page([Side("tuned", "scripted", None, None, engine)], Settings(GREEDY, 64, 0))
    yield served(page), engine
    page.blocks.close(verbose=False)


@pytest.fixture
def scripted(scripted_page):
    url, engine = scripted_page
    engine.text, engine.pause, engine.error, engine.asked = "好", 0.0, None, []
    return url, engine


@pytest.fixture(scope="module")
def visitor(tmp_path_factory):
    found = Visitor(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def desktop(visitor):
    visitor.size(1280, 900)
    visitor.theme("light")


def ask(visitor, text: str) -> None:
    """Type a message, send it with Enter, wait for the end of the answers."""
    visitor.type("#ask textarea", text)
    visitor.key("Enter")
    visitor.wait("document.querySelector('#ask textarea').value === ''")
    visitor.wait(f"{SENDING} && /Answered|用时/.test(document.querySelector('#status').innerText)")


def clear(visitor) -> None:
    visitor.click("#clear")
    visitor.wait("!document.querySelector('.bot.message') && document.querySelector('#status').innerText.trim() === ''")


@tried_again
def test_both_sides_answer_a_chinese_prompt_and_the_same_seed_answers_the_same(visitor, tiny_url, tmp_path):
    visitor.visit(tiny_url)
    ask(visitor, QUESTION)
    first = visitor.says("tuned")
    visitor.picture(tmp_path / "answered.png", whole=True)
    assert len(first) == 1 and first[0] and visitor.says("base") == first
    assert visitor.run("document.querySelector('.user.message').innerText.trim()") == QUESTION
    clear(visitor)
    ask(visitor, QUESTION)
    assert visitor.says("tuned") == first
    clear(visitor)
    visitor.click_text("Settings, the same for every side", "#settings")
    visitor.wait("document.querySelector('#seed input')?.checkVisibility()")
    visitor.type("#seed input", "8")
    visitor.key("Tab")
    ask(visitor, QUESTION)
    assert visitor.says("tuned") != first and visitor.says("tuned") == visitor.says("base")


def test_models_and_revisions_are_shown_and_nothing_comes_from_elsewhere(visitor, tiny_url):
    visitor.visit(tiny_url)
    heads = visitor.run("[...document.querySelectorAll('.side h3')].map(h => h.parentElement.innerText)")
    assert [head.split() for head in heads] == [
        [role, "smollm2/tiny", "v1", "(1a2b3c4d5e6f)"] for role in ("Base", "Tuned")
    ]
    names = visitor.run("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert names and all(name.startswith(tiny_url) for name in names)
    assert visitor.run("document.querySelector('#tuned').getBoundingClientRect().top") < 250  # all above it is short
    assert visitor.complaints() == []


def test_stop_keeps_what_was_said_and_the_next_question_knows_it(visitor, scripted, tmp_path):
    url, engine = scripted
    engine.text, engine.pause = "春" * 400, 0.05
    visitor.visit(url)
    visitor.type("#ask textarea", "一")
    visitor.click("#send")
    visitor.wait("document.querySelector('.bot.message')?.innerText.includes('春春春')")
    visitor.picture(tmp_path / "answering.png")
    visitor.click("#stop")
    visitor.wait(f"{SENDING} && document.querySelector('#status').innerText.includes('Stopped')")
    said = visitor.says("tuned")[0]
    time.sleep(0.4)
    assert visitor.says("tuned")[0] == said and 3 <= len(said) < 200
    deadline = time.monotonic() + 5
    while engine.running and time.monotonic() < deadline:
        time.sleep(0.05)
    engine.text, engine.pause = "好", 0.0
    ask(visitor, "二")
    roles = [turn["role"] for turn in engine.asked[-1]]
    assert roles == ["user", "assistant", "user"]
    assert engine.asked[-1][1]["content"].startswith(said[:3]) and len(engine.asked[-1][1]["content"]) < 200
    clear(visitor)
    ask(visitor, "三")
    assert engine.asked[-1] == [{"role": "user", "content": "三"}]


def test_an_example_fills_the_message(visitor, scripted):
    visitor.visit(scripted[0])
    shown = "[...document.querySelectorAll('#examples button')].some(e => e.checkVisibility() && e.innerText.includes('鸡兔'))"
    for _ in range(20):  # gradio draws the tabs anew when the page's words arrive, and chooses the first again
        visitor.click_text("Maths", "#examples")
        if visitor.run(shown):
            break
    visitor.click_text("鸡兔同笼,头共10,足共28,鸡兔各几只?", "#examples")
    visitor.wait("document.querySelector('#ask textarea').value.startsWith('鸡兔同笼')")
    assert scripted[1].asked == []  # filled, not yet sent


def test_the_browsers_language_is_spoken_and_can_be_changed(visitor, tiny_url, tmp_path):
    visitor.visit(tiny_url, "zh-CN,zh;q=0.9,en;q=0.8")
    assert "基座模型" in visitor.run("document.body.innerText")
    ask(visitor, QUESTION)
    said = visitor.says("tuned")
    visitor.picture(tmp_path / "chinese.png", whole=True)
    assert "用时" in visitor.status()
    visitor.click_text("English", "#language")
    visitor.wait("document.querySelector('#send').textContent.trim() === 'Send'")
    text = visitor.run("document.body.innerText")
    assert "Base" in text and "基座模型" not in text and "Examples" in text
    assert visitor.says("tuned") == said  # the conversation stays
    visitor.click_text("中文", "#language")
    visitor.wait("document.querySelector('#send').textContent.trim() === '发送'")


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_a_phone_shows_everything_without_scrolling_sideways(visitor, scripted, tiny_url, language, tmp_path):
    visitor.size(360, 740, mobile=True)
    visitor.visit(tiny_url, language)
    visitor.picture(tmp_path / "phone.png", whole=True)
    assert visitor.run("document.documentElement.scrollWidth") <= 360
    url, engine = scripted
    engine.text = "w" * 300 + "\n\n```python\n" + "x" * 300 + "\n```"
    visitor.visit(url, language)
    ask(visitor, QUESTION)
    visitor.theme("dark")
    visitor.picture(tmp_path / "phone_long.png", whole=True)
    assert visitor.run("document.documentElement.scrollWidth") <= 360


HOSTILE = (
    "<script>window.hacked = 1</script> <img src=x onerror='window.hacked = 2'> <div id=over style='position:fixed'>x</div>\n\n"
    "![spy](http://127.0.0.1:9/spy.png) [click](javascript:window.hacked=3) <iframe src='http://127.0.0.1:9/'></iframe>\n\n"
    "```html\n<img src=x onerror='window.hacked = 4'>\n```\n``` ` <img src=x onerror='window.hacked = 5'>\n\n"
    "- a list\n  ```\n<b id=tag style='position:fixed;top:0;left:0;width:2000px;height:2000px;z-index:99'>over everything</b>\n\n"
    "<img src='http://127.0.0.1:9/spy.png'>"
)


def test_what_a_model_or_a_visitor_writes_is_shown_and_not_obeyed(visitor, scripted, tmp_path):
    url, engine = scripted
    engine.text = HOSTILE
    visitor.visit(url)
    ask(visitor, HOSTILE[:300])
    visitor.picture(tmp_path / "hostile.png", whole=True)
    assert "spy" in visitor.says("tuned")[0] and "onerror" in visitor.says("tuned")[0]
    assert visitor.run("window.hacked") is None
    found = visitor.run("document.querySelectorAll('.message #over, .message script, .message iframe').length")
    assert found == 0
    # The last tags are code for us and none for the page's Markdown: the big one stays within the conversation's box.
    box = "document.querySelector('#tuned').getBoundingClientRect()"
    assert visitor.run(f"document.querySelector('#tag').getBoundingClientRect().left >= {box}.left && {box}.left > 0")
    assert visitor.run("[...document.querySelectorAll('.message a')].every(a => !a.href.startsWith('javascript'))")
    assert "Content Security Policy: img-src " in visitor.complaints()  # the last picture was not asked for


@pytest.mark.parametrize(
    ("message", "error", "told"),
    [
        (" ", None, "Type a message first"),
        ("春秋" * 300, None, "the context is 512"),
        ("好", RuntimeError("CUDA out of memory."), "ran out of memory"),
    ],
)
def test_what_cannot_be_answered_is_told_and_the_message_stays(visitor, scripted, message, error, told):
    url, engine = scripted
    engine.error = error
    visitor.visit(url)
    visitor.type("#ask textarea", message)
    visitor.click("#send")
    visitor.wait(f"document.querySelector('#status').innerText.includes({told!r})")
    visitor.wait(f"{SENDING} && document.querySelector('#ask textarea').value === {message!r}")
    assert visitor.says("tuned") == []
    engine.error = None
    ask(visitor, "你好")
    assert engine.asked[-1] == [{"role": "user", "content": "你好"}]


def test_one_question_is_answered_at_a_time(scripted):
    from gradio_client import Client

    url, engine = scripted
    engine.text, engine.pause, engine.most_running = "好" * 10, 0.02, 0
    clients = [Client(url, verbose=False) for _ in range(3)]
    jobs = [client.submit("你好", "English", 0.0, 1.0, 16, 0, api_name="/ask") for client in clients]
    for job in jobs:
        job.result(timeout=30)
    assert len(engine.asked) == 3 and engine.most_running == 1


@pytest.mark.parametrize(
    "wrong",
    [
        ("你好", "English", 0.0, 1.0, 100_000, 0),
        ("你好", "English", 9.0, 1.0, 16, 0),
        ("你好", "Deutsch", 0.0, 1.0, 16, 0),
    ],
)
def test_bounds_hold_for_programs_too(scripted, wrong):
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    url, engine = scripted
    client = Client(url, verbose=False)
    with pytest.raises(AppError):
        client.predict(*wrong, api_name="/ask")
    client.predict("a" * 20_001, "English", 0.0, 1.0, 16, 0, api_name="/ask")
    assert engine.asked == []


def test_an_answer_that_was_cut_is_told_for_its_side(visitor, tiny_url, scripted):
    visitor.visit(tiny_url)
    ask(visitor, QUESTION)
    assert visitor.status().endswith(
        "Cut at the longest length: Base, Tuned."
    )  # the random model never ends in 24 tokens
    visitor.visit(scripted[0])
    ask(visitor, QUESTION)
    assert "Cut" not in visitor.status()
