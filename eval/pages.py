"""What the pages for readers share: a template environment in which no text is raw, the policy that lets nothing else in, a bar.

For eval's report and the report on pairs (training/report/page.py); no torch, and nothing of a report itself.
"""

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval.visible_text import visible


def environment(templates: Path) -> Environment:
    """Every value is escaped, and what a reader could not see in it spelled out; a missing one is an error."""
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )


def policy(style: str, script: str | None = None) -> str:
    """The Content-Security-Policy: this style, this script if there is one, nothing else."""
    parts = {"style-src": style} | ({} if script is None else {"script-src": script})
    hashes = {name: b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in parts.items()}
    allowed = "; ".join(f"{name} 'sha256-{value}'" for name, value in hashes.items())
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def stacked(counts: dict[str, int]) -> list[dict[str, Any]]:
    """A bar of 100 % cut by the counts, in their order, without the empty ones: {"key", "count", "x", "width"}."""
    total, x, parts = sum(counts.values()), 0.0, []
    for key, count in counts.items():
        if count:
            width = 100 * count / total
            parts.append({"key": key, "count": count, "x": round(x, 3), "width": round(width, 3)})
            x += width
    return parts
