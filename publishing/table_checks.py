"""Every figure in the tables of both cards against the records: a number that somebody typed or edited is found.

The cards are read as a visitor reads them. A printed number stands for every value that rounds to it, so nothing here knows
how the card station formats. A row that names a suite and a metric may only hold that metric's figures, base before tuned
before difference; a row that names a field (`beta`) only that field's values; any other row only values of the records.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from publishing.file_checks import json_of
from run_folder import RECORDS

CARDS = ("README.md", "README_zh.md")
NUMBER = re.compile(r"(?<![A-Za-z0-9_.])[-+−]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?![A-Za-z0-9_])")
CODE = re.compile(r"(`+)(.+?)\1")
CHANGES = ("Changes since the last version", "与上一版的不同")  # the heading over a comparison with an earlier version
FIGURE = ("value", "low", "high")
HIDDEN = ("encoded_examples", "encoded_response", "steps")  # what no table shows; of the steps the first and the last


def check_tables(release: Path, known: Iterable[Any] = ()) -> list[str]:
    """Findings for every figure of a table that neither the release's records hold nor `known` (names with digits in them)."""
    records = {name: json_of(release / name) for name in RECORDS if (release / name).is_file()}
    fields = Fields(records, [*json_of(release / "config.json").values(), *known])
    found, printed = [], []
    for name in CARDS:
        path = release / name
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        rows = list(table_rows(text))
        for number, row in rows:
            for figure in unexplained(row, fields):
                found.append(f"{name}:{number}: the table says {figure}, the records do not; build the release again")
        printed.append([(number, printed_in(row)) for number, row in rows])
    return found + differences(*printed)


def differences(english: list[tuple[int, list[str]]], chinese: list[tuple[int, list[str]]]) -> list[str]:
    """Where the tables of the two cards do not hold the same figures, row by row."""
    again = "build the release again"
    if len(english) != len(chinese):
        return [f"README.md has {len(english)} rows in its tables, README_zh.md {len(chinese)}; {again}"]
    return [
        f"README.md:{one} and README_zh.md:{two} do not hold the same figures ({', '.join(a)}; {', '.join(b)}); {again}"
        for (one, a), (two, b) in zip(english, chinese, strict=True)
        if a != b
    ]


class Fields:
    """The records' values: those of each metric, those under each name, and all of them."""

    def __init__(self, records: dict[str, dict[str, Any]], known: list[Any]):
        self.metrics = records.get("eval/comparison.json", {}).get("metrics") or []
        self.named: dict[str, list[Any]] = {}
        self.all: list[Any] = []
        for record in records.values():
            for path, value in leaves({key: value for key, value in record.items() if key not in (*HIDDEN, "metrics")}):
                self._add(path, value)
        training = records.get("training.json", {})
        steps = training.get("steps") or [{}]
        for key in steps[0]:
            self.named[key] = [steps[0].get(key), steps[-1].get(key)]
        self.all += [*derived(training), *(value for value in known if isinstance(value, int | float | str))]
        self.all += [value for step in (steps[0], steps[-1]) for value in step.values()]

    def _add(self, path: tuple[str, ...], value: Any) -> None:
        for start in range(len(path)):
            self.named.setdefault(".".join(path[start:]), []).append(value)
        for part in path:  # a row of a table may be a whole object: `prompt`: mean, median, longest
            self.named.setdefault(part, []).append(value)
        self.all.append(value)


