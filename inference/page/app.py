"""The demo's page: a gradio app over the sides. Gradio is imported here and nowhere else."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from command import UserError, resource_message
from inference.page.sides import Said, Side, answer_together, context_of, longest_prompt, without_html
from inference.rules import Sampling
from run_folder import built_with

HERE = Path(__file__).parent
WORDS = json.loads((HERE / "words.json").read_text(encoding="utf-8"))
PROMPTS = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))
LANGUAGES = {"English": "en", "中文": "zh"}
MOST_CHARACTERS = 20_000
MOST_WAITING = 16  # questions in the queue; the next one is told that it is full
MOST_NEW_TOKENS = 2048
REFRESH = 0.1  # seconds between two looks at a growing answer
STATE_SECONDS = 3600  # a conversation that was left is forgotten after so long
FONTS = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "sans-serif",
]
CSS = """
.side h3 { margin: 0; } .side .html-container { padding: 0; } .side code { overflow-wrap: anywhere; font-size: .85em; }
#limits { opacity: .8; font-size: .85em; }
.examples .gallery-item { text-align: left; max-width: 100%; white-space: normal; }
.chat .top-panel { display: none; }  /* empties the sight of one side only; the button Clear forgets */
.chat { height: 46vh !important; min-height: 280px; contain: layout paint; }
@media (max-width: 640px) { .chat { height: 34vh !important; min-height: 220px; } }
"""
# Everything the page needs comes from its own server; what a model writes cannot make a browser ask another one.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'"


@dataclass(frozen=True)
class Settings:
    """What the page begins with."""

    sampling: Sampling
    longest: int  # tokens of an answer
    seed: int


class Page:
    """The components and what their events do. A visitor's conversations lie in a state of the server, a list for each side."""

    def __init__(self, sides: list[Side], settings: Settings):
        self.sides, self.settings, self.context = sides, settings, context_of(sides)
        self.spoken: list[tuple[gr.blocks.Block, str, str]] = []  # component, its property, its word
        title = " · ".join(side.name for side in reversed(sides))
        with gr.Blocks(title=title, analytics_enabled=False) as self.blocks:
            self._head()
            self._chats()
            self._input()
            self._examples()
            self._settings()
            self._spoken(gr.Markdown(elem_id="limits"), "value", "limits")
            self._events()

    def _spoken(self, component, part: str, word: str):
        """A component of which a part is a word of the language that was chosen."""
        self.spoken.append((component, part, word))
        return component

    def _head(self) -> None:
        self.language = gr.Radio(
            list(LANGUAGES), value="English", show_label=False, container=False, elem_id="language"
        )
        self._spoken(gr.Markdown(), "value", "intro" if len(self.sides) > 1 else "intro_alone")

    def _chats(self) -> None:
        self.chats = []
        with gr.Row():
            for side in self.sides:
                with gr.Column(min_width=300, elem_classes="side"):
                    self._spoken(gr.HTML(padding=False), "value", side.role)
                    chat = gr.Chatbot(
                        show_label=False,
                        buttons=["copy"],
                        elem_id=side.role,
                        elem_classes="chat",
                        allow_tags=False,
                        latex_delimiters=[],
                    )
                    self.chats.append(self._spoken(chat, "placeholder", "empty"))
        self.talks = gr.State([[] for _ in self.sides], time_to_live=STATE_SECONDS)

    def _input(self) -> None:
        self.status = gr.Markdown(elem_id="status", container=False)
        box = gr.Textbox(
            lines=1,
            max_lines=8,
            max_length=MOST_CHARACTERS,
            show_label=False,
            container=False,
            elem_id="ask",
        )
        self.box = self._spoken(box, "placeholder", "ask")
        with gr.Row():
            self.send = self._spoken(gr.Button(variant="primary", min_width=100, elem_id="send"), "value", "send")
            self.stop = self._spoken(
                gr.Button(variant="stop", visible=False, min_width=100, elem_id="stop"), "value", "stop"
            )
            self.clear = self._spoken(gr.Button(min_width=100, elem_id="clear"), "value", "clear")

    def _examples(self) -> None:
        with self._spoken(gr.Accordion(elem_id="examples"), "label", "examples"), gr.Tabs():
            for category in dict.fromkeys(prompt["category"] for prompt in PROMPTS):
                samples = [[prompt["prompt"]] for prompt in PROMPTS if prompt["category"] == category]
                with self._spoken(gr.Tab(), "label", category):
                    shown = gr.Dataset(
                        components=[self.box], samples=samples, show_label=False, elem_classes="examples"
                    )
                    shown.click(
                        lambda sample: sample[0], shown, self.box, queue=False, show_progress="hidden", api_name=False
                    )

    def _settings(self) -> None:
        room = max(1, min(MOST_NEW_TOKENS, self.context // 2))
        with self._spoken(gr.Accordion(open=False, elem_id="settings"), "label", "settings"), gr.Row():
            temperature = gr.Slider(0, 2, min(self.settings.sampling.temperature, 2), step=0.05)
            top_p = gr.Slider(0.05, 1, max(self.settings.sampling.top_p, 0.05), step=0.05)
            longest = gr.Slider(1, room, min(self.settings.longest, room), step=1)
            seed = gr.Number(self.settings.seed, precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
        self.chosen = [temperature, top_p, longest, seed]
        for component, word in zip(self.chosen, ("temperature", "top_p", "longest", "seed"), strict=True):
            self._spoken(component, "label", word)

    def _events(self) -> None:
        quick = {"queue": False, "show_progress": "hidden", "api_name": False}
        every = [component for component, _, _ in self.spoken]
        self.blocks.load(self.first_language, None, [self.language, *every], **quick)
        said = [self.status, *every]  # the last status is in the other language
        self.language.input(lambda language: ["", *self.speak(language)], self.language, said, **quick)
        outputs = [self.box, self.talks, self.status, self.send, self.stop, *self.chats]
        asking = gr.on(
            [self.box.submit, self.send.click],
            self.ask,
            [self.box, self.talks, self.language, *self.chosen],
            outputs,
            api_name="ask",
            show_progress="hidden",
            concurrency_limit=1,
            trigger_mode="once",
        )
        self.stop.click(self.stopped, [self.language, self.talks], outputs[2:], cancels=asking, **quick)
        self.clear.click(self.cleared, None, outputs[1:], cancels=asking, **quick)

    # --- what the events do

    def ask(
        self, message: str, talks: list[list[dict]], language: str, temperature: float, top_p: float, longest: int, seed: int
    ) -> Iterator[dict]:  # fmt: skip
        """The answers as they grow. What cannot be answered is said, and the message stays in its box."""
        words, began = WORDS[LANGUAGES[language]]["messages"], time.monotonic()
        asked = [[*talk, {"role": "user", "content": message}] for talk in talks]
        sampling = replace(self.settings.sampling, temperature=temperature, top_p=top_p)
        settings = {"max_new_tokens": longest, "sampling": sampling, "seed": seed + len(talks[0])}
        try:
            fault = self.fault(words, message, asked, longest)
            if not fault:
                yield {self.box: "", self.status: words["answering"], **self.buttons(True), **self.shown(asked)}
                for said in at_intervals(answer_together(self.sides, asked, **settings)):
                    yield self.kept([with_answer(talk, one.text) for talk, one in zip(asked, said, strict=True)])
        except UserError as error:  # a template that refuses the conversation
            fault = words["refused"].format(reason=error)
        except (MemoryError, RuntimeError) as error:
            if resource_message(error) is None:
                raise
            fault = words["memory"]
        if fault:
            yield {self.box: message, self.status: f"⚠️ {fault}", **self.buttons(False), **self.shown(talks)}
        else:
            done = words["done"].format(seconds=time.monotonic() - began, seed=seed)
            yield {self.status: done + self.told_cut(language, said), **self.buttons(False)}

    def told_cut(self, language: str, said: list[Said]) -> str:
        """A sentence that names the sides whose answers were cut; empty where all ended by themselves."""
        words = WORDS[LANGUAGES[language]]
        names = [
            words["page"][side.role if len(self.sides) > 1 else "alone"]
            for side, one in zip(self.sides, said, strict=True)
            if one.cut
        ]
        return words["messages"]["cut"].format(sides=words["messages"]["and"].join(names)) if names else ""

    def fault(self, words: dict[str, str], message: str, asked: list[list[dict]], longest: int) -> str | None:
        """Why the message cannot be answered, before any model is asked."""
        if not message.strip():
            return words["nothing"]
        if len(message) > MOST_CHARACTERS:
            return words["too_many"].format(count=len(message), most=MOST_CHARACTERS)
        length = longest_prompt(self.sides, asked)
        if length + longest > self.context:
            return words["too_long"].format(length=length, longest=longest, context=self.context)
        return None

    def shown(self, talks: list[list[dict]]) -> dict:
        """The conversations on the page, without what a browser would obey."""
        shown = [[{**turn, "content": without_html(turn["content"])} for turn in talk] for talk in talks]
        return dict(zip(self.chats, shown, strict=True))

    def kept(self, talks: list[list[dict]]) -> dict:
        """The conversations on the page and, as they are, in the visitor's state."""
        return {self.talks: talks, **self.shown(talks)}

    def buttons(self, answering: bool) -> dict:
        """Stop where Send was while an answer is made."""
        return {self.send: gr.update(visible=not answering), self.stop: gr.update(visible=answering)}

    def stopped(self, language: str, talks: list[list[dict]]) -> dict:
        """What was said so far stays; a question that was not answered at all is gone."""
        stopped = WORDS[LANGUAGES[language]]["messages"]["stopped"]
        return {self.status: stopped, **self.buttons(False), **self.shown(talks)}

    def cleared(self) -> dict:
        return {self.status: "", **self.buttons(False), **self.kept([[] for _ in self.sides])}

    def first_language(self, request: gr.Request) -> list:
        """That of the browser: Chinese if it asks for Chinese first."""
        chinese = request.headers.get("accept-language", "").lower().startswith("zh")
        language = "中文" if chinese else "English"
        return [language, *self.speak(language)]

    def speak(self, language: str) -> list:
        """Every component's words in a language."""
        words = dict(WORDS[LANGUAGES[language]]["page"])
        words["limits"] = words["limits"].format(context=self.context)
        if line := built_with(self.sides[-1].name.split("/")[-1]):
            words["limits"] += f"  \n{line}."
        for side in self.sides:
            words[side.role] = heading(words[side.role if len(self.sides) > 1 else "alone"], side)
        return [gr.update(**{part: words[word]}) for _, part, word in self.spoken]


def at_intervals(states: Iterator[list[Said]]) -> Iterator[list[Said]]:
    """The states that a reader needs: one in REFRESH seconds, and the last. Sending each token would cost more than making it."""
    state, last = None, 0.0
    for state in states:
        if time.monotonic() - last >= REFRESH:
            yield state
            last = time.monotonic()
    if state is not None:
        yield state


def with_answer(talk: list[dict], text: str) -> list[dict]:
    return [*talk, {"role": "assistant", "content": text}]


def heading(role: str, side: Side) -> str:
    """HTML: which side this is, the model and its revision."""
    name = escape(side.name)
    linked = f'<a href="{escape(side.url)}" target="_blank" rel="noopener">{name}</a>' if side.url else name
    revision = f" <code>{escape(side.revision)}</code>" if side.revision else ""
    return f"<h3>{role}</h3>{linked}{revision}"


class OwnAssetsOnly:
    """Middleware that sends POLICY with every answer."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        async def send_with_policy(message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, send_with_policy)


def start(page: Page, host: str, port: int) -> None:
    """Answer visitors from threads of this process. OSError where the port is taken."""
    page.blocks.queue(max_size=MOST_WAITING, default_concurrency_limit=1)
    page.blocks.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        footer_links=[],
        run_history=False,  # it would keep conversations in the browser
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        state_session_capacity=1000,
        app_kwargs={"middleware": [Middleware(OwnAssetsOnly)]},
        theme=gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "Consolas", "monospace"]),
        css=CSS,
    )


def serve(page: Page, host: str, port: int) -> None:
    """Until Ctrl-C."""
    start(page, host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    print(f"the demo is at http://{shown}:{port} (Ctrl-C ends it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        page.blocks.close(verbose=False)
        raise KeyboardInterrupt("The demo is closed.") from None
