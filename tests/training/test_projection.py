"""Log-probabilities from inside the model's forward; what a step never does: wait for the device, or let a filler count."""

import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from command import UserError
from tests.training.test_parity import PAIRS, gradients, make_trainer
from training.packing import collate
from training.projection import check_projectable, find_head, projecting, token_log_probs
from training.trainer import nothing, share


@pytest.fixture
def batch():
    return collate([PAIRS[0], PAIRS[1], PAIRS[3]])


def untied(model, bias=True):
    """The model with an output projection of its own."""
    torch.manual_seed(1)
    model.set_output_embeddings(torch.nn.Linear(32, model.config.vocab_size, bias=bias))
    model.config.tie_word_embeddings = False
    return model


def from_logits(model, batch):
    """The plain way: all logits, log-softmax, one value a target."""
    from training.attention import run_packed

    logits = run_packed(model, batch, "masked").logits[0]
    return logits.log_softmax(-1)[batch["chosen_source"], batch["chosen_target"]]


def projected(model, batch, kept=0):
    return token_log_probs(model, batch, batch["chosen_source"], batch["chosen_target"], "masked", kept)


def assert_equals_logits(model, batch, kept=0):
    """Values and gradients of every trainable parameter."""
    results = []
    for compute in (from_logits, functools.partial(projected, kept=kept)):
        model.zero_grad()
        values = compute(model, batch)
        (values * torch.linspace(-1, 1, len(values))).sum().backward()
        results.append((values.detach(), gradients(model)))
    (expected, expected_gradients), (found, found_gradients) = results
    assert found.shape == (len(batch["chosen_target"]),)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found_gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("kept", [0, 10, 1000])  # tokens whose logits are kept: none, some, all
@pytest.mark.parametrize("chunk", [7, 8192])
def test_equals_log_softmax_of_logits(tiny_model, batch, chunk, kept, monkeypatch):
    monkeypatch.setattr("training.projection.VOCABULARY_CHUNK", chunk)
    assert_equals_logits(tiny_model, batch, kept)


def test_a_head_of_its_own_with_a_bias(tiny_model, batch):
    model = untied(tiny_model)
    assert_equals_logits(model, batch)
    assert find_head(model).bias.grad is not None


@pytest.mark.parametrize("whole_head", [False, True])
def test_with_lora(tiny_model, batch, whole_head):
    """Adapters beside the head, and with a copy of the head that PEFT trains whole (modules_to_save)."""
    from peft import LoraConfig, get_peft_model

    saved = ["lm_head"] if whole_head else None
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=saved, task_type="CAUSAL_LM")
    model = get_peft_model(untied(tiny_model, bias=False), config)
    check_projectable(model)
    assert_equals_logits(model, batch)
    assert (find_head(model).weight.grad is not None) == whole_head


def test_under_autocast_the_result_is_fp32(tiny_model, batch):
    """As accelerate prepares a model for bf16: its forward runs in autocast and its outputs are made fp32."""
    from accelerate.utils import convert_outputs_to_fp32

    expected = projected(tiny_model, batch).detach()
    inner = tiny_model.forward
    tiny_model.forward = convert_outputs_to_fp32(torch.autocast("cpu", dtype=torch.bfloat16)(inner))
    found = projected(tiny_model, batch)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)  # it was bf16 inside
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.5)


def test_the_head_is_itself_again_after_an_error(tiny_model, batch):
    head = find_head(tiny_model)
    with pytest.raises(RuntimeError, match="stop"), projecting(head, batch["chosen_source"], batch["chosen_target"]):
        assert "forward" in head.__dict__
        raise RuntimeError("stop")
    assert "forward" not in head.__dict__
    wrapped = head.forward = lambda hidden: hidden  # as some wrappers set it
    with projecting(head, batch["chosen_source"], batch["chosen_target"]):
        assert head.forward is not wrapped
    assert head.forward is wrapped


