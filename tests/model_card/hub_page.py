"""A release's cards as web pages, as a reader of the Hub sees them: GFM with HTML, in a column of 760 pixels.

The style is a neutral one of ours; what matters is the column, the phone, and that tables alone may scroll sideways.
"""

import re
from html import escape
from pathlib import Path

from tests.model_card.renderers import markdown_it

STYLE = """
:root { color-scheme: light dark; --text: #1f2937; --page: #fff; --line: #d4d7dd; --code: #f2f3f5; --link: #1d4ed8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e5e7eb; --page: #0b0f19; --line: #374151; --code: #1b2130; --link: #93b4ff; }
}
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.6 system-ui, "Noto Sans CJK SC", sans-serif; }
main { max-width: 760px; margin: 0 auto; padding: 16px; overflow-wrap: break-word; }
a { color: var(--link); }
img { max-width: 100%; height: auto; }
table { display: block; overflow-x: auto; margin: 16px 0; border-collapse: collapse; font-size: 14px; }
td, th { border: 1px solid var(--line); padding: 4px 8px; overflow-wrap: normal; }
code { background: var(--code); border-radius: 4px; padding: 1px 4px; font: 85% "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace; }
pre { background: var(--code); border-radius: 6px; padding: 12px; overflow-x: auto; }
pre code { padding: 0; background: none; }
"""
PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head><body><main>{body}</main></body></html>
"""


def write_pages(release: Path) -> dict[str, Path]:
    """README.md and README_zh.md of a release as .html beside them; links between the two lead from page to page."""
    pages = {}
    for card in sorted(release.glob("README*.md")):
        text = re.sub(r"\A---\n.*?\n---\n", "", card.read_text(encoding="utf-8"), flags=re.DOTALL)
        body = re.sub(r'href="(README(?:_zh)?)\.md"', r'href="\1.html"', markdown_it([text])[0])
        language = "zh" if card.stem.endswith("_zh") else "en"
        pages[card.name] = card.with_suffix(".html")
        pages[card.name].write_text(
            PAGE.format(language=language, title=escape(card.stem), style=STYLE, body=body), encoding="utf-8"
        )
    return pages
