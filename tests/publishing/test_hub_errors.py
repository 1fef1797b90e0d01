"""What the Hub's errors are called, and what is asked again."""

import re

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from publishing import hub


def answer(status: int, said: str = "", **headers: str) -> HfHubHTTPError:
    response = httpx2.Response(status, headers=headers, request=httpx2.Request("GET", "http://hub/x?sig=abc"))
    return HfHubHTTPError("no", response=response, server_message=said)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (answer(401), "wrong or has expired"),
        (answer(402), "plan of alice"),
        (answer(403), "may not write to alice"),
        (answer(403, "Discussions are disabled"), "--revision main"),
        (answer(404), "alice/demo is not there"),
        (answer(409), "changed by somebody else"),
        (answer(412), "somebody changed alice/demo meanwhile"),
        (answer(413), "too large"),
        (answer(429), "fewer requests"),
        (answer(500, "oops"), r"status 500\. \[oops\]"),
        (httpx2.ReadTimeout("slow"), r"cannot be reached \(slow\)"),
        (httpx2.ConnectError(""), r"cannot be reached \(ConnectError\)"),
        (ValueError("bad card"), "the Hub's client says: bad card"),
        (OSError(28, "No space left on device"), "no disk space left"),
        (RuntimeError("HTTP status client error (403 Forbidden), domain: http://x"), "may not write to alice"),
        (RuntimeError("error sending request for url (http://x)"), "the Hub cannot be reached"),
        (PermissionError("401"), "Xet does not accept the token"),
    ],
)
def test_every_error_has_its_sentence(error, said):
    assert re.search(said, hub.explain(error, "alice/demo"))


def test_what_the_client_wraps_is_unwrapped():
    wrapped = RuntimeError("Error while uploading 'x' to the Hub.")
    wrapped.__cause__ = answer(429)
    assert "fewer requests" in hub.explain(wrapped, "alice/demo")


def test_no_token_and_no_signature_is_repeated(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    text = "PUT https://cdn/x?X-Amz-Signature=1234&y=2 with hf_secret and hf_" + "a" * 34 + ": failed"
    assert hub.clean(text) == "PUT https://cdn/x with hf_… and hf_…: failed"


def test_the_clients_own_log_is_cleaned(caplog):
    import logging

    hub.hub_api()
    logging.getLogger("huggingface_hub.utils._http").warning("retry %s", "https://cdn/x?sig=1")
    assert "sig" not in caplog.text


@pytest.mark.parametrize(
    ("error", "number", "seconds"),
    [
        (answer(503), 0, 1.0),
        (answer(429, **{"Retry-After": "7"}), 0, 7.0),
        (answer(429, ratelimit='"api";r=0;t=55'), 0, 55.0),
        (answer(429, **{"Retry-After": "9999"}), 0, None),
        (answer(404), 0, None),
        (httpx2.ConnectError(""), 0, 1.0),
        (httpx2.ConnectError(""), 1, None),
        (httpx2.ReadError(""), 3, 1.0),
    ],
)
def test_how_long_is_waited(error, number, seconds):
    assert hub.next_wait(error, 1.0, number) == seconds


def test_what_only_reads_is_asked_again_and_not_forever(monkeypatch):
    monkeypatch.setattr(hub, "WAITS", (0.0, 0.0))
    answers = [answer(503), httpx2.ReadError("cut"), "here"]

    def call():
        last = answers.pop(0)
        if isinstance(last, Exception):
            raise last
        return last

    assert hub.asked(call) == "here"
    answers += [answer(503)] * 3 + ["too late"]
    with pytest.raises(HfHubHTTPError):
        hub.asked(call)
    assert answers == ["too late"]
