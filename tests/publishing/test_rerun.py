"""Someone who has only the repository on the Hub makes the model again: its scripts, its recipe, nothing else of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_card import build
from run_folder import read_json
from tests.conftest import ROOT, hub_environment
from tests.publishing.test_release_checks import findings

ID = "alice/rerun-from-the-hub"
SMALL = ("--max_steps", "2", "--global_batch_size", "1", "--trainer_args.save_steps", "100")


def run(*command: str | Path, folder: Path, env: dict[str, str]) -> str:
    env = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def story(run_dir: Path) -> list[dict]:
    """Every step of a run but its time."""
    return [{k: v for k, v in step.items() if k != "seconds"} for step in read_json(run_dir / "training.json")["steps"]]


@pytest.mark.base_model
def test_the_repository_alone_makes_the_same_model_again(hub_url, tmp_path):
    from huggingface_hub import HfApi

    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    train = (sys.executable, "-m", "training.train")
    first = tmp_path / "runs" / "smollm2-demo"
    run(*train, "training/recipes/smollm2-demo.yaml", *SMALL, "--output", first, folder=ROOT, env=env)
    build.main([str(first), "--repo-id", ID])
    assert findings(first, ID) == [], "a real run, as it would be pushed"

    pushed = hub_environment(hub_url, tmp_path / "home")
    push = "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo(sys.argv[1]);"
    push += "api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])"
    run(sys.executable, "-c", push, ID, first / "release", folder=tmp_path, env=pushed)
    assert "scripts/SOURCE.json" in HfApi(endpoint=hub_url, token="hf_alice").list_repo_files(ID)

    empty = tmp_path / "another-machine"
    empty.mkdir()
    hf = Path(sys.executable).with_name("hf")
    run(hf, "download", ID, "--local-dir", empty / "model", folder=empty, env=hub_environment(hub_url, empty / "home"))
    again = empty / "again"
    run(*train, "../recipe.yaml", "--output", again, folder=empty / "model" / "scripts", env=env)

    one, two = read_json(first / "training.json"), read_json(again / "training.json")
    assert story(first) == story(again) and len(story(again)) == 2, "the same losses, bit for bit"
    assert one["model_sha256"] == two["model_sha256"], "the same weights, bit for bit"
    assert one["git"] == two["git"] and two["git"]["commit"], "the commit comes from scripts/SOURCE.json"
    assert one["encoded_examples"] == two["encoded_examples"]
