"""The contenders train on the same pairs and say the same loss; the ratios are of the steps that both ran."""

import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from contenders import measure
from orpo_step import compare, shape, table

from training.encoded_pairs import EncodedPair

STEP = [
    [[5, 6, 7], [8, 9, 2], [10, 11, 12, 13, 2]],
    [[5, 8], [30, 2], [30, 31, 2]],
    [list(range(20, 60)), [90, 2], list(range(100, 120))],
    [[5, 2, 5, 7, 2], list(range(40, 75)), [9, 2]],
]


def spec(folder, model, contender, objective, micro_batch, checkpointing=False):
    return {
        "contender": contender, "objective": objective, "micro_batch": micro_batch, "checkpointing": checkpointing,
        "model": str(model), "steps": [STEP, STEP[::-1]], "beta": 0.3, "max_length": 256, "device": "cpu",
        "dtype": "float32", "attention": "branches", "folder": str(folder),
    }  # fmt: skip


@pytest.mark.parametrize(("peer", "objective", "checkpointing"), [("trl", "sequence", True), ("llama_factory", "completion", False)])  # fmt: skip
def test_ours_and_the_peers_train_alike(peer, objective, checkpointing, tmp_path, tiny_model_folder):
    """Two whole steps through Trainer's loop, the second after an update, with the peer's batch as large as the step."""
    ours = measure(spec(tmp_path, tiny_model_folder, "ours", objective, 60))
    theirs = measure(spec(tmp_path, tiny_model_folder, peer, objective, 4, checkpointing))
    assert theirs["losses"] == pytest.approx(ours["losses"], rel=1e-5)
    assert len(ours["losses"]) == 2
    assert ours["pairs"] == theirs["pairs"] == 4
    assert len(ours["step_seconds"]) == 1
    assert all(run["step_cpu_seconds"][0] > 0 for run in (ours, theirs))


def test_micro_batches_of_llama_factory_form_give_the_same_mean(tmp_path, tiny_model_folder):
    whole = measure(spec(tmp_path, tiny_model_folder, "llama_factory", "completion", 4))
    parts = measure(spec(tmp_path, tiny_model_folder, "llama_factory", "completion", 1))
    assert parts["losses"][0] == pytest.approx(whole["losses"][0], rel=1e-5)


def run(contender, size, seconds, peak):
    return {
        "contender": contender, "objective": "sequence", "micro_batch": size, "checkpointing": contender != "ours",
        "pairs": 8 * len(seconds), "step_seconds": seconds, "step_cpu_seconds": [2 * s for s in seconds],
        "cpu_seconds_per_pair": 1.0, "pairs_per_second": 1.0, "peak_bytes": peak, "losses": [3.0, 2.0],
    }  # fmt: skip


def test_ratios_are_of_the_steps_that_both_ran():
    """TRL's second run took the first step only: 40 s against our 10 s there, not against our 10 + 30."""
    runs = [run("ours", 1536, [10.0, 30.0], 4), run("trl", 1, [30.0, 50.0], 8), run("trl", 8, [40.0], 16)]
    runs.append(run("ours", 256, [20.0, 20.0], 2))
    one, eight = compare(runs, "trl")
    assert (one["ours_times_its_cpu_speed"], eight["ours_times_its_cpu_speed"]) == (2.0, 4.0)
    assert (one["small_times_its_cpu_speed"], one["small_of_its_memory"]) == (2.0, 0.25)
    assert (one["ours_of_its_memory"], eight["ours_of_its_memory"]) == (0.5, 0.25)
    lines = table({"runs": [*runs, {**runs[1], "failed": "exit status -9"}], "ratios": {"trl": [one, eight]}})
    assert sum("exit status -9" in line for line in lines) == 1
    assert lines[-1].startswith("trl, 8 pairs, checkpointing: ours 4.0 ×")


def test_the_sample_says_what_padding_costs():
    """Two pairs of 6 and 10 tokens: padded one at a time 2·(2 + 3) and 2·(4 + 4)."""
    pairs = [EncodedPair([1, 2], [3], [4, 5, 6]), EncodedPair([1, 2, 3, 4], [5, 6, 7, 8], [9, 9])]
    assert shape(pairs) == {"tokens_per_pair": 8.0, "longest": 10, "padded": 26 / 16}
