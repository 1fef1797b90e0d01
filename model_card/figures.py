"""The figures of a card, drawn from the run's records and nothing else: the same records give the same bytes.

Both cards show them, so their words are the records' own names, `base`, `tuned` and the like. A card's column is about 720
pixels wide, a phone's half of that: a figure is drawn 4.8 inches wide, on white, which the Hub's dark page leaves as it is.
"""

import io
from typing import Any

from model_card.evaluation import direction, headlines

BLUE, ORANGE, GREEN, BLACK, GREY = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#222222",
    "#767676",
)  # told apart by the colour-blind
WIDTH, DPI = 4.8, 225  # inches; 1,080 pixels, three for two of the column's
LANE, PANEL_ENDS = 0.17, 0.5  # inches: of a metric, and of a panel's scale
NAME_LENGTH = 30  # letters of a name that have room
COLOURS = {"better": GREEN, "worse": ORANGE, "neither": GREY}  # of a difference
MARKS = {"better": "D", "worse": "v", "neither": "D"}
STYLE = {
    "figure.facecolor": "white",
    "font.size": 8.5,
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "text.parse_math": False,  # a $ in a metric's name is a $
}


def draw_figures(
    training: dict[str, Any], comparison: dict[str, Any] | None, data_report: dict[str, Any] | None
) -> dict[str, bytes]:
    """Path in the release, such as figures/results.png → the PNG. A figure whose record is missing is left out.

    Of token lengths `data_report` holds mean, median and maximum, which the card's table says better than a figure.
    """
    from matplotlib import style

    rows = [row for row in headlines((comparison or {}).get("metrics", [])) if is_measured(row)]
    with style.context(["default", STYLE]):
        figures = {"figures/training.png": training_figure(training), "figures/results.png": results_figure(rows)}
        return {path: png(figure) for path, figure in figures.items() if figure}


def png(figure: Any) -> bytes:
    """The bytes, without the name and version of the program that drew them."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


# Base against tuned


def is_measured(row: dict[str, Any]) -> bool:
    return any((row[side] or {}).get("value") is not None for side in ("base", "tuned"))


def results_figure(rows: list[dict[str, Any]]) -> Any:
    """A panel for each unit: on the left both values, on the right their difference, by suite; None without rows.

    Proportions share one scale, 0 to 100 %. Every bar is an interval of the record; a value without one is a mark alone.
    """
    from matplotlib.figure import Figure

    panels = lanes_by_unit(rows)
    if not panels:
        return None
    heights = [len(lanes) for lanes in panels.values()]
    figure = Figure(figsize=(WIDTH, LANE * sum(heights) + PANEL_ENDS * len(panels) + 0.3), layout="constrained")
    grid = figure.subplots(
        len(panels), 2, squeeze=False, sharey="row", gridspec_kw={"height_ratios": heights, "width_ratios": [3, 2]}
    )
    for (values, differences), (unit, lanes) in zip(grid, panels.items(), strict=True):
        draw_values(values, lanes, unit)
        draw_differences(differences, lanes, unit)
    grid[0, 1].set_title("tuned − base", fontweight="normal")
    figure.legend(handles=results_legend(), loc="outside upper left", ncols=5, fontsize=7.5, columnspacing=1.0)
    return figure


def lanes_by_unit(rows: list[dict[str, Any]]) -> dict[str | None, list[str | dict[str, Any]]]:
    """Unit → its lanes from above: the name of a suite, then its metrics; proportions first, all else as in the table."""
    found: dict[str | None, list[str | dict[str, Any]]] = {}
    for unit in sorted({row.get("unit") for row in rows}, key=lambda unit: (unit != "proportion", str(unit))):
        mine = [row for row in rows if row.get("unit") == unit]
        for suite in dict.fromkeys(row["suite"] for row in mine):
            found.setdefault(unit, []).extend([suite, *(row for row in mine if row["suite"] == suite)])
    return found


def draw_values(panel: Any, lanes: list[str | dict[str, Any]], unit: str | None) -> None:
    """Base above tuned in each lane; the arrow after a name says whether higher or lower is better."""
    for y, lane in enumerate(lanes):
        if isinstance(lane, dict):
            draw_mark(panel, lane["base"], y - 0.17, unit, color=GREY, marker="o", markerfacecolor="white")
            draw_mark(panel, lane["tuned"], y + 0.17, unit, color=BLUE, marker="o")
    names = [lane_name(lane) if isinstance(lane, dict) else shown(lane) for lane in lanes]
    panel.set_yticks(range(len(lanes)), names)
    for label, lane in zip(panel.get_yticklabels(), lanes, strict=True):
        label.set_fontweight("normal" if isinstance(lane, dict) else "bold")
    panel.set_ylim(len(lanes) - 0.4, -0.6)
    if unit == "proportion":
        panel.set(xlim=(-3, 103), xticks=range(0, 101, 25))
    elif unit == "ratio":
        panel.set(xlim=(-0.03, 1.03), xticks=(0, 0.25, 0.5, 0.75, 1))
    else:
        panel.locator_params(axis="x", nbins=4)
    finish(panel, "%" if unit == "proportion" else unit)


def draw_differences(panel: Any, lanes: list[str | dict[str, Any]], unit: str | None) -> None:
    """Around zero, as wide to the left as to the right."""
    for y, lane in enumerate(lanes):
        if isinstance(lane, dict):
            kind = direction(lane)
            fill = {"markerfacecolor": "white"} if kind == "neither" else {}
            draw_mark(panel, lane.get("difference"), y, unit, color=COLOURS[kind], marker=MARKS[kind], **fill)
    reach = max((abs(x) for line in panel.lines for x in line.get_xdata()), default=0) or 1
    panel.set_xlim(-1.08 * reach, 1.08 * reach)
    panel.axvline(0, color="#555555", linewidth=0.8)
    panel.tick_params(axis="y", labelleft=False)
    panel.locator_params(axis="x", nbins=4)
    finish(panel, "percentage points" if unit == "proportion" else unit)


def finish(panel: Any, scale: str | None) -> None:
    """The scale's name, and no lines but those of the scale."""
    panel.tick_params(axis="y", length=0)
    panel.grid(False, axis="y")
    panel.set_xlabel(shown(scale or ""))


