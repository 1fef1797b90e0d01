"""The models of the demo and how they answer next to each other, without any page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from inference.chat_format import encode_chat
from inference.engine import Engine
from inference.loading import Source, fetch, load_model, load_tokenizer

CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)


@dataclass(frozen=True)
class Side:
    """One of the models. `revision` is the Hub's commit or the package's version; None for files of this disk."""

    role: str  # "base" | "tuned"
    name: str
    revision: str | None
    url: str | None
    engine: Engine


def load_side(role: str, source: Source, dtype: str) -> Side:
    """A model, loaded, and what the page says of it."""
    revision, url = source.revision, None
    if source.kind == "hub":
        commit = fetch(source).name
        revision = commit[:12] if commit.startswith(source.revision) else f"{source.revision} ({commit[:12]})"
        url = f"https://huggingface.co/{source.hub_id}/tree/{commit}"
    tokenizer, model = load_tokenizer(source), load_model(source, dtype)
    return Side(role, source.hub_id or source.name, revision, url, Engine(model, tokenizer))


def context_of(sides: list[Side]) -> int:
    """Tokens that a conversation and its answer may have on every side."""
    return min(side.engine.context or 2**31 for side in sides)


def longest_prompt(sides: list[Side], talks: list[list[dict]]) -> int:
    """Tokens of the longest prompt. UserError where a template refuses a conversation."""
    return max(len(encode_chat(side.engine.tokenizer, talk)) for side, talk in zip(sides, talks, strict=True))


def answer_together(sides: list[Side], talks: list[list[dict]], **settings) -> Iterator[list[str]]:
    """What each side has said so far, after each piece; the sides take turns, so that both answers grow together."""
    streams = dict(enumerate(side.engine.stream(talk, **settings) for side, talk in zip(sides, talks, strict=True)))
    said = [""] * len(sides)
    while streams:
        for number, stream in list(streams.items()):
            piece = next(stream, None)
            if piece is None:
                del streams[number]
            else:
                said[number] += piece
        yield list(said)


def without_html(text: str) -> str:
    """Markdown in which nothing but code can hold a tag, and no image: what a model or a user wrote is shown, never obeyed.

    The page's own sanitiser removes scripts; what it lets through (a `div` over the whole page, a picture that tells another
    server who reads) would still be the model's doing.
    """
    parts = CODE.split(text)
    parts[::2] = [part.replace("<", "&lt;").replace("![", "!\\[") for part in parts[::2]]
    return "".join(parts)
