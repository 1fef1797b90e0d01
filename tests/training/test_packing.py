"""Plans, rows and masks: exact counts, nothing lost, nobody looks where they must not."""

import torch

from training.attention import branch_mask, run_packed
from training.encoding import EncodedPair
from training.packing import collate, count_steps, pack_rows, pack_step, plan_steps


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


def test_rows_hold_everything_once_within_capacity():
    lengths = [5, 90, 33, 33, 12, 60, 7, 100]
    rows = pack_rows(lengths, 100)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 100 for row in rows)
    assert len(rows) == 4  # 100 | 90+7 | 60+33 or 60+… | …: 340 tokens cannot need fewer than 4


def test_micro_batches_respect_the_budget():
    lengths = [50, 40, 30, 20, 10, 45, 35]
    for batch in pack_step(lengths, 120):
        width = max(sum(lengths[i] for i in row) for row in batch)
        assert len(batch) == 1 or len(batch) * width <= 120


def test_collate_points_each_token_at_its_predictor():
    """[prompt 1 2 3][chosen 4 5][rejected 6]: 4 and 6 are both predicted from position 2, where 3 stands."""
    batch = collate([[EncodedPair([1, 2, 3], [4, 5], [6])]], pad_token_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3]]
    assert (batch["chosen_source"].tolist(), batch["chosen_target"].tolist()) == ([2, 3], [4, 5])
    assert (batch["rejected_source"].tolist(), batch["rejected_target"].tolist()) == ([2], [6])
    assert (batch["prompt_source"].tolist(), batch["prompt_target"].tolist()) == ([0, 1], [2, 3])


def test_mask_by_hand():
    """Pair A = prompt, chosen, rejected; pair B = prompt; padding. Rows are queries."""
    pair = torch.tensor([[0, 0, 0, 1, -1]])
    branch = torch.tensor([[1, 2, 3, 1, 0]])
    expected = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    assert branch_mask(pair, branch)[0, 0].int().tolist() == expected


def test_no_token_sees_another_pair_or_the_other_branch(tiny_model):
    """Probe: change one response or one pair, and see which logits move."""
    a, b = EncodedPair([5, 6, 7], [8, 9], [10, 11, 12]), EncodedPair([13, 14], [15], [16, 17])
    changed_chosen = EncodedPair([5, 6, 7], [50, 51], [10, 11, 12])

    def states(first):
        return run_packed(tiny_model.eval(), collate([[first, b]], pad_token_id=2)).logits[0]

    before, after = states(a), states(changed_chosen)
    moved = (before - after).abs().amax(-1) > 1e-6
    assert moved.tolist() == [False] * 3 + [True] * 2 + [False] * 3 + [False] * 5
