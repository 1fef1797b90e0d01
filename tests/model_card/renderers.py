"""Readers of Markdown that are not ours, each list of documents → list of HTML, and what of the HTML a reader would see.

markdown-it-py is a development requirement. cmark-gfm (GitHub's own; Debian: apt-get install cmark-gfm) and the two of
Node are used where they are: NODE_RENDERERS names a folder in which someone has run
`npm install marked unified remark-parse remark-gfm remark-math remark-frontmatter remark-rehype rehype-raw rehype-stringify`.
"""

import json
import os
import shutil
import subprocess
from collections import Counter
from functools import partial
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

BLOCKS = ("p", "td", "th", "h4", "pre")
EXTENSIONS = ("table", "strikethrough", "autolink", "tasklist", "footnotes")


def markdown_it(documents: list[str]) -> list[str]:
    """With HTML, tables and strikethrough; links of bare addresses too where linkify-it-py is installed."""
    from markdown_it import MarkdownIt

    linkify = find_spec("linkify_it") is not None
    reader = MarkdownIt("commonmark", {"html": True, "linkify": linkify}).enable(["table", "strikethrough"])
    if linkify:
        reader.enable("linkify")
    return [reader.render(text) for text in documents]


def cmark_gfm(documents: list[str]) -> list[str]:
    command = ["cmark-gfm", "--unsafe", *(word for name in EXTENSIONS for word in ("-e", name))]
    return [
        subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode()
        for text in documents
    ]


def node(documents: list[str], which: str) -> list[str]:
    """`which`: remark (with raw HTML, formulas, front matter) or marked."""
    folder = os.environ["NODE_RENDERERS"]
    documents_file = Path(os.environ["DOCUMENTS"])
    documents_file.write_text(json.dumps(documents))
    script = Path(__file__).with_name("render.mjs").read_bytes()
    run = subprocess.run(["node", "--input-type=module"], input=script, cwd=folder, capture_output=True, check=True)
    return json.loads(run.stdout)[which]


RENDERERS = [
    pytest.param(markdown_it, id="markdown-it"),
    pytest.param(
        cmark_gfm, id="cmark-gfm", marks=pytest.mark.skipif(not shutil.which("cmark-gfm"), reason="no cmark-gfm")
    ),
    *(
        pytest.param(
            partial(node, which=name),
            id=name,
            marks=pytest.mark.skipif("NODE_RENDERERS" not in os.environ, reason="NODE_RENDERERS names no folder"),
        )
        for name in ("remark", "marked")
    ),
]


class Page(HTMLParser):
    """What stands in HTML: tags, addresses and other attributes, the shape of tables, the text of each block."""

    def __init__(self, source: str):
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.headings: list[str] = []
        self.tables: list[list[int]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs if name not in ("align", "class")]
        self.attributes += [(tag, name, value) for name, value in attrs if name == "class" and "math" in (value or "")]
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.headings.append(tag)
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in ("td", "th") and self.tables:
            self.tables[-1][-1] += 1
        if tag in BLOCKS:
            self.texts.append((tag, ""))

    def handle_comment(self, data: str) -> None:
        self.tags["<!-- -->"] += 1

    def handle_decl(self, decl: str) -> None:
        self.tags["<!>"] += 1

    unknown_decl = handle_pi = handle_decl

    def handle_data(self, data: str) -> None:
        if self.texts:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data)

    def shape(self) -> dict[str, Any]:
        """All that foreign text must not change; `code` may come and go, as it is what makes a word harmless."""
        tags = {tag: count for tag, count in self.tags.items() if tag != "code"}
        return {"tags": tags, "attributes": self.attributes, "headings": self.headings, "tables": self.tables}
