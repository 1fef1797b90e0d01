"""What a program inside the sandbox can see and do: nothing of the host, no network, bounded time, memory, processes, output."""

import os
import time
from pathlib import Path

import pytest

from eval.scorers import sandbox
from eval.scorers.sandbox import Limits

pytestmark = pytest.mark.skipif(sandbox.unavailable() is not None, reason=f"no sandbox: {sandbox.unavailable()}")


def python(source, stdin=b"", **limits):
    return sandbox.run(["python3", "-I", "candidate.py"], {"candidate.py": source}, stdin, Limits(**limits))


def test_runs_as_nobody_and_reads_its_input():
    outcome = python("import os, sys; print(os.getuid(), sys.stdin.read(), sorted(os.listdir('/box')))", b"42")
    assert outcome.stdout == b"65534 42 ['candidate.py']\n" and outcome.status == 0 and outcome.stopped is None


def test_sees_no_host_file_and_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    paths = [
        "/etc/passwd",
        "/etc/shadow",
        "/root",
        str(tmp_path / "secret"),
        str(Path(sandbox.__file__)),
        "/proc/1/environ",
    ]
    outcome = python(
        f"import os\nfor p in {paths!r}: print(os.path.exists(p) and p)\nprint('HF_TOKEN' in os.environ)\nprint(len(os.listdir('/proc/self/fd')))"
    )
    *seen, token, _ = outcome.stdout.decode().splitlines()
    assert seen == ["False"] * 5 + ["/proc/1/environ"] and token == "False"
    assert b"hf_secret" not in python("print(open('/proc/1/environ').read())").stdout


def test_cannot_write_outside_its_bounded_folders():
    source = "for p in ('/x', '/usr/x', '/dev/x', '/etc/x'):\n    try: open(p, 'w'); print('wrote', p)\n    except OSError: pass\n"
    source += "n = 0\ntry:\n    while True:\n        open(f'/box/{n}', 'wb').write(bytes(16 << 20)); n += 1\nexcept OSError: print(n)"
    outcome = python(source)
    assert outcome.stdout in (b"3\n", b"4\n"), outcome


def test_has_no_network():
    outcome = python(
        "import socket\ntry: socket.create_connection(('1.1.1.1', 80), 1)\nexcept OSError as e: print('none')\nprint(socket.if_nameindex())"
    )
    assert outcome.stdout.splitlines()[0] == b"none" and b"eth" not in outcome.stdout


def test_ends_in_time_and_leaves_nothing():
    source = "import os, time\nos.setsid() if os.fork() == 0 else None\nos.close(1)\nwhile True: time.sleep(0.1)"
    began = time.monotonic()
    outcome = python(source, seconds=1)
    assert outcome.stopped == "time" and outcome.status is None and time.monotonic() - began < 5
    time.sleep(0.2)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [line for line in lines if line.startswith(b"python3\0-I\0candidate.py")]


def test_bounds_memory_processes_output_and_files():
    assert b"MemoryError" in python("x = bytearray(10**9)").stderr
    count = python(
        "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(2); os._exit(0)\n        n += 1\nexcept OSError: print(n)"
    )
    assert 0 < int(count.stdout) < 24
    flood = python("while True: print('x' * 10000)", output=100_000)
    assert flood.stopped == "output" and len(flood.stdout) == 100_000
    assert b"File too large" in python("open('x', 'wb').write(bytes(40 << 20))").stderr


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda tool: None)
    assert sandbox.unavailable.__wrapped__() == "bwrap is not installed"


def test_a_tool_outside_usr_is_named():
    assert sandbox.lacks("no-such-compiler") == "no-such-compiler is not in the sandbox (it must lie under /usr)"
