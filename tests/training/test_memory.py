"""A long pair costs time, not memory, and never another result."""

from types import SimpleNamespace

import pytest
import torch

from tests.training.test_parity import make_trainer, our_loss
from training.memory import ActivationBudget, checkpointed_layers


def test_as_many_layers_as_it_takes():
    """What the layers that keep theirs hold is at most the budget's worth: kept × tokens ≤ layers × budget."""
    assert checkpointed_layers(30, tokens=1000, budget=1000) == 0
    assert checkpointed_layers(30, tokens=1500, budget=1000) == 10
    for tokens in (1001, 1033, 2048, 9000, 10**6):
        kept = 30 - checkpointed_layers(30, tokens, budget=1000)
        assert kept * tokens <= 30 * 1000 < (kept + 1) * tokens


def test_the_first_layers_are_recomputed(tiny_model):
    budget = ActivationBudget(tiny_model, tokens=100)
    layers = tiny_model.model.layers
    assert [layer.gradient_checkpointing for layer in layers] == [False, False]
    budget.apply(200)
    assert [layer.gradient_checkpointing for layer in layers] == [True, False]
    budget.apply(100)
    assert [layer.gradient_checkpointing for layer in layers] == [False, False]


@pytest.mark.parametrize("objective", ["completion", "sequence"])
def test_recomputing_changes_nothing(objective, tiny_model, tiny_tokenizer, tmp_path):
    """Bit for bit, on the same layout: only what is kept differs."""
    trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, objective, micro_batch_tokens=60)
    kept = trainer.activations
    recomputed = our_loss(trainer, [0, 1, 2, 3])
    assert any(checkpointed_layers(2, pair.length, 60) for pair in trainer.pairs)
    trainer.activations = None
    for layer in tiny_model.model.layers:
        layer.gradient_checkpointing = False
    plain = our_loss(trainer, [0, 1, 2, 3])
    assert kept.tokens == 60
    assert recomputed[0] == plain[0]
    assert all(torch.equal(recomputed[1][name], plain[1][name]) for name in plain[1])


def test_what_is_held_after_the_forward_is_bounded(tiny_model, tiny_tokenizer, tmp_path):
    """Bytes that autograd saves for a pair of 102 tokens: less within a budget of 51 than without one."""

    def saved_bytes(budget):
        trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, micro_batch_tokens=budget)
        step = trainer._collate_step([[2]])
        held = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.nbytes) or t, lambda t: t):
            trainer.micro_batch_loss(tiny_model.train(), step["micro_batches"][0], step)
        return sum(held)

    assert saved_bytes(51) < 0.75 * saved_bytes(4096)


def test_all_layers_where_the_trainer_argument_asks_for_it(tiny_model, tiny_tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, activation_checkpointing=True)
    assert trainer.activations is None  # nothing would switch layers off again


def test_every_process_recomputes_as_many_layers(tiny_model, tiny_tokenizer, tmp_path):
    """Of the micro-batches that two processes run at the same time, both go by the longer one; a filler too."""
    longest = []
    for process in (0, 1):
        trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, micro_batch_tokens=45)
        trainer.accelerator = SimpleNamespace(process_index=process, num_processes=2)
        step = trainer._collate_step([[0, 1, 2, 3]])
        longest.append([batch["longest"] for batch in step["micro_batches"]])
        assert all(b["longest"] >= b["tensors"]["input_ids"].shape[1] for b in step["micro_batches"])
    assert longest[0] == longest[1] == [102, 16]
