"""The Hub's client with timeouts, what its errors mean, and how often something is asked or sent again.

huggingface_hub 2.4 repeats some requests itself, five times with waits of 1 to 8 seconds (`http_backoff`: listing trees,
commits and collections, preupload, LFS batch, PUT and verify, the tokens for Xet); hf_xet repeats its own. Those are called
plainly here, so that two layers never multiply. The rest it sends once: `asked` repeats what only reads, `once` repeats what
writes, and only when the Hub has said that the last attempt did not land.
"""

import json
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from command import UserError, WorkError, resource_message

CONNECT_SECONDS = 15
SILENT_SECONDS = 60  # a connection on which no byte moves for so long is given up
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds between attempts
LONGEST_WAIT = 300.0  # seconds; a Hub that asks for more patience gets its message shown instead
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
T = TypeVar("T")


@dataclass
class Held:
    """What the Hub holds now, as a sentence; it goes before every error and is what Ctrl-C shows."""

    now: str = "nothing was pushed"
    done: list[str] = field(default_factory=list)

    def finish(self, sentence: str) -> None:
        """Note what is finished; the next repository begins with nothing pushed."""
        self.done.append(sentence)
        self.now = ""

    def __str__(self) -> str:
        return "; ".join([*self.done, *([self.now] if self.now else [])])


def hub_api() -> Any:
    """The Hub's client. Every connection it makes ends after CONNECT_SECONDS without one or SILENT_SECONDS without a byte.

    The client is closed and made anew by huggingface_hub after a failed connection, so the timeouts stand in its factory.
    """
    check_environment()
    import httpx2
    from huggingface_hub import HfApi, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def with_timeouts() -> Any:
        client = default_client_factory()
        client.timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        return client

    set_client_factory(with_timeouts)
    logger = logging.getLogger("huggingface_hub.utils._http")
    if clean_record not in logger.filters:
        logger.addFilter(clean_record)
    return HfApi()


def check_environment() -> None:
    """UserError where a variable of the environment keeps huggingface_hub from being imported or its client from being made."""
    try:
        url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        whole = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise UserError(
            f"HF_ENDPOINT {os.environ['HF_ENDPOINT']!r} is not an address. Unset it, or give one such as https://huggingface.co."
        )
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        if not os.environ.get(name, "1").isdigit():
            raise UserError(f"{name} {os.environ[name]!r} is not a whole number of seconds. Unset it, or give one.")
    from huggingface_hub.utils import get_session

    try:
        get_session()
    except (ImportError, ValueError) as error:
        raise UserError(f"the proxy that the environment names cannot be used: {error}") from None


def endpoint() -> str:
    """The Hub's address, as HF_ENDPOINT or the default has it, without a password that may stand in it."""
    from huggingface_hub import constants

    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def clean_record(record: logging.LogRecord) -> bool:
    """A log filter that cleans what the client says of its own retries: upload addresses carry their signature."""
    record.msg, record.args = clean(record.getMessage()), ()
    return True


def clean(text: str) -> str:
    """A text without tokens and without the query strings of addresses, in which signatures stand."""
    from huggingface_hub import get_token

    if token := get_token():
        text = text.replace(token, "hf_…")
    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\")]*", r"\1", re.sub(r"\bhf_[A-Za-z0-9]{8,}", "hf_…", text))


def hub_errors() -> tuple[type[Exception], ...]:
    """What the client raises when the Hub refuses, cannot be reached (HF_HUB_OFFLINE is a ConnectionError) or answers no JSON."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    return (HfHubHTTPError, httpx2.TransportError, ConnectionError, json.JSONDecodeError)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of the answer, None if there was none."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_transient(error: Exception) -> bool:
    """Whether the same request may well succeed in a while."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = status_of(error)
    return status in TRANSIENT if status is not None else not isinstance(error, OfflineModeIsEnabled)


