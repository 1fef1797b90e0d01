"""What a run costs: optimizer steps, tokens as packed here and as padded elsewhere, arithmetic, and a range of time.

Arithmetic of a pair of p + c + r tokens (prompt, chosen, rejected), with B weights in the layers' matrices, L layers whose
attention is W wide, and a head of V words by H:
    layers      6 B (p + c + r)       2 forward, 2 for the gradient of what flows, 2 for that of the weights (0 under LoRA)
    attention   12 L W a              a = token pairs that see each other: p(p+1)/2 + c p + c(c+1)/2 + r p + r(r+1)/2
    head        6 V H (c + r)         8 on a GPU, where each tile of the logits is computed twice; with objective `sequence`
                                      the prompt's tokens are predicted as well
Activation checkpointing adds a forward: 2 B (p + c + r) + 4 L W a. Divided by a peak and a share of it this gives seconds.

Shares of the peak:
- CPU: 0.5 to 0.85 of the cores times what numpy's matrix product does on one of them. On two quiet cores (of one pair of hardware
  threads) one gave 150 GFLOP/s and a product on both 226; the demo (benchmarks/results/smollm2-demo.training.json, 305 s) ran at
  212, the real pairs (benchmarks/results/orpo_step.json, ours, completion, 16 pairs in 95.6 s) at 195: 0.71 and 0.65 of 300. The
  optimizer's own work, which small steps feel, is in both. Other work on the machine makes the run longer than is foretold.
- GPU: 0.22 to 0.40 of the vendor's dense peak: 22 to 32 % are the best figures published for preference training, 39 % is what
  compiled pretraining code reaches on an H100. On the one GPU that was measured, an H200, a plain matrix product gave 790 of 989.
One device alone; loading, validation and checkpoints are not counted.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from command import UserError
from inference.loading import Source, fetch, read_object
from training.plan import count_steps, pack_step, plan_steps

PADDED = (1, 4, 8)  # pairs of a micro-batch, as others batch them
SAMPLED_STEPS = 50  # whose packing is tried
CPU_SHARE = (0.5, 0.85)
GPU_SHARE = (0.22, 0.40)
PROBE = """
import time, numpy
matrix, best, began = numpy.ones((512, 512), numpy.float32), 0.0, time.perf_counter()
while time.perf_counter() - began < 0.3:
    started = time.process_time()
    matrix @ matrix
    best = max(best, 2 * 512**3 / max(time.process_time() - started, 1e-9))
print(best)
"""
AUTO = "auto"
THIS_CPU = "cpu"


@dataclass(frozen=True)
class Device:
    """A GPU by its vendor's numbers: TFLOP/s, dense, in bf16 with fp32 sums and in fp32 without tensor cores."""

    name: str
    bf16: float
    fp32: float


DEVICES = {
    "b200": Device("NVIDIA B200", 2250, 75),
    "h200": Device("NVIDIA H200", 989, 67),
    "h100": Device("NVIDIA H100 SXM", 989, 67),
    "h100-pcie": Device("NVIDIA H100 PCIe", 756, 51),
    "a100-80g": Device("NVIDIA A100 80 GB", 312, 19.5),
    "a100-40g": Device("NVIDIA A100 40 GB", 312, 19.5),
    "l40s": Device("NVIDIA L40S", 362, 91.6),
    "a6000": Device("NVIDIA RTX A6000", 155, 38.7),
    "rtx-5090": Device("NVIDIA GeForce RTX 5090", 209, 105),
    "rtx-4090": Device("NVIDIA GeForce RTX 4090", 165, 82.6),
    "rtx-3090": Device("NVIDIA GeForce RTX 3090", 71, 35.6),
    "l4": Device("NVIDIA L4", 121, 30.3),
    "mi300x": Device("AMD Instinct MI300X", 1307, 163),
}


@dataclass(frozen=True)
class Shape:
    """What of a model decides its arithmetic."""

    layers: int
    hidden: int
    attention: int  # width of all query heads together
    keys: int  # width of all key heads together
    inner: int
    vocabulary: int

    @property
    def body(self) -> int:
        """Weights in the matrices of the layers: queries, keys, values, output, and the three of a gated inner layer."""
        return self.layers * self.hidden * (2 * self.attention + 2 * self.keys + 3 * self.inner)

    @property
    def head(self) -> int:
        return self.vocabulary * self.hidden


