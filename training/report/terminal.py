"""The report as a table for a terminal of 80 columns: what is alarming first, then what is there, then what it costs."""

import sys
from typing import Any

from training.report.alarms import alarms, percent, tongue
from training.report.cost import between
from training.report.statistics import few_rows, first_names, under
from training.report.text import pad, shorten, visible, wrap, wrap_path

COLUMNS = 80
CELL = 10  # columns of a number of a source
SHOWN_LANGUAGES = 2  # of a source, the rest in one number
SHOWN_CONTRASTS = 8  # languages
WIDTHS = (10, 10, 10, 10, 10, 13)
BARS, PLAIN_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
PLAIN = str.maketrans(
    {"\u00a0": " ", "…": "~", "→": ">", "×": "x", "█": "#", "·": ".", "“": '"', "”": '"', "’": "'", "—": "-", "–": "-"}
)
BOLD, RED, OFF = "\033[1m", "\033[31m", "\033[0m"


def print_report(
    report: dict[str, Any], name: str, stream: Any = None, environment: dict[str, str] | None = None
) -> None:
    """Write the table; colours only on a terminal without NO_COLOR, signs that the stream cannot write as ASCII."""
    stream = stream or sys.stdout
    environment = environment or {}
    colour = stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    for line in lines(report, name, can_write(BARS, encoding)):
        shown = (
            line if can_write(line, encoding) else line.translate(PLAIN).encode(encoding, "replace").decode(encoding)
        )
        if colour and line.startswith("  ! "):
            shown = f"{RED}{shown}{OFF}"
        elif colour and line and not line.startswith(" "):
            shown = f"{BOLD}{shown}{OFF}"
        print(shown, file=stream)


def can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def lines(report: dict[str, Any], name: str, bars: bool = True) -> list[str]:
    """The table, a line each, none wider than COLUMNS."""
    head = f"{report['rows']:,} rows → {report['kept']:,} kept"
    head += f", {report['validation']['pairs']:,} held out" if "validation" in report else ""
    title = pad(wrap_path(visible(name), COLUMNS - len(head) - 2), COLUMNS - len(head)) + head
    parts = [[title], warnings(report), sources(report), contrasts(report), lengths(report, bars), costs(report)]
    return "\n\n".join("\n".join(part) for part in parts if part).split("\n")


def warnings(report: dict[str, Any]) -> list[str]:
    """Each alarm, `!` for the grave ones, wrapped."""
    found = []
    for alarm in alarms(report):
        sign = "  ! " if alarm.grave else "  · "
        found += wrap(visible(alarm.text), COLUMNS, sign, "    ")
    return found or ["  nothing dropped, no overlap, nothing cut"]


def sources(report: dict[str, Any]) -> list[str]:
    """A row a source, and how the pairs are made."""
    languages = first_names(report["languages"], SHOWN_LANGUAGES)
    held = ["held out"] if "validation" in report else []
    heads = ["rows", "kept", *held, *map(tongue, languages)]
    room = COLUMNS - CELL * len(heads)

    def row(name: str, cells: list[str]) -> str:
        return pad(name, room) + "".join(pad(cell, CELL, True) for cell in cells)

    table = [row("source", [visible(head) for head in heads])]
    for source in report["by_source"][:12]:
        numbers = [source["rows"], source["pairs"], *([source["held_out"]] if held else [])]
        numbers += under(languages, source["languages"]).values()
        path = source["path"] + (f" {source['name']}" if source["name"] else "")
        table.append(row("  " + wrap_path(visible(path), room - 4), [f"{number:,}" for number in numbers]))
    if len(report["by_source"]) > 12:
        table.append(f"  … and {len(report['by_source']) - 12:,} more")
    table.append(f"  {report['multi_turn']:,} with several turns, {report['with_system']:,} with a system turn")
    for kind in ("topics", "faults"):
        if counts := report[kind]:
            told = ", ".join(f"{shorten(label, 24)} {count:,}" for label, count in list(counts.items())[:8])
            table += wrap(f"{kind}: {told}", COLUMNS, "  ", "    ")
    return table


