"""Run a program that nobody trusts: bubblewrap with no network, no host file but /usr, an empty home, as nobody, under limits.

What it prints is data to be judged by the caller, never a verdict. There is no fallback: without bubblewrap nothing is run.
Limits hold a process (memory, CPU time, file size) or the whole sandbox (processes, wall clock, output, disk).
"""

import functools
import os
import select
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VERSION = 1
NOBODY = 65534
DISK_BYTES = 64 << 20
FILE_BYTES = 32 << 20


@dataclass(frozen=True)
class Limits:
    """What a run may use: wall-clock and CPU seconds, bytes of address space a process, processes, bytes of output."""

    seconds: float = 10.0
    memory: int = 512 << 20
    processes: int = 24
    output: int = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `status` as of subprocess (None if it was killed for time or output), `stopped` says for which."""

    stdout: bytes
    stderr: bytes
    status: int | None
    stopped: str | None  # "time" | "output" | None


@functools.cache
def unavailable() -> str | None:
    """Why no sandbox can be had on this machine; None if one works (it is tried once)."""
    for tool in ("bwrap", "prlimit"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    outcome = run(["/bin/true"], {}, b"", Limits(seconds=5))
    return (
        None
        if outcome.status == 0
        else f"bubblewrap does not work here: {outcome.stderr.decode(errors='replace').strip()[:200]}"
    )


@functools.cache
def lacks(tool: str) -> str | None:
    """Why `tool` (python3, g++) cannot be used in the sandbox; None if it can. Asked before a candidate has any say."""
    if why := unavailable():
        return why
    found = run([tool, "--version"], {}, b"", Limits(seconds=10)).status == 0
    return None if found else f"{tool} is not in the sandbox (it must lie under /usr)"


def _command(command: list[str], files: Mapping[str, int], limits: Limits) -> list[str]:
    """The whole command line; `files` are names in the work folder and the descriptors that hold their contents."""
    cpu = int(limits.seconds) + 1
    limited = [
        "prlimit",
        f"--nproc={limits.processes}",
        f"--as={limits.memory}",
        f"--cpu={cpu}",
        f"--fsize={FILE_BYTES}",
        "--core=0",
        "--nofile=64",
    ]
    walls = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    walls += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev"]
    walls += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib32", "lib64", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            walls += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            walls += ["--ro-bind", str(path), str(path)]
    walls += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    walls += ["--size", str(DISK_BYTES), "--tmpfs", "/box", "--size", str(DISK_BYTES), "--tmpfs", "/tmp"]
    walls += [
        "--size",
        str(DISK_BYTES),
        "--tmpfs",
        "/dev/shm",
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--chdir",
        "/box",
    ]
    for name, descriptor in files.items():
        walls += ["--file", str(descriptor), f"/box/{name}"]
    walls += [
        "--setenv",
        "PATH",
        "/usr/local/bin:/usr/bin:/bin",
        "--setenv",
        "HOME",
        "/box",
        "--setenv",
        "LANG",
        "C.UTF-8",
    ]
    return [*walls, "--", *limited, *command]  # inside, so that the count of processes is the sandbox's own


def run(command: list[str], files: Mapping[str, str], stdin: bytes, limits: Limits) -> Outcome:
    """Run `command` in a new sandbox whose /box holds `files` (name → text). OSError if bubblewrap cannot be started."""
    descriptors = {name: _in_memory(name, text.encode()) for name, text in files.items()}
    source = _in_memory("stdin", stdin)
    root = os.geteuid() == 0  # a limit on processes does not bind root, so root steps down first
    try:
        process = subprocess.Popen(
            _command(command, descriptors, limits),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=list(descriptors.values()),
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath)},  # bwrap itself can be read through /proc/1/environ
            **({"user": NOBODY, "group": NOBODY, "extra_groups": []} if root else {}),
        )
    finally:
        for descriptor in (source, *descriptors.values()):
            os.close(descriptor)
    return _collect(process, limits)


def _in_memory(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name)
    with os.fdopen(os.dup(descriptor), "wb") as stream:
        stream.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _collect(process: subprocess.Popen, limits: Limits) -> Outcome:
    """Read what the process writes until it ends or passes a limit; then nothing of it is left running."""
    deadline, stopped = time.monotonic() + limits.seconds, None
    texts = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in texts:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and stopped is None:
            events = selector.select(max(0.0, deadline - time.monotonic()))
            for key, _ in events:
                chunk = os.read(key.fd, 1 << 16)
                texts[key.fileobj] += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
            if sum(map(len, texts.values())) > limits.output:
                stopped = "output"
            elif time.monotonic() >= deadline:
                stopped = "time"
    status = _end(process, deadline) if stopped is None else None
    if status is None:
        _kill(process)
    stdout, stderr = (bytes(text[: limits.output]) for text in texts.values())
    for stream in texts:
        stream.close()
    return Outcome(stdout, stderr, status, stopped or (None if status is not None else "time"))


def _end(process: subprocess.Popen, deadline: float) -> int | None:
    try:
        return process.wait(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _kill(process: subprocess.Popen) -> None:
    """Kill the group of bwrap; its process 1 dies with it, and with that everything in the sandbox: wait for that."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 2
    while process.stdout in select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not os.read(process.stdout.fileno(), 1 << 16):
            break  # the last holder of the pipe is gone
