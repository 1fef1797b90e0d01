"""The fault table of upload.py: every fault at every request of a push, in pairs, with kills, a full disk and rivals.

    python benchmarks/publishing_faults.py [--workers 1] [--minutes M] [--only TEXT] [--results DIR]

Each row is one push of a tiny release to a Hub on loopback (tests/hub) while something goes wrong, and the same command once
more without it. Writes DIR/publishing_faults.json (default benchmarks/results): the counts, the environment and a line a
scenario; `wrong` lists what may not be after a push (tests/publishing/faults_table.py) and has to be empty. Status 1 if not.
The order is shuffled by a fixed seed, so that what --minutes leaves out is no kind of its own; `planned` counts all.
A disk that is full needs root, to mount one; elsewhere those rows are missing, which the record says.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

from command import run_command  # noqa: E402  (the repository root has to be on the path first)
from run_folder import SCHEMA_VERSION  # noqa: E402

PACKAGES = ("huggingface_hub", "hf_xet", "httpx2")
PAIRS, SEED = 60, 7  # pairs with Xet off, and as many with Xet on
DIRECT = ("--tag", "v2", "--verify", "checksums", "--revision", "main")
ALL = ("--tag", "v2", "--verify", "checksums", "--private", "--gated", "auto", "--collection", "All of {}")
Play = Callable[[], dict[str, Any]]


def main(argv: list[str] | None = None) -> int:
    """Play the table in several processes, each with Hubs of its own, and write it."""
    parser = argparse.ArgumentParser(prog="benchmarks/publishing_faults.py", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no scenario later (default: 60)")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only scenarios with this in their name; writes nothing"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(argv)
    begun, here = time.monotonic(), surroundings()
    until = time.time() + 60 * options.minutes
    halves = [(xet, part, options.workers) for part in range(options.workers) for xet in (False, True)]
    parts = [(half, options.only, until) for half in halves]
    with ProcessPoolExecutor(len(parts), mp_context=get_context("spawn")) as pool:
        done = list(pool.map(play_part, *zip(*parts, strict=True)))
    rows = sorted((row for played, _, _ in done for row in played), key=lambda row: (row["xet"], row["scenario"]))
    record = {"planned": sum(planned for _, planned, _ in done)} | summary(rows)
    record |= {"requests": {kind: names for _, _, learnt in done for kind, names in learnt.items()}}
    record |= here | {"seconds": round(time.monotonic() - begun)}
    if not options.only:
        write_table(options.results / "publishing_faults.json", record, rows)
    print(json.dumps({key: record[key] for key in ("planned", "scenarios", "ends", "wrong", "seconds")}, indent=1))
    return int(record["wrong"] > 0)


def play_part(
    half: tuple[bool, int, int], only: str, until: float
) -> tuple[list[dict[str, Any]], int, dict[str, list[str]]]:
    """Of (xet, part, parts): every `parts`-th scenario with Xet on or off; how many were planned; the requests."""
    from tests.publishing.faults_world import World

    xet, part, parts = half
    with tempfile.TemporaryDirectory(prefix="publishing-faults-", ignore_cleanup_errors=True) as folder:
        os.environ["HF_HOME"] = f"{folder}/home"  # before huggingface_hub is imported
        with World(Path(folder), xet) as world:
            plays, learnt = scenarios(world)
            mine = [(name, play) for name, play in plays if only in name]
            random.Random(SEED).shuffle(mine)
            rows = []
            for name, play in mine[part::parts]:
                if time.time() > until:
                    break
                begun = time.monotonic()
                rows.append(play() | {"seconds": round(time.monotonic() - begun, 1)})
                if rows[-1]["wrong"]:
                    print(f"WRONG {name}: {rows[-1]}", file=sys.stderr, flush=True)
    return rows, len(mine[part::parts]), learnt


def scenarios(world: Any) -> tuple[list[tuple[str, Play]], dict[str, list[str]]]:
    """(name, how to play it) of all scenarios, always in the same order, and the requests at which they strike."""
    from tests.publishing import faults_table as table

    update = table.learn(world)
    ways = {"a new repository": table.learn(world, True), "--revision main": table.learn(world, False, DIRECT)}
    ways["--private --gated --collection"] = table.learn(world, True, ALL)
    struck = [p for p in update if not world.xet or table.is_xet(p)]  # the others are the same with Xet on
    played = table.single(struck)
    learnt = {f"update, Xet {'on' if world.xet else 'off'}": [p.name for p in update]}
    seen = list(update)
    for way, points in ways.items():
        more = table.without(points, seen)
        seen += more
        learnt[f"{way}, Xet {'on' if world.xet else 'off'}"] = [p.name for p in points]
        if not world.xet:
            options = {"--revision main": DIRECT, "--private --gated --collection": ALL}.get(way, table.OPTIONS)
            played += table.single(more, way, way != "--revision main", options)
    chosen = random.Random(SEED)
    for number in range(PAIRS):
        pair = tuple((chosen.choice(update), chosen.choice(list(table.FAULTS))) for _ in range(2))
        name = " and ".join(f"{fault} at {point.name}" for point, fault in pair)
        played.append(table.Scenario(f"pair {number}: {name}", False, pair))
    played += [s for point in struck for s in meanwhile(point)]
    plays = [(s.name, lambda s=s: table.play(world, s)) for s in played]
    return plays + processes(world, struck), learnt


def meanwhile(point: Any) -> list[Any]:
    """What others do when a request begins: a commit of a file of theirs, of ours, and a token that expires."""
    from tests.publishing import faults_table as table

    begins = {
        f"somebody commits {path}": table.somebody(point, path) for path in ("theirs.txt", "README.md", "LICENSE")
    }
    begins["the token expires"] = table.expiring(point)
    return [table.Scenario(f"{name} before {point.name}", begin=begin) for name, begin in begins.items()]


def processes(world: Any, points: list[Any]) -> list[tuple[str, Play]]:
    """Kills, Ctrl-C, a full disk and two publishers: pushes in processes of their own."""
    from tests.publishing import faults_processes as own

    found = [
        (f"{word} at {point.name}", lambda p=point, n=number: own.stopped_at(world, p, n))
        for word, number in (("kill -9", signal.SIGKILL), ("Ctrl-C", signal.SIGINT))
        for point in points
    ]
    if os.geteuid() == 0:
        steps = [
            p for p in points if p.number == 0 and ("commit" in p.pattern or "preupload" in p.pattern or p.is_read_back)
        ]
        found += [(f"disk full at {p.name}", lambda p=p: own.without_space(world, p)) for p in steps]
    return found + [
        (f"two publishers {n}, same release: {same}", lambda same=same: own.two_at_once(world, same))
        for same in (True, False)
        for n in range(5)
    ]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many scenarios there were and how they ended."""
    kinds = Counter(
        f"the push {'ended well' if row['status'] == 0 else 'ended with an error or was stopped'}, "
        f"main was {row['remote']}, after the rerun {row['remote_after_rerun']}"
        for row in rows
        if isinstance(row["status"], int | None)
    )
    return {
        "scenarios": len(rows),
        "struck": sum(row["struck"] > 0 for row in rows),
        "ends": dict(kinds.most_common()),
        "most_commits_of_a_release": max((row["commits"] for row in rows if "pub" not in row["scenario"]), default=0),
        "pull_requests_left_open": sum(row["open_pull_requests"] for row in rows),
        "tokens_in_output": sum(row["token_in_output"] for row in rows),
        "wrong": sum(bool(row["wrong"]) for row in rows),
        "disk_full_played": any("disk full" in row["scenario"] for row in rows),
    }


def surroundings() -> dict[str, Any]:
    """Versions, machine and commit."""
    from training.record import git_state, hardware

    versions = {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES}
    return {"versions": versions, "hardware": hardware(), "git": git_state()}


def write_table(path: Path, record: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """JSON with a line a scenario; long tables are read by line."""
    head = json.dumps({"schema_version": SCHEMA_VERSION, **record}, indent=2, ensure_ascii=False).rstrip("}\n ")
    lines = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f'{head},\n  "rows": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