def leaves(record: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(keys, value) of every value of a record; a list is a value too, besides its items."""
    if isinstance(record, dict):
        for key, value in record.items():
            yield from leaves(value, (*path, str(key)))
        return
    yield path, record
    if isinstance(record, list):
        for item in record:
            yield from leaves(item, path)


def derived(training: dict[str, Any]) -> list[float]:
    """What a card computes from training.json: pairs seen, passes, tokens a second, gigabytes, kilowatt-hours, steps."""
    steps, data = training.get("steps") or [], training.get("data") or {}
    seen = sum(step.get("pairs", 0) for step in steps)
    values = [len(steps), seen]
    if data.get("pairs"):
        values.append(seen / data["pairs"])
    if training.get("tokens") and training.get("seconds"):
        values.append(training["tokens"] / training["seconds"])
    joules = (training.get("energy") or {}).get("joules") or 0
    return [*values, (training.get("peak_memory_bytes") or 0) / 1e9, joules / 3.6e6, joules / 3.6e3]


def outside_fences(text: str) -> str:
    """The text with every line of a code fence emptied: what stands there is quoted, and no table."""
    lines, fence = [], ""
    for line in text.split("\n"):
        mark = re.match(r" {0,3}(`{3,}|~{3,})", line)
        closes = bool(fence and mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]))
        lines.append("" if fence or mark else line)
        if mark and not fence:
            fence = mark[1]
        elif closes:
            fence = ""
    return "\n".join(lines)


def table_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row of every table, headings too; the row of dashes is none.

    Where the card compares with an earlier version, that version's column, the last but one, is left out: its records are
    in its own release.
    """
    earlier = False
    for number, line in enumerate(outside_fences(text).split("\n"), 1):
        if line.startswith("## "):
            earlier = line.removeprefix("## ").strip() in CHANGES
        if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            yield number, [*cells[:-2], *cells[-1:]] if earlier else cells


def printed_in(row: list[str]) -> list[str]:
    """The numbers of a row outside what it quotes, as they are printed."""
    return [number for cell in row for number in numbers_in(CODE.sub("", cell))]


def unexplained(row: list[str], fields: Fields) -> list[str]:
    """The figures and quoted values of a row that its records do not hold."""
    codes = [match[2].strip().replace("\\|", "|") for cell in row for match in CODE.finditer(cell)]
    printed = printed_in(row)
    metrics = [m for m in fields.metrics if m["metric"] in codes and m["suite"] in codes]
    if metrics:
        return min((out_of_order(printed, order) for metric in metrics for order in orders(metric)), key=len)
    named = codes[0] if codes and CODE.fullmatch(row[0]) and codes[0] in fields.named else None
    if named is None:
        found = unknown(codes, printed, fields.all)
    else:
        found = unknown(codes[1:], printed, fields.named[named])
    others = (out_of_order(printed, o) for m in fields.metrics if m["metric"] in codes for o in orders(m))
    return min([found, *others], key=len)


def unknown(codes: list[str], printed: list[str], known: list[Any]) -> list[str]:
    """The quoted texts with digits and the printed numbers that are none of these values."""
    texts = {text for value in known for text in spellings(value)}
    found = [code for code in codes if re.search(r"\d", code) and not stands_for(code, texts, known)]
    return found + [number for number in printed if not any(means(number, value) for value in known)]


def orders(metric: dict[str, Any]) -> list[list[float | None]]:
    """A metric's figures in the orders that a table may have: base, tuned, difference, the counts beside each or at the end."""
    sides = [metric.get(side) or {} for side in ("base", "tuned")]
    figures = [[side.get(key) for key in FIGURE] for side in (*sides, metric.get("difference") or {})]
    counts = [[side.get(key) for key in ("n", "unparsed")] for side in sides]
    beside = [*figures[0], *counts[0], *figures[1], *counts[1], *figures[2]]
    return [beside, [value for group in (*figures, *counts) for value in group]]


def out_of_order(printed: list[str], values: list[float | None]) -> list[str]:
    """The printed figures that are not, one after another, among the values."""
    found, place = [], 0
    for number in printed:
        match = next((i for i in range(place, len(values)) if means(number, values[i])), None)
        if match is None:
            found.append(number)
        else:
            place = match + 1
    return found


def numbers_in(text: str) -> list[str]:
    """The numbers of a text, as they are printed; digits inside a word (`Q4_0`, `llama3`) are none."""
    return NUMBER.findall(re.sub(r"\]\([^)]*\)|<[^>]*>", " ", text))


def means(printed: str, value: Any) -> bool:
    """Whether a printed number is a value of the records, rounded to its digits, or that value in percent."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    digits = printed.replace(",", "").replace("−", "-").lower()
    mantissa, _, power = digits.partition("e")
    form = f".{len(mantissa.partition('.')[2])}{'e' if power else 'f'}"
    return any(float(digits) == float(format(value * unit, form)) for unit in (1, 100))


def spellings(value: Any) -> list[str]:
    """How a card quotes a value: a text as it is or without its folder, anything else as JSON."""
    if isinstance(value, str):
        return [value, re.split(r"[\\/]", value)[-1]]
    return [json.dumps(value, ensure_ascii=False)]


def stands_for(code: str, texts: set[str], known: list[Any]) -> bool:
    """Whether a quoted text is one of the records' values."""
    return code in texts or (NUMBER.fullmatch(code) is not None and any(means(code, value) for value in known))
