"""Held-out pairs: drawn alike each time, never trained on, measured whatever the layout; early stopping, also resumed."""

import dataclasses
import json
import signal
from collections import Counter

import numpy as np
import pytest

from command import UserError
from tests.training.test_resume import die_at
from tests.training.tiny_runs import ROWS, log_of, make_recipe, record, same_story, train_in_a_fork, weights
from training import checkpoints
from training.preferences import Pair, Preferences, language_of
from training.preferences.relations import relate
from training.recipe import load_recipe
from training.validation import draw, is_stale, shares, split


def pairs_of(*prompts):
    return [Pair(({"role": "user", "content": p},), "a", "b", f"f:{i}") for i, p in enumerate(prompts)]


def test_shares_by_hand():
    """7 of 3 + 11 + 6 = 20: 1.05, 3.85, 2.1 → 1, 3, 2, and the one left to the largest remainder."""
    assert shares(Counter(en=3, zh=11, de=6), 7) == {"de": 2, "en": 1, "zh": 4}
    assert sum(shares(Counter(en=1, zh=1, de=1), 2).values()) == 2


def questions(pairs, held):
    return {pairs[i].question for i in held}


def test_the_draw():
    pairs = pairs_of(*(f"q{i}" for i in range(40)), *(f"问{i}" for i in range(60)))
    groups = np.array([*(i // 2 * 2 for i in range(40)), *range(40, 100)])  # English pairs belong together by twos
    held = draw(pairs, groups, 10, seed=3)
    assert held == draw(pairs, groups, 10, seed=3)
    assert set(held) != set(draw(pairs, groups, 10, seed=4))
    assert Counter(language_of(pairs[i]) for i in held) == {"en": 4, "zh": 6}
    assert not set(groups[held]) & {group for i, group in enumerate(groups) if i not in held}


def test_the_draw_is_by_content_and_not_by_place():
    pairs = pairs_of(*(f"q{i}" for i in range(30)), *(f"问{i}" for i in range(30)))
    alone = np.arange(60)
    turned = pairs[::-1]
    assert questions(pairs, draw(pairs, alone, 12, seed=3)) == questions(turned, draw(turned, alone, 12, seed=3))


def test_amounts():
    data = Preferences(pairs_of(*map(str, range(20))), [{}], Counter(), "")
    alone = np.arange(20)
    assert len(split(data, alone, 1, 0.25, 1)) == 5
    assert len(split(data, alone, 1, 3, 1)) == 3
    assert len(split(data, alone, 1, 0.001, 1)) == 1
    with pytest.raises(UserError, match=r"validation.pairs is 20, but there are 20 pairs in all"):
        split(data, alone, 1, 20, 1)
    with pytest.raises(UserError, match=r"validation.pairs is 3: more pairs than that belong together"):
        split(data, np.zeros(20, int), 1, 3, 1)


def test_a_validation_pair_near_a_trained_one_is_not_held_out():
    pairs = [dataclasses.replace(pair, source=int(i >= 2)) for i, pair in enumerate(pairs_of("a", "b", "c", "d"))]
    data = Preferences(pairs, [{}, {}], Counter(), "")
    assert split(data, np.array([0, 1, 1, 3]), 1, None, 1) == [3]
    with pytest.raises(UserError, match="none of its pairs is left"):
        split(data, np.array([0, 1, 1, 0]), 1, None, 1)


def test_patience_by_hand():
    assert not is_stale([3.0, 2.0, 2.5], 2, 0.0)
    assert is_stale([3.0, 2.0, 2.5, 2.1], 2, 0.0)
    assert not is_stale([3.0, 2.0, 2.5, 1.9], 2, 0.0)
    assert is_stale([3.0, 2.95, 2.91], 2, 0.1)  # each less, none by more than 0.1
    assert not is_stale([3.0, 2.95, 2.8], 2, 0.1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_tokenizer):
    return make_recipe(tmp_path_factory.mktemp("tiny"), tiny_tokenizer)


VALIDATE = ["--validation.pairs", "4", "--validation.every", "3"]


def test_held_out_pairs_are_not_trained_on(recipe, tmp_path):
    """The run equals, bit for bit, one on a file without the held-out pairs and without validation."""
    run, plain = tmp_path / "run", tmp_path / "plain"
    assert train_in_a_fork(recipe, run, *VALIDATE) == 0, log_of(run).read_text()
    report = json.loads((run / "data_report.json").read_text())
    assert (report["rows"], report["kept"], report["validation"]["pairs"]) == (14, 10, 4)
    assert report["validation"]["languages"] == {"en": 1, "zh": 3}
    assert "4 held out for validation" in log_of(run).read_text()

    kept = [Pair(({"role": "user", "content": r["prompt"]},), r["chosen"], r["rejected"], str(i)) for i, r in enumerate(ROWS)]  # fmt: skip
    held = split(Preferences(kept, [{}], Counter(), ""), relate(kept).groups, 1, 4, 42)
    rest = tmp_path / "rest.jsonl"
    rest.write_text("".join(json.dumps(ROWS[i]) + "\n" for i in range(14) if i not in held))
    assert train_in_a_fork(recipe, plain, "--dataset", str(rest)) == 0
    assert weights(run) == weights(plain)
    assert record(run)["data"]["pairs"] == 10
    assert [v["step"] for v in record(run)["validation"]] == [3, 6, 8]
    for entry in record(run)["validation"]:
        assert entry["loss"] == pytest.approx(entry["nll"] + 0.05 * entry["odds_ratio_loss"])
        assert entry["pairs"] == 4


def test_the_order_of_the_rows_changes_nothing(recipe, tmp_path):
    """Rows turned round and divided into two files: the same split, the same weights bit for bit."""
    lines = (recipe.parent / "pairs.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_text("".join(lines[9::-1]))
    (tmp_path / "b.jsonl").write_text("".join(lines[:9:-1]))
    files = json.dumps([str(tmp_path / "b.jsonl"), str(tmp_path / "a.jsonl")])
    assert train_in_a_fork(recipe, tmp_path / "one", *VALIDATE) == 0, log_of(tmp_path / "one").read_text()
    assert train_in_a_fork(recipe, tmp_path / "two", *VALIDATE, "--dataset", files) == 0
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert record(tmp_path / "one")["validation"][0]["loss"] == record(tmp_path / "two")["validation"][0]["loss"]


def test_a_set_of_its_own(recipe, tmp_path):
    """Its pairs are measured and not trained on; a pair with a prompt that is trained on is dropped and counted."""
    run = tmp_path / "run"
    own = tmp_path / "own.jsonl"
    extra = [{"prompt": "别的问题", "chosen": "好的。", "rejected": "ok"}, {**ROWS[0], "chosen": "不同。"}]
    own.write_text("".join(json.dumps(row) + "\n" for row in extra))
    more = ["--validation.dataset", str(own), "--validation.every", "4"]
    assert train_in_a_fork(recipe, run, *more) == 0, log_of(run).read_text()
    report = json.loads((run / "data_report.json").read_text())
    assert (report["rows"], report["kept"], report["validation"]["pairs"]) == (16, 14, 1)
    assert report["dropped"] == {"validation pair belongs to one that is trained on": 1}
    (dropped,) = map(json.loads, (run / "dropped.jsonl").read_text().splitlines())
    assert dropped["where"] == f"{own}:2"
    strict = tmp_path / "strict"
    assert train_in_a_fork(recipe, strict, *more, "--strict") == 2
    assert "own.jsonl:2: validation pair belongs to one that is trained on" in log_of(strict).read_text()
    plain = tmp_path / "plain"
    assert train_in_a_fork(recipe, plain) == 0
    assert weights(run) == weights(plain)


def test_a_run_whose_split_has_changed_is_not_continued(recipe, tmp_path):
    """As another version of what finds near duplicates might change it: held-out pairs would be trained on."""
    from training import preparation

    run = tmp_path / "run"

    def joined():
        relate = preparation.relate
        preparation.relate = lambda pairs: dataclasses.replace(relate(pairs), groups=np.arange(len(pairs)) // 4 * 4)

    assert train_in_a_fork(recipe, run, *VALIDATE, before=die_at("step", 6)) == -signal.SIGKILL
    report = (run / "data_report.json").read_bytes()
    assert train_in_a_fork(recipe, run, *VALIDATE, "--resume", before=joined) == 2
    assert "was begun on other pairs of the same data" in log_of(run).read_text()
    assert (run / "data_report.json").read_bytes() == report
    assert train_in_a_fork(recipe, run, *VALIDATE, "--resume") == 0


def test_every_and_pairs_change_the_run(recipe, tmp_path):
    def steps(name, *more):
        assert train_in_a_fork(recipe, tmp_path / name, *more) == 0
        return [(v["step"], v["pairs"]) for v in record(tmp_path / name)["validation"]]

    assert steps("a", "--validation.pairs", "0.5", "--validation.every", "4") == [(4, 7), (8, 7)]
    assert steps("b", *VALIDATE, "--objective", "sequence", "--max_steps", "3") == [(3, 4)]


@pytest.mark.parametrize("objective", ["completion", "sequence"])
def test_measured_whatever_the_layout(tiny_model, tiny_tokenizer, tmp_path, objective):
    """The loss over the set equals that of a training step over it, under any token budget and chunking."""
    import torch
    from transformers import TrainingArguments

    from training import trainer as module
    from training.encoding import encode_pairs

    rows = [Pair(({"role": "user", "content": "q" * (1 + 5 * i)},), "y" * (9 - i), "n" * (2 + i), "") for i in range(7)]
    encoded = encode_pairs(rows, tiny_tokenizer, 200).pairs

    def build(budget):
        arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", max_steps=1)
        return module.ORPOTrainer(model=tiny_model, args=arguments, processing_class=tiny_tokenizer, pairs=encoded, plan=[list(range(7))], beta=0.3, objective=objective, micro_batch_tokens=budget)  # fmt: skip

    whole = build(4096)
    expected = float(whole.training_step(tiny_model, whole._collate_step([list(range(7))])))
    assert all(p.grad is not None for p in tiny_model.parameters())
    tiny_model.zero_grad()
    for budget, chunk in ((4096, 256), (64, 256), (128, 2)):
        module.VALIDATION_CHUNK, before = chunk, module.VALIDATION_CHUNK
        found = build(budget).measure(list(range(7)))
        module.VALIDATION_CHUNK = before
        assert found["loss"] == pytest.approx(expected, rel=1e-5)
        assert found["loss"] == pytest.approx(found["nll"] + 0.3 * found["odds_ratio_loss"], rel=1e-5)
    assert all(p.grad is None for p in tiny_model.parameters())
    assert tiny_model.training
    assert not torch.is_inference_mode_enabled()


STOP = [*VALIDATE[:3], "1", "--early_stopping.patience", "2", "--learning_rate", "0.05"]


def test_early_stopping_takes_the_best_weights(recipe, tmp_path):
    run = tmp_path / "run"
    more = [*STOP, "--early_stopping.threshold", "0.5", "--max_steps", "40"]
    assert train_in_a_fork(recipe, run, *more) == 0, log_of(run).read_text()
    result = record(run)
    losses = {v["step"]: v["loss"] for v in result["validation"]}
    assert result["stopped_early"]
    assert result["total_steps"] == max(losses) < 40
    assert result["model_step"] == min(losses, key=losses.get)
    assert f"the weights are those after step {result['model_step']}" in log_of(run).read_text()
    best = run / "checkpoints" / f"checkpoint-{result['model_step']}" / "model.safetensors"
    assert best.read_bytes() == weights(run)


def test_early_stopping_survives_kills(recipe, tmp_path):
    """Killed in a step, at the saving of a checkpoint and just before model/ is written, it stops at the same step."""
    whole = tmp_path / "whole"
    more = [*STOP, "--max_steps", "40"]
    assert train_in_a_fork(recipe, whole, *more) == 0, log_of(whole).read_text()
    last = record(whole)["total_steps"]
    assert record(whole)["stopped_early"], record(whole)["validation"]

    def before_the_model():
        import os

        from training import train

        train.save_model = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

    for name, death in (("a", die_at("step", last)), ("b", die_at("rename", 5)), ("c", before_the_model)):
        run = tmp_path / name
        assert train_in_a_fork(recipe, run, *more, before=death) == -signal.SIGKILL
        assert train_in_a_fork(recipe, run, *more, "--resume") == 0, log_of(run).read_text()
        assert same_story(run, whole)
        assert record(run)["model_step"] == record(whole)["model_step"]


def test_the_best_checkpoint_outlives_the_newest(recipe, tmp_path):
    """A best step long ago: its checkpoint is kept beside the newest two."""
    run = tmp_path / "run"
    spoiling = ["--learning_rate", "1", "--lr_scheduler", "constant", "--warmup_ratio", "0", "--stop_loss_above", "1e9"]
    more = [*STOP[:4], "--early_stopping.patience", "30", "--max_steps", "12", *spoiling]
    assert train_in_a_fork(recipe, run, *more) == 0, log_of(run).read_text()
    best = record(run)["model_step"]
    names = [p.name for p in checkpoints.checkpoints(run / "checkpoints")]
    assert best < 10
    assert names == [f"checkpoint-{best}", "checkpoint-10", "checkpoint-12"]


@pytest.mark.parametrize(
    "more",
    [
        ["--validation.pairs", "4"],
        ["--validation.every", "4"],
        ["--validation.pairs", "0", "--validation.every", "4"],
        ["--validation.pairs", "1.5", "--validation.every", "4"],
        ["--validation.pairs", "3", "--validation.every", "0"],
        ["--validation.pairs", "3", "--validation.every", "4", "--validation.often", "4"],
        ["--validation.pairs", "3", "--validation.every", "4", "--validation.dataset", "x.jsonl"],
    ],
)
def test_a_wrong_validation_is_refused(recipe, more):
    with pytest.raises(UserError, match=r"validation is .*; needed: \{pairs: a whole number"):
        load_recipe(recipe, more)


def test_a_wrong_early_stopping_is_refused(recipe):
    for wrong in ([], ["--early_stopping.treshold", "1"], ["--early_stopping.threshold", "-1"]):
        patience = ["--early_stopping.patience", "0" if not wrong else "1"]
        with pytest.raises(UserError, match=r"early_stopping is .*; needed: \{patience: a whole number above 0"):
            load_recipe(recipe, [*VALIDATE, *patience, *wrong])
    with pytest.raises(UserError, match="early_stopping needs validation"):
        load_recipe(recipe, ["--early_stopping.patience", "1"])
