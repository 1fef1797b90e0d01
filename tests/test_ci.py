"""CI ends: a test that hangs fails and is named, and no process that a test left behind keeps the run open."""

import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

WITHIN = [sys.executable, str(ROOT / ".ci" / "within.py")]
# Two that leave the group and the session, one of them an orphan; both hold standard output.
LEAVES = "setsid sleep {0} & (setsid sleep {1} &); sleep 0.2; "


def within(minutes: float, script: str) -> tuple[int, str]:
    began = time.monotonic()
    done = subprocess.run([*WITHIN, str(minutes), "sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert time.monotonic() - began < 30  # the output was closed, else run() would have waited for `sleep`
    return done.returncode, done.stdout


def test_a_command_that_hangs_is_listed_and_killed_with_all_it_started():
    status, told = within(0.02, LEAVES.format(301, 302) + "sleep 303; exit 5")
    assert status == 124 and "not done after 0.02 minutes" in told
    assert all(f"sleep {seconds}" in told for seconds in (301, 302, 303))
    assert not running("sleep 30[123]")


def test_what_outlives_a_command_is_killed_and_its_status_kept():
    status, told = within(1, LEAVES.format(401, 402) + "exit 3")
    assert status == 3 and "outlived" in told and "sleep 401" in told and "sleep 402" in told
    assert not running("sleep 40[12]")


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_a_command_that_ends_cleanly_has_its_own_status_and_no_word(script, status):
    assert within(1, script) == (status, "")


def running(pattern: str) -> bool:
    return subprocess.run(["pgrep", "-f", f"^{pattern}"], capture_output=True).returncode == 0


HANGS = {
    "python": "import time\ndef test_it(): time.sleep(600)\n",
    "fixture": "import pytest, time\n@pytest.fixture\ndef slow():\n    yield\n    time.sleep(600)\ndef test_it(slow): pass\n",
    "C": "import ctypes\ndef test_it(): ctypes.PyDLL(None).sleep(600)\n",  # with the interpreter's lock: no signal is heard
}


@pytest.mark.parametrize("hang", HANGS)
def test_a_hanging_test_fails_by_its_name_and_the_others_run(hang, tmp_path):
    """Under the options of pyproject.toml with less patience."""
    (tmp_path / "test_hang.py").write_text(HANGS[hang])
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    config = (ROOT / "pyproject.toml").read_text().replace("timeout = 240", "timeout = 1")
    (tmp_path / "pyproject.toml").write_text(config.replace("faulthandler_timeout = 360", "faulthandler_timeout = 3"))
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert ("FAILED" in said or "ERROR" in said) and "test_hang.py::test_it" in said, said
    assert "1 passed" in said or "2 passed" in said, said
