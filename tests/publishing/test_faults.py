"""A part of the fault table (benchmarks/publishing_faults.py plays all of it), and that the table can fail.

A scenario strikes every request of a push once, each time with the next fault of the list.
"""

import os
import signal
from itertools import cycle

import pytest

from tests.publishing import faults_processes as processes
from tests.publishing import faults_table as table
from tests.publishing.faults_world import Case, Said, State, World

QUICK = [name for name in table.FAULTS if "stalled" not in name]  # a stall takes seconds; the whole table has them


@pytest.fixture(scope="module", params=["lfs", "xet"])
def world(request, tmp_path_factory):
    with World(tmp_path_factory.mktemp(request.param), request.param == "xet") as world:
        yield world
        assert world.hub.failures == []


@pytest.fixture(scope="module")
def points(world):
    return table.learn(world)


def point(points: list[table.Point], text: str) -> table.Point:
    return next(p for p in points if text in p.name)


def wrong(rows: list[dict]) -> dict[str, list[str]]:
    return {row["scenario"]: row["wrong"] for row in rows if row["wrong"] or not row["struck"]}


def test_whatever_happens_at_a_request_the_release_is_whole_and_a_rerun_completes_it(world, points):
    mine = [p for p in points if table.is_xet(p) or not world.xet]
    faults = zip(mine, cycle(QUICK), strict=False)
    rows = [table.play(world, table.Scenario(f"{name} at {p.name}", False, ((p, name),))) for p, name in faults]
    assert wrong(rows) == {} and len(rows) >= 8
    assert {"old", "new"} == {row["remote"] for row in rows}, "some failed, some were overcome"
    assert {row["remote_after_rerun"] for row in rows} == {"new"} and {row["commits"] for row in rows} == {1}
    assert not any(row["open_pull_requests"] for row in rows) and not any(row["token_in_output"] for row in rows)


@pytest.mark.parametrize("text", ["/commit/", "/merge", "HEAD"])
def test_killed_or_interrupted_the_same_command_continues(world, points, text):
    if world.xet:
        pytest.skip("the same requests; the whole table has them with Xet, too")
    rows = [processes.stopped_at(world, point(points, text), number) for number in (signal.SIGKILL, signal.SIGINT)]
    assert wrong(rows) == {} and [row["status"] for row in rows] == [None, 130]
    assert [row["rerun"] for row in rows] == [0, 0]
    assert "Ctrl-C" in rows[1]["scenario"] and "The same command continues from there." in rows[1]["message"]


@pytest.mark.parametrize("text", ["POST /v1/xorbs", "/commit/", "HEAD"])
def test_a_full_disk(world, points, text):
    if os.geteuid() or not world.xet:
        pytest.skip("only root can mount a small disk; once, with Xet, which keeps files of its own")
    row = processes.without_space(world, point(points, text))
    assert wrong([row]) == {} and row["remote_after_rerun"] == "new"


@pytest.mark.parametrize("same", [True, False], ids=["the same release", "different releases"])
def test_two_publishers_at_once(world, same):
    row = processes.two_at_once(world, same)
    assert wrong([row]) == {} and row["remote_after_rerun"] == "new"


def test_somebody_else_and_a_token_that_expires(world, points):
    if world.xet:
        pytest.skip("the same requests")
    merge = point(points, "/merge")
    begins = {path: table.somebody(merge, path) for path in ("theirs.txt", "README.md")}
    begins["the token expires"] = table.expiring(merge)
    rows = [table.play(world, table.Scenario(name, begin=begin)) for name, begin in begins.items()]
    assert wrong(rows) == {}
    assert [row["status"] for row in rows] == [1, 1, 1]
    assert "is not the release: theirs.txt differ: somebody else changed it" in rows[0]["message"]
    assert "the Hub does not accept the token" in rows[2]["message"]


# --- the judge


OLD = Case("alice/demo", None, "0" * 40, {})
FINE = Said(1, "error: nothing was pushed: the Hub answered with status 500.")


@pytest.mark.parametrize(
    ("now", "said", "finding"),
    [
        (State("old", 0, None, (), ()), FINE, None),
        (State("new", 1, "new", (), ()), Said(0, "page: here"), None),
        (State("other", 1, None, (), ()), FINE, "neither the old nor the new"),
        (State("new", 2, "new", (), ()), Said(0, ""), "2 commits of one release"),
        (State("new", 1, "old", (), ()), Said(0, ""), "the tag holds old"),
        (State("new", 1, None, (), ()), Said(0, ""), "success, but main holds new, tag None"),
        (State("new", 1, "new", (3,), ()), Said(0, ""), "left open"),
        (State("new", 1, None, (), ()), FINE, "not so: 'nothing was pushed'"),
        (State("old", 0, None, (), ()), Said(1, "error: it failed"), "does not say what the Hub holds"),
        (State("old", 0, None, (), ()), Said(1, FINE.output + " hf_alice"), "a token in the output"),
        (
            State("old", 0, None, (), ()),
            Said(1, "Traceback (most recent call last):\n  File x\nE: no\n" + FINE.output),
            "a traceback: File x / E: no",
        ),
        (State("old", 0, None, (2,), ()), Said(1, "error: pull request 2 holds the release: no"), "not so"),
    ],
)
def test_the_judge_finds_what_may_not_be(now, said, finding):
    found = table.wrong_after(now, said, OLD)
    assert found == [] if finding is None else any(finding in text for text in found), found
