"""The figures of a card, drawn from the run's records and nothing else."""

from typing import Any


def draw_figures(
    training: dict[str, Any], comparison: dict[str, Any] | None, data_report: dict[str, Any] | None
) -> dict[str, bytes]:
    """Path in the release, such as figures/results.png → the PNG. A figure whose record is missing is left out."""
    return {}
