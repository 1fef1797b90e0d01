"""The speed benchmark's own arithmetic, and its comparison of token ids."""

import pytest

from benchmarks.generate_speed import OURS, PIPELINE, SINGLE, figures, prompts
from benchmarks.generators import after_prompt
from command import UserError, WorkError


def test_prompts_are_as_many_chinese_as_english_and_no_two_alike():
    found = prompts(64)
    chinese = [any("\u4e00" <= letter <= "\u9fff" for letter in prompt) for prompt in found]
    assert len(set(found)) == 64 and 30 <= sum(chinese) <= 36 and prompts(8) == found[:8]
    with pytest.raises(UserError, match="--limit 0 must be"):
        prompts(0)


def test_ratios_are_taken_within_a_round_and_equal_answers_counted():
    """One by one 1 and 2 tokens/s, ours 4 and 6: ratios 4 and 3, their median 3.5, where the medians of the speeds would give 3.3."""

    def run(seconds: float, ids: list[list[int]]) -> dict:
        return {"seconds": seconds, "ids": ids, "peak_mb": 10 * seconds, "made_by": {}}

    same, other = [[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 7]]
    rounds = [{OURS: run(1.5, same), SINGLE: run(6, other), PIPELINE: run(6, same)}]
    rounds.append({OURS: run(1, same), SINGLE: run(3, other), PIPELINE: run(6, same)})
    ours, single = figures(OURS, rounds), figures(SINGLE, rounds)
    assert ours["times_ours_one_by_one"] == 3.5 and ours["times_pipeline_one_by_one"] == 5
    assert ours["tokens_per_second"] == 5 and ours["tokens"] == 6 and ours["answers_equal_to_ours"] == 2
    assert single["answers_equal_to_ours"] == 1 and single["peak_mb"] == 60


def test_the_pipelines_answer_is_found_between_its_paddings():
    assert after_prompt([2, 2, 7, 8, 9, 5, 6, 2, 2], [7, 8, 9], (2, 3)) == [5, 6]
    assert after_prompt([7, 8, 9, 5, 6], [7, 8, 9], (2,)) == [5, 6]
    with pytest.raises(WorkError, match="another prompt"):
        after_prompt([7, 8], [7, 9], (2,))
