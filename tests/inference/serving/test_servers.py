"""The servers themselves, started as a user starts them, asked by OpenAI's own client."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import openai
import pytest

from inference.chat_format import encode_chat
from inference.engine import Engine
from inference.loading import load_model, load_tokenizer, resolve
from inference.rules import GREEDY, Rules
from inference.serving.programs import Wanted, make_server
from tests.conftest import ROOT, free_ports
from tests.inference.serving.checks import CHATS, SHORTFALLS, Served, answer_endlessly, run_checks
from tests.inference.serving.printable import SAMPLING, save_printable_model

TYPED = [{"role": "user", "content": "<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>"}]
needs_xllamacpp = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="pip install xllamacpp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_folder) -> Path:
    return save_printable_model(tmp_path_factory.mktemp("served") / "printable", tiny_folder)


@pytest.fixture(scope="module")
def gguf(folder, command) -> Path:
    done = command("inference.export_gguf", folder, "--output", folder.parent / "gguf", "--types", "f16")
    assert done.returncode == 0, done.stderr
    return folder.parent / "gguf" / "printable-f16.gguf"


@pytest.fixture(scope="module")
def engine(folder) -> Engine:
    source = resolve(str(folder))
    return Engine(load_model(source), load_tokenizer(source))


@contextmanager
def started(model: Path, log: Path, *words: str) -> Iterator[tuple[subprocess.Popen, int, str]]:
    """(process, port, what it printed) of `python -m inference.serve MODEL`, once it is ready."""
    port = free_ports()
    command = [sys.executable, "-m", "inference.serve", str(model), "--port", str(port), *words]
    with log.open("w") as said, subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said) as process:
        try:
            while "print(answer" not in log.read_text() and process.poll() is None:
                time.sleep(0.05)
            assert process.poll() is None, log.read_text()
            yield process, port, log.read_text()
        finally:
            process.terminate()


@pytest.mark.parametrize("program", ["transformers", pytest.param("llama.cpp", marks=needs_xllamacpp)])
def test_a_server_does_what_our_table_says(program, folder, engine, request, tmp_path):
    """All checks against one running server, the printed Python, its end in the middle of an answer."""
    model = folder if program == "transformers" else request.getfixturevalue("gguf")
    answers = sorted(engine.generate(CHATS, max_new_tokens=16), key=lambda answer: answer.index)
    with started(model, tmp_path / "log") as (process, port, said):
        url = f"http://127.0.0.1:{port}"
        assert f"ready at {url}/v1" in said and "limit: a control token typed" in said
        name = re.search(r"model='(.*?)'", said).group(1)
        retries = 1  # uvicorn closes a connection after a 500
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=retries, timeout=60)
        length = len(encode_chat(engine.tokenizer, TYPED))
        served = Served(url, name, client, answers, (TYPED, length))
        failed = run_checks(served)
        assert failed.keys() == SHORTFALLS[program], json.dumps(failed, indent=1, ensure_ascii=False)
        if program == "transformers":
            draws_as_generate(served, engine)
        else:
            has_our_defaults(url)
        snippet = said[said.index("from openai import") :]
        assert subprocess.run(
            [sys.executable, "-c", snippet], capture_output=True, text=True, check=True
        ).stdout.strip()
        ends_at_once(process, port, served, tmp_path / "log")


def draws_as_generate(served: Served, engine: Engine) -> None:
    """What the server draws with a seed is what plain transformers draws with the model's generation_config."""
    import torch

    inputs = engine.tokenizer.apply_chat_template(
        CHATS[0], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    torch.manual_seed(7)
    output = engine.model.generate(**inputs, max_new_tokens=24, **SAMPLING)[0, inputs["input_ids"].shape[1] :]
    text = engine.tokenizer.decode(output, skip_special_tokens=True)
    assert served.text(temperature=openai.omit, seed=7, max_tokens=24) == text


def has_our_defaults(url: str) -> None:
    """The model's sampling, in transformers' order."""
    with urllib.request.urlopen(f"{url}/props") as reply:
        settings = json.load(reply)["default_generation_settings"]
    told = {
        name: round(settings["params"][name], 5)
        for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
    }
    assert told == {"temperature": 0.6, "top_p": 0.9, "top_k": 0, "min_p": 0, "repeat_penalty": 1}
    assert settings["params"]["samplers"] == ["penalties", "temperature", "top_k", "top_p", "min_p"]
    assert settings["n_ctx"] == 512


def ends_at_once(process: subprocess.Popen, port: int, served: Served, log: Path) -> None:
    """Ctrl-C while it answers: it is gone within 2 s (3 s on a busy machine), the port free, and so it was said."""
    client = answer_endlessly(served)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130 and time.monotonic() - began < 3
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    client.join(10)
    assert (
        not client.is_alive() and "The server is down" in log.read_text() and "KeyboardInterrupt" not in log.read_text()
    )


@needs_xllamacpp
def test_name_context_and_key_reach_llama_cpp(gguf, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_API_KEY", "secret")
    with started(gguf, tmp_path / "log", "--model-name", "mine", "--context", "256") as (process, port, said):
        base = f"http://127.0.0.1:{port}/v1"
        assert [model.id for model in openai.OpenAI(base_url=base, api_key="secret").models.list()] == ["mine"]
        snippet = said[said.index("import os\n") :]
        assert subprocess.run(
            [sys.executable, "-c", snippet], capture_output=True, text=True, check=True
        ).stdout.strip()
        with pytest.raises(openai.BadRequestError, match="256"):
            long = [{"role": "user", "content": "q" * 300}]
            openai.OpenAI(base_url=base, api_key="secret").chat.completions.create(model="mine", messages=long)
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=base, api_key="wrong").chat.completions.create(model="mine", messages=CHATS[0])
        os.kill(process.pid, signal.SIGHUP)  # the terminal was closed
        assert process.wait(10) == 130


@needs_xllamacpp
def test_a_server_that_cannot_load_ends_with_a_message(gguf, tmp_path, monkeypatch):
    """A GGUF file that our reader takes and llama.cpp does not."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(gguf.read_bytes()[:-2000])
    monkeypatch.setattr("inference.serving.programs._find", lambda name: None)
    wanted = Wanted("127.0.0.1", free_ports(), None, None, None)
    line = make_server("llama.cpp", resolve(str(broken)), broken, Rules("", (), (), GREEDY, None), wanted).command
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "error: " in done.stderr and "Traceback" not in done.stderr