def shape_of(source: Source) -> Shape | None:
    """From config.json, or a GGUF file's metadata; no weights are read. None where it is no plain decoder (experts, other words)."""
    path = fetch(source, weights=False)
    if path.is_file():
        return gguf_shape(path)
    if (path / "adapter_config.json").is_file():
        from inference.loading import adapter_base

        return shape_of(adapter_base(path))
    return config_shape(read_object(path / "config.json"))


def config_shape(config: dict[str, Any]) -> Shape | None:
    """The shape by the words of Llama's config, which most decoders use; None without them, with experts, or with sizes by layer."""
    if any(config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts")):
        return None
    try:
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        width = config.get("head_dim") or hidden // heads
        key_heads = config.get("num_key_value_heads") or heads
        layers, inner, words = config["num_hidden_layers"], config["intermediate_size"], config["vocab_size"]
    except (KeyError, TypeError, ZeroDivisionError):
        return None
    if not all(map(is_size, (hidden, heads, width, key_heads, layers, inner, words))):
        return None
    return Shape(layers, hidden, width * heads, width * key_heads, inner, words)


def is_size(value: Any) -> bool:
    """A whole number above 0, numpy's (of a GGUF file) too; a config may say null, or a list with a size for each layer."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0


def gguf_shape(path: Any) -> Shape | None:
    from transformers.integrations.gguf import read_gguf_metadata

    metadata, _ = read_gguf_metadata(str(path))
    kind = metadata.get("general.architecture")

    def of(key: str) -> Any:
        return metadata.get(f"{kind}.{key}")

    config = {
        "hidden_size": of("embedding_length"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "head_dim": of("attention.key_length"),
        "num_hidden_layers": of("block_count"),
        "intermediate_size": of("feed_forward_length"),
        "vocab_size": of("vocab_size") or len(metadata.get("tokenizer.ggml.tokens") or ()) or None,
        "num_experts": of("expert_count"),
    }
    return None if None in (config["hidden_size"], config["vocab_size"]) else config_shape(config)


def token_cost(prompt: np.ndarray, chosen: np.ndarray, rejected: np.ndarray, batch: int, seed: int, steps: int) -> dict:
    """Tokens of a pass and of the run of `steps` steps of `batch` pairs, and what padded micro-batches of PADDED pairs would cost.

    Padded: chosen and rejected each with its prompt, all 2 m sequences of a micro-batch as long as the longest, in the order of
    the first pass. Ours: the prompt once, no padding.
    """
    tokens = prompt.astype(np.int64) + chosen + rejected
    branch = (prompt + np.maximum(chosen, rejected))[np.random.default_rng([seed, 0]).permutation(len(prompt))]
    per_pass = int(tokens.sum())
    padded = {}
    for pairs in PADDED:
        starts = np.arange(0, len(branch), pairs)
        sizes = np.minimum(pairs, len(branch) - starts)
        padded[str(pairs)] = int((2 * sizes * np.maximum.reduceat(branch, starts).astype(np.int64)).sum())
    passes = steps * batch / len(prompt)
    return {
        "steps": steps,
        "pairs_per_step": batch,
        "passes": round(passes, 4),
        "tokens_per_pass": per_pass,
        "response_tokens_per_pass": int(chosen.sum(dtype=np.int64) + rejected.sum(dtype=np.int64)),
        "tokens": round(per_pass * passes),
        "padded_tokens_per_pass": padded,
        "padded_ratio": {pairs: round(count / per_pass, 3) for pairs, count in padded.items()},
    }


def run_steps(recipe: Any, pairs: int) -> int:
    """Optimizer steps of a recipe on so many pairs."""
    return recipe.max_steps or count_steps(pairs, recipe.global_batch_size, recipe.epochs)


def packing(lengths: np.ndarray, batch: int, budget: int, seed: int) -> dict[str, Any]:
    """Micro-batches of a step and how full they are, over the first steps of the plan."""
    steps = max(1, min(SAMPLED_STEPS, len(lengths) // batch))
    counts, tokens = 0, 0
    for step in plan_steps(len(lengths), batch, steps, seed):
        sizes = lengths[step].tolist()
        counts += len(pack_step(sizes, budget))
        tokens += sum(sizes)
    return {
        "micro_batches_per_step": round(counts / steps, 2),
        "tokens_per_micro_batch": round(tokens / counts),
        "steps_tried": steps,
    }


def arithmetic(
    shape: Shape, prompt: np.ndarray, chosen: np.ndarray, rejected: np.ndarray, recipe: Any, gpu: bool
) -> float:
    """FLOPs of one pass over the pairs, by the formulas of the module's docstring."""
    p, c, r = (values.astype(np.float64) for values in (prompt, chosen, rejected))
    tokens = float((p + c + r).sum())
    seen = float((p * (p + 1) / 2 + c * p + c * (c + 1) / 2 + r * p + r * (r + 1) / 2).sum())
    predicted = float((c + r + (p if recipe.objective == "sequence" else 0)).sum())
    again = bool(
        recipe.trainer_args.get("activation_checkpointing") or recipe.trainer_args.get("gradient_checkpointing")
    )
    layers = (6 if recipe.lora is None else 4) + 2 * again
    return (
        layers * shape.body * tokens
        + (12 + 4 * again) * shape.layers * shape.attention * seen
        + (8 if gpu else 6) * shape.head * predicted
    )


def find_device(name: str) -> str | None:
    """A key of DEVICES or THIS_CPU; None for `auto` on a machine whose GPU the table lacks. UserError for an unknown name."""
    key = name.strip().lower().replace(" ", "-").replace("_", "-")
    if key in (*DEVICES, THIS_CPU):
        return key
    if key != AUTO:
        raise UserError(f"--device {name!r} is not known. Known: {', '.join((AUTO, THIS_CPU, *DEVICES))}.")
    gpu = gpu_here()
    return THIS_CPU if gpu is None else known_gpu(gpu)


def known_gpu(name: str) -> str | None:
    """The key of a GPU by the name that its driver gives it: "NVIDIA A100-SXM4-80GB" is a100-80g."""
    words = {word.removesuffix("b") for word in re.findall(r"[a-z]*\d+[a-z]*|pcie", name.lower())}
    found = [key for key in DEVICES if set(key.removeprefix("rtx-").split("-")) <= words]
    return max(found, key=len, default=None)


def gpu_here() -> str | None:
    """The name of the first NVIDIA GPU, by nvidia-smi; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else None


def matrix_speed() -> float:
    """FLOP/s of an fp32 matrix product of numpy on one core, by CPU time, so that other work hardly counts; times the cores.

    In a process of its own, since the number of threads is settled when numpy is imported.
    """
    environment = os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    asked = [sys.executable, "-c", PROBE]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True, timeout=60)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return float(done.stdout) * cores


def run_time(flops: float, device: str, precision: str, speed: float | None = None) -> dict[str, Any]:
    """From `flops` a range of seconds on a device: low and high by the shares of its peak. `speed`: FLOP/s, where it is known."""
    if device == THIS_CPU:
        peak, shares, name = speed or matrix_speed(), CPU_SHARE, "this machine's CPU"
        basis = "share of what its cores do in a matrix product of numpy, measured here and now"
    else:
        found = DEVICES[device]
        peak = speed or 1e12 * (found.bf16 if precision == "bf16" else found.fp32)
        shares, name = GPU_SHARE, found.name
        basis = f"share of the vendor's dense peak in {precision}"
    return {
        "device": name,
        "peak_tflops": round(peak / 1e12, 3),
        "share": list(shares),
        "basis": basis,
        "low_seconds": round(flops / peak / shares[1], 1),
        "high_seconds": round(flops / peak / shares[0], 1),
    }


def estimate(
    prompt: np.ndarray,
    chosen: np.ndarray,
    rejected: np.ndarray,
    recipe: Any,
    shape: Shape | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """The whole `cost` of data_report.json for pairs of these lengths in tokens; `time` only with a shape and a device."""
    batch = recipe.global_batch_size
    steps = run_steps(recipe, len(prompt))
    cost = token_cost(prompt, chosen, rejected, batch, recipe.seed, steps)
    cost |= packing(prompt + chosen + rejected, batch, recipe.micro_batch_tokens, recipe.seed)
    if shape is None or device is None:
        return cost
    flops = arithmetic(shape, prompt, chosen, rejected, recipe, device != THIS_CPU) * steps * batch / len(prompt)
    cost |= {"layer_parameters": shape.body, "flops": flops}
    return cost | {"time": run_time(flops, device, recipe.precision)}


def between(low: float, high: float) -> str:
    """A range of seconds in the unit that suits it: "between 3.1 and 4.5 hours"."""
    unit, size = next(
        ((unit, size) for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)) if high >= 1.5 * size),
        ("seconds", 1),
    )
    first, last = (f"{value / size:.2g}" if value < 10 * size else f"{value / size:,.0f}" for value in (low, high))
    return f"about {last} {unit}" if first == last else f"between {first} and {last} {unit}"
