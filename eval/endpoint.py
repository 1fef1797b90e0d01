"""Answers through any OpenAI-compatible endpoint (vLLM, transformers serve, llama.cpp): a model spec is URL#MODEL.

`http://localhost:8000/v1#Qwen/Qwen3-8B`: the part before # is the base URL, under which /chat/completions and /models lie, the part
behind it the model's name there. The key, where one is wanted, comes from an environment variable, is sent to that URL with every
request, and is never printed or stored. A variable is of one server: the key goes to no other (`key_for`), and over plain http to
none but this machine. Which weights an endpoint serves cannot be verified; what it says of itself is recorded.
"""

import hashlib
import ipaddress
import json
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from queue import SimpleQueue
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from command import UserError
from inference.rules import GREEDY, Sampling

KEY_VARIABLE = "OPENAI_API_KEY"
CONNECT_SECONDS = 10.0
CUT = "\N{REPLACEMENT CHARACTER}"  # what a server makes of a character that the token limit cut, as in inference.engine
SURROGATES = re.compile("[\ud800-\udfff]")  # JSON can spell half a character, which no file in UTF-8 can hold
UNVERIFIED = "answers came from an endpoint; which weights it serves cannot be verified"
# What servers that filter prompts say with a 4xx status, in `code` or `type` (OpenAI, Azure, Moonshot; Zhipu's 1301 is a bare number),
# or only in the message (DeepSeek, DashScope: "InternalError.Algo.DataInspectionFailed").
FILTER_CODES = (
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "data_inspection_failed",
    "1301",
)
FILTER_MESSAGES = ("content exists risk", "datainspectionfailed")
FILTERED = "content_filter"
NO_LOG_PROBS = "an OpenAI-compatible endpoint gives no log-probabilities of texts that it is given"


class Endpoint(NamedTuple):
    """Where a model is served: base URL without credentials or a slash at its end, and the model's name there."""

    url: str
    model: str


@dataclass(frozen=True)
class Answer:
    """One answer. Of its tokens only the count is known, as the server counts (vLLM counts the stop token, too).

    A server's filter that refuses a prompt gives an empty text with the reason "content_filter", whether it says so in a completion
    or with status 400: the scorers count it as any empty answer, unparsed where they judge words and wrong where code has to run.
    """

    index: int
    text: str
    tokens: int | None  # None where the server says nothing
    finish_reason: str  # "stop" | "length", or what else the server says, such as "content_filter"
    served: str | None  # the model's name in the reply


class RequestError(UserError):
    """What came of the request for the conversation `index`; `reason` is for a caller who knows it under a better name."""

    def __init__(self, index: int, reason: str):
        super().__init__(f"conversation {index}: {reason}")
        self.index, self.reason = index, reason


def is_endpoint(spec: str) -> bool:
    """Whether a MODEL of the command line is an endpoint and not a path, a Hub id or a package."""
    return spec.lower().startswith(("http://", "https://"))


