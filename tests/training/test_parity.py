"""Our loss and gradients against the peers' formulas, over odd shapes, in fp32."""

import pytest
import torch
import torch.nn.functional as F

from training.encoded_pairs import EncodedPair
from training.trainer import ORPOTrainer

BETA = 0.3
PAIRS = [
    EncodedPair([5, 6, 7], [8, 9, 2], [10, 11, 12, 13, 2]),
    EncodedPair([5], [2], [30, 31, 2]),
    EncodedPair(list(range(20, 80)), [90, 2], list(range(100, 140))),
    EncodedPair([5, 2, 5, 7, 2], list(range(40, 75)), [2]),
]


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def make_trainer(model, tokenizer, tmp_path, objective="completion", micro_batch_tokens=4096, **arguments):
    from transformers import TrainingArguments

    defaults = {"output_dir": str(tmp_path / "checkpoints"), "max_steps": 1, "report_to": "none", "disable_tqdm": True}
    return ORPOTrainer(
        model=model,
        args=TrainingArguments(**(defaults | {"use_cpu": True} | arguments)),
        processing_class=tokenizer,
        pairs=PAIRS,
        plan=[list(range(len(PAIRS)))],
        beta=BETA,
        objective=objective,
        micro_batch_tokens=micro_batch_tokens,
    )


def our_loss(trainer, order):
    model = trainer.model
    model.zero_grad()
    value = trainer.training_step(model, trainer._collate_step([order]))
    return value.item(), gradients(model)


def as_it_is(model):
    """The model with transformers' own attention and without gradients, for a peer."""
    model.set_attn_implementation("sdpa")
    model.zero_grad()


def padded_logits(model, sequences):
    width = max(map(len, sequences))
    ids = torch.tensor([s + [2] * (width - len(s)) for s in sequences])
    mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences])
    return model(input_ids=ids, attention_mask=mask).logits


def llama_factory_loss(model, pairs):
    """LLaMA-Factory's: per-sequence mean log-probability of responses, log odds with log1p(-exp), mean over the batch."""
    means = []
    for part in ("chosen", "rejected"):
        sequences = [pair.prompt + getattr(pair, part) for pair in pairs]
        log_probs = padded_logits(model, sequences).log_softmax(-1)
        means.append(
            torch.stack(
                [
                    torch.stack([log_probs[i, t - 1, s[t]] for t in range(len(pairs[i].prompt), len(s))]).mean()
                    for i, s in enumerate(sequences)
                ]
            )
        )
    chosen, rejected = means
    gap = chosen - rejected - (torch.log1p(-torch.exp(chosen)) - torch.log1p(-torch.exp(rejected)))
    return (-chosen + BETA * -F.logsigmoid(gap)).mean()


def test_completion_equals_llama_factory(tiny_model, tiny_tokenizer, tmp_path):
    trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path)
    value, ours = our_loss(trainer, [0, 1, 2, 3])
    as_it_is(tiny_model)
    theirs = llama_factory_loss(tiny_model, PAIRS)
    theirs.backward()
    assert value == pytest.approx(theirs.item(), rel=1e-5)
    assert_close(ours, gradients(tiny_model))


def test_sequence_equals_trl(tiny_model, tiny_tokenizer, tmp_path):
    """The real class's loss on the same token ids: its own concatenated_forward and odds_ratio_loss."""
    from trl.experimental.orpo import ORPOConfig
    from trl.experimental.orpo import ORPOTrainer as Peer

    peer_args = ORPOConfig(
        output_dir=str(tmp_path / "peer"), report_to="none", use_cpu=True
    )  # resets accelerate's state
    trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, objective="sequence")
    value, ours = our_loss(trainer, [0, 1, 2, 3])
    as_it_is(tiny_model)
    peer = Peer.__new__(Peer)
    peer.__dict__.update(model=tiny_model, beta=BETA, is_encoder_decoder=False, padding_value=2, aux_loss_enabled=False)
    peer.accelerator = trainer.accelerator
    peer.args = peer_args
    theirs, _ = peer.get_batch_loss_metrics(tiny_model, peer_batch(PAIRS))
    theirs.backward()
    assert value == pytest.approx(theirs.item(), rel=1e-5)
    assert_close(ours, gradients(tiny_model))


