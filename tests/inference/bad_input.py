"""Faulty models, and a program that gives each of them to each front end: python -m tests.inference.bad_input JOBS RESULTS

All in one process, as importing torch anew for each would take minutes. What is refused without torch comes first.
"""

import contextlib
import importlib
import io
import json
import shutil
import struct
import sys
import time
from pathlib import Path

from command import run_command

QUESTION = ["--prompt", "x"]


def arguments(front_end: str, model: str, folder: Path) -> list[str]:
    """A right command line but for the model."""
    prompts = folder / "prompts.jsonl"
    prompts.write_text('{"id": 1, "prompt": "x"}\n')
    rest = {
        "inference.chat": [],
        "inference.generate": [
            "--prompts",
            str(prompts),
            "--output",
            str(folder / "answers.jsonl"),
            "--max-new-tokens",
            "8",
        ],
        "inference.demo": ["--port", "7871"],
        "inference.serve": ["--print"],
        "inference.compare": [model, "--prompt", "x"],
        "inference.export_gguf": ["--output", str(folder / "gguf")],
        "eval.run": ["--output", str(folder / "eval"), "--suite", "language", "--limit", "1"],
    }
    return [model, *rest[front_end]]


def make(fault: str, tiny: Path, folder: Path) -> str:
    """A MODEL with the fault, made in `folder` from a whole one."""
    whole = Path(shutil.copytree(tiny, folder / "模型 with space"))
    weights = whole / "model.safetensors"
    if fault == "nothing there":
        return str(folder / "nothing")
    if fault == "empty":
        return ""
    if fault == "no weights":
        weights.unlink()
    elif fault == "no config":
        (whole / "config.json").unlink()
    elif fault == "only GGUF files":
        for name in ("config.json", "model.safetensors"):
            (whole / name).unlink()
        for name in ("b-q8_0.gguf", "a-q4_0.gguf"):
            (whole / name).write_bytes(b"GGUF")
    elif fault == "only pickles":
        weights.rename(whole / "pytorch_model.bin")
    elif fault == "missing shard":
        index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
        (whole / "model.safetensors.index.json").write_text(json.dumps(index))
    elif fault == "cut safetensors":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "lying header":
        weights.write_bytes(lie(weights.read_bytes()))
    elif fault == "broken config":
        (whole / "config.json").write_text('{"model_type": ')
    elif fault == "unknown architecture":
        change(whole / "config.json", model_type="foo", auto_map={"AutoModelForCausalLM": "evil.Model"})
        (whole / "evil.py").write_text("raise SystemExit('code of the model was run')")
    elif fault == "no tokenizer":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (whole / name).unlink()
    elif fault == "broken tokenizer":
        (whole / "tokenizer.json").write_text('{"version": ')
    elif fault == "no template":
        (whole / "chat_template.jinja").unlink()
    elif fault == "dangling link":
        weights.unlink()
        weights.symlink_to(folder / "gone.safetensors")
    elif fault in ("not GGUF", "cut GGUF"):
        path = whole / "m.gguf"
        path.write_bytes(b"PK\3\4" if fault == "not GGUF" else b"GGUF" + struct.pack("<IQQ", 3, 9, 9))
        return str(path)
    return str(whole)


def lie(weights: bytes) -> bytes:
    """The same file with a header that makes its first tensor larger than the file."""
    length = struct.unpack("<Q", weights[:8])[0]
    header = json.loads(weights[8 : 8 + length])
    next(value for name, value in header.items() if name != "__metadata__")["data_offsets"] = [0, 10**12]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + weights[8 + length :]


def change(path: Path, **values) -> None:
    """The JSON file with other values."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def run(front_end: str, words: list[str]) -> dict:
    """Status, messages and processor seconds of a command; whether torch had to be imported for it."""
    said, before, began = io.StringIO(), "torch" in sys.modules, time.process_time()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            run_command(lambda: importlib.import_module(front_end).main(words))
        except SystemExit as stop:
            status = stop.code
        except Exception as error:  # a traceback, were it a process of its own: the test says so
            said.write(f"Traceback: {type(error).__name__}: {error}")
            status = 1
    seconds = time.process_time() - began
    return {
        "status": status,
        "said": said.getvalue(),
        "seconds": seconds,
        "torch": "torch" in sys.modules and not before,
    }


def main(jobs: str, results: str) -> None:
    rows = json.loads(Path(jobs).read_text(encoding="utf-8"))
    found = [{**row, **run(row["front_end"], row["words"])} for row in rows]
    Path(results).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
