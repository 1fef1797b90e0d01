"""What OpenAI's protocol and our rules want of a server: a check each, and where each server falls short.

A check raises where the server does otherwise. SHORTFALLS is compared with what happened in both directions, so that an
upgrade that mends something (or breaks it) shows; inference/serve.py's table and the limits it prints say the same.
"""

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import openai

from tests.inference.serving.printable import CONTEXT

SHORTFALLS = {
    "transformers": {
        "a text of stop is left out",
        "top_k of a request",
        "n answers",
        "log-probabilities",
        "a prompt beyond the context is refused",
        "control tokens that are typed stay text",
        "the model is listed",
        "[DONE] ends a stream",
        "refused as JSON: no messages",
        "refused as JSON: no message",
        "refused as JSON: content is a number",
        "refused as JSON: messages is a text",
        "refused as JSON: temperature is a text",
        "refused as JSON: temperature below 0",
        "refused as JSON: max_tokens is a text",
        "refused as JSON: max_tokens below 0",
    },
    "llama.cpp": {
        "another model's name is refused",
        "control tokens that are typed stay text",
        "refused as JSON: no message",
        "refused as JSON: temperature below 0",
    },
}
CHATS = [
    [{"role": "user", "content": "你好"}],
    [{"role": "system", "content": "a b c"}, {"role": "user", "content": "List 3 fruits, please."}],
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "What?"},
        {"role": "user", "content": "写一首关于春天的诗。"},
    ],
]
ENDLESS = {"max_tokens": 30_000, "logit_bias": {"2": -100.0}}  # the stop never comes; minutes of work for transformers
PATIENCE = 20  # seconds, far less than ENDLESS takes


