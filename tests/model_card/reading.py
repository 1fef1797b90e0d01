"""Cards of a made run, and what a test reads in them."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from model_card.card import render_cards
from model_card.context import make_context
from model_card.licence import find_licence
from model_card.records import read_run
from model_card.text import NBSP


def cards_of(folder: Path, told: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
    """Both cards of a run folder, rendered without writing. `changes` replace records of the run, `told` goes to make_context."""
    run = dataclasses.replace(read_run(folder), **changes)
    licence = find_licence(run.training["base_model"], "smollm2-demo", {})
    return render_cards(make_context(run, "smollm2-demo", "alice/smollm2-demo", licence, **(told or {})))


def spaced(card: str) -> str:
    """A card whose unbreakable spaces are plain ones, to look for figures in."""
    return card.replace(NBSP, " ")


def body(card: str) -> str:
    """A card without its front matter."""
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)


def numbers(card: str) -> list[str]:
    """All numbers of a card's text, sorted."""
    return sorted(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?", body(card)))


def shape(card: str) -> list[tuple[str, Any]]:
    """What both languages must have in the same order: headings by depth, rows by cells, blocks whole, list items, links, pictures.

    The link from one card to the other is left out.
    """
    found: list[tuple[str, Any]] = []
    fence: list[str] = []
    for line in body(card).split("\n"):
        ticks = re.match(r"`{3,}", line)
        if fence:
            fence.append(line)
            if ticks and line == re.match(r"`+", fence[0])[0]:
                found.append(("block", "\n".join(fence)))
                fence = []
        elif ticks:
            fence = [line]
        elif heading := re.match(r"(#+) ", line):
            found.append(("heading", len(heading[1])))
        elif line.startswith("|"):
            found.append(("row", len(re.findall(r"(?<!\\)\|", line))))
        elif line.startswith("- "):
            found.append(("item", None))
        elif line.startswith(("<details>", "</details>")):
            found.append(("details", line))
        if not fence:
            found += [("link", link) for link in re.findall(r"!?\[[^\]]*\]\(([^)]*)\)", line) if "README" not in link]
    return found
