"""Where the marks of the page's charts stand, in percent of the width and height of a drawing; the template draws them."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

TICKS = 7  # labels below a histogram, at most


def histograms(found: dict[str, Any], parts: Iterable[str]) -> dict[str, Any]:
    """The histograms of `parts` on one axis of equal bins: {"ticks": [{"x", "label"}], "parts": {part: [{x, width, height, …}]}}.

    The highest bar of each part is 100 high, so that shapes compare and not numbers.
    """
    shown = [part for part in parts if found[part]]
    edges = sorted({edge for part in shown for edge in found[part]["edges"]})
    if len(edges) < 2:
        return {"ticks": [], "parts": {}}
    step = 100 / (len(edges) - 1)
    place = {edge: number * step for number, edge in enumerate(edges)}
    upper = dict(pairwise(edges))
    bars = {}
    for part in shown:
        most = max(found[part]["counts"])
        bars[part] = [
            {
                "x": round(place[low] + 0.08 * step, 3),
                "width": round(0.84 * step, 3),
                "height": round(100 * count / most, 2),
                "low": low,
                "high": upper[low] - 1,
                "count": count,
            }
            for low, count in zip(found[part]["edges"], found[part]["counts"], strict=False)
            if count
        ]
    every = -(-len(edges) // TICKS)
    ticks = [{"x": round(place[edge], 3), "label": f"{edge:,}"} for edge in edges[::every]]
    return {"ticks": ticks, "parts": bars}


def bars(counts: dict[str, float]) -> list[dict[str, Any]]:
    """A bar each, the longest 100 wide: {"key", "count", "width"}."""
    most = max(counts.values(), default=0) or 1
    return [{"key": key, "count": count, "width": round(100 * count / most, 2)} for key, count in counts.items()]