def explain(error: BaseException, repo_id: str) -> str:
    """An error of the Hub as a sentence that says what to do."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, hub_errors()):
        error = error.__cause__  # the client wraps what happened to an upload
    if isinstance(error, PermissionError) and error.errno is None:  # hf_xet's XetAuthenticationError
        return f"Xet does not accept the token for {repo_id}. Log in again: hf auth login"
    if short := resource_message(error):
        return short
    said = clean(" ".join(str(getattr(error, "server_message", None) or error).split()))[:200]
    xet = re.search(r"HTTP status \w+ error \((\d{3})", said)  # hf_xet raises a RuntimeError with this text
    status = int(xet[1]) if xet else status_of(error)
    if status is None:
        if said.startswith("error sending request"):  # hf_xet's, too
            return f"the Hub cannot be reached ({said})."
        if isinstance(error, json.JSONDecodeError):
            return f"what answered is not the Hub ({said}). Look at HF_ENDPOINT and the proxy, and run again."
        if not isinstance(error, hub_errors()):
            return f"the Hub's client says: {said}"
        return f"the Hub at {endpoint()} cannot be reached ({said or type(error).__name__}). Look at the network and HF_ENDPOINT."
    return status_message(status, said, repo_id) + f" [{said}]"


def status_message(status: int, said: str, repo_id: str) -> str:
    """What an HTTP status of the Hub means here and what helps."""
    if status == 403 and "disabled" in said.lower():
        return (
            f"pull requests are switched off for {repo_id}. Switch them on in its settings, or give --revision main: "
            "then the commit goes straight to main and is verified there."
        )
    known = {
        401: "the Hub does not accept the token: it is wrong or has expired. Log in again: hf auth login",
        402: f"the plan of {repo_id.split('/')[0]} does not allow this.",
        403: f"the token may not write to {repo_id.split('/')[0]}. Use one with write access to it (https://huggingface.co/settings/tokens).",
        404: f"{repo_id} is not there, or the token may not see it.",
        409: f"{repo_id} is being changed by somebody else. Look at the change and run again.",
        412: f"somebody changed {repo_id} meanwhile. Nothing was overwritten; look at the change and run again.",
        413: "the Hub finds a file too large.",
        429: "the Hub asks for fewer requests. Wait a few minutes and run again.",
    }
    return known.get(status, f"the Hub answered with status {status}.")


def wanted_wait(error: Exception) -> float:
    """Seconds that the Hub asks to wait (Retry-After, or its rate limit's reset), 0 if it does not say."""
    from huggingface_hub.utils import parse_ratelimit_headers

    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    if (after := headers.get("Retry-After", "")).isdigit():
        return float(after)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and limit.remaining == 0 and status_of(error) == 429 else 0.0


def asked(call: Callable[[], T]) -> T:
    """The answer to a request that only reads, asked again after growing waits while the Hub is busy.

    Where nobody listens at all it is asked once more and no oftener: that is told quickly, and the same command continues.
    """
    for number, wait in enumerate((*WAITS, None)):
        try:
            return call()
        except hub_errors() as error:
            longer = next_wait(error, wait, number)
            if longer is None:
                raise
            time.sleep(longer)
    raise AssertionError


def next_wait(error: Exception, wait: float | None, number: int) -> float | None:
    """Seconds before the next attempt after attempt `number` failed; None if there should be none."""
    import httpx2

    longer = max(wait or 0.0, wanted_wait(error))
    away = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) and number > 0
    return None if wait is None or away or not is_transient(error) or longer > LONGEST_WAIT else longer


def once(send: Callable[[], T], landed: Callable[[], T | None], held: Held, what: str, repo_id: str) -> T:
    """The result of a request that must not be done twice, whatever becomes of its answers.

    After any error `landed` asks the Hub: it gives the result if the work is done, None if it is not. Only then, and only if
    the error may pass, is it sent again. WorkError if the Hub cannot say; the last error if it did not land.
    """
    before, held.now = held.now, f"last known: {held.now}; whether {what} landed is not known"
    for number, wait in enumerate((*WAITS[:2], None)):
        try:
            result = send()
        except hub_errors() as error:
            found = find_out(landed, error, held, repo_id)
            if found is not None:
                print(f"the answer was lost ({explain(error, repo_id)}), but {what} is there.", flush=True)
                held.now = before
                return found
            longer = next_wait(error, wait, number)
            if longer is None:
                held.now = before
                raise
            print(f"{what} did not land ({explain(error, repo_id)}); once more in {longer:.0f} s.", flush=True)
            time.sleep(longer)
        else:
            held.now = before
            return result
    raise AssertionError


def find_out(landed: Callable[[], T | None], error: Exception, held: Held, repo_id: str) -> T | None:
    """Ask whether it landed: once after a plain refusal, several times after a lost answer, as the work may still go on."""
    for wait in (0.0, *WAITS[:3]) if is_transient(error) and status_of(error) != 429 else (0.0,):
        time.sleep(wait)
        try:
            found = landed()
        except hub_errors() as silent:
            raise WorkError(
                f"{held}, and the Hub cannot say: {explain(silent, repo_id)} Run the same command again; it finds out."
            ) from error
        if found is not None:
            return found
    return None
