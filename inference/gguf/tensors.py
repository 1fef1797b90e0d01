"""The tensors of a Llama model as a GGUF file holds them: which, of what type, and their bytes, some rows at a time.

Nothing here holds a whole tensor: rows are read from the safetensors file, turned to float32, quantised by the `gguf`
package and written, about CHUNK numbers at a time. Files are read and not mapped, so what was read does not stay in
this process's memory.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import gguf
import numpy as np
from gguf.quants import dequantize, quant_shape_to_byte_shape, quantize
from gguf.utility import LocalTensor, SafetensorsLocal

from command import UserError

CHUNK = 2_000_000  # numbers
KINDS = {
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}
F32, F16, Q8_0 = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.Q8_0
STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # numpy has no bfloat16: its bits
IGNORED = "rotary_emb.inv_freq"  # a constant that old checkpoints stored


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: GGUFWriter asks it for `nbytes` and `tofile`, as it would a numpy array.

    `kind` is its type in the file; `heads` the number of attention heads whose rows are reordered, None if none are.
    """

    name: str
    stored: LocalTensor
    kind: gguf.GGMLQuantizationType
    heads: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns, or the length, as safetensors has it."""
        return tuple(self.stored.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the GGUF file."""
        if self.kind in (F32, F16):
            return math.prod(self.shape) * (4 if self.kind == F32 else 2)
        return math.prod(quant_shape_to_byte_shape(self.shape, self.kind))

    def tofile(self, stream: IO[bytes]) -> None:
        """Write the tensor's bytes. UserError names it if a number is NaN, infinite or too large for its type."""
        for rows in self.rows():
            limit = np.finfo(np.float16).max if self.kind == F16 else np.finfo(np.float32).max
            if not (abs(rows) <= limit).all():
                raise UserError(
                    f"{self.stored.data_range.filename}: {self.name} holds NaN, infinity or a number beyond {self.kind.name}. "
                    "Train again, or give a whole model."
                )
            stream.write(quantize(rows, self.kind).tobytes())

    def rows(self) -> Iterator[np.ndarray]:
        """All rows as float32 in the file's order, some at a time."""
        width = self.shape[-1]
        unit = self.shape[0] // self.heads if self.heads else 1
        many = max(unit, CHUNK // width // unit * unit)
        count = math.prod(self.shape) // width
        for first in range(0, count, many):
            rows = self._read(first * width, min(many, count - first) * width).reshape(-1, width)
            yield interleaved(rows, unit) if self.heads else rows

    def _read(self, first: int, count: int) -> np.ndarray:
        """`count` numbers from number `first` on, as float32."""
        place, kind = self.stored.data_range, STORED[self.stored.dtype]
        raw = np.fromfile(place.filename, kind, count, offset=place.offset + first * np.dtype(kind).itemsize)
        if self.stored.dtype == "BF16":
            return dequantize(raw.view(np.uint8), gguf.GGMLQuantizationType.BF16)
        return raw.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Constants:
    """A small float32 tensor that is computed and not stored."""

    name: str
    values: np.ndarray
    kind: gguf.GGMLQuantizationType = F32

    @property
    def shape(self) -> tuple[int, ...]:
        """The length."""
        return self.values.shape

    @property
    def nbytes(self) -> int:
        """Bytes in the GGUF file."""
        return self.values.nbytes

    def tofile(self, stream: IO[bytes]) -> None:
        """Write the bytes."""
        stream.write(self.values.tobytes())


def interleaved(rows: np.ndarray, head: int) -> np.ndarray:
    """Rows of whole heads of `head` rows, from transformers' order (halves) to ggml's rope (pairs); both (n * head, columns)."""
    split = rows.reshape(-1, 2, head // 2, rows.shape[-1])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(rows.shape)


def plan_tensors(folder: Path, config: dict[str, Any], type_name: str) -> list[Tensor | Constants]:
    """All tensors of the file of that type, in its order. UserError if the folder's weights are not those of its config."""
    stored, shapes = read_headers(folder), expected_shapes(config)
    check_shapes(folder, stored, shapes, bool(config.get("tie_word_embeddings")))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    tensors: list[Tensor | Constants] = []
    for name in shapes:
        ours = names.get_name(name, try_suffixes=(".weight",))
        kind = choose_kind(ours, shapes[name], type_name, "lm_head.weight" not in shapes)
        tensors.append(Tensor(ours, stored[name], kind, heads.get(name.split(".")[-2])))
    factors = rope_factors(config)
    return tensors if factors is None else [*tensors, Constants("rope_freqs.weight", factors)]


def choose_kind(name: str, shape: tuple[int, ...], type_name: str, tied: bool) -> gguf.GGMLQuantizationType:
    """A tensor's type in the file.

    Norms are float32. In a q4_0 file the matrix that makes the logits is q8_0: llama.cpp's own tool keeps it at q6_K,
    which the gguf package cannot write. Rows whose length is no multiple of a block (32) stay float16.
    """
    if len(shape) == 1:
        return F32
    kind = KINDS[type_name]
    if kind != F16 and shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        return F16
    makes_logits = name == ("token_embd.weight" if tied else "output.weight")
    return Q8_0 if makes_logits and type_name == "q4_0" else kind


def read_headers(folder: Path) -> dict[str, LocalTensor]:
    """Where each tensor of the folder's *.safetensors lies. UserError names a file that is cut off or broken."""
    found: dict[str, LocalTensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            tensors = SafetensorsLocal(file).tensors
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} is broken ({error}). Copy or download the model again.") from None
        end = max((t.data_range.offset + t.data_range.size for t in tensors.values()), default=0)
        if file.stat().st_size < end:
            raise UserError(
                f"{file} is cut off: {file.stat().st_size:,} of {end:,} bytes. Copy or download the model again."
            )
        found |= tensors
    return found


def expected_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor that a Llama model of this config has, embeddings first."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    query, keys = (config["head_dim"] * config[f"num_{kind}_heads"] for kind in ("attention", "key_value"))
    layer = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (query, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, query),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for number in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{number}.{name}.weight": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (hidden,)
    return shapes if config.get("tie_word_embeddings") else shapes | {"lm_head.weight": (vocabulary, hidden)}


def check_shapes(folder: Path, stored: dict[str, LocalTensor], shapes: dict[str, tuple[int, ...]], tied: bool) -> None:
    """UserError for a tensor that is missing, unknown, of another shape or of a type that weights do not have."""
    extra = {name for name in stored if not name.endswith(IGNORED)} - set(shapes)
    extra -= {"lm_head.weight"} if tied else set()  # a copy of the embeddings
    if missing := sorted(set(shapes) - set(stored)):
        raise UserError(f"MODEL {folder}: {len(missing)} tensors are missing, such as {missing[0]}. Copy it again.")
    if extra:
        raise UserError(
            f"MODEL {folder} has tensors that no plain Llama has, such as {min(extra)}. Only plain Llama can be exported."
        )
    for name, shape in shapes.items():
        if tuple(stored[name].shape) != shape:
            raise UserError(
                f"MODEL {folder}: {name} is {tuple(stored[name].shape)}, config.json says {shape}. Copy it again."
            )
        if stored[name].dtype not in STORED:
            raise UserError(
                f"MODEL {folder}: {name} is {stored[name].dtype}; weights to export are {', '.join(STORED)}."
            )


def rope_factors(config: dict[str, Any]) -> np.ndarray | None:
    """What Llama 3.1's rope divides each frequency by, (head_dim / 2,) float32, from 1 to `factor`; None for plain rope.

    As transformers' `_compute_llama3_parameters` (wavelengths above original / low_freq_factor are stretched, below
    original / high_freq_factor left, between them blended); ggml divides by these numbers.
    """
    rope = config["rope_parameters"]
    if rope["rope_type"] == "default":
        return None
    half = np.arange(0, config["head_dim"], 2) / config["head_dim"]
    wavelength = 2 * np.pi * rope["rope_theta"] ** half
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    smooth = (rope["original_max_position_embeddings"] / wavelength - low) / (high - low)
    smooth = np.clip(smooth, 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
