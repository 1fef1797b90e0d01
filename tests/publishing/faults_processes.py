"""Pushes in processes of their own: killed, interrupted, without disk space, two at once."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import upload
from tests.publishing.faults_table import Point, judge
from tests.publishing.faults_world import Case, Said, World, digests, spoil

ROOT = Path(upload.__file__).resolve().parent
UNCHECKED = (
    "import upload; upload.check_release = upload.check_built = lambda *_: []; "
    "from command import run_command; run_command(upload.main)"
)
SECONDS = 180
DISK_BYTES = 2**27  # upload.py asks for 100 MB beside the release before it begins


class Command:
    """upload.py as a process of its own process group, as a terminal starts it; `home` is its HF_HOME and TMPDIR."""

    def __init__(self, world: World, case: Case, tag: str, home: Path | None = None) -> None:
        home = home or world.folder / "home"
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "HF_ENDPOINT": world.hub.url, "HF_HOME": str(home), "TMPDIR": str(home / "tmp")}
        environment |= {"HF_XET_CACHE": str(home / "xet")}
        self.output = world.folder / f"output-{time.monotonic_ns()}"
        program = [sys.executable, "-c", UNCHECKED, str(case.run), "--repo-id", case.repo_id, "--tag", tag]
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [*program, "--verify", "checksums"],
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=file,
                process_group=0,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job has it ignored
            )

    def send(self, number: signal.Signals) -> None:
        """Kill this process alone, or interrupt its whole group as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if number == signal.SIGINT else os.kill)(self.process.pid, number)

    def wait(self) -> Said:
        """How it ended."""
        status = self.process.wait(SECONDS)
        return Said(None if status == -signal.SIGKILL else status, self.output.read_text(errors="replace"))


def stopped_at(world: World, point: Point, number: signal.Signals) -> dict[str, Any]:
    """A signal when the Hub gets a request, whose work it does all the same."""
    case = world.case()
    held: list[Command] = []
    ready = threading.Event()

    def stop() -> None:
        ready.wait(SECONDS)
        held[0].send(number)
        if number == signal.SIGKILL:
            held[0].process.wait(SECONDS)

    watcher = world.hub.fault(point.watch(stop))
    held.append(Command(world, case, "v2"))
    ready.set()
    said = held[0].wait()
    world.hub.clear_faults()
    world.hub.failures.clear()  # of half a request, which the killed client left
    name = f"{'kill -9' if number == signal.SIGKILL else 'Ctrl-C'} at {point.name}"
    return judge(world, case, name, said) | {"struck": int(watcher.fired)}


def without_space(world: World, point: Point) -> dict[str, Any]:
    """The disk with HF_HOME and TMPDIR is full from a request on; for the rerun there is room again."""
    case = world.case()
    with small_disk(world.folder / "disk") as disk:
        watcher = world.hub.fault(point.watch(lambda: fill(disk / "filler")))
        said = Command(world, case, "v2", disk).wait()
        world.hub.clear_faults()
        (disk / "filler").unlink(missing_ok=True)
        return judge(world, case, f"disk full at {point.name}", said) | {"struck": int(watcher.fired)}


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of DISK_BYTES in memory. Only root may mount one."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write until nothing fits any more."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(2**16)):
            pass


def two_at_once(world: World, same_release: bool) -> dict[str, Any]:
    """Two publishers of one repository; afterwards each runs again, one after the other."""
    one = world.case()
    two = Case(one.repo_id, one.run, one.before, one.new) if same_release else other_release(world, one)
    tags = ("v2", "v2" if same_release else "v3")
    running = [Command(world, case, tag) for case, tag in zip((one, two), tags, strict=True)]
    said = [command.wait() for command in running]
    states = [world.state(case) for case in (one, two)]
    whole = {"old", "new"} & {state.main for state in states}
    again = [Command(world, case, tag).wait() for case, tag in zip((one, two), tags, strict=True)]
    last = min((world.state(case) for case in (two, one)), key=lambda state: state.main != "new")
    wrong = [] if whole and last.main == "new" else ["main holds neither release"]
    wrong += [f"status {s.status}: {s.message}" for s in again if s.status and "is already there, on" not in s.message]
    wrong += ["a traceback" for s in (*said, *again) if "Traceback" in s.output]
    if same_release:  # the Hub's merge has no condition: both may pass the last look at main before either has merged
        wrong += [f"{last.commits} commits"] if last.commits > 2 else []
        wrong += [f"the rerun ended with {s.status}: {s.message}" for s in again if s.status]
    wrong += [f"open: {last.open}"] if last.open else []
    return {
        "scenario": f"two publishers at once, {'the same release' if same_release else 'different releases'}",
        "xet": world.xet,
        "status": [s.status for s in said],
        "message": " | ".join(s.message for s in said),
        "remote": " | ".join(state.main for state in states),
        "rerun": [s.status for s in again],
        "remote_after_rerun": last.main,
        "commits": last.commits,
        "open_pull_requests": len(last.open),
        "token_in_output": any("hf_alice" in s.output for s in (*said, *again)),
        "wrong": wrong,
        "struck": 1,
    }


def other_release(world: World, one: Case) -> Case:
    """Another release for the same repository."""
    run = world.folder / f"{one.run.name}-other"
    shutil.copytree(world.run, run)
    spoil(run / "release", 10**6 + world.count)
    return Case(one.repo_id, run, one.before, digests(run))