def contrasts(report: dict[str, Any]) -> list[str]:
    """What the pairs teach, by language and by side."""
    heads = ("teaches", "against", "both", "neither", "unclear", "other asked")
    kinds = ("teaches", "against", "both", "neither", "unclear", "other_asked")
    table = [pad("language", 14) + "".join(pad(head, width, True) for head, width in zip(heads, WIDTHS, strict=True))]
    for name, counts in few_rows(report["contrast"]["by_language"], SHOWN_CONTRASTS).items():
        cells = [f"{counts[kind]:,}" for kind in kinds]
        table.append(
            pad(f"  {visible(tongue(name))}", 14) + "".join(pad(c, w, True) for c, w in zip(cells, WIDTHS, strict=True))
        )
    sides = ("only_chosen", "only_rejected", "both", "neither")
    heads = ("chosen only", "rejected only", "both", "neither")
    table.append(pad("sign", 24) + "".join(pad(head, 14, True) for head in heads))
    for section, label in (("mixing", "mixed languages"), ("emoji", "emoji"), ("refusals", "refusals")):
        found = report[section]
        label += f" (of {found['n']:,})" if found["n"] < found["of"] else ""
        table.append(pad(f"  {label}", 24) + "".join(pad(f"{found['counts'][side]:,}", 14, True) for side in sides))
    return table


def lengths(report: dict[str, Any], bars: bool) -> list[str]:
    """Quantiles and a bar a bin of prompt, chosen and rejected, on one axis."""
    shown = report["histograms"]
    found = report["tokens"] if shown["unit"] == "tokens" else report["characters"]
    parts = [part for part in ("prompt", "chosen", "rejected") if shown[part]]
    if not parts:
        return []
    edges = sorted({edge for part in parts for edge in shown[part]["edges"]})
    table = [pad(shown["unit"], 12) + "".join(pad(word, 9, True) for word in ("median", "mean", "95 %", "max"))]
    for part in parts:
        numbers = "".join(pad(f"{found[part][key]:,.0f}", 9, True) for key in ("median", "mean", "p95", "max"))
        by_edge = dict(zip(shown[part]["edges"], shown[part]["counts"], strict=False))
        table.append(pad(f"  {part}", 12) + numbers + "  " + spark([by_edge.get(edge, 0) for edge in edges[:-1]], bars))
    ends = (f"{edges[0]:,}", f"{edges[-1]:,}")
    gap = max(1, len(edges[:-1][:30]) - len(ends[0]) - len(ends[1]))
    table.append(" " * 50 + ends[0] + " " * gap + ends[1])
    if shown["unit"] == "characters":
        table.append("  tokens: not measured. Give --model, or a recipe whose model is on this disk.")
    bias = report["length_bias"]["tokens"] or report["length_bias"]["characters"]
    if bias:
        table.append(
            f"  chosen is longer in {percent(bias['value'])} of the pairs (95 % interval {percent(bias['low'])} to "
            f"{percent(bias['high'])})"
        )
    return table


def spark(counts: list[int], bars: bool) -> str:
    """A bar a bin, at most 30; a bin that is not empty shows."""
    signs, most = BARS if bars else PLAIN_BARS, max(counts)
    return "".join(signs[-(-count * (len(signs) - 1) // most)] for count in counts[:30])


def costs(report: dict[str, Any]) -> list[str]:
    """Steps, tokens and time; nothing for a bare file."""
    cost = report.get("cost")
    if cost is None:
        return []
    padded = ", ".join(f"{ratio:.2f}× at {pairs}" for pairs, ratio in cost["padded_ratio"].items())
    table = [
        pad("cost", 12)
        + f"{cost['steps']:,} steps of {cost['pairs_per_step']:,} pairs, {cost['tokens']:,} tokens in all",
        f"  {cost['tokens_per_pass']:,} tokens a pass, {cost['micro_batches_per_step']:g} micro-batches a step",
        f"  padded batches would cost {padded} pairs",
    ]
    if "time" in cost:
        time = cost["time"]
        low, high = (f"{100 * share:.0f}" for share in time["share"])
        table += wrap(
            f"{between(time['low_seconds'], time['high_seconds'])} on {time['device']} ({low} to {high} % of "
            f"{time['peak_tflops']:,g} TFLOP/s)",
            COLUMNS,
            "  ",
            "    ",
        )
    return table
