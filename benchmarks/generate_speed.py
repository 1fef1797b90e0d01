"""How fast are batches against one by one, against transformers' pipeline and llama.cpp, on the same prompts?

    python -m benchmarks.generate_speed MODEL GGUF_DIR [--limit 64] [--max-new-tokens 128] [--rounds 3]

MODEL is the folder that GGUF_DIR was exported from. The prompts are of the eval suites, as many Chinese as English; greedy. Each
program answers them in a process of its own, one after the other in each round, in the opposite order in every second round;
loading is not counted. A ratio is the median over the rounds of the ratios within a round. Writes
benchmarks/results/generate_speed.json.
"""

import argparse
import json
import sys
from itertools import chain, zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.generators import SLOTS, run_alone
from command import UserError, run_command
from eval.suites import load_suite, suite_names
from inference.llama_cpp.threads import threads
from run_folder import write_json

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "generate_speed.json"
OURS, SINGLE, PIPELINE = "ours, batches of 32", "ours, one by one", "transformers pipeline, one by one"
OURS_GGUF = f"ours in llama.cpp q8_0, batches of {SLOTS}"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", help="a model folder")
    parser.add_argument("gguf", metavar="GGUF_DIR", type=Path, help="what inference.export_gguf made of it")
    parser.add_argument("--limit", type=int, default=64, help="prompts (default %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=128, help="(default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=threads(), help="(default: OMP_NUM_THREADS, else all cores)")
    parser.add_argument("--output", type=Path, default=RESULT, help="the result (default %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    asked = prompts(options.limit)
    shared = {"prompts": asked, "max_new_tokens": options.max_new_tokens, "threads": options.threads}
    programs = programs_of(options.model, options.gguf)
    rounds: list[dict[str, dict[str, Any]]] = []
    for number in range(options.rounds):
        rounds.append({})
        for name in list(programs)[:: -1 if number % 2 else 1]:
            found = rounds[-1][name] = run_alone({**programs[name], **shared})
            print(f"round {number + 1}: {name}: {speed(found):.1f} tokens/s", file=sys.stderr, flush=True)
    from training.record import git_state, hardware

    told = {name: figures(name, rounds) for name in programs}
    record = {
        "command": f"python -m benchmarks.generate_speed MODEL GGUF_DIR --limit {options.limit} "
        f"--max-new-tokens {options.max_new_tokens} --rounds {options.rounds} --threads {options.threads}",
        "prompts": len(asked),
        "max_new_tokens": options.max_new_tokens,
        "threads": options.threads,
        "programs": told,
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.output, record)
    print(json.dumps(told, indent=1))
    return 0


def prompts(count: int) -> list[str]:
    """The first of each suite that asks something, in turn, Chinese and English alternating."""
    suites = [load_suite(name) for name in suite_names()]
    items = [
        [[item.prompt for item in suite.items if item.language == language] for suite in suites if suite.max_new_tokens]
        for language in ("zh", "en")
    ]
    chinese, english = ([p for p in chain(*zip_longest(*lists)) if p is not None] for lists in items)
    mixed = [prompt for pair in zip(chinese, english, strict=False) for prompt in pair]
    if not 1 <= count <= len(mixed):
        raise UserError(f"--limit {count} must be 1 to {len(mixed)}.")
    return mixed[:count]


def programs_of(model: str, gguf: Path) -> dict[str, dict[str, Any]]:
    """What is compared, by name. UserError if a GGUF file is not there."""
    found = {
        OURS: {"program": "engine", "model": model, "dtype": "float32", "batch_size": 32},
        SINGLE: {"program": "engine", "model": model, "dtype": "float32", "batch_size": 1},
        PIPELINE: {"program": "pipeline", "model": model, "batch_size": 1},
        "transformers pipeline, batches of 16": {"program": "pipeline", "model": model, "batch_size": 16},
    }
    for kind in ("f16", "q8_0"):
        files = sorted(gguf.glob(f"*-{kind}.gguf"))
        if not files:
            raise UserError(f"{gguf} has no *-{kind}.gguf. Make it with python -m inference.export_gguf.")
        found[f"llama.cpp {kind}, {SLOTS} at a time"] = {"program": "llama.cpp", "model": str(files[0])}
    found[OURS_GGUF] = {"program": "engine", "model": str(files[0]), "dtype": None, "batch_size": SLOTS}
    return found


def speed(run: dict[str, Any]) -> float:
    """Tokens of the answers a second, stop tokens not counted."""
    return sum(map(len, run["ids"])) / run["seconds"]


def figures(name: str, rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """What is told of a program; the token ids are compared in the first round."""
    runs = [one[name] for one in rounds]
    ratios = {other: median(speed(one[name]) / speed(one[other]) for one in rounds) for other in (SINGLE, PIPELINE)}
    return {
        "tokens_per_second": round(median(map(speed, runs)), 1),
        "tokens_per_second_of_rounds": [round(speed(run), 1) for run in runs],
        "times_ours_one_by_one": round(ratios[SINGLE], 2),
        "times_pipeline_one_by_one": round(ratios[PIPELINE], 2),
        "tokens": sum(map(len, runs[0]["ids"])),
        "answers_equal_to_ours": sum(
            one == two for one, two in zip(runs[0]["ids"], rounds[0][OURS]["ids"], strict=True)
        ),
        "peak_mb": max(run["peak_mb"] for run in runs),
        "made_by": runs[0]["made_by"],
    }


if __name__ == "__main__":
    run_command(main)