@dataclass
class Served:
    """A running server and what our own engine says to CHATS."""

    url: str
    model: str
    client: openai.OpenAI
    answers: list  # of inference.engine.Answer, greedy, 16 tokens at most
    typed: tuple[list[dict], int]  # a conversation with control tokens typed in it, and its length in tokens

    def ask(self, chat: list[dict] = CHATS[0], **settings: Any) -> Any:
        """One request, greedy and short unless it says otherwise."""
        return self.client.chat.completions.create(
            **{"model": self.model, "messages": chat, "max_tokens": 16, "temperature": 0, **settings}
        )

    def text(self, chat: list[dict] = CHATS[0], **settings: Any) -> str:
        return self.ask(chat, **settings).choices[0].message.content

    def post(self, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of a raw request."""
        place = urlsplit(self.url)
        link = http.client.HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
        link.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json", **headers})
        reply = link.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()


def greedy_as_ours(served: Served) -> None:
    for chat, answer in zip(CHATS, served.answers, strict=True):
        choice = served.ask(chat).choices[0]
        assert (choice.message.content, choice.finish_reason) == (answer.text, answer.finish_reason)


def own_sampling(served: Served) -> None:
    """Without a word on sampling the answers differ, and a seed repeats one."""
    free = {"temperature": openai.omit, "max_tokens": 30}
    assert len({served.text(**free) for _ in range(4)}) > 1
    seeded = [served.text(seed=seed, **free) for seed in (1, 1, 2, 2, 3, 3)]
    assert seeded[::2] == seeded[1::2] and len(set(seeded)) > 1


def streaming(served: Served) -> None:
    """The pieces are the answer, the last says why it ended, and the tokens are counted."""
    for chat, answer in zip(CHATS, served.answers, strict=True):
        chunks = list(served.ask(chat, stream=True, stream_options={"include_usage": True}))
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
        pieces = [choice.delta.content or "" for choice in choices]
        assert "".join(pieces) == answer.text and sum(map(bool, pieces)) > 3
        assert [choice.finish_reason for choice in choices if choice.finish_reason] == [answer.finish_reason]
        assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [16]


def done(served: Served) -> None:
    body = {"model": served.model, "messages": CHATS[0], "max_tokens": 2, "stream": True}
    assert served.post(json.dumps(body).encode())[2].rstrip().endswith(b"data: [DONE]")


def stop_ends(served: Served) -> None:
    text = served.answers[0].text
    choice = served.ask(stop=[text[5:7]]).choices[0]
    assert choice.finish_reason == "stop" and choice.message.content.startswith(text[: text.index(text[5:7])])
    assert len(choice.message.content) < len(text)


def stop_left_out(served: Served) -> None:
    text = served.answers[0].text
    assert served.text(stop=text[5:7]) == text[: text.index(text[5:7])]


def max_tokens(served: Served) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        reply = served.ask(**{"max_tokens": openai.omit, name: 3})
        assert reply.choices[0].finish_reason == "length" and reply.usage.completion_tokens == 3


def other_model(served: Served) -> None:
    try:
        served.ask(model="org/other")
    except (openai.NotFoundError, openai.BadRequestError):
        return
    raise AssertionError("answered")


def top_k(served: Served) -> None:
    assert served.text(temperature=1, extra_body={"top_k": 1}) == served.answers[0].text


def several(served: Served) -> None:
    assert len(served.ask(n=2).choices) == 2


def log_probs(served: Served) -> None:
    told = served.ask(logprobs=True, top_logprobs=2).choices[0].logprobs
    assert told and len(told.content) == 16


def too_long(served: Served) -> None:
    try:
        served.ask([{"role": "user", "content": "q" * (CONTEXT + 1)}])
    except openai.BadRequestError as error:
        assert str(CONTEXT) in str(error)
        return
    raise AssertionError("answered")


def typed(served: Served) -> None:
    chat, length = served.typed
    assert served.ask(chat).usage.prompt_tokens == length


def listed(served: Served) -> None:
    assert served.model in [model.id for model in served.client.models.list()]


def concurrent(served: Served) -> None:
    """Eight clients at once get each its own answer."""
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(served.text, (CHATS * 3)[:8]))
    assert texts == [answer.text for answer in (served.answers * 3)[:8]]


def concurrent_long(served: Served) -> None:
    """Four conversations that fill a good part of the context each."""
    chat = [{"role": "user", "content": "q" * (CONTEXT // 2)}]
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda _: served.text(chat, max_tokens=100), range(4)))
    assert len(set(texts)) == 1


def client_gone(served: Served) -> None:
    """A client leaves an answer of minutes; the next one does not wait for it."""
    stream = served.ask(stream=True, **ENDLESS)
    assert [next(stream) for _ in range(3)]
    stream.close()
    began = time.monotonic()
    assert served.text() == served.answers[0].text and time.monotonic() - began < PATIENCE


def other_origin(served: Served) -> None:
    body = json.dumps({"model": served.model, "messages": CHATS[0], "max_tokens": 1}).encode()
    status, headers, _ = served.post(body, Origin="http://elsewhere.example")
    assert status == 200 and "access-control-allow-origin" not in headers


def refused(**wrong: Any) -> Callable[[Served], None]:
    """The check that a request with such fields is refused, as JSON."""

    def check(served: Served) -> None:
        body = {"model": served.model, "messages": CHATS[0], "max_tokens": 2, **wrong}
        refused_raw(json.dumps({name: value for name, value in body.items() if value is not None}).encode())(served)

    return check


def refused_raw(body: bytes) -> Callable[[Served], None]:
    def check(served: Served) -> None:
        status, _, said = served.post(body)
        assert 400 <= status < 500 and isinstance(json.loads(said), dict)

    return check


CHECKS: dict[str, Callable[[Served], None]] = {
    "greedy answers are our engine's": greedy_as_ours,
    "the model's own sampling, and seeds": own_sampling,
    "streaming": streaming,
    "[DONE] ends a stream": done,
    "stop ends an answer": stop_ends,
    "a text of stop is left out": stop_left_out,
    "max_tokens": max_tokens,
    "another model's name is refused": other_model,
    "top_k of a request": top_k,
    "n answers": several,
    "log-probabilities": log_probs,
    "a prompt beyond the context is refused": too_long,
    "control tokens that are typed stay text": typed,
    "the model is listed": listed,
    "eight clients at once": concurrent,
    "four long conversations at once": concurrent_long,
    "a client that goes away": client_gone,
    "no page of another origin may read": other_origin,
    "refused as JSON: no messages": refused(messages=None),
    "refused as JSON: no message": refused(messages=[]),
    "refused as JSON: content is a number": refused(messages=[{"role": "user", "content": 5}]),
    "refused as JSON: messages is a text": refused(messages="Hi"),
    "refused as JSON: temperature is a text": refused(temperature="warm"),
    "refused as JSON: temperature below 0": refused(temperature=-1),
    "refused as JSON: max_tokens is a text": refused(max_tokens="many"),
    "refused as JSON: max_tokens below 0": refused(max_tokens=-5),
    "refused as JSON: half a request": refused_raw(b'{"model":'),
    "refused as JSON: a list": refused_raw(b"[]"),
    "refused as JSON: no UTF-8": refused_raw(b'{"model": "\xff"}'),
    "and it still answers": greedy_as_ours,
}


def run_checks(served: Served) -> dict[str, str]:
    """What each check that failed met."""
    failed = {}
    for name, check in CHECKS.items():
        try:
            check(served)
        except (AssertionError, openai.OpenAIError, json.JSONDecodeError) as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def answer_endlessly(served: Served) -> threading.Thread:
    """A client in the middle of an answer of minutes, which the server's end will break off."""
    began = threading.Event()

    def read() -> None:
        try:
            for _ in served.ask(stream=True, **ENDLESS):
                began.set()
        except (openai.APIError, http.client.HTTPException, OSError):
            return
        except Exception as error:  # httpx2's, which the client lets through while it reads
            if "httpx" not in type(error).__module__:
                raise

    thread = threading.Thread(target=read)
    thread.start()
    assert began.wait(PATIENCE)
    return thread
