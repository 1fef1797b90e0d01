"""A server as a child of ours: its port is looked at before, it is told of once it answers, and it ends when we do.

`become_watch` replaces this process by a small one that starts the server and stays: what read the model's rules held torch,
which is 300 MB and takes a second to end.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from urllib.error import URLError

from command import UserError, WorkError, run_command

GRACE = 1.0  # seconds a server has to end; uvicorn alone would wait for every answer that is under way
POLL = 0.2  # seconds
HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def require_free_port(host: str, port: int) -> None:
    """UserError unless a server could listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise UserError(
            f"--host {host}: {error.strerror}. Give an address of this machine, such as 127.0.0.1."
        ) from None
    except PermissionError:
        raise UserError(f"--port {port}: this user may not listen there. Give one above 1023.") from None
    except OSError as error:
        fix = "Give another --port" if "in use" in str(error) else "Give an address of this machine as --host"
        raise UserError(f"nothing can listen on {host}, port {port}: {error.strerror}. {fix}.") from None


def base_url(host: str, port: int) -> str:
    """Where a client on this machine reaches a server that listens on `host`."""
    name = ANY_HOST.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def become_watch(title: str, command: list[str], environment: dict[str, str], url: str, told: str) -> None:
    """Go on as `main` with these arguments."""
    sys.stdout.flush()
    job = {"title": title, "command": command, "environment": environment, "url": url, "told": told}
    os.execv(sys.executable, [sys.executable, "-m", "inference.serving.watch", json.dumps(job)])


def main(argv: list[str] | None = None) -> None:
    """Run a server until we are stopped; print `told` once it answers. WorkError if it ends by itself. Its output goes to stderr."""
    job = json.loads((argv or sys.argv[1:])[0])
    signal.signal(signal.SIGHUP, _interrupt)  # the terminal was closed; run_command sees to SIGTERM
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)  # one that comes before the `try` would leave the server alone
    process = subprocess.Popen(
        job["command"],
        env={**os.environ, **job["environment"]},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        process_group=0,  # so that Ctrl-C comes to us alone, and all that it started ends with it
        preexec_fn=_bind,
    )
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        when = "before it was ready"
        if wait_until_ready(process, job["url"]):
            print(job["told"], flush=True)
            process.wait()
            when = "by itself"
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"The server is down and {job['url']} is free.") from None
    finally:
        stop(process)
    raise WorkError(f"{job['title']} ended {when}, with status {process.returncode}; what it said stands above.")


def _bind() -> None:
    """In the server, before it is one: it hears signals again, and on Linux one is sent to it when we are killed with force."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    if LIBC:
        LIBC.prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def wait_until_ready(process: subprocess.Popen, url: str) -> bool:
    """True once /health answers 200; False if the server ended before."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None:
        with (
            suppress(URLError, OSError),
            opener.open(f"{url}/health", timeout=2) as reply,
        ):  # not listening, or still loading
            if reply.status == 200:
                return True
        time.sleep(POLL)
    return False


def stop(process: subprocess.Popen) -> None:
    """End the server and whatever it started, with force after GRACE seconds."""
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    finally:
        with suppress(ProcessLookupError):  # all of the group has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    run_command(main)
