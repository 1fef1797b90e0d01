"""Preference data in every form that is in use, read into one, checked, and reported on. No torch here."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from command import UserError
from run_folder import is_hub_data_set

SUITES = Path(__file__).resolve().parents[2] / "eval" / "suites"
SHAREGPT_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
SHOWN_ERRORS = 20
HAN_OR_WORD = re.compile(r"[一-鿿㐀-䶿]|[^\W一-鿿㐀-䶿]+")


@dataclass(frozen=True)
class Pair:
    """One preference. `prompt` is a list of messages that ends with a user turn; earlier assistant turns are prompt."""

    prompt: tuple[dict[str, str], ...]
    chosen: str
    rejected: str
    where: str  # file:line, or source[row]
    source: int = 0  # which of the sources it came from
    labels: dict[str, str] = field(default_factory=dict)  # topic, fault and the like, for the report


@dataclass(frozen=True)
class Preferences:
    """The pairs to train on and the account of every row that was read."""

    pairs: list[Pair]
    sources: list[dict[str, Any]]
    dropped: Counter
    sha256: str  # of the pairs, in order

    def only(self, kept: list[int], dropped: Counter) -> "Preferences":
        """These pairs alone, the account and the digest with them; `dropped` says why the others went."""
        pairs = [self.pairs[i] for i in kept]
        counts = Counter(pair.source for pair in pairs)
        sources = [{**source, "kept": counts[number]} for number, source in enumerate(self.sources)]
        return Preferences(pairs, sources, self.dropped + dropped, fingerprint(pairs))


def load_preferences(sources: list[dict[str, Any]], suites: Path = SUITES) -> Preferences:
    """Read, check and clean all sources. UserError lists the malformed rows, each as file:line with the reason.

    Dropped, and counted by reason: chosen equal to rejected, exact duplicates, prompts that overlap the eval suites.
    """
    pairs: list[Pair] = []
    account: list[dict[str, Any]] = []
    dropped: Counter = Counter()
    errors: list[str] = []
    seen: set[str] = set()
    held_out = held_out_prompts(suites)
    for number, source in enumerate(map(pin, sources)):
        rows = kept = 0
        for where, row in read_source(source):
            rows += 1
            try:
                pair = parse_row(row, where, number)
            except ValueError as error:
                errors.append(f"{where}: {error}")
                continue
            reason = reason_to_drop(pair, seen, held_out)
            dropped[reason] += reason is not None
            if reason is None:
                pairs.append(pair)
                kept += 1
        account.append({**source, "rows": rows, "kept": kept})
    if errors:
        raise UserError(list_errors(errors))
    if not pairs:
        names = ", ".join(str(source["path"]) for source in sources)
        reasons = "".join(f", {count} dropped: {reason}" for reason, count in dropped.items() if reason)
        raise UserError(f"{names}: no pair to train on ({sum(a['rows'] for a in account)} rows read{reasons}).")
    del dropped[None]
    return Preferences(pairs, account, dropped, fingerprint(pairs))


def list_errors(errors: list[str]) -> str:
    """All findings in one message, the first few by name."""
    shown = errors[:SHOWN_ERRORS]
    more = [f"… and {len(errors) - len(shown)} more"] if len(errors) > len(shown) else []
    return "\n  ".join([f"{len(errors)} malformed row(s); mend or remove them:", *shown, *more])


def fingerprint(pairs: Iterable[Pair]) -> str:
    """Hex SHA-256 over the text of the pairs, in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.prompt, pair.chosen, pair.rejected], ensure_ascii=False).encode())
    return digest.hexdigest()


# Reading