def draw_mark(panel: Any, measured: dict[str, Any] | None, y: float, unit: str | None, **look: Any) -> None:
    """A value and its interval at height y, nothing where there is no value."""
    if not measured or measured.get("value") is None:
        return
    scale = 100 if unit == "proportion" else 1
    if measured.get("low") is not None and measured.get("high") is not None:
        panel.plot([scale * measured["low"], scale * measured["high"]], [y, y], color=look["color"], linewidth=1.4)
    panel.plot([scale * measured["value"]], [y], markersize=4, markeredgewidth=1.1, linestyle="none", **look)


def lane_name(row: dict[str, Any]) -> str:
    """A metric's name with an arrow: whether higher or lower is better."""
    return shown(row["metric"]) + {"higher": " ↑", "lower": " ↓"}.get(row.get("better") or "", "")


def shown(text: str) -> str:
    """Foreign text with all but printable ASCII spelled out, as matplotlib's font has no Han characters, cut to its room."""
    spelled = "".join(c if " " <= c <= "~" else f"<U+{ord(c):04X}>" for c in text)
    return spelled if len(spelled) <= NAME_LENGTH else spelled[: NAME_LENGTH - 1] + "…"


def results_legend() -> list[Any]:
    from matplotlib.lines import Line2D

    marks = {
        "base": {"color": GREY, "marker": "o", "markerfacecolor": "white"},
        "tuned": {"color": BLUE, "marker": "o"},
        **{kind: {"color": COLOURS[kind], "marker": MARKS[kind]} for kind in ("better", "worse")},
        "neither": {"color": GREY, "marker": MARKS["neither"], "markerfacecolor": "white"},
    }
    return [Line2D([], [], label=label, markersize=4, linewidth=1.4, **look) for label, look in marks.items()]


# Training


def training_figure(training: dict[str, Any]) -> Any:
    """Losses, log odds and accuracy over the steps, each drawn if the steps hold it; None if they hold none of them."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    steps, checks = training["steps"], training.get("validation") or []
    colours = {"loss": BLACK, "nll": BLUE, "odds_ratio_loss": ORANGE, "log_odds": GREEN, "accuracy": GREEN}
    parts = {"loss": ["loss", "nll", "odds_ratio_loss"], "log_odds": ["log_odds"], "accuracy": ["accuracy"]}
    held = {title: [f for f in fields if all(f in step for step in steps)] for title, fields in parts.items()}
    held = {title: fields for title, fields in held.items() if fields}
    if not held:
        return None
    figure = Figure(figsize=(WIDTH, 1.9 * len(held) + 0.3), layout="constrained")
    panels = figure.subplots(len(held), 1, squeeze=False, sharex=True)[:, 0]
    for panel, (title, fields) in zip(panels, held.items(), strict=True):
        for field in fields:
            draw_line(panel, steps, checks, field, colours[field])
        panel.set_title(title)
        if len(panel.lines) > 1:
            panel.legend(loc="best", fontsize=7.5, handlelength=1.5)
    for panel, title in zip(panels, held, strict=True):
        panel.set_ylabel("proportion of pairs" if title == "accuracy" else "nats")
        if title == "log_odds":
            panel.axhline(0, color="#555555", linewidth=0.8)
    panels[-1].set_xlabel("step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def draw_line(panel: Any, steps: list[dict], checks: list[dict], field: str, colour: str) -> None:
    """A field over the steps: as it is where there are few, else faint with its running mean; validation as dots."""
    x, y, width = [step["step"] for step in steps], [step[field] for step in steps], len(steps) // 20
    if width < 2:
        panel.plot(x, y, color=colour, label=field, marker="." if len(x) < 3 else None)
    else:
        panel.plot(x, y, color=colour, alpha=0.3, linewidth=0.8)
        panel.plot(x, running_mean(y, width), color=colour, label=f"{field} (mean of {2 * width + 1} steps)")
    checked = [check for check in checks if field in check]
    if checked:
        label = f"{field}, validation"
        panel.plot(
            [check["step"] for check in checked],
            [check[field] for check in checked],
            "o",
            color=colour,
            markersize=4,
            markerfacecolor="white",
            label=label,
        )


def running_mean(values: list[float], width: int) -> list[float]:
    """Mean of the values from `width` steps before to `width` after, as far as there are any."""
    windows = [values[max(0, i - width) : i + width + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]
