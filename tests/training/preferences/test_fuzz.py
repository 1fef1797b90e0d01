"""A few hundred of the fuzz's cases, with the same oracle (benchmarks/pairs_fuzz.py runs thousands); and the oracle itself."""

import random
import signal

import pytest

from benchmarks import pairs_fuzz
from benchmarks.pairs_fuzz_cases import Case, bomb, make_case, maker_of
from tests.training.preferences.test_files import LINES

CASES = 320


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    return pairs_fuzz.make_suites(tmp_path_factory.mktemp("fuzz") / "suites")


@pytest.fixture(autouse=True)
def alarm():
    before = signal.signal(signal.SIGALRM, pairs_fuzz.ring)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("part", range(4))
def test_no_hostile_file_is_anything_but_kept_or_refused_as_it_is_owed(suites, part):
    numbers = [n for n in range(part, CASES, 4) if maker_of(random.Random(f"7:{n}")) is not bomb]
    found = [pairs_fuzz.run_case(7, number, suites, number % 80 == 0) for number in numbers]
    assert [case for case in found if case["wrong"]] == []
    assert {case["outcome"] for case in found} == {"kept", "refused"}


def test_a_case_is_the_same_for_its_seed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_case(3, 5, tmp_path / name)
    one, two = ((next((tmp_path / name).iterdir())).read_bytes() for name in ("a", "b"))
    assert one == two


@pytest.mark.parametrize(
    ("owed", "message"),
    [
        ({"must_refuse": True}, "should have been refused"),
        ({"rows": 9}, "5 rows, 9 were written"),
        ({"kept": {"another"}}, "lost"),
        ({"only": True}, "more was kept"),
    ],
)
def test_the_oracle_sees_what_is_not_as_it_is_owed(suites, tmp_path, owed, message):
    (tmp_path / "a.jsonl").write_bytes(LINES)
    outcome, wrong = pairs_fuzz.check(Case("x", tmp_path / "a.jsonl", **owed), suites)
    assert outcome == "kept"
    assert any(message in problem for problem in wrong)


def test_the_oracle_sees_a_refusal_that_is_not_owed_and_an_escape_sequence(suites, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"{broken\n")
    outcome, wrong = pairs_fuzz.check(Case("x", tmp_path / "a.jsonl", kept={"a"}), suites)
    assert (outcome, wrong[0][:8]) == ("refused", "refused:")
    assert pairs_fuzz.bad_text("fine\n\x1b[31m", Case("x", tmp_path))
