"""Unknown is an error, every shipped recipe parses, the command line wins."""

from pathlib import Path

import pytest
import yaml

from command import UserError
from training.recipe import KEYS, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.yaml"))
MINIMAL = {"model": "m", "dataset": "d.jsonl", "learning_rate": 1e-4, "global_batch_size": 8, "epochs": 1}


def write(tmp_path, **values):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **values}))
    return path


@pytest.fixture(autouse=True)
def bitsandbytes_installed(monkeypatch):
    """The 8B recipe's optimizer needs it; whether this machine has it is not what these tests ask."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: name == "bitsandbytes" or find(name, *a))


def test_an_optimizer_that_cannot_be_had_is_told_at_once(tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None)
    with pytest.raises(UserError, match=r"paged_adamw_32bit needs bitsandbytes: \.venv/bin/pip install"):
        load_recipe(write(tmp_path, optimizer="paged_adamw_32bit"), [])


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_shipped_recipes_parse_and_are_short(path):
    recipe = load_recipe(path, [])
    assert recipe.model
    assert len(path.read_text().splitlines()) <= 40


def test_the_articles_values():
    recipe = load_recipe(next(p for p in RECIPES if p.stem == "Llama-3-8B-Chinese-Chat"), [])
    assert (recipe.beta, recipe.learning_rate, recipe.global_batch_size, recipe.epochs) == (0.05, 5e-6, 64, 3)
    assert (recipe.max_length, recipe.warmup_ratio, recipe.lr_scheduler) == (8192, 0.1, "cosine")
    assert (recipe.optimizer, recipe.seed, recipe.objective) == ("paged_adamw_32bit", 42, "completion")


def test_unknown_key_names_the_nearest(tmp_path):
    with pytest.raises(UserError, match="unknown key 'betta'; did you mean beta"):
        load_recipe(write(tmp_path, betta=0.1), [])


def test_unknown_flag_names_the_nearest(tmp_path):
    with pytest.raises(UserError, match="unknown key 'learning_rat'; did you mean learning_rate"):
        load_recipe(write(tmp_path), ["--learning_rat", "1"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta": "many"}, "beta is 'many'"),
        ({"beta": -1}, "beta is -1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"global_batch_size": 1.5}, "global_batch_size is 1.5"),
        ({"objective": "dpo"}, "one of completion, sequence"),
        ({"precision": "fp8"}, "one of fp32, bf16"),
        ({"dataset": []}, "dataset is"),
        ({"dataset": [{"file": "x"}]}, "dataset is"),
        ({"max_steps": 3}, "either epochs or max_steps"),
        ({"trainer_args": {"learning_rate": 1}}, "recipe's own learning_rate"),
        ({"trainer_args": {"logging_steps": 10}}, "record of every step"),
        ({"trainer_args": {"dataloader_num_workers": 2}}, "would change nothing"),
        ({"trainer_args": {"save_steps": -2}}, "save_steps is -2"),
        ({"outptu": 1}, "did you mean output"),
        ({"seed": True}, "seed is True"),
        ({"warmup_ratio": 1.5}, "warmup_ratio is 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_bad_values_are_named(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        load_recipe(write(tmp_path, **values), [])


def test_missing_keys_are_listed(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("model: m\n")
    with pytest.raises(UserError, match=r"missing key.*dataset, learning_rate, global_batch_size"):
        load_recipe(path, [])


def test_command_line_overrides(tmp_path):
    recipe = load_recipe(write(tmp_path), ["--beta", "0.2", "--learning-rate=2e-5", "--max_steps", "7", "--trainer_args.save_steps", "3"])  # fmt: skip
    assert (recipe.beta, recipe.learning_rate, recipe.max_steps, recipe.epochs) == (0.2, 2e-5, 7, None)
    assert recipe.trainer_args == {"save_steps": 3}


def test_a_text_exponent_is_a_number(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("learning_rate: 0.0001", "learning_rate: 1e-4"))
    assert load_recipe(path, []).learning_rate == 1e-4


def test_missing_recipe_lists_the_shipped(tmp_path):
    with pytest.raises(UserError, match="smollm2-demo"):
        load_recipe(tmp_path / "no.yaml", [])


def test_the_digest_sees_every_key(tmp_path):
    changed = {"model": "n", "dataset": "e.jsonl", "learning_rate": 2e-4, "global_batch_size": 4, "objective": "sequence", "beta": 0.7, "max_length": 9, "epochs": 2, "lr_scheduler": "linear", "warmup_ratio": 0.2, "optimizer": "sgd", "precision": "bf16", "micro_batch_tokens": 5, "seed": 1, "stop_loss_above": 9, "validation": {"pairs": 2, "every": 3}, "trainer_args": {"a": 1}}  # fmt: skip
    base = load_recipe(write(tmp_path), []).sha256()
    digests = {load_recipe(write(tmp_path, **{key: value}), []).sha256() for key, value in changed.items()}
    assert base not in digests
    assert (
        len(digests) == len(changed) == len(KEYS) - 2
    )  # epochs stands in for max_steps, validation for early_stopping, which needs it
