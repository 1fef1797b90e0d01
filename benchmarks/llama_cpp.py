"""A real llama.cpp to ask: the npm package node-llama-cpp, run by llama_cpp.mjs.

mkdir DIR && cd DIR && npm install --ignore-scripts node-llama-cpp@3.22.1
export NODE_LLAMA_CPP=DIR/node_modules/node-llama-cpp

It brings llama.cpp ready built (Linux binaries are packages of their own), about 700 MB with those for GPUs.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("llama_cpp.mjs")


def missing() -> str | None:
    """Why there is no llama.cpp to ask here; None if there is one."""
    if shutil.which("node") is None:
        return "no llama.cpp: node is not installed"
    if not (Path(os.environ.get("NODE_LLAMA_CPP", "/nowhere")) / "dist" / "index.js").is_file():
        return "no llama.cpp: NODE_LLAMA_CPP names no folder of node-llama-cpp (see benchmarks/llama_cpp.py)"
    return None


def ask(model: Path, **job: Any) -> dict[str, Any]:
    """llama.cpp's answers to a job, as llama_cpp.mjs describes both."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "job.json", Path(folder) / "answer.json"
        question.write_text(json.dumps({"model": str(model), **job}), encoding="utf-8")
        done = subprocess.run(["node", SCRIPT, question, answer], capture_output=True, text=True)
        if done.returncode or not answer.is_file():
            raise RuntimeError(f"llama.cpp failed on {model.name}: {done.stderr[-2000:]}")
        return json.loads(answer.read_text(encoding="utf-8"))
