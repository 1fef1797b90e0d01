"""Someone who has only the repository on the Hub makes the model again: its scripts, its recipe, nothing else of ours."""

import os
import subprocess
import sys
from pathlib import Path

from huggingface_hub import HfApi

from run_folder import read_json
from tests.conftest import ROOT, hub_environment
from tests.publishing.test_release_checks import findings

ID, BASE = "alice/rerun-from-the-hub", "alice/rerun-base"
SMALL = ("--max_steps", "2", "--global_batch_size", "2", "--max_length", "512", "--trainer_args.save_steps", "100")


def run(*command: str | Path, folder: Path, env: dict[str, str]) -> str:
    env = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def push(api: HfApi, repo_id: str, folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    api.create_repo(repo_id)
    api.upload_folder(repo_id=repo_id, folder_path=folder)


def story(run_dir: Path) -> list[dict]:
    """Every step of a run but its time."""
    return [{k: v for k, v in step.items() if k != "seconds"} for step in read_json(run_dir / "training.json")["steps"]]


def test_the_repository_alone_makes_the_same_model_again(hub_url, tiny_model_folder, tmp_path, monkeypatch):
    """Trained by our own commands from a tiny base on the Hub, published, downloaded, trained again by the downloaded ones."""
    api = HfApi(endpoint=hub_url, token="hf_alice")
    (tiny_model_folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    push(api, BASE, tiny_model_folder, monkeypatch)
    train = (sys.executable, "-m", "training.train")
    env = {**hub_environment(hub_url, tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    first = tmp_path / "runs" / "demo"
    recipe = ("training/recipes/smollm2-demo.yaml", "--model", BASE, *SMALL)
    run(*train, *recipe, "--output", first, folder=ROOT, env=env)
    run(sys.executable, "-m", "model_card.build", first, "--repo-id", ID, folder=ROOT, env=env)
    assert findings(first, ID) == [], "a real run, as it would be pushed"
    push(api, ID, first / "release", monkeypatch)
    assert "scripts/SOURCE.json" in api.list_repo_files(ID)

    empty = tmp_path / "another-machine"
    empty.mkdir()
    env = {**env, "HF_HOME": str(empty / "home")}
    run(Path(sys.executable).with_name("hf"), "download", ID, "--local-dir", empty / "model", folder=empty, env=env)
    scripts = empty / "model" / "scripts"
    run(
        "git", "init", "-q", "..", folder=scripts, env=dict(os.environ)
    )  # a repository around them that is not the code's
    name = run(sys.executable, "-m", "training.recipe", "../recipe.yaml", folder=scripts, env=env).strip()
    run(*train, "../recipe.yaml", folder=scripts, env=env)
    again = scripts / "runs" / name
    assert name == "demo"

    one, two = read_json(first / "training.json"), read_json(again / "training.json")
    assert story(first) == story(again) and len(story(again)) == 2, "the same losses, bit for bit"
    assert one["model_sha256"] == two["model_sha256"], "the same weights, bit for bit"
    assert one["git"] == two["git"] and two["git"]["commit"], "the commit comes from scripts/SOURCE.json"
    assert one["encoded_examples"] == two["encoded_examples"]
