"""Peak memory and time of an export, against the size of the model: a sharded Llama of random bfloat16 weights.

python -m benchmarks.gguf_memory [--shape 1b|8b]   8b is Llama 3 8B's own shape: 16 GB, and 29 GB of GGUF

Writes benchmarks/results/gguf_memory.json, an entry a shape. The tokenizer is a byte-level one of a few hundred tokens.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from command import run_command
from inference.gguf.tensors import expected_shapes
from run_folder import require_space, write_json

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "gguf_memory.json"
SHAPES = {  # hidden, inner, layers, heads, key-value heads, vocabulary
    "1b": (2048, 5632, 8, 16, 4, 128256),
    "8b": (4096, 14336, 32, 32, 8, 128256),
}
SHARD = 1_500_000_000  # bytes


def make_config(shape: str) -> dict:
    """config.json of a shape."""
    hidden, inner, layers, heads, key_value, vocabulary = SHAPES[shape]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value,
        "head_dim": hidden // heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "eos_token_id": 2,
    }


def write_weights(folder: Path, config: dict) -> int:
    """Random bfloat16 weights in shards of about SHARD bytes, a slab at a time; their bytes in all."""
    shapes = expected_shapes(config)
    slab = (np.random.default_rng(0).normal(size=1 << 22).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    shards, size = [[]], 0
    for name, shape in shapes.items():
        if size > SHARD:
            shards, size = [*shards, []], 0
        shards[-1].append(name)
        size += 2 * int(np.prod(shape))
    for number, names in enumerate(shards, 1):
        write_shard(folder / f"model-{number:05}-of-{len(shards):05}.safetensors", {n: shapes[n] for n in names}, slab)
    return sum(2 * int(np.prod(shape)) for shape in shapes.values())


def write_shard(path: Path, shapes: dict[str, tuple[int, ...]], slab: np.ndarray) -> None:
    """One safetensors file, without holding it: header, then the slab over and over."""
    header, place = {}, 0
    for name, shape in shapes.items():
        end = place + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        while place:
            many = min(place // 2, len(slab))
            stream.write(slab[:many].tobytes())
            place -= 2 * many


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer with a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = control + sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={text: number for number, text in enumerate(vocabulary)}, merges=[]))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.add_special_tokens(control)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)


def measure(shape: str, work: Path) -> dict:
    """Export all types in a process of its own; what it took."""
    config = make_config(shape)
    model = work / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    write_tokenizer(model)
    size = write_weights(model, config)
    command = [sys.executable, "-m", "inference.export_gguf", model, "--output", work / "gguf", "--name", shape]
    began = time.monotonic()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    files = json.loads((work / "gguf" / "export.json").read_text())["files"]
    return {
        "weights_bytes": size,
        "largest_tensor_float32_bytes": 4 * config["vocab_size"] * config["hidden_size"],
        "peak_rss_bytes": peak,
        "seconds": round(seconds, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "gguf_bytes": {entry["type"]: entry["bytes"] for entry in files.values()},
    }


def main() -> int:
    """Measure one shape and keep it beside the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gguf_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="1b")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="a folder with room")
    options = parser.parse_args()
    parameters = sum(int(np.prod(shape)) for shape in expected_shapes(make_config(options.shape)).values())
    require_space(options.work, int(parameters * (2 + 2 + 8.5 / 8 + 4.7 / 8)), "the model and its export")
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        measured = measure(options.shape, Path(work))
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    kept.pop("schema_version", None)
    write_json(RESULT, kept | {options.shape: measured})
    print(json.dumps(measured, indent=1))
    return 0


if __name__ == "__main__":
    run_command(main)