def parse_endpoint(spec: str) -> Endpoint:
    """URL#MODEL in its two parts. UserError, which shows nothing of credentials in the URL, where it is of another form."""
    base, mark, model = spec.partition("#")
    try:
        parts = urlsplit(base.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text may hold a piece of a password
        raise UserError(
            "the URL of an endpoint cannot be read. Give http://HOST:PORT/v1#MODEL, PORT a number."
        ) from None
    if parts.scheme not in ("http", "https") or not host:
        raise UserError("an endpoint is http://HOST:PORT/v1#MODEL or https://…; the one given has no such beginning.")
    if parts.username is not None or parts.password is not None or parts.query:
        raise UserError(
            f"the URL for {host} holds credentials or a query. Leave them out; the key comes from ${KEY_VARIABLE}."
        )
    url = f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
    if url.endswith("/completions"):
        raise UserError(f"{url} is one page of the endpoint. Give its base, {url.split('/chat')[0]}#MODEL or the like.")
    if not mark or not model.strip():
        raise UserError(f"{url} names no model. Give {url}#MODEL; {url}/models lists what the server offers.")
    return Endpoint(url, model.strip())


def seed_of(seed: int, stream: int) -> int:
    """The seed of the answer with this index or stream, 0 to 2^31 - 1: llama.cpp takes no more than 32 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{stream}".encode()).digest()[:4]) >> 1


class EndpointEngine:
    """Generation like inference.engine's, by as many requests at once as the batch has rows. There are no log_probs (NO_LOG_PROBS).

    What may pass (429, 5xx, a torn connection, no answer within `timeout` seconds) is tried again, `max_retries` times with growing
    pauses, by the openai client. At temperature 0 the server decodes greedily; whether a seed means anything is up to the server.
    """

    def __init__(
        self, url: str, model: str, key_variable: str = KEY_VARIABLE, timeout: float = 600.0, max_retries: int = 4
    ):
        import openai  # half a second

        self.url, self.model, self.timeout, self.tries = url, model, timeout, max_retries + 1
        self.key_variable, self._key = key_variable, key_for(url, key_variable)
        self._client = openai.OpenAI(
            base_url=url,
            api_key=self._key or "none",  # the client wants one; servers without keys ignore it
            timeout=openai.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            max_retries=max_retries,
        )

    def identity(self) -> dict[str, Any]:
        """For the records. UserError where nobody answers or the key is refused.

        `endpoint` is the whole spec, since two models of one server are two; `reported` is null where /models has none such.
        """
        entry = next((entry for entry in self.offered() or () if entry["id"] == self.model), None)
        kept = entry and {key: value for key, value in entry.items() if key not in ("created", "permission")}  # now
        record = {"model": self.model, "name": self.model, "kind": "endpoint"}
        record["endpoint"] = f"{self.url}#{self.model}"
        return {**record, "reported": kept, "note": UNVERIFIED}

    def made_by(self) -> dict[str, str]:
        """The library whose version an answer's record tells; of the server's own nothing is known."""
        return {"openai": version("openai")}

    def offered(self) -> list[dict[str, Any]] | None:
        """The entries of /models; None where the server has no such page or no list in it."""
        import openai

        try:
            reply = self._client.with_options(max_retries=1).models.with_raw_response.list()
            entries = json.loads(reply.http_response.content)["data"]
            return [entry for entry in entries if isinstance(entry, dict) and "id" in entry]
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.APIConnectionError) as error:
            raise UserError(self._message(error)) from None
        except (openai.APIStatusError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def generate(
        self,
        conversations: list[list[dict]],
        *,
        max_new_tokens: int | Sequence[int],
        sampling: Sampling = GREEDY,
        seed: int = 0,
        batch_size: int = 32,
        only: Collection[int] | None = None,
        streams: Sequence[int] | None = None,
    ) -> Iterator[Answer]:
        """Yield the answers as they finish, `index` into `conversations`; with `only`, just those indices.

        `max_new_tokens` is one for all, or one for each conversation. `streams` are the numbers that stand for the indices where
        a seed is drawn. After the first request that fails no new one is made; the answers that are under way are still yielded,
        then RequestError is raised.
        """
        count = len(conversations)
        budgets = [max_new_tokens] * count if isinstance(max_new_tokens, int) else max_new_tokens
        numbers = range(count) if streams is None else streams
        if min(budgets, default=1) < 1 or batch_size < 1:
            raise UserError(f"max_new_tokens {min(budgets, default=1)} and batch_size {batch_size} must be 1 or more")
        waiting = deque(range(count) if only is None else sorted(only))
        temperature = sampling.temperature
        more = {"top_p": sampling.top_p} if temperature else {}  # greedy decoding has no use for it

        def ask(index: int) -> Answer:
            request = {"messages": conversations[index], "max_tokens": budgets[index], "temperature": temperature}
            own_seed = seed_of(seed, numbers[index]) if temperature else seed
            return self._ask(index, {**request, **more, "seed": own_seed})

        return _at_once(ask, waiting, batch_size)

    def _ask(self, index: int, request: dict[str, Any]) -> Answer:
        import openai

        try:
            reply = self._client.chat.completions.with_raw_response.create(model=self.model, **request)
        except openai.APIError as error:
            if _is_filtered(error):
                return Answer(index, "", None, FILTERED, None)
            raise RequestError(index, self._message(error)) from None
        body = reply.http_response.content
        try:
            return _answer(index, json.loads(body))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:  # no JSON of a completion
            shown = self._shown(body.decode("utf-8", "replace"))
            raise RequestError(
                index,
                f"{self.url} gives no answer to read ({type(error).__name__}: {error}): {shown!r}. "
                "Is it an OpenAI-compatible endpoint?",
            ) from None

    def _message(self, error: Exception) -> str:
        """What to tell the user of a failed request: the endpoint, what it said, what to do."""
        import openai

        said = self._shown(_said(error))
        if isinstance(error, openai.APITimeoutError):
            return f"no answer from {self.url} within {self.timeout:g} s, {self.tries} times. Ask for fewer at once, or see to the server."
        if isinstance(error, openai.APIConnectionError):
            return f"{self.url} cannot be reached ({said}). Start the server or correct the URL."
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            state = "refuses the key in" if self._key else "wants a key: set"
            return f"{self.url} {state} ${self.key_variable} (status {error.status_code})."
        if isinstance(error, openai.NotFoundError):
            return f"{self.url} has no {self.model!r} ({said}). {self._choices()}"
        if isinstance(error, openai.RateLimitError):
            return f"{self.url} refuses for too many requests, asked up to {self.tries} times ({said}). Ask for fewer at once, or later."
        if _speaks_of_context(error, said):
            return f"the prompt and its answer do not fit the context of {self.model} ({said}). Shorten it or lower --max-new-tokens."
        status = getattr(error, "status_code", "unknown")
        return f"{self.url} refuses the request for {self.model!r} with status {status}: {said}"

    def _choices(self) -> str:
        names = [str(entry["id"]) for entry in self.offered() or ()]
        listed = f"It offers: {self._shown(', '.join(names))}." if names else "It lists no models."
        return f"{listed} The base URL of most servers ends in /v1."

    def _shown(self, text: str) -> str:
        """A server's words, fit to be shown: one line, short, without control characters and without the key."""
        text = text.replace(self._key, "***") if self._key else text
        text = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
        return text if len(text) <= 300 else text[:299] + "…"


_origin_of: dict[str, str] = {}  # environment variable → the server that this process sends its key to


def key_for(url: str, variable: str = KEY_VARIABLE) -> str | None:
    """The key in the environment variable, from then on bound to the server of `url`; None where it is not set.

    UserError, which never shows the key, where another server has it already, plain http would carry it over a network, or no
    HTTP header can hold it. Makes no request, so a command can ask for all its endpoints before it starts.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"${variable} holds a character that no key has, such as a line break. Set it again.")
    if not key:
        return None
    origin = _origin(url)
    if origin.startswith("http:") and not _is_this_machine(urlsplit(url).hostname or ""):
        raise UserError(
            f"{url} would get the key in ${variable} over plain http, for all to read. Use https, or unset ${variable}."
        )
    if _origin_of.setdefault(variable, origin) != origin:
        raise UserError(
            f"the key in ${variable} is for {_origin_of[variable]}; {origin} would get it, too. Give each server a variable "
            "of its own (see --help for the options named …key-variable); one that is not set sends no key."
        )
    return key


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _is_filtered(error: Any) -> bool:
    """Whether a refusal is of the prompt's content, by a filter of the server's, and not of the request."""
    if getattr(error, "status_code", None) not in (400, 422):
        return False
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("innererror")
    codes = [body.get("code"), body.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    said = _said(error).lower()
    return any(str(code).lower() in FILTER_CODES for code in codes) or any(words in said for words in FILTER_MESSAGES)


def _said(error: Any) -> str:
    """What the server said, or what broke the connection."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        return str(body.get("message") or body.get("detail") or body)
    return str(body or error.__cause__ or error)


def _speaks_of_context(error: Any, said: str) -> bool:
    """Whether a refusal is for length. There is no standard: OpenAI has a code, llama.cpp a type, vLLM a sentence."""
    words = f"{getattr(error, 'code', '')} {getattr(error, 'type', '')} {said}".lower()
    return "context" in words and any(word in words for word in ("length", "exceed", "size", "too long"))


def _answer(index: int, reply: dict[str, Any]) -> Answer:
    """The first choice of a completion. ValueError, TypeError or LookupError where there is none."""
    if not reply.get("choices"):
        raise ValueError("no choices")
    choice = reply["choices"][0]
    text, reason = choice["message"].get("content"), choice["finish_reason"]
    if not isinstance(text, str | None) or not isinstance(reason, str):
        raise TypeError("content is no text or finish_reason none")
    tokens = (reply.get("usage") or {}).get("completion_tokens")
    if type(tokens) is not int or tokens < 0:
        tokens = None
    text = SURROGATES.sub(CUT, text or "").rstrip(CUT)
    return Answer(index, text, tokens, reason, reply.get("model"))


def _next(waiting: deque[int]) -> int | None:
    try:
        return waiting.popleft()  # `while waiting` could be outrun by another thread
    except IndexError:
        return None


def _at_once(ask: Callable[[int], Answer], waiting: deque[int], workers: int) -> Iterator[Answer]:
    """Ask for all that waits in `workers` threads; yield what comes, then raise the first failure.

    Daemon threads: those of concurrent.futures are waited for at the end of the process, up to a timeout after Ctrl-C.
    """
    results: SimpleQueue[Answer | BaseException | None] = SimpleQueue()
    stop, failure, running = threading.Event(), None, min(workers, len(waiting))

    def work() -> None:
        try:
            while not stop.is_set() and (index := _next(waiting)) is not None:
                results.put(ask(index))
        except BaseException as error:
            results.put(error)
        finally:
            results.put(None)

    for _ in range(running):
        threading.Thread(target=work, daemon=True).start()
    try:
        while running:
            result = results.get()
            if isinstance(result, Answer):
                yield result
            elif result is None:
                running -= 1
            else:
                failure = failure or result
                stop.set()
    finally:
        stop.set()
    if failure:
        raise failure
