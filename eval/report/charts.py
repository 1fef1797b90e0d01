"""Where the marks of the charts stand, in percent of the width of a drawing; the template draws them.

A drawing has a margin of MARGIN on both sides, so that a mark at 0 % or 100 % is not cut off.
"""

from collections.abc import Sequence
from typing import Any

MARGIN = 4.0
STEPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # half widths of the axis of differences, as proportions
DRAWN = ("proportion", "ratio")  # units with a scale of 0 to 1


def place(value: float, low: float, high: float) -> float:
    """x of a value on an axis from low to high, in percent of the width; a value outside stands at the edge."""
    share = (min(max(value, low), high) - low) / (high - low)
    return round(MARGIN + (100 - 2 * MARGIN) * share, 2)


def interval(numbers: dict[str, Any] | None, low: float, high: float) -> dict[str, float] | None:
    """{"value", "low", "high"} as x; None where nothing was measured."""
    if numbers is None or numbers["value"] is None:
        return None
    return {key: place(numbers[key], low, high) for key in ("value", "low", "high")}


def half_width(rows: Sequence[dict[str, Any]]) -> float:
    """The smallest of STEPS that holds every interval of the rows' differences."""
    differences = [row["difference"] for row in rows if row["difference"] and row["difference"]["value"] is not None]
    reach = max((abs(found[key]) for found in differences for key in ("low", "high")), default=0)
    return next((step for step in STEPS if step >= reach), 1.0)


def ticks(low: float, high: float, count: int, signed: bool = False) -> list[dict[str, Any]]:
    """`count` evenly spaced lines with their labels in percent (points where signed)."""
    values = [low + (high - low) * index / (count - 1) for index in range(count)]
    return [
        {"x": place(value, low, high), "label": f"{100 * value:+g}" if signed and value else f"{100 * value:g}"}
        for value in values
    ]


def suite_chart(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The lanes of one suite: of each metric on a scale of 0 to 1 its rates, and its difference around zero."""
    rows = [row for row in rows if row["unit"] in DRAWN]
    half = half_width(rows)
    lanes = [
        {
            "row": row,
            "base": interval(row["base"], 0, 1),
            "tuned": interval(row["tuned"], 0, 1),
            "difference": interval(row["difference"], -half, half),
        }
        for row in rows
    ]
    return {"lanes": lanes, "rate_ticks": ticks(0, 1, 5), "difference_ticks": ticks(-half, half, 5, signed=True)}


def direction(row: dict[str, Any]) -> str:
    """What the interval of a difference says: better, worse, other (neither is better), unclear (holds zero), "" (none)."""
    found = row["difference"]
    if found is None or found["value"] is None:
        return ""
    if found["low"] <= 0 <= found["high"]:
        return "unclear"
    if row["better"] is None:
        return "other"
    return "better" if (found["value"] > 0) == (row["better"] == "higher") else "worse"
