"""The verdict on code does not depend on what else the machine does, and every run ends in time."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from eval.scorers import code, sandbox
from tests.eval.needs_sandbox import needs_sandbox
from tests.eval.scorers.test_code import RIGHT, python

BURN = "import time\n" + RIGHT.replace("    best = run", "    while time.process_time() < {}: pass\n    best = run")


@pytest.fixture
def busy():
    """Processes that take the time of this one: four for each core."""
    spin = ["sh", "-c", "while :; do :; done"]  # in sessions of their own, between which the kernel divides the time
    workers = [subprocess.Popen(spin, start_new_session=True) for _ in range(4 * os.cpu_count())]
    yield
    for worker in workers:
        worker.kill()
        worker.wait()


@needs_sandbox
def test_a_busy_machine_changes_no_verdict(busy, monkeypatch):
    monkeypatch.setattr(code, "LIMITS_PYTHON", sandbox.Limits(seconds=60, cpu=1))
    began = time.monotonic()
    result = python(BURN.format(0.7))
    took = time.monotonic() - began
    assert result.score == 1.0, result.reason
    assert took > 1, "by the wall clock it took longer than the limit, else this shows nothing"
    assert python(BURN.format(9)).reason.endswith("took too long")


@needs_sandbox
def test_what_sleeps_is_told_from_what_computes(monkeypatch):
    monkeypatch.setattr(code, "LIMITS_PYTHON", sandbox.Limits(seconds=2, cpu=1))
    text = "import time\ndef longest_run(s): time.sleep(99)"
    assert python(text).reason.endswith("waits without end")
    children = "import os\ndef longest_run(s):\n    for _ in range(4): os.fork()\n    while True: pass"
    monkeypatch.setattr(code, "LIMITS_PYTHON", sandbox.Limits(seconds=20, cpu=1))
    assert python(children).reason.endswith("took too long"), "the time of all processes together counts"


@needs_sandbox
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def longest_run(s):\n    while True: pass", "took too long"),
        ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", ""),
        ("import os\ndef longest_run(s):\n    for _ in range(30): os.write(2, b'x' * 2**20)\n    return 3", "output"),
    ],
)
def test_two_at_once_end_in_time(text, reason):
    """With the limits as they are: 8 s of CPU time each, 24 s of the clock, tried twice; right code beside them passes."""
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        first, second, right = pool.map(python, [text, text, RIGHT])
    assert first.score == second.score == 0.0 and right.score == 1.0
    assert reason in first.reason and reason in second.reason
    assert time.monotonic() - began < 100  # 16 s on two free cores
