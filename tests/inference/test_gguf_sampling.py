"""llama.cpp itself samples from an exported file as transformers' generate() does from the folder: values, order, probabilities."""

import json
import subprocess
import sys
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest
import torch

from inference import export_gguf
from inference.gguf.model import SAMPLING_ORDER
from inference.loading import load_model, resolve
from tests.inference.gguf_models import changed, make_llama3

pytest.importorskip("xllamacpp")
PROMPT = [*range(100, 160), *[40, 41, 42, 43, 44] * 16]  # the first tokens lie beyond the last 64, yet are penalised
# An order of temperature last would keep other tokens than these: at 2.5 the nucleus is far wider.
HOT = {"do_sample": True, "temperature": 2.5, "top_p": 0.7, "top_k": 90, "min_p": 0.01, "repetition_penalty": 1.4}


# In a process of its own, which is killed: a Server that goes before its loop has begun waits for that loop for ever, in C++ and
# with the interpreter's lock, so that no timeout of a test is heard.
SERVER = """import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel = sys.argv[1], 0, 256, 1
params.cpuparams.n_threads, params.verbosity = 1, 1
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()"""


@contextmanager
def llama_cpp(path):
    """Its server's address."""
    command = [sys.executable, "-c", SERVER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert address, "llama.cpp has not started"
        yield address
    finally:
        process.kill()
        process.communicate()


def ask(address, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(address + path, data), timeout=120) as reply:
        return json.load(reply)


def exported(tmp_path, generation):
    """A folder whose generation_config.json says this, and its f16 file."""
    folder = make_llama3(tmp_path / "plain")
    model = changed(folder, tmp_path / "model", "generation_config.json", lambda config: config.update(generation))
    export_gguf.main([str(model), "--output", str(tmp_path / "out"), "--types", "f16", "--name", "m"])
    return model, tmp_path / "out" / "m-f16.gguf"


def test_llama_cpp_reads_every_field_and_the_order(tmp_path):
    _, path = exported(tmp_path, {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 0, "min_p": 0.0})
    with llama_cpp(path) as address:
        params = ask(address, "/props")["default_generation_settings"]["params"]
    read = {name: params[name] for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")}
    assert read == pytest.approx({"temperature": 0.6, "top_p": 0.9, "top_k": 0, "min_p": 0, "repeat_penalty": 1})
    assert params["samplers"] == SAMPLING_ORDER.split(";")
    assert params["repeat_last_n"] == 512  # the whole context of this model, as transformers' penalty sees it


def test_the_probabilities_that_llama_cpp_draws_from_are_transformers_own(tmp_path):
    folder, path = exported(tmp_path, HOT)
    model = load_model(resolve(str(folder)))
    output = model.generate(
        torch.tensor([PROMPT]), max_new_tokens=1, output_scores=True, return_dict_in_generate=True, pad_token_id=0
    )
    probabilities = torch.softmax(output.scores[0][0], 0)  # scores: after every warper
    expected = {token: probabilities[token].item() for token in probabilities.nonzero()[:, 0].tolist()}
    body = {"prompt": PROMPT, "n_predict": 1, "n_probs": 200, "post_sampling_probs": True, "seed": 5}
    with llama_cpp(path) as address:
        answer = ask(address, "/completion", body)
    told = answer["completion_probabilities"][0]["top_probs"]
    got = {one["id"]: one["prob"] for one in told if one["prob"] > 0}
    assert 10 < len(expected) < 90  # top-p cut, not top-k alone
    assert got == pytest.approx(expected, abs=2e-3)
