"""Thousands of malformed and hostile files of preference pairs through the real loading, held against what is owed to each.

    python benchmarks/pairs_fuzz.py [--cases 12000] [--seed 1] [--results benchmarks/results/pairs_fuzz.json]

Each case is made from the seed and its number, written into a fresh folder, and loaded by load_preferences; every 40th also
goes through training.inspect_pairs, 12 of them as a process of its own. Owed is: UserError and nothing else; rows = kept +
dropped by reason, as many as were written where that is defined; every row that was left alone is kept; no control character
in a message or a report; no case beyond ALARM seconds, no process beyond MOST_MEMORY. Batches run in processes of their own,
so that a crash of the interpreter is found and counted too. Exit status 1 if anything failed.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.pairs_fuzz_cases import Case, make_case  # noqa: E402  (the repository root has to be on the path first)
from command import UserError, WorkError, run_command  # noqa: E402
from run_folder import write_json  # noqa: E402
from training import inspect_pairs  # noqa: E402
from training.preferences import load_preferences  # noqa: E402

ALARM = 30  # seconds; the largest bomb takes a tenth of that
MOST_MEMORY = 1 << 30  # bytes of a process, peak
BATCH = 500
INSPECTED = 40  # every so manieth case
PROCESSES = 12
MOST_LINES = 60  # of a message: 20 findings and what is around them
PACKAGES = ("pyarrow", "datasets", "numpy")


class TooLong(BaseException):
    """The alarm; no `except Exception` holds it up."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--cases", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "pairs_fuzz.json")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first case, to repeat one: --first N --cases 1"
    )
    parser.add_argument("--batch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.batch:
        return run_batch(options.seed, range(options.first, options.first + options.cases))
    found, failures, seconds = run_all(options.seed, range(options.first, options.first + options.cases))
    failures += run_processes(options.seed, options.cases)
    record = summary(found, failures) | {"seed": options.seed, "seconds": round(seconds, 1)}
    write_json(options.results, record | surroundings())
    print("\n".join(table(record)))
    if failures:
        raise WorkError(f"{len(failures)} of {options.cases:,} cases failed; they stand in {options.results}.")
    return 0


def surroundings() -> dict[str, Any]:
    from training.record import git_state, hardware, version

    versions = {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES}
    return {"versions": versions, "hardware": hardware(), "git": git_state()}


# What is owed


def check(case: Case, suites: Path) -> tuple[str, list[str]]:
    """How a case ended ("kept", "refused"), and what is wrong with that."""
    try:
        data = load_preferences([{"path": str(case.path)}], suites)
    except UserError as error:
        wrong = bad_text(str(error), case)
        owed = not case.may_refuse and not case.must_refuse and bool(case.kept)
        return "refused", [*wrong, *([f"refused: {str(error)[:500]}"] if owed else [])]
    kept = {pair.chosen for pair in data.pairs}
    [source] = data.sources
    rows = source["rows"]
    problems = [
        ("kept, and it should have been refused", case.must_refuse),
        (f"{rows} rows, {source['kept']} kept, {data.dropped} dropped", rows != source["kept"] + data.dropped.total()),
        (f"{source['kept']} kept, {len(data.pairs)} pairs", source["kept"] != len(data.pairs)),
        (f"{rows} rows, {case.rows} were written", case.rows is not None and rows != case.rows),
        (f"lost: {sorted(case.kept - kept)[:3]}", not case.kept <= kept),
        (f"more was kept: {sorted(kept - case.kept)[:3]!r}", case.only and not kept <= case.kept),
    ]
    wrong = [problem for problem, is_so in problems if is_so]
    for finding in data.log.first:
        wrong += bad_text(str(finding), case)
    return "kept", wrong


def bad_text(text: str, case: Case) -> list[str]:
    """What is wrong with a message: control characters, the raw name of a file, too many lines, or one too long."""
    lines = text.split("\n")
    odd = sorted(
        {character for line in lines for character in line if not (character.isprintable() or character == "\xa0")}
    )
    return [
        *([f"control characters {odd!r} in {text[:300]!r}"] if odd else []),
        *([f"{len(lines)} lines in a message"] if len(lines) > MOST_LINES else []),
        *(["a line of the message is the end of a file's name"] if "1 row(s): all is well" in lines else []),
        *(
            [f"a line of {max(map(len, lines)):,} characters"]
            if max(map(len, lines)) > 3_000 + len(str(case.path))
            else []
        ),
    ]


def inspect(case: Case) -> list[str]:
    """What is wrong with the report of the command, run in this process."""
    said = io.StringIO()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            inspect_pairs.main(["--output", folder, "--", str(case.path)])
    except UserError as error:
        return bad_text(str(error), case)
    return [f"the report: {problem}" for problem in bad_text(said.getvalue(), case) if "lines in" not in problem]


# Running


def run_case(seed: int, number: int, suites: Path, inspected: bool) -> dict[str, Any]:
    """One case, from its making to its account."""
    with tempfile.TemporaryDirectory() as folder:
        case = make_case(seed, number, Path(folder))
        started = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, ALARM)
        try:
            outcome, wrong = check(case, suites)
            if inspected:
                wrong += inspect(case)
        except TooLong:
            outcome, wrong = "hung", [f"more than {ALARM} s"]
        except Exception as error:
            outcome, wrong = "raised", [f"{type(error).__name__}: {error}"[:500]]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.perf_counter() - started
    return {"number": number, "kind": case.kind, "outcome": outcome, "wrong": wrong, "seconds": seconds}


