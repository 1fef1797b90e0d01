"""How many threads llama.cpp is given."""

import os

import pytest

from command import UserError
from inference.llama_cpp.threads import threads


@pytest.mark.parametrize(("asked", "count"), [("3", 3), (" 3 ", 3), ("4,2", 4), ("4, 2", 4)])
def test_the_environment_decides(monkeypatch, asked, count):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads() == count


def test_else_the_cores_that_we_may_use_where_that_is_known(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert threads() == len(os.sched_getaffinity(0))
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert threads() == 5


@pytest.mark.parametrize("asked", ["0", "two", "-1", "1.5", ",2"])
def test_what_is_no_number_of_threads_is_refused(monkeypatch, asked):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    with pytest.raises(UserError, match=r"OMP_NUM_THREADS is .* must be a number of threads"):
        threads()
