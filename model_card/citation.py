"""What to cite, as BibTeX: this release and the paper of its method."""

import re
from typing import Any

from markupsafe import Markup

from model_card.text import fenced_as, visible

PAPER = fenced_as(
    "bibtex",
    "@misc{hong2024orpo,\n"
    "  title = {{ORPO}: Monolithic Preference Optimization without Reference Model},\n"
    "  author = {Jiwoo Hong and Noah Lee and James Thorne},\n"
    "  year = {2024},\n"
    "  eprint = {2403.07691},\n"
    "  archivePrefix = {arXiv}\n"
    "}",
)


def cite_release(name: str, repo_id: str, training: dict[str, Any]) -> Markup:
    """An entry for this release: its owner as the author, the year in which its training ended, where that is recorded."""
    year = re.match(r"[0-9]{4}(?=-)", str(training.get("finished")))
    fields = {
        "title": f"{{{name}}}".replace("_", r"\_"),
        "author": f"{{{repo_id.split('/')[0]}}}",
        **({"year": year[0]} if year else {}),
        "publisher": "Hugging Face",
        "url": f"https://huggingface.co/{repo_id}",
    }
    key = re.sub(r"[^A-Za-z0-9]+", "", name) + (year[0] if year else "")
    lines = ",\n".join(f"  {field} = {{{value}}}" for field, value in fields.items())
    return fenced_as("bibtex", visible(f"@misc{{{key},\n{lines}\n}}"))