def ring(signum: int, frame: object) -> None:
    raise TooLong


def make_suites(folder: Path) -> Path:
    """A folder of eval suites with one prompt, for reading all of them anew would be most of the time."""
    folder.mkdir()
    (folder / "held.jsonl").write_text('{"id": "h", "prompt": "天空为什么是蓝色的?"}\n', encoding="utf-8")
    return folder


def run_batch(seed: int, numbers: range) -> int:
    """The cases of one process, a line of JSON each; the line before a crash is that of the case before it."""
    signal.signal(signal.SIGALRM, ring)
    with tempfile.TemporaryDirectory() as folder:
        suites = make_suites(Path(folder) / "suites")
        for number in numbers:
            print(json.dumps(run_case(seed, number, suites, number % INSPECTED == 0)), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"peak": peak}), flush=True)
    return 0


def run_all(seed: int, numbers: range) -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
    """All cases, in batches: what came of each, what failed, and seconds."""
    found: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    started, at = time.perf_counter(), numbers.start
    while at < numbers.stop:
        size = min(BATCH, numbers.stop - at)
        command = [sys.executable, __file__, "--batch", "--seed", str(seed), "--first", str(at), "--cases", str(size)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=ALARM * size)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        cases = [line for line in lines if "kind" in line]
        found += cases
        failures += [case for case in cases if case["wrong"]]
        at += len(cases)
        if len(cases) < size:
            wrong = [f"the process ended with status {done.returncode}: {done.stderr[-500:]}"]
            failures.append({"number": at, "kind": "crash", "outcome": "crashed", "wrong": wrong, "seconds": 0.0})
            found.append(failures[-1])
            at += 1
        elif (peak := lines[-1]["peak"]) > MOST_MEMORY:
            failures.append({"number": at - size, "kind": "memory", "wrong": [f"{peak >> 20:,} MiB in this batch"]})
        found[-1]["peak"] = lines[-1].get("peak", 0) if lines else 0
        failed = ", ".join(f"{case['number']} ({case['kind']})" for case in failures) or "none"
        print(f"{at - numbers.start:,} of {len(numbers):,}; failed: {failed}", file=sys.stderr)
    return found, failures, time.perf_counter() - started


def run_processes(seed: int, cases: int) -> list[dict[str, Any]]:
    """Some cases through the command as a user runs it: status 0 or 2, and never a traceback."""
    failures = []
    for number in range(0, cases, max(1, cases // PROCESSES)):
        with tempfile.TemporaryDirectory() as folder:
            case = make_case(seed, number, Path(folder))
            if "\0" in str(case.path):
                continue
            command = [
                sys.executable,
                "-m",
                "training.inspect_pairs",
                "--output",
                f"{folder}/report",
                "--",
                os.fsencode(case.path),
            ]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120)
        said = (done.stdout + done.stderr).decode(errors="backslashreplace")
        wrong = (
            [f"status {done.returncode}: {said[-300:]}"] if done.returncode not in (0, 2) or "Traceback" in said else []
        )
        if wrong := [*wrong, *(p for p in bad_text(said, case) if "lines in" not in p)]:
            failures.append({"number": number, "kind": f"command, {case.kind}", "wrong": wrong})
    return failures


def summary(found: list[dict[str, Any]], failures: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts by class of case, and every failure with its number."""
    kinds: dict[str, Counter] = {}
    for case in found:
        kinds.setdefault(case["kind"], Counter())[case["outcome"]] += 1
    times = sorted(case["seconds"] for case in found)
    return {
        "cases": len(found),
        "failed": len(failures),
        "failures": failures[:100],
        "outcomes": dict(Counter(case["outcome"] for case in found)),
        "inspected": len([case for case in found if case["number"] % INSPECTED == 0]),
        "by_kind": {kind: {"cases": counts.total(), **counts} for kind, counts in sorted(kinds.items())},
        "seconds_a_case": {"median": round(times[len(times) // 2], 5), "most": round(times[-1], 3)},
        "peak_memory_mib": max(case.get("peak", 0) for case in found) >> 20,
    }


def table(record: dict[str, Any]) -> list[str]:
    lines = [f"{'':40} {'cases':>7} {'kept':>7} {'refused':>8}"]
    for kind, counts in record["by_kind"].items():
        lines.append(f"{kind:40} {counts['cases']:7,} {counts.get('kept', 0):7,} {counts.get('refused', 0):8,}")
    failed = [
        f"FAILED {case['number']} ({case['kind']}): {'; '.join(case['wrong'])}" for case in record["failures"][:20]
    ]
    total = f"{record['cases']:,} cases, {record['failed']} failed, peak {record['peak_memory_mib']:,} MiB"
    return [*lines, *failed, f"{total}, {record['seconds']:,.0f} s"]


if __name__ == "__main__":
    run_command(main)
