"""How many clients does each server bear, and how long do they wait?

    python benchmarks/serving.py MODEL … [--clients 1 4 16] [--limit 16] [--max-tokens 48]

Each MODEL is served by `python -m inference.serve` (a folder by transformers serve, a GGUF file by llama.cpp) and asked by
OpenAI's client: the first prompts of every suite, Chinese and English, greedy, streamed. Every number of clients asks the same
`--limit` prompts, as many at a time as there are clients. Tokens are the server's own count. Time to first token runs from the
request to the first text, waiting included. Client and server share the cores. Writes benchmarks/results/serving.json.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.eval_generation import prompts  # noqa: E402
from command import UserError, WorkError, run_command  # noqa: E402  (the repository root has to be on the path first)
from run_folder import write_json  # noqa: E402


@dataclass(frozen=True)
class Reply:
    """One answer: seconds to its first text (None if it had none), and its tokens by the server's count."""

    first: float | None
    tokens: int


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/serving.py", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a folder, a Hub id or a .gguf file")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16], help="at a time (default 1 4 16)")
    parser.add_argument("--limit", type=int, default=16, help="prompts (default %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=48, help="of an answer (default %(default)s)")
    parser.add_argument("--port", type=int, default=8970, help="(default %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "serving.json")
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    if min(*options.clients, options.limit, options.max_tokens) < 1:
        raise UserError("--clients, --limit and --max-tokens must be 1 or more.")
    asked = prompts(options.limit)
    from training.record import git_state, hardware

    servers = {}
    for model in options.models:
        with served(model, options.port) as (client, name, line):
            ask(client, name, asked[0], options.max_tokens)  # the first answer warms up
            counts = {count: measure(client, name, asked, options.max_tokens, count) for count in options.clients}
        servers[Path(model).name] = {"command": without_places(line), "clients": counts}
        print(f"{model}: {counts}", file=sys.stderr, flush=True)
    record = {
        "command": f"python benchmarks/serving.py MODEL … --limit {options.limit} --max-tokens {options.max_tokens}",
        "prompts": len(asked),
        "max_tokens": options.max_tokens,
        "load_average_at_the_end": round(os.getloadavg()[0], 1),  # well above the clients' own: others were at work too
        "servers": servers,
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.results, record)
    return 0


@contextmanager
def served(model: str, port: int) -> Iterator[tuple[Any, str, str]]:
    """(client, the model's name, the server's command line) while a server runs. WorkError if it does not start."""
    from openai import OpenAI

    command = [sys.executable, "-m", "inference.serve", model, "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            said = []
            while not said or not said[-1].startswith("print(answer"):
                said.append(process.stdout.readline())
                if not said[-1]:
                    raise WorkError(f"the server of {model} did not start. See what it says: {' '.join(command)}")
            name = re.search(r"model='(.*?)'", said[-2]).group(1)
            yield OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", timeout=3600), name, said[0].strip()
        finally:
            process.terminate()


def measure(client: Any, name: str, prompts: list[str], max_tokens: int, clients: int) -> dict[str, float]:
    """All prompts, `clients` at a time: rates per second, and the median time to the first text in seconds."""
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        replies = list(pool.map(lambda prompt: ask(client, name, prompt, max_tokens), prompts))
    seconds = time.perf_counter() - began
    firsts = [reply.first for reply in replies if reply.first is not None]
    return {
        "requests_per_second": round(len(replies) / seconds, 3),
        "tokens_per_second": round(sum(reply.tokens for reply in replies) / seconds, 1),
        "median_seconds_to_first_token": round(statistics.median(firsts), 3),
        "seconds": round(seconds, 2),
    }


def ask(client: Any, name: str, prompt: str, max_tokens: int) -> Reply:
    """One streamed greedy answer."""
    began, first, tokens = time.perf_counter(), None, 0
    for chunk in client.chat.completions.create(
        model=name,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=max_tokens,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ):
        if first is None and chunk.choices and chunk.choices[0].delta.content:
            first = time.perf_counter() - began
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
    return Reply(first, tokens)


def without_places(line: str) -> str:
    """A command line without this machine's folders."""
    return " ".join(word.rsplit("/", 1)[-1] for word in line.split(" "))


if __name__ == "__main__":
    run_command(main)