def peer_batch(pairs):
    """What TRL's collator makes of the pairs: padded ids, masks, and labels with the prompt at -100."""
    batch = {}
    for part in ("chosen", "rejected"):
        sequences = [pair.prompt + getattr(pair, part) for pair in pairs]
        width = max(map(len, sequences))
        rows = list(zip(pairs, sequences, strict=True))
        batch[f"{part}_input_ids"] = torch.tensor([s + [2] * (width - len(s)) for s in sequences])
        batch[f"{part}_attention_mask"] = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences])
        labels = [[-100] * len(p.prompt) + s[len(p.prompt) :] + [-100] * (width - len(s)) for p, s in rows]
        batch[f"{part}_labels"] = torch.tensor(labels)
    return batch


TURNS = [
    [{"role": "system", "content": "简短。"}, {"role": "user", "content": "你好"}],
    [
        {"role": "user", "content": "一加一？"},
        {"role": "assistant", "content": "二。"},
        {"role": "user", "content": "再加一？"},
    ],
    [{"role": "user", "content": "?"}],
]


def test_conversations_through_the_template(tiny_model, tiny_tokenizer, tmp_path):
    """System turns and earlier turns are prompt on both sides: the responses alone are scored."""
    from training.encoding import encode_pairs
    from training.preferences import Pair

    rows = [Pair(tuple(turns), "好" * (n + 1), "no " * (3 - n), f"f:{n}") for n, turns in enumerate(TURNS)]
    pairs = encode_pairs(rows, tiny_tokenizer, 300).pairs
    trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, micro_batch_tokens=200)
    trainer.pairs = pairs
    value, ours = our_loss(trainer, [0, 1, 2])
    as_it_is(tiny_model)
    theirs = llama_factory_loss(tiny_model, pairs)
    theirs.backward()
    assert value == pytest.approx(theirs.item(), rel=1e-5)
    assert_close(ours, gradients(tiny_model))


@pytest.mark.parametrize("objective", ["completion", "sequence"])
@pytest.mark.parametrize("budget", [1, 60, 150])
def test_layout_never_changes_the_result(objective, budget, tiny_model, tiny_tokenizer, tmp_path):
    """One pair a micro-batch, some, or all in one; forwards or backwards: the same loss and gradients."""
    whole = our_loss(make_trainer(tiny_model, tiny_tokenizer, tmp_path, objective, 4096), [0, 1, 2, 3])
    parts = our_loss(make_trainer(tiny_model, tiny_tokenizer, tmp_path, objective, budget), [3, 1, 0, 2])
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert_close(parts[1], whole[1])


def test_gradient_checkpointing_changes_nothing(tiny_model, tiny_tokenizer, tmp_path):
    plain = our_loss(make_trainer(tiny_model, tiny_tokenizer, tmp_path), [0, 1, 2, 3])
    trainer = make_trainer(tiny_model, tiny_tokenizer, tmp_path, activation_checkpointing=True)
    tiny_model.activation_checkpointing_enable()  # as train() does by that argument
    assert all(layer.gradient_checkpointing for layer in tiny_model.model.layers)
    checkpointed = our_loss(trainer, [0, 1, 2, 3])
    assert all(layer.gradient_checkpointing for layer in tiny_model.model.layers)
    assert checkpointed[0] == pytest.approx(plain[0], rel=1e-6)
    assert_close(checkpointed[1], plain[1])


def assert_close(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        scale = value.abs().max().clamp(min=1e-6)
        assert (ours[name] - value).abs().max() <= 1e-5 * scale, name