def read_source(source: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(where, raw row) of a local file (.json, .jsonl, .parquet) or a Hub data set {path, name, revision}."""
    path = Path(source["path"])
    if path.is_file():
        readers = {".jsonl": read_jsonl, ".json": read_json_array, ".parquet": read_parquet}
        if path.suffix not in readers:
            raise UserError(f"{path}: unknown kind of file {path.suffix!r}; use one of {', '.join(readers)}.")
        yield from readers[path.suffix](path)
    elif is_hub_data_set(source["path"]):
        yield from read_hub(source)
    else:
        state = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {state}. Give a .json, .jsonl or .parquet file, or a Hub data set ORG/NAME.")


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}). Convert it: iconv -t UTF-8.") from None


def read_jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    errors = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path}:{number}", json.loads(line)
        except json.JSONDecodeError as error:
            errors.append(f"{path}:{number}: not valid JSON: {error.msg} at column {error.colno}")
    if errors:
        raise UserError(list_errors(errors))


def read_json_array(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not valid JSON: {error.msg} at column {error.colno}.") from None
    if not isinstance(rows, list):
        raise UserError(
            f"{path}: holds {type(rows).__name__}; a list of rows is needed. One row a line goes in .jsonl."
        )
    for number, row in enumerate(rows, start=1):
        yield f"{path}[{number}]", row


def read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from None
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"{path}[{number}]", row


def pin(source: dict[str, Any]) -> dict[str, Any]:
    """A Hub data set with its revision resolved to a commit, so that the record says what was read; files as they are."""
    is_commit = re.fullmatch(r"[0-9a-f]{40}", str(source.get("revision")))
    if Path(source["path"]).is_file() or not is_hub_data_set(source["path"]) or is_commit:
        return source
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    what = f"data set {source['path']}"
    try:
        found = HfApi().dataset_info(source["path"], revision=source.get("revision"))
    except RevisionNotFoundError:
        raise UserError(f"{what} has no revision {source['revision']!r}. Give a branch, a tag or a commit.") from None
    except HfHubHTTPError as error:
        raise UserError(f"{what}: {str(error).splitlines()[0]} Check the name; private: `hf auth login`.") from None
    except (OSError, httpx2.TransportError) as error:
        raise UserError(f"{what}: no such file here, and the Hub cannot be reached ({error}).") from None
    return {**source, "revision": found.sha}


def read_hub(source: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Rows of a Hub data set's train split at its pinned revision."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    name = f"{source['path']}/{source.get('name') or 'default'}"
    try:
        rows = load_dataset(source["path"], source.get("name"), revision=source.get("revision"), split="train")
    except (DatasetsError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"cannot load {name} from the Hub: {reason}. Check name, revision and network.") from None
    for number, row in enumerate(rows, start=1):
        yield f"{name}[{number}]", row


# One form


def parse_row(row: Any, where: str, source: int = 0) -> Pair:
    """A Pair from a ShareGPT, TRL conversational, TRL plain or old `answer: [chosen, rejected]` row.

    ValueError says what is wrong with the row, in terms of its own keys.
    """
    if not isinstance(row, dict):
        raise ValueError(f"a row is an object with chosen and rejected; this is {type(row).__name__}")
    messages = prompt_messages(row)
    chosen, rejected = response_texts(row)
    check_roles(messages)
    for name, text in (("chosen", chosen), ("rejected", rejected), *(("prompt", m["content"]) for m in messages)):
        if not text.strip():
            raise ValueError(f"{name} is empty")
        if not is_unicode(text):
            raise ValueError(f"{name} holds a lone surrogate (\\ud800 to \\udfff), which is no character")
    labels = {key: row[key] for key in ("language", "topic", "fault") if isinstance(row.get(key), str)}
    return Pair(tuple(messages), chosen, rejected, where, source, labels)


def is_unicode(text: str) -> bool:
    """Whether a text is encodable: JSON may hold half of a surrogate pair, which no tokenizer takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def prompt_messages(row: dict[str, Any]) -> list[dict[str, str]]:
    for key in ("conversations", "prompt", "question", "instruction"):
        if key in row:
            break
    else:
        raise ValueError("has no prompt: one of `prompt`, `conversations`, `question` or `instruction` is needed")
    value = row[key]
    if isinstance(value, str):
        messages = [{"role": "user", "content": value}]
    elif isinstance(value, list) and value:
        messages = [as_message(message, f"{key}[{i}]") for i, message in enumerate(value)]
    else:
        raise ValueError(
            f"`{key}` is {type(value).__name__ if value else 'empty'}; a text or a list of turns is needed"
        )
    system = row.get("system")
    return [{"role": "system", "content": system}, *messages] if isinstance(system, str) and system else messages


def as_message(message: Any, name: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise ValueError(f"{name} is {type(message).__name__}; an object with role and content is needed")
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if role not in SHAREGPT_ROLES:
        raise ValueError(f"{name} has the role {role!r}; known are {', '.join(sorted(SHAREGPT_ROLES))}")
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"{name} has no text")
    return {"role": SHAREGPT_ROLES[role], "content": content}


def response_texts(row: dict[str, Any]) -> tuple[str, str]:
    if "answer" in row and "chosen" not in row:
        answer = row["answer"]
        if not (isinstance(answer, list) and len(answer) == 2 and all(isinstance(a, str) for a in answer)):
            raise ValueError("`answer` must be a list of two texts, [chosen, rejected]")
        return answer[0], answer[1]
    for key in ("chosen", "rejected"):
        if key not in row:
            raise ValueError(f"has no `{key}`")
    return response_text(row["chosen"], "chosen"), response_text(row["rejected"], "rejected")


def response_text(value: Any, key: str) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        message = as_message(value, key)
        if message["role"] != "assistant":
            raise ValueError(f"`{key}` is a turn of the {message['role']}; it must be the assistant's")
        return message["content"]
    if not isinstance(value, str):
        raise ValueError(f"`{key}` is {type(value).__name__}; a text or one assistant turn is needed")
    return value


def check_roles(messages: list[dict[str, str]]) -> None:
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    expected = ["user" if i % 2 == 0 else "assistant" for i in range(len(turns))]
    if turns != expected or len(turns) % 2 == 0:
        raise ValueError(f"roles are {', '.join(roles)}; needed: [system,] user, assistant, …, ending with user")


# Cleaning


def reason_to_drop(pair: Pair, seen: set[str], held_out: "HeldOut") -> str | None:
    """Why a well-formed pair is not trained on, or None; remembers the pair in `seen`."""
    if normalise(pair.chosen) == normalise(pair.rejected):
        return "chosen equals rejected"
    key = fingerprint([pair])
    if key in seen:
        return "exact duplicate"
    seen.add(key)
    if held_out.overlaps(pair.prompt[-1]["content"]):
        return "overlaps an eval suite"
    return None


def normalise(text: str) -> str:
    """Text as compared for sameness: NFKC, lower case, runs of space as one."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


@dataclass(frozen=True)
class HeldOut:
    """The prompts of the eval suites, as Han characters and words: whole, as 13-grams, and as bigrams for near copies.

    A near copy shares at least 0.4 of the bigrams (Jaccard), and five of them at the least. Among the 452 pairs as
    first written, eight reached 0.4: seven copies of an eval prompt and one that shared only its form ("write a Python
    function that tests for …"); to lose such a row costs little. Below, at 0.33 and less, copies and strangers mix.
    Short prompts of one form ("… 是什么意思") share four bigrams. Free paraphrases and translations need a reader.
    """

    whole: frozenset[tuple[str, ...]]
    grams: frozenset[tuple[str, ...]]
    bigrams: tuple[frozenset[tuple[str, ...]], ...]  # of each prompt
    prompts_with: dict[tuple[str, ...], list[int]]  # bigram → indices into bigrams
    size: int = 13
    near: float = 0.4
    least_shared: int = 5

    def overlaps(self, text: str) -> bool:
        tokens = split_tokens(text)
        return tokens in self.whole or not self.grams.isdisjoint(ngrams(tokens, self.size)) or self.is_near(tokens)

    def is_near(self, tokens: tuple[str, ...]) -> bool:
        """Whether any prompt shares enough bigrams; only prompts that share one are looked at."""
        own = ngrams(tokens, 2)
        shared = Counter(i for gram in own for i in self.prompts_with.get(gram, ()))
        return any(
            count >= self.least_shared and count >= self.near * (len(own) + len(self.bigrams[i]) - count)
            for i, count in shared.items()
        )


def split_tokens(text: str) -> tuple[str, ...]:
    return tuple(HAN_OR_WORD.findall(normalise(text)))


def ngrams(tokens: tuple[str, ...], size: int) -> set[tuple[str, ...]]:
    return {tokens[i : i + size] for i in range(len(tokens) - size + 1)}


def held_out_prompts(suites: Path) -> HeldOut:
    """Every `prompt` and `text` of the suite files (*.jsonl). A missing folder is an error: silence would hide a leak."""
    files = sorted(suites.glob("*.jsonl"))
    if not files:
        raise UserError(f"{suites} holds no eval suite, so overlap with it cannot be ruled out. Restore the folder.")
    rows = (row for file in files for _, row in read_jsonl(file))
    texts = (row.get("prompt") or row.get("text") for row in rows)
    tokens = [split_tokens(text) for text in texts if isinstance(text, str)]
    bigrams = tuple(frozenset(ngrams(t, 2)) for t in tokens)
    prompts_with: dict[tuple[str, ...], list[int]] = {}
    for i, grams in enumerate(bigrams):
        for gram in grams:
            prompts_with.setdefault(gram, []).append(i)
    return HeldOut(frozenset(tokens), frozenset(g for t in tokens for g in ngrams(t, 13)), bigrams, prompts_with)
