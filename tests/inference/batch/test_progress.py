"""The time left against a simulated engine whose cost is known."""

import io

import pytest

from inference.batch.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def simulate(seconds_of, prompts: list[int], tokens: list[int], stream, sure_after: int = 1):
    """Yield (progress, seconds that truly remain) after each answer."""
    now, costs = [0.0], [seconds_of(*pair) for pair in zip(prompts, tokens, strict=True)]
    progress = Progress(len(prompts), prompts, sure_after, stream, lambda: now[0])
    for place, pair in enumerate(zip(prompts, tokens, strict=True)):
        now[0] += costs[place]
        progress.add(*pair)
        yield progress, sum(costs[place + 1 :])


@pytest.mark.parametrize(("prompt_cost", "off"), [(0.1, 0.35), (0.2, 0.02), (0.5, 0.6)])
def test_the_time_left_means_something_when_prompts_come_longest_first(prompt_cost, off):
    """1,000 prompts from 4,000 tokens down to 4, answers of 20 to 180, from a tenth on: 2 % off where a prompt's token costs what
    PROMPT_WEIGHT says, and 60 % where it costs 2.5 times that; answers a second would tell 2 to 6 times the time."""
    prompts, tokens = list(range(4000, 0, -4)), [20 + n * 37 % 161 for n in range(1000)]
    told = [
        (progress.seconds_left() / left, progress.seconds() / progress.answers * progress.left / left)
        for progress, left in simulate(lambda p, t: 0.01 * (prompt_cost * p + t), prompts, tokens, io.StringIO())
        if left and 100 <= progress.answers <= 900
    ]
    assert all(abs(ours - 1) < off for ours, _ in told)
    assert max(naive for _, naive in told) > 2


def test_equal_prompts_are_told_exactly():
    for progress, left in simulate(lambda *_: 2.0, [10] * 50, [30] * 50, io.StringIO()):
        assert progress.seconds_left() == pytest.approx(left)


def test_no_time_is_told_before_enough_answers_are_there():
    stream = io.StringIO()
    lines = [progress.line() for progress, _ in simulate(lambda *_: 2.0, [10] * 4, [30] * 4, stream, 3)]
    assert lines == [
        "1 of 4 answers, 15 tokens/s",
        "2 of 4 answers, 15 tokens/s",
        "3 of 4 answers, 15 tokens/s, 2 s left",
        "4 of 4 answers, 15 tokens/s, 0 s left",
    ]


def test_empty_answers_are_no_trouble():
    for progress, _ in simulate(lambda *_: 0.0, [0] * 3, [0] * 3, io.StringIO()):
        assert progress.seconds_left() is None


def test_a_terminal_gets_one_line_and_a_file_a_line_now_and_then():
    stream, terminal = io.StringIO(), Terminal()
    for one in (stream, terminal):
        *_, (progress, _) = simulate(lambda *_: 1.0, [10] * 90, [30] * 90, one)
        progress.close()
    assert [line.partition(" ")[0] for line in stream.getvalue().splitlines()] == ["30", "60", "90"]
    assert terminal.getvalue().count("\r") == 91 and "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_was_there_before_counts_as_done_but_not_as_speed():
    progress = Progress(10, [5, 5], 1, io.StringIO(), iter([0.0, *[4.0] * 9]).__next__)
    progress.add(5, 8)
    assert progress.line() == "9 of 10 answers, 2 tokens/s, 4 s left"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (11532, "3 h 12 min")]
)
def test_durations(seconds, told):
    assert duration(seconds) == told
