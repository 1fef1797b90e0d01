"""Programs that answer prompts, side by side: this project's engine, transformers' pipeline, llama.cpp's server. Each runs in a
process of its own, so that its peak memory is its own. Run by generate_speed.py:

    python -m benchmarks.generators SPEC.json RESULT.json
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from command import WorkError
from inference.chat_format import encode_chat
from inference.loading import load_tokenizer, resolve
from inference.rules import GREEDY, read_rules

ROOT = Path(__file__).parent.parent
SLOTS = 8  # of llama.cpp's server, all busy
Answers = Callable[[list[list[dict[str, str]]]], list[list[int]]]  # chats → token ids, without the stop token


def run_alone(spec: dict[str, Any]) -> dict[str, Any]:
    """What `measure` says of a specification, from a fresh process with `spec["threads"]` threads."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, found = Path(folder) / "spec.json", Path(folder) / "result.json"
        wanted.write_text(json.dumps(spec), encoding="utf-8")
        environment = {**os.environ, "OMP_NUM_THREADS": str(spec["threads"]), "TOKENIZERS_PARALLELISM": "false"}
        command = [sys.executable, "-m", "benchmarks.generators", wanted, found]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise WorkError(f"{spec['program']}: exit status {done.returncode}\n{done.stderr[-2000:]}")
        return json.loads(found.read_text(encoding="utf-8"))


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Load, answer one prompt to warm up, then answer all of `spec["prompts"]` by the clock.

    `peak_mb` is the most resident memory of the process and of those that it started, libraries and weights included.
    """
    answers, made_by = PROGRAMS[spec["program"]](spec)
    chats = [[{"role": "user", "content": prompt}] for prompt in spec["prompts"]]
    answers(chats[-1:])
    began = time.perf_counter()
    ids = answers(chats)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "ids": ids, "peak_mb": peak_mb(), "made_by": made_by}


def peak_mb() -> int:
    """Most resident memory of this process, and of each that it started and that still lives, added up; of Linux's /proc.

    Not by getrusage: what it tells of a child begins with the memory of the parent that forked it.
    """
    own = psutil.Process()
    told = [Path(f"/proc/{one.pid}/status").read_text() for one in (own, *own.children(recursive=True))]
    return round(sum(int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) for text in told) / 1024)


def by_engine(spec: dict[str, Any]) -> tuple[Answers, dict[str, str]]:
    """This project's engine, `spec["batch_size"]` prompts at a time; it is what inference.generate runs.

    A GGUF file without a dtype runs in llama.cpp, in a process of the engine's own.
    """
    from inference.runtime import open_engine

    engine = open_engine(resolve(spec["model"]), dtype=spec["dtype"])

    def answers(chats: list[list[dict[str, str]]]) -> list[list[int]]:
        found = engine.generate(
            chats, max_new_tokens=spec["max_new_tokens"], sampling=GREEDY, batch_size=spec["batch_size"]
        )
        return [answer.token_ids for answer in sorted(found, key=lambda answer: answer.index)]

    return answers, engine.made_by()


def by_pipeline(spec: dict[str, Any]) -> tuple[Answers, dict[str, str]]:
    """transformers' pipeline("text-generation"): a chat a call, as it comes, or a list with `batch_size`, padded on the left."""
    from transformers import pipeline

    generator = pipeline("text-generation", model=spec["model"])
    settings = {"max_new_tokens": spec["max_new_tokens"], "do_sample": False, "return_tensors": True}
    rules = read_rules(resolve(spec["model"]), generator.tokenizer)

    def answers(chats: list[list[dict[str, str]]]) -> list[list[int]]:
        if spec["batch_size"] == 1:
            found = [generator(chat, **settings) for chat in chats]
        else:
            found = generator(chats, batch_size=spec["batch_size"], **settings)
        return [
            after_prompt(list(row[0]["generated_token_ids"]), encode_chat(generator.tokenizer, chat), rules.stop_ids)
            for row, chat in zip(found, chats, strict=True)
        ]

    return answers, {name: version(name) for name in ("torch", "transformers")}


def after_prompt(ids: list[int], prompt: list[int], stop_ids: tuple[int, ...]) -> list[int]:
    """The answer in a sequence of padding, prompt, answer, stop token, padding. WorkError if the prompt is not there."""
    begin = next((i for i in range(len(ids)) if ids[i : i + len(prompt)] == prompt), None)
    if begin is None:
        raise WorkError("the pipeline was given another prompt than encode_chat makes")
    answer = ids[begin + len(prompt) :]
    return answer[: next((place for place, token in enumerate(answer) if token in stop_ids), len(answer))]


def by_llama_cpp(spec: dict[str, Any]) -> tuple[Answers, dict[str, str]]:
    """llama.cpp's own server, in this process on loopback, SLOTS prompts at a time, asked with the same token ids."""
    from xllamacpp import CommonParams, Server

    source = resolve(spec["model"])
    tokenizer = load_tokenizer(source)
    stop_ids = read_rules(source, tokenizer).stop_ids
    prompts = [encode_chat(tokenizer, [{"role": "user", "content": prompt}]) for prompt in spec["prompts"]]
    params = CommonParams()
    params.model.path, params.port, params.verbosity = str(source.path), 0, -1
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * (max(map(len, prompts)) + spec["max_new_tokens"] + 64)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = spec["threads"]
    server = Server(params)

    def answer(chat: list[dict[str, str]]) -> list[int]:
        asked = {"prompt": encode_chat(tokenizer, chat), "n_predict": spec["max_new_tokens"], "temperature": 0}
        asked |= {"cache_prompt": False, "return_tokens": True}
        request = urllib.request.Request(
            f"{server.listening_address}/completion", json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as reply:
            tokens = json.load(reply)["tokens"]
        return [token for token in tokens if token not in stop_ids]

    def answers(chats: list[list[dict[str, str]]]) -> list[list[int]]:
        with ThreadPoolExecutor(SLOTS) as clients:
            return list(clients.map(answer, chats))

    return answers, {"xllamacpp": version("xllamacpp")}


PROGRAMS = {"engine": by_engine, "pipeline": by_pipeline, "llama.cpp": by_llama_cpp}

if __name__ == "__main__":
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(measure(wanted)), encoding="utf-8")
