"""The models of the demo and how they answer next to each other, without any page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inference.chat_format import encode_chat
from inference.loading import Source, fetch

# A fenced block from its own line on, closed or still growing; or a span between two single backticks on a line.
CODE = re.compile(
    r"(^ {0,3}```[^`\n]*\n(?:.*?^ {0,3}```[ \t]*$|.*\Z)|(?<![`\\])`[^`\n]+`(?!`))", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Side:
    """One of the models. `revision` is the Hub's commit or the package's version; None for files of this disk."""

    role: str  # "base" | "tuned"
    name: str
    revision: str | None
    url: str | None
    engine: Any  # of inference/runtime.py


def make_side(role: str, source: Source, engine: Any) -> Side:
    """An engine and what the page says of its model."""
    revision, url = source.revision, None
    if source.kind == "hub":
        commit = fetch(source).name
        revision = commit[:12] if commit.startswith(source.revision) else f"{source.revision} ({commit[:12]})"
        url = f"https://huggingface.co/{source.hub_id}/tree/{commit}"
    return Side(role, source.hub_id or source.name, revision, url, engine)


def context_of(sides: list[Side]) -> int:
    """Tokens that a conversation and its answer may have on every side."""
    return min(side.engine.context or 2**31 for side in sides)


def longest_prompt(sides: list[Side], talks: list[list[dict]]) -> int:
    """Tokens of the longest prompt. UserError where a template refuses a conversation."""
    return max(len(encode_chat(side.engine.tokenizer, talk)) for side, talk in zip(sides, talks, strict=True))


@dataclass(frozen=True)
class Said:
    """What a side has said so far. `cut`: it ended at the longest length, not by itself."""

    text: str = ""
    cut: bool = False


def answer_together(sides: list[Side], talks: list[list[dict]], **settings) -> Iterator[list[Said]]:
    """What each side has said, after each piece; the sides take turns, so that both answers grow together."""
    streams = dict(enumerate(side.engine.stream(talk, **settings) for side, talk in zip(sides, talks, strict=True)))
    said = [Said()] * len(sides)
    while streams:
        for number, stream in list(streams.items()):
            piece = next(stream, None)
            if piece is None:
                del streams[number]
            else:
                said[number] = Said(said[number].text + piece.text, piece.finish_reason == "length")
        yield list(said)


def without_html(text: str) -> str:
    """Markdown with every tag and image outside code made text: what a model or a visitor wrote is shown, not obeyed.

    It tells code from text nearly as the page does, not exactly. What slips through meets the page's sanitiser (no scripts),
    its policy (nothing from other servers) and its style sheet (nothing outside the conversation's box): app.py.
    """
    parts = CODE.split(text)
    parts[::2] = [part.replace("<", "&lt;").replace("![", "!\\[") for part in parts[::2]]
    return "".join(parts)