@pytest.mark.parametrize(("key", "value"), [("final_logit_softcapping", 30.0), ("logit_scale", 0.06), ("logits_scaling", 8.0)])  # fmt: skip
def test_a_model_that_changes_logits_is_refused_before_training(tiny_model, tiny_tokenizer, tmp_path, key, value):
    setattr(tiny_model.config, key, value)
    with pytest.raises(UserError, match=f"llama: its config's {key} is {value}"):
        make_trainer(tiny_model, tiny_tokenizer, tmp_path)
    setattr(tiny_model.config, key, None if key == "final_logit_softcapping" else 1.0)
    check_projectable(tiny_model)


def test_real_models_that_change_logits_are_refused():
    """The keys are those of the real configs."""
    from transformers import Cohere2Config, Gemma2Config, GraniteConfig

    class Model:
        def __init__(self, config):
            self.config = config

    for config, key in ((Gemma2Config(), "final_logit_softcapping"), (Cohere2Config(), "logit_scale"), (GraniteConfig(logits_scaling=8.0), "logits_scaling")):  # fmt: skip
        with pytest.raises(UserError, match=key):
            check_projectable(Model(config))


def test_lora_on_the_head_is_refused(tiny_model):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(untied(tiny_model, bias=False), LoraConfig(r=2, target_modules=["lm_head"]))
    with pytest.raises(UserError, match="Leave lm_head out of LoRA"):
        check_projectable(model)


class NoSync(TorchDispatchMode):
    """Raises where a value leaves the device for Python, or a shape depends on values: both make a GPU wait."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "is_nonzero")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert not name.startswith(self.WAITS), f"{name} waits for the device"
        assert name != "index" or not any(t is not None and t.dtype == torch.bool for t in args[1]), "mask as index"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("objective", ["completion", "sequence"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_never_waits_for_the_device(objective, checkpointing, tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """Several micro-batches, a filler among them, forward and backward, without reading a single value."""
    if checkpointing:
        tiny_model.gradient_checkpointing_enable()
    trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, objective, micro_batch_tokens=60)
    step = trainer._collate_step([[0, 1, 2, 3]])
    step["micro_batches"].append(step["micro_batches"][0] | {"counts": False})
    assert len(step["micro_batches"]) >= 3

    def read(*args, **kwargs):
        raise AssertionError("a value was read")

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "__array__"):
            patch.setattr(torch.Tensor, name, read)
        with NoSync():
            value = trainer.training_step(tiny_model, step)
    assert value.item() > 0


def test_a_filler_adds_nothing(tiny_model, tiny_tokenizer, tmp_path):
    """Same loss, metrics and gradients, bit for bit, with a micro-batch that does not count."""
    trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, micro_batch_tokens=60)

    def run(*fillers):
        tiny_model.zero_grad()
        step = trainer._collate_step([[0, 1, 2, 3]])
        step["micro_batches"] += [step["micro_batches"][i] | {"counts": False} for i in fillers]
        value = trainer.training_step(tiny_model, step)
        return value, trainer._step_metrics["sums"], gradients(tiny_model)

    plain, filled = run(), run(0, 1)
    assert torch.equal(plain[0], filled[0])
    assert torch.equal(plain[1], filled[1])
    for name, gradient in plain[2].items():
        assert torch.equal(gradient, filled[2][name]), name


def test_nothing_is_exactly_zero_also_of_infinite_log_probabilities():
    log_probs = torch.tensor([-1.0, float("-inf"), float("nan")], requires_grad=True)
    value, sums = nothing(log_probs)
    value.backward()
    assert (value.item(), log_probs.grad.tolist(), sums.tolist()) == (0.0, [0.0] * 3, [0.0] * 4)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_every_process_runs_equally_many_and_each_micro_batch_counts_once(processes):
    layout = ["a", "b", "c", "d", "e"]
    shares = [share(layout, process, processes) for process in range(processes)]
    assert {len(own) for own in shares} == {-(-5 // processes)}
    assert sorted(name for own in shares for name, counts in own if counts) == layout
