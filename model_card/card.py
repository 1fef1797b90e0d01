"""The two cards: one context printed in English and in Chinese, the front matter above the English one."""

import functools
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, Template
from markupsafe import Markup

from model_card.metadata import front_matter
from model_card.text import NBSP, Printer, percent

TEMPLATES = {"README.md": "card_en.md.jinja", "README_zh.md": "card_zh.md.jinja"}
MISSING = {"README.md": "not measured", "README_zh.md": "未测量"}


def render_cards(context: dict[str, Any]) -> dict[str, str]:
    """README.md with its front matter, and README_zh.md."""
    cards = {file: render(file, context) for file in TEMPLATES}
    cards["README.md"] = f"---\n{front_matter(context)}\n---\n\n{cards['README.md']}"
    return cards


def render(file: str, context: dict[str, Any]) -> str:
    """One card. Whatever the template prints goes through Printer.value, so foreign text is always escaped."""
    return load_template(file).render(context)


@functools.cache
def load_template(file: str) -> Template:
    """The template of a card, in its language. What a record lacks prints as not measured."""
    printer = Printer(MISSING[file])
    environment = Environment(
        undefined=ChainableUndefined,
        finalize=printer.value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # HTML escaping alone would not do: Printer escapes Markdown too
    )
    environment.filters.update(code=printer.code, span=printer.span, setting=printer.setting, percent=share)
    environment.filters["as_is"] = Markup
    environment.globals.update(figure=printer.figure, difference=printer.difference)
    return environment.from_string((Path(__file__).parent / TEMPLATES[file]).read_text(encoding="utf-8"))


def share(value: Any) -> Markup | None:
    """A proportion in percent, None if it is not a number."""
    return Markup(f"{percent(value)}{NBSP}%") if isinstance(value, int | float) else None
