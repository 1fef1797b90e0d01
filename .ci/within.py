"""Run a command with a limit of time, and leave none of its processes behind: python3 .ci/within.py MINUTES COMMAND ARGUMENT …

When the time is up it lists what still runs (pytest's workers carry the name of their test in their title), kills it all, and
ends with status 124. A process that outlives the command is listed and killed as well: one that holds CI's output open would
keep CI waiting although every test has passed. Standard library only; the command reads nothing from standard input.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

SUBREAPER = (
    36  # PR_SET_CHILD_SUBREAPER of prctl(2): orphans of the command become children of ours, whatever their session
)
GRACE = 5.0  # seconds for what ends by itself once the command has ended
PATIENCE = 20.0  # seconds for what was killed to be gone; a process that waits for a disk may never be


def main(arguments: list[str]) -> int:
    minutes, command = float(arguments[0]), arguments[1:]
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        status = child.wait(minutes * 60)
    except subprocess.TimeoutExpired:
        print(f"\n{' '.join(command)}: not done after {minutes:g} minutes; killed. What still ran:", flush=True)
        kill_all()
        return 124
    except SystemExit:
        kill_all()
        raise
    deadline = time.monotonic() + GRACE
    while descendants() and time.monotonic() < deadline:
        time.sleep(0.1)
    if descendants():
        print(f"\n{' '.join(command)}: processes that outlived it, now killed:", flush=True)
        kill_all()
    return status if status >= 0 else 128 - status


def stop(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def kill_all() -> None:
    """List and kill all descendants, until there is none: each that was missed is a child of ours by now."""
    listed: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while (found := descendants()) and time.monotonic() < deadline:
        for pid, title in found.items():
            if pid not in listed:
                print(f"  {pid}: {title[:300]}", flush=True)
                listed.add(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def descendants() -> dict[int, str]:
    """Process → its title, for each process below this one; the dead are reaped."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, parent = (entry / "stat").read_text().rpartition(") ")[2].split()[:2]
                titles[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # gone
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    below, size = {os.getpid()}, 0
    while size != len(below):
        size = len(below)
        below |= {pid for pid, parent in parents.items() if parent in below}
    return {pid: titles[pid] for pid in sorted(below - {os.getpid()})}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
