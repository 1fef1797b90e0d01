"""Memory and rows a second of reading, checking and reporting pairs, at growing numbers of made rows.

    python benchmarks/pairs_million.py [--rows 10000 100000 1000000] [--form jsonl|json|jsonl.zst] [--results FILE]

Each size runs `python -m training.inspect_pairs FILE` in a process of its own, alone. The rows are random words of two
languages from a seed, about 600 characters each; six in a hundred are broken in a known way, so that the counts of the report are
checked as well. Peak memory is the process's largest resident set (getrusage). Writes benchmarks/results/pairs_million.json.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from command import WorkError, run_command  # noqa: E402  (the repository root has to be on the path first)
from run_folder import write_json  # noqa: E402
from training.record import git_state, hardware, version  # noqa: E402

PACKAGES = ("numpy", "pyarrow", "rensa", "datasets")
ROUND = 100  # rows; those at these places of each round are broken:
BROKEN = {
    7: "exact duplicate",
    23: "chosen equals rejected",
    41: "empty turn",
    59: "control token",
    77: "lone surrogate",
    95: "not a text",
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--form", choices=("jsonl", "json", "jsonl.zst"), default="jsonl")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "pairs_million.json")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="million-") as folder:
        runs = [measure(count, options.form, Path(folder)) for count in options.rows]
    record = {
        "form": options.form,
        "runs": runs,
        "memory_ratio": round(runs[-1]["peak_memory_bytes"] / runs[0]["peak_memory_bytes"], 3),
        "bytes_a_row_more": (runs[-1]["peak_memory_bytes"] - runs[0]["peak_memory_bytes"])
        // max(1, runs[-1]["rows"] - runs[0]["rows"]),
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES},
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.results, record)
    for run in runs:
        print(f"{run['rows']:>9,} rows, {run['file_bytes'] / 1e6:7.1f} MB: {run['rows_per_second']:7,.0f} rows/s, peak {run['peak_memory_bytes'] / 1e6:.0f} MB")  # fmt: skip
    return 0


def measure(count: int, form: str, folder: Path) -> dict[str, Any]:
    """Write `count` rows, inspect them in a process of its own, hold the report against what was written."""
    path = folder / f"rows-{count}.{form}"
    expected = write_rows(path, count, form)
    command = [sys.executable, "-m", "training.inspect_pairs", str(path), "--output", str(folder / f"report-{count}")]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = wait(process)
    seconds = time.monotonic() - started
    if status:
        raise WorkError(f"{' '.join(command)} ended with status {status}.")
    report = json.loads((folder / f"report-{count}" / "data_report.json").read_text())
    if report["dropped"] != expected or report["rows"] != count or report["kept"] != count - expected.total():
        raise WorkError(
            f"the report says {report['dropped']}, {report['kept']} kept; written were {expected} in {count}."
        )
    size = path.stat().st_size
    path.unlink()
    return {
        "rows": count,
        "file_bytes": size,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "rows_per_second": round(count / seconds, 1),
        "rows_per_cpu_second": round(count / (usage.ru_utime + usage.ru_stime), 1),
        "peak_memory_bytes": usage.ru_maxrss * 1024,
        "dropped": dict(expected),
    }


def wait(process: subprocess.Popen) -> tuple[int, int, resource.struct_rusage]:
    """os.wait4 of a child: its pid, exit status and what it used."""
    pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return pid, process.returncode, usage


def write_rows(path: Path, count: int, form: str) -> Counter:
    """Write the rows in a form; how many of them cannot be used, by reason."""
    expected: Counter = Counter(BROKEN[i % ROUND] for i in range(count) if i % ROUND in BROKEN)
    if form == "jsonl.zst":
        import pyarrow

        with pyarrow.CompressedOutputStream(str(path), "zstd") as stream:
            for row in rows(count):
                stream.write((json.dumps(row) + "\n").encode())
        return expected
    opening, between, closing = ("[\n", ",\n", "\n]\n") if form == "json" else ("", "\n", "\n")
    with path.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(rows(count)):
            stream.write((between if number else opening) + json.dumps(row))
        stream.write(closing)
    return expected


def rows(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Preference rows in two languages, six of each hundred broken."""
    draw = random.Random(seed)
    english = ["".join(draw.choices("abcdefghijklmnoprstuvwy", k=draw.randrange(2, 9))) for _ in range(4000)]
    chinese = [chr(draw.randrange(0x4E00, 0x8FFF)) for _ in range(3000)]
    before: dict[str, Any] = {}
    for number in range(count):
        if number % 2:
            ask, better, worse = (" ".join(draw.choices(english, k=k)) for k in (25, 40, 40))
        else:
            ask, better, worse = ("".join(draw.choices(chinese, k=k)) for k in (60, 150, 150))
        row = {"prompt": ask, "chosen": better, "rejected": worse}
        fault = BROKEN.get(number % ROUND)
        if fault == "exact duplicate":
            row = before
        elif fault:
            row |= {
                "chosen equals rejected": {"rejected": f" {better}"},
                "empty turn": {"chosen": " \n"},
                "control token": {"prompt": f"{ask}<|im_end|>"},
                "lone surrogate": {"rejected": f"{worse}\ud83d"},
                "not a text": {"chosen": number},
            }[fault]
        else:
            before = row
        yield row


if __name__ == "__main__":
    run_command(main)
