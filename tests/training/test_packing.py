"""Plans, micro-batches and their tensors: exact counts, nothing lost."""

from training.attention import Span
from training.encoded_pairs import EncodedPair
from training.packing import collate
from training.plan import count_steps, pack_step, plan_steps


def test_plan_has_exact_steps_and_sees_every_pair():
    plan = plan_steps(pairs=10, global_batch_size=4, steps=count_steps(10, 4, epochs=2), seed=7)
    assert [len(step) for step in plan] == [4] * 5
    assert sorted(i for step in plan for i in step) == sorted(list(range(10)) * 2)


def test_plan_depends_on_the_seed_only():
    assert plan_steps(20, 4, 5, seed=1) == plan_steps(20, 4, 5, seed=1)
    assert plan_steps(20, 4, 5, seed=1) != plan_steps(20, 4, 5, seed=2)
    assert plan_steps(20, 4, 9, seed=1)[:5] == plan_steps(20, 4, 5, seed=1)


def test_a_step_larger_than_the_data():
    plan = plan_steps(pairs=3, global_batch_size=8, steps=1, seed=0)
    assert len(plan) == 1
    assert len(plan[0]) == 8


def test_micro_batches_hold_everything_once_within_the_budget():
    lengths = [5, 90, 33, 33, 12, 60, 7, 100]
    batches = pack_step(lengths, 100)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    sizes = [sum(lengths[i] for i in batch) for batch in batches]
    assert max(sizes) <= 100
    assert sizes == sorted(sizes, reverse=True)
    assert len(batches) == 4  # 100 | 90+7 | 60+33+5 | 33+12: 340 tokens cannot need fewer than 4


def test_an_item_longer_than_the_budget_is_alone():
    assert pack_step([50, 10, 200, 10], 60) == [[2], [0, 1], [3]]


def test_collate_points_each_token_at_its_predictor():
    """[prompt 1 2 3][chosen 4 5][rejected 6]: 4 and 6 are both predicted from position 2, where 3 stands."""
    batch = collate([EncodedPair([1, 2, 3], [4, 5], [6])])
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3]]
    assert (batch["chosen_source"].tolist(), batch["chosen_target"].tolist()) == ([2, 3], [4, 5])
    assert (batch["rejected_source"].tolist(), batch["rejected_target"].tolist()) == ([2], [6])
    assert (batch["prompt_source"].tolist(), batch["prompt_target"].tolist()) == ([0, 1], [2, 3])


def test_collate_lays_pairs_behind_one_another():
    batch = collate([EncodedPair([1], [2], [3, 4]), EncodedPair([5, 6], [7], [8])])
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert batch["position_ids"].tolist() == [[0, 1, 1, 2, 0, 1, 2, 2]]
    assert batch["spans"] == [Span(0, 1, 1, 2), Span(4, 2, 1, 1)]
    assert (batch["chosen_source"].tolist(), batch["chosen_pair"].tolist()) == ([0, 5], [0, 1])
    assert (batch["rejected_source"].tolist(), batch["rejected_pair"].tolist()) == ([0, 2, 5], [0, 0, 1])
    assert (batch["prompt_source"].tolist(), batch["prompt_target"].tolist()) == ([4], [6])
