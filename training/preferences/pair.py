"""One preference, in the one form that all others are read into."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from training.preferences.languages import language_of_label, language_of_text

DIGEST_BYTES = 16


@dataclass(frozen=True)
class Pair:
    """One preference. `prompt` is a list of messages that ends with a user turn; earlier assistant turns are prompt."""

    prompt: tuple[dict[str, str], ...]
    chosen: str
    rejected: str
    where: str  # file:line, or source[row]
    source: int = 0  # which of the sources it came from
    labels: dict[str, str] = field(default_factory=dict)  # topic, fault and the like, for the report

    @property
    def question(self) -> str:
        """The last user turn."""
        return self.prompt[-1]["content"]


def pair_texts(pair: Pair) -> tuple[str, ...]:
    """Every text of a pair: both answers, then the turns."""
    return (pair.chosen, pair.rejected, *(message["content"] for message in pair.prompt))


def content(pair: Pair) -> bytes:
    """Prompt, chosen and rejected as JSON: what makes two rows the same row."""
    return json.dumps([pair.prompt, pair.chosen, pair.rejected], ensure_ascii=False).encode()


def digest_of(content: bytes) -> bytes:
    """DIGEST_BYTES of BLAKE2b."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def digest(pair: Pair) -> bytes:
    return digest_of(content(pair))


def fingerprint(pairs: Iterable[Pair]) -> str:
    """Hex SHA-256 over the digests of the pairs, in their order."""
    return joint(map(digest, pairs))


def joint(digests: Iterable[bytes]) -> str:
    """Hex SHA-256 over digests in their order."""
    whole = hashlib.sha256()
    for one in digests:
        whole.update(one)
    return whole.hexdigest()


def language_of(pair: Pair) -> str:
    """By the row's own label if it has one, else by the last user turn: zh, en, another code, or "other"."""
    label = pair.labels.get("language")
    return language_of_label(label) if label else language_of_text(pair.question)
