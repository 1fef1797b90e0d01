"""A stand-in for inference/ with canned answers: python -m tests.eval.fake_inference ARGUMENTS OF eval.run

A model is a folder with a file `answers.json` ({"default": text, prompt: text}); each answer and each text takes FAKE_DELAY seconds.
"""

import hashlib
import json
import os
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path

from command import UserError, run_command
from inference.loading import DTYPE_HELP, DTYPES
from inference.rules import GREEDY

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    spec: str
    path: Path
    name: str


@dataclass(frozen=True)
class Answer:
    index: int
    text: str
    token_ids: list[int]
    finish_reason: str

    @property
    def tokens(self):
        return len(self.token_ids)


class Engine:
    """Gives the canned answers last first, as a real engine may finish them in any order."""

    loaded = 0

    def __init__(self, model, tokenizer):
        Engine.loaded += 1
        self.answers = model

    def made_by(self):
        return {"torch": "0", "transformers": "0"}

    def generate(self, conversations, *, max_new_tokens, sampling=GREEDY, seed=0, batch_size=32, streams=None):
        for index in reversed(range(len(conversations))):
            time.sleep(float(os.environ.get("FAKE_DELAY", "0")))
            prompt = conversations[index][-1]["content"]
            told = f" {streams[index]} {seed}" if sampling.temperature else ""
            text = (self.answers.get(prompt, self.answers["default"]) + told)[: max_new_tokens[index]]
            cut = len(text) == max_new_tokens[index]
            yield Answer(index, text, list(range(len(text))), "length" if cut else "stop")

    def log_probs(self, texts, batch_size=8):
        for index in sorted(range(len(texts)), key=lambda index: -len(texts[index])):
            time.sleep(float(os.environ.get("FAKE_DELAY", "0")))
            yield index, self.answers.get("log_prob", -2.0) * len(texts[index]), len(texts[index])


def make_model(folder, **answers):
    """Write a model folder whose answer to everything is a good Chinese one, but for what `answers` says."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"default": "好的,今天天气很好。", **answers}, ensure_ascii=False)
    (folder / "answers.json").write_text(text, encoding="utf-8")
    return folder


def resolve(model):
    path = Path(model)
    if not (path / "answers.json").exists():
        raise UserError(f"{model} is no model.")
    return Source(model, path, path.name)


def load_model(source, dtype="float32", device=None):
    assert dtype in DTYPES
    return json.loads((source.path / "answers.json").read_text(encoding="utf-8"))


def identity(source):
    text = (source.path / "answers.json").read_bytes()
    return {"model": source.spec, "name": source.name, "sha256": hashlib.sha256(text).hexdigest()}


def install():
    """Put the stand-in where eval looks for inference/."""
    loading, engine = types.ModuleType("inference.loading"), types.ModuleType("inference.engine")
    loading.resolve, loading.load_model, loading.identity = resolve, load_model, identity
    loading.load_tokenizer, loading.default_dtype = lambda source: None, lambda: "float32"
    loading.DTYPES, loading.DTYPE_HELP = DTYPES, DTYPE_HELP
    engine.Engine = Engine
    sys.modules.update({"inference.loading": loading, "inference.engine": engine})


if __name__ == "__main__":
    install()
    from eval.run import main

    run_command(main)
