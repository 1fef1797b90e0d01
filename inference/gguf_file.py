"""Reading a GGUF file of the Llama architecture: its header in 0.3 s without torch, its weights as an ordinary model.

transformers reads the same file in 11 s (it parses it twice and maps its names 397 times) and leaves marks on the model
that make trainers refuse it; the weights are the same to the bit (tests/inference/test_gguf_file.py). The format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from command import UserError

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
WEIGHTS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: its shape as torch has it, its ggml type, its first byte after the header."""

    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True)
class Header:
    """What stands before the weights. Arrays of strings (the vocabulary) are left out of the metadata."""

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]
    data_start: int


class _Reader:
    """Little-endian values from a buffer, one after the other."""

    def __init__(self, data: bytes):
        self.data, self.place = data, 0

    def numbers(self, form: str) -> tuple:
        values = struct.unpack_from(f"<{form}", self.data, self.place)
        self.place += struct.calcsize(f"<{form}")
        return values

    def string(self) -> str:
        (length,) = self.numbers("Q")
        if self.place + length > len(self.data):
            raise struct.error("a string goes beyond the end of the file")
        self.place += length
        return self.data[self.place - length : self.place].decode("utf-8")

    def value(self, kind: int) -> Any:
        """A metadata value; None for an array of strings, which is only walked over."""
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.numbers(SCALARS[kind])[0]
        kind, count = self.numbers("IQ")
        if kind != STRING:
            return list(self.numbers(f"{count}{SCALARS[kind]}"))
        unpack, data, place = struct.Struct("<Q").unpack_from, self.data, self.place
        for _ in range(count):
            place += 8 + unpack(data, place)[0]
        self.place = place
        return None


def read_header(path: Path) -> Header:
    """Metadata and tensor table of a GGUF file. UserError if it is another file, or cut off."""
    with path.open("rb") as stream:
        start = stream.read(24)
        if start[:4] != b"GGUF":
            raise UserError(f"{path} is not a GGUF file: it starts with {start[:4]!r}, not b'GGUF'.")
        stream.seek(0)
        reader = _Reader(stream.read(64 << 20))  # a header is 2 to 10 MB, nearly all of it vocabulary
    try:
        _, version, tensor_count, value_count = reader.numbers("4sIQQ")
        if version not in (2, 3):
            raise UserError(f"{path} is GGUF version {version}; versions 2 and 3 are read.")
        metadata = {reader.string(): reader.value(reader.numbers("I")[0]) for _ in range(value_count)}
        tensors = dict(_tensor(reader) for _ in range(tensor_count))
    except (struct.error, KeyError, UnicodeDecodeError, OverflowError, MemoryError):
        raise UserError(
            f"{path} is a GGUF file that is cut off or broken in its header. Copy or download it again."
        ) from None
    alignment = metadata.get("general.alignment", 32)
    header = Header(metadata, tensors, -(-reader.place // alignment) * alignment)
    _check_size(path, header)
    return header


def _tensor(reader: _Reader) -> tuple[str, Tensor]:
    name = reader.string()
    (dimensions,) = reader.numbers("I")
    shape = reader.numbers(f"{dimensions}Q")[::-1]  # ggml names the fastest dimension first, torch last
    return name, Tensor(shape, *reader.numbers("IQ"))


def _check_size(path: Path, header: Header) -> None:
    end = max((header.data_start + tensor.offset + _bytes(tensor) for tensor in header.tensors.values()), default=0)
    size = path.stat().st_size
    if size < end:
        raise UserError(f"{path} is cut off: {size:,} of {end:,} bytes are there. Copy or download it again.")


def _bytes(tensor: Tensor) -> int:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.type)]
    return prod(tensor.shape) // block * size


def llama_config(path: Path, header: Header):
    """The LlamaConfig that a GGUF's metadata describes. UserError for another architecture or a scaled RoPE."""
    from transformers import LlamaConfig

    metadata = header.metadata
    if metadata.get("general.architecture") != "llama":
        raise UserError(
            f"{path} holds a model of the architecture {metadata.get('general.architecture')!r}; from GGUF only llama is read. Use its safetensors."
        )
    if "rope_freqs.weight" in header.tensors or metadata.get("llama.rope.scaling.type", "none") != "none":
        raise UserError(
            f"{path} has a scaled RoPE (Llama 3.1 or later), which GGUF does not describe in full. Use its safetensors."
        )
    heads, hidden = metadata["llama.attention.head_count"], metadata["llama.embedding_length"]
    ids = {
        name: metadata.get(f"tokenizer.ggml.{key}_token_id")
        for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
    }
    return LlamaConfig(
        vocab_size=header.tensors["token_embd.weight"].shape[0],
        hidden_size=hidden,
        intermediate_size=metadata["llama.feed_forward_length"],
        num_hidden_layers=metadata["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=metadata.get("llama.attention.head_count_kv", heads),
        head_dim=metadata.get("llama.attention.key_length", hidden // heads),
        max_position_embeddings=metadata["llama.context_length"],
        rms_norm_eps=float(
            f"{metadata['llama.attention.layer_norm_rms_epsilon']:.6g}"
        ),  # stored in fp32: 9.99999975e-06
        rope_parameters={"rope_type": "default", "rope_theta": metadata.get("llama.rope.freq_base", 10000.0)},
        tie_word_embeddings="output.weight" not in header.tensors,
        **{f"{name}_token_id": value for name, value in ids.items()},
    )


def load_llama(path: Path, dtype: str):
    """The model of a GGUF file with its weights dequantised: an ordinary LlamaForCausalLM."""
    import numpy
    import torch
    from gguf import GGMLQuantizationType, dequantize
    from transformers import LlamaForCausalLM

    header = read_header(path)
    config, kind = llama_config(path, header), getattr(torch, dtype)
    data, weights = numpy.memmap(path, mode="r"), {}
    for name, tensor in header.tensors.items():
        first = header.data_start + tensor.offset
        rows = data[first : first + _bytes(tensor)].reshape(*tensor.shape[:-1], -1)
        values = torch.from_numpy(numpy.array(dequantize(rows, GGMLQuantizationType(tensor.type)), dtype=numpy.float32))
        weights[_torch_name(path, name)] = _unpermute(name, values, config).to(kind)
    return LlamaForCausalLM.from_pretrained(None, config=config, state_dict=weights, dtype=kind)


def _torch_name(path: Path, name: str) -> str:
    """blk.3.attn_q.weight → model.layers.3.self_attn.q_proj.weight"""
    parts = name.split(".")
    layer = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
    if parts[-2] not in WEIGHTS or parts[-1] != "weight":
        raise UserError(
            f"{path} has a tensor {name!r} that the Llama architecture does not know. Use the model's safetensors."
        )
    return f"{layer}{WEIGHTS[parts[-2]]}.weight"


def _unpermute(name: str, values, config):
    """Queries and keys as transformers orders them: llama.cpp pairs a head's neighbouring dimensions for RoPE, transformers its halves."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return values
    return values.reshape(heads, -1, 2, values.shape[-1]).transpose(1, 2).reshape(values.shape)
