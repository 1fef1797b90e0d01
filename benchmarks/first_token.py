"""Seconds from the start of a process to the first characters of an answer, ours against plain transformers and llama.cpp.

    python -m benchmarks.first_token MODEL [--gguf FILE] [--rounds 9] [--output FILE]

In turns, so that a busy machine is busy for all; the files are read once before. Wall time and the process's own seconds until
then, which a busy machine changes less. Medians, and the median of the ratios within each round.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from command import UserError, run_command
from inference.loading import resolve
from run_folder import write_json

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "请用一句话介绍长城。"

PLAIN = """
import sys
from threading import Thread
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="float32")
chat = [{"role": "user", "content": sys.stdin.readline().strip()}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
Thread(target=model.generate, kwargs=dict(**inputs, max_new_tokens=32, do_sample=False, streamer=streamer)).start()
for text in streamer:
    print(text, end="", flush=True)
"""

LLAMA_CPP = """
import json, sys
from xllamacpp import CommonParams, Server
params = CommonParams()
params.model.path, params.n_predict = sys.argv[1], 32
def show(piece):
    piece = json.loads(piece) if isinstance(piece, (str, bytes)) else piece
    for choice in piece.get("choices", []) if isinstance(piece, dict) else []:
        print(choice["delta"].get("content") or "", end="", flush=True)
chat = [{"role": "user", "content": sys.stdin.readline().strip()}]
Server(params).handle_chat_completions({"messages": chat, "stream": True, "temperature": 0}, show)
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_token", allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", help="a model folder")
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="its q8_0 file, for llama.cpp")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/first_token.json"))
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    source = resolve(options.model)
    if source.kind != "folder":
        raise UserError(f"MODEL {options.model}: give a model folder.")
    ours = [sys.executable, "-m", "inference.chat"]
    greedy = ["--temperature", "0", "--max-new-tokens", "32"]
    programs = {
        "chat": [*ours, options.model, *greedy],
        "plain_transformers": [sys.executable, "-c", PLAIN, options.model],
    }
    if options.gguf:
        programs["chat_gguf"] = [*ours, str(options.gguf), *greedy]
        programs["plain_llama_cpp"] = [sys.executable, "-c", LLAMA_CPP, str(options.gguf)]
    measure(programs)  # into the page cache
    rounds = [measure(programs) for _ in range(options.rounds)]
    write_json(options.output, {"rounds": options.rounds, "cores": os.cpu_count(), **summary(rounds)})
    print(options.output.read_text(encoding="utf-8"))
    return 0


def measure(programs: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
    """Program → (wall seconds, its own seconds) to the first characters."""
    return {name: first_token(command) for name, command in programs.items()}


def first_token(command: list[str]) -> tuple[float, float]:
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(f"{QUESTION}\n".encode())
        process.stdin.close()
        first = process.stdout.read(1)
        wall = time.monotonic() - began
        whole = psutil.Process(process.pid)
        own = sum(sum(one.cpu_times()[:2]) for one in [whole, *whole.children(recursive=True)]) if first else 0.0
        process.kill()
        if not first:
            raise UserError(f"{' '.join(command[:4])} said nothing: {process.stderr.read().decode()[-600:]}")
    return wall, own


def summary(rounds: list[dict]) -> dict:
    """Medians of each program, and of ours over plain within a round."""
    names = list(rounds[0])
    found = {
        name: {
            "seconds": round(statistics.median(one[name][0] for one in rounds), 2),
            "own_seconds": round(statistics.median(one[name][1] for one in rounds), 2),
        }
        for name in names
    }
    pairs = [("chat", "plain_transformers"), ("chat_gguf", "plain_llama_cpp"), ("chat_gguf", "plain_transformers")]
    ratios = {
        f"{one}/{other}": {
            key: round(statistics.median(row[one][n] / row[other][n] for row in rounds), 3)
            for n, key in enumerate(("seconds", "own_seconds"))
        }
        for one, other in pairs
        if {one, other} <= set(names)
    }
    return {"programs": found, "ratios": ratios}


if __name__ == "__main__":
    run_command(main)
