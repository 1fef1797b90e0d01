"""Unknown is an error, every shipped recipe parses, the command line wins."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from command import UserError
from training.recipe import KEYS, SOURCE_KEYS, load_recipe, main

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.yaml"))
MINIMAL = {"model": "m", "dataset": "d.jsonl", "learning_rate": 1e-4, "global_batch_size": 8, "epochs": 1}


def write(tmp_path, **values):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **values}))
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_shipped_recipes_parse_and_are_short(path):
    recipe = load_recipe(path, [])
    assert recipe.model
    assert len(path.read_text().splitlines()) <= 40


def shipped(stem):
    return load_recipe(next(p for p in RECIPES if p.stem == stem), [])


def test_the_shipped_recipes_are_these():
    assert [p.stem for p in RECIPES] == ["llama3-8b-lora", "llama3-8b-qlora", "llama3-8b-v1", "llama3-8b-v2", "smollm2-demo"]  # fmt: skip


def test_the_articles_values():
    recipe = shipped("llama3-8b-v1")
    assert (recipe.beta, recipe.learning_rate, recipe.global_batch_size, recipe.epochs) == (0.05, 5e-6, 64, 3)
    assert (recipe.max_length, recipe.warmup_ratio, recipe.lr_scheduler) == (8192, 0.1, "cosine")
    assert (recipe.optimizer, recipe.seed, recipe.objective) == ("paged_adamw_32bit", 42, "completion")
    assert (recipe.weights, recipe.precision, recipe.lora) == ("bf16", "bf16", None)
    assert [(s["path"], s["name"]) for s in recipe.dataset] == [("hiyouga/DPO-En-Zh-20k", x) for x in ("en", "zh")]


def test_v2_is_v1_but_for_what_the_article_changed():
    old, new = (dataclasses.asdict(shipped(f"llama3-8b-{v}")) for v in ("v1", "v2"))
    changed = {key: new[key] for key in new if new[key] != old[key]}
    assert changed == {
        "name": "Llama-3-8B-Chinese-Chat-v2",
        "dataset": [{"path": "pairs.jsonl"}],
        "epochs": 2,
        "learning_rate": 3e-6,
        "global_batch_size": 128,
    }


def test_the_adapters_recipes():
    lora, qlora = shipped("llama3-8b-lora"), shipped("llama3-8b-qlora")
    assert lora.lora == {"rank": 64, "alpha": 128, "dropout": 0.05, "target_modules": "all-linear"}
    assert qlora.lora == {"rank": 16, "alpha": 32, "dropout": 0.05, "target_modules": "all-linear"}
    assert (lora.quantization, qlora.quantization) == (None, "nf4")
    assert (qlora.max_length, qlora.micro_batch_tokens, qlora.optimizer) == (2048, 4096, "paged_adamw_32bit")
    for recipe in (lora, qlora):
        assert (recipe.merge_adapter, recipe.weights, recipe.learning_rate, recipe.beta) == (True, "bf16", 5e-5, 0.05)
        assert recipe.trainer_args == {"activation_checkpointing": True}


def test_names_of_llama_models_begin_as_its_licence_asks():
    from run_folder import is_llama3_name

    for path in RECIPES:
        if path.stem.startswith("llama3"):
            assert is_llama3_name(load_recipe(path, []).name), path


def test_the_name_that_reproduce_sh_asks_for(capsys):
    folder = RECIPES[0].parent
    for stem, name in (("llama3-8b-v1", "Llama-3-8B-Chinese-Chat-v1"), ("smollm2-demo", "smollm2-demo")):
        main([str(folder / f"{stem}.yaml")])
        assert capsys.readouterr().out == name + "\n"


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
        ({"trainer_args": {"save_only_model": True}}, "save_only_model is not supported: checkpoints could not"),
        ({"trainer_args": {"ignore_data_skip": True}}, "begin at its first pairs again"),
        ({"trainer_args": {"push_to_hub": True}}, "push_to_hub is not supported: upload.py publishes"),
        ({"trainer_args": {"hub_token": "x"}}, "no token belongs into a recipe"),
        ({"seed": 2**32}, "seed is 4294967296; needed: a whole number 0 or above, at most 4,294,967,295"),
        ({"epochs": 1e9}, "at most 10,000"),
        ({"attention": "varlen"}, "attention: varlen computes in bf16"),
        ({"attention": "flash"}, "attention is 'flash'; needed: one of branches, varlen, masked"),
        ({"trainer_args": {"save_steps": -2}}, "save_steps is -2"),
        ({"outptu": 1}, "did you mean output"),
        ({"seed": True}, "seed is True"),
        ({"system_prompt": " "}, "system_prompt is ' '; needed: a text, or null for the model's own template"),
        ({"system_prompt": 3}, "system_prompt is 3"),
        ({"warmup_ratio": 1.5}, "warmup_ratio is 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"name": "a/b"}, "name is 'a/b'; needed: letters, digits"),
        ({"weights": "fp16"}, "weights is 'fp16'; needed: one of fp32, bf16"),
        ({"quantization": "int4"}, "quantization is 'int4'; needed: one of nf4"),
        ({"merge_adapter": "yes"}, "merge_adapter is 'yes'; needed: true or false"),
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
    changed = {"model": "n", "dataset": "e.jsonl", "learning_rate": 2e-4, "global_batch_size": 4, "objective": "sequence", "beta": 0.7, "max_length": 9, "epochs": 2, "lr_scheduler": "linear", "warmup_ratio": 0.2, "optimizer": "sgd", "precision": "bf16", "attention": "masked", "micro_batch_tokens": 5, "system_prompt": "S", "seed": 1, "stop_loss_above": 9, "validation": {"pairs": 2, "every": 3}, "trainer_args": {"a": 1}, "name": "x"}  # fmt: skip
    coupled = [{"weights": "bf16", "precision": "bf16", "optimizer": "sgd"}, {"lora": {}}, {"lora": {}, "quantization": "nf4"}, {"lora": {}, "merge_adapter": True}]  # fmt: skip
    base = load_recipe(write(tmp_path), []).sha256()
    (tmp_path / "held.jsonl").write_text("{}")
    changed["held_out"] = [str(tmp_path / "held.jsonl")]
    cases = [{key: value} for key, value in changed.items()] + coupled
    digests = {load_recipe(write(tmp_path, **case), []).sha256() for case in cases}
    assert base not in digests
    assert len(digests) == len(cases) == len(KEYS) - 2  # epochs stands in for max_steps, validation for early_stopping


def test_every_key_of_a_source(tmp_path):
    source = {"path": "a/b", "name": "zh", "revision": "v1", "split": "test", "streaming": True, "max_rows": 5, "weight": 0.5}  # fmt: skip
    assert source.keys() == SOURCE_KEYS.keys()
    assert load_recipe(write(tmp_path, dataset=["x.jsonl", source]), []).dataset == [{"path": "x.jsonl"}, source]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"path": "a", "wieght": 1}, r"Unknown key 'wieght' of the source 'a'; did you mean weight\?"),
        ({"path": "a", "rows": 1}, "Unknown key 'rows'"),
        ({"path": "a", "weight": 0}, "weight of the source 'a' is 0; needed: a number above 0"),
        ({"path": "a", "weight": True}, "weight of the source 'a' is True"),
        ({"path": "a", "max_rows": 2.5}, "max_rows of the source 'a' is 2.5; needed: a whole number above 0"),
        ({"path": "a", "max_rows": -1}, "max_rows of the source 'a' is -1"),
        ({"path": "a", "streaming": 1}, "streaming of the source 'a' is 1; needed: true or false"),
        ({"path": 3}, "path of the source 3 is 3"),
    ],
)
def test_bad_sources(tmp_path, source, message):
    with pytest.raises(UserError, match=message):
        load_recipe(write(tmp_path, dataset=[source]), [])


def test_held_out_files_must_be_there(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv does not exist or is no file"):
        load_recipe(write(tmp_path, held_out=["none.csv"]), [])
    with pytest.raises(UserError, match="held_out is 3; needed: a list of files"):
        load_recipe(write(tmp_path, held_out=3), [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x\n", r"line 2: aliases \(\*name\) are not read"),
        ("seed: 1\nmodel: m\nseed: 2\n", "line 1: the key 'seed' stands twice"),
        ("seed: 2020-13-45\n", "is not valid YAML: month must be in"),
        ("seed: " + "[" * 5000, "is not valid YAML"),
    ],
)
def test_hostile_yaml_is_one_message(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_recipe(tmp_path / "r.yaml", [])


@pytest.mark.parametrize("value", ["-.inf", ".nan", ".inf", "2020-13-45", "[" * 5000])
def test_hostile_overrides_are_one_message(tmp_path, value):
    with pytest.raises(UserError, match="seed is "):
        load_recipe(write(tmp_path), ["--seed", value])


def test_a_file_of_pairs_is_no_recipe(tmp_path):
    with pytest.raises(UserError, match=r"pairs\.jsonl is a file of pairs\. Give a recipe"):
        load_recipe(tmp_path / "pairs.jsonl", [])


def test_a_validation_source_has_no_weight(tmp_path):
    validation = {"dataset": [{"path": "v.jsonl", "weight": 1}], "every": 2}
    with pytest.raises(UserError, match=r"validation\.dataset has a weight"):
        load_recipe(write(tmp_path, validation=validation), [])
