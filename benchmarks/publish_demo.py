"""A run published on a Hub on loopback with everything that belongs to it, then used from another machine's view.

    python benchmarks/publish_demo.py RUN_DIR [--no-xet]

Runs the commands that a user would: GGUF export, cards, dry run, push with GGUF files, Space and collection, the same push again. The other machine is a process with an empty home, cache and working folder that knows the repository's name only.
Writes benchmarks/results/publish_demo.json: every command with status, seconds and what it said last.
"""

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from run_folder import write_json  # noqa: E402  (the repository root has to be on the path first)
from tests.hub import Hub  # noqa: E402

ID, TAG, COLLECTION = "alice/smollm2-demo", "v1", "Chinese chat models"
QUESTION = "请用一句话介绍长城。"
LAST = 14  # lines of what a command said
STRANGER = f"""import json, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("{ID}", revision="{TAG}")
model = AutoModelForCausalLM.from_pretrained("{ID}", revision="{TAG}")
chat = [{{"role": "user", "content": "{QUESTION}"}}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**inputs, max_new_tokens=96, do_sample=False)[0, inputs["input_ids"].shape[1]:]
print(json.dumps(tokenizer.decode(output, skip_special_tokens=True), ensure_ascii=False))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a trained and evaluated run")
    parser.add_argument("--no-xet", action="store_true", help="push through LFS instead of Xet")
    options = parser.parse_args()
    run = options.run_dir.resolve()
    with tempfile.TemporaryDirectory() as folder, Hub(Path(folder) / "hub", xet=not options.no_xet) as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_alice", "HF_HOME": f"{folder}/publisher"}
        environment |= {"HF_HUB_DISABLE_XET": "1"} if options.no_xet else {}
        commands = [measure(words, ROOT, environment, run) for words in publishing(run)]
        strangers = [use(code, Path(folder) / f"machine{n}", hub.url) for n, code in enumerate(using())]
        held = held_by(hub, run)
    record = {"xet": not options.no_xet, "commands": commands, "another_machine": strangers, "hub": held, **here()}
    name = "publish_demo_lfs.json" if options.no_xet else "publish_demo.json"
    write_json(ROOT / "benchmarks" / "results" / name, record)
    return max(step["status"] for step in commands + strangers)


def publishing(run: Path) -> list[list[str]]:
    """The commands of the one who publishes."""
    build = ["-m", "model_card.build", str(run), "--repo-id", ID]
    push = ["upload.py", str(run), "--repo-id", ID, "--tag", TAG, "--gguf", "--space", "--collection", COLLECTION]
    export = ["-m", "inference.export_gguf", str(run / "model")]
    return [export, build, [*push, "--dry-run"], push, push]


def using() -> list[list[str]]:
    """The commands of somebody with the name of the repository and nothing else."""
    chat = ["-m", "inference.chat", f"{ID}@{TAG}", "--temperature", "0", "--max-new-tokens", "96"]
    return [["-c", STRANGER], chat]


def measure(words: list[str], folder: Path, environment: dict[str, str], run: Path, said: str = "") -> dict[str, Any]:
    """Run `python WORDS` and keep how it ended; paths of this machine are cut out of what it said."""
    started = time.monotonic()
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, input=said)
    told = done.stdout if done.returncode == 0 else done.stdout + done.stderr  # progress bars go to stderr
    lines = [line for line in told.splitlines() if line.strip()]
    assert "hf_alice" not in done.stdout + done.stderr, "a token was shown"
    shown = [line.replace(str(run), "RUN_DIR")[:300] for line in lines[-LAST:]]
    spoken = ["python", *(word.replace(str(run), "RUN_DIR") for word in words)]
    print("\n".join([" ".join(spoken)[:120], *("   " + line for line in shown)]), flush=True)
    seconds = round(time.monotonic() - started, 1)
    return {"command": " ".join(spoken), "status": done.returncode, "seconds": seconds, "said": shown}


def use(words: list[str], machine: Path, endpoint: str) -> dict[str, Any]:
    """The same on another machine: no home, no cache, no token, an empty folder; for our own commands, the code alone."""
    machine.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(machine),
        "HF_HOME": str(machine / "hf"),
        "HF_ENDPOINT": endpoint,
    }
    folder = machine / "work"
    if words[0] == "-m":
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    else:
        folder.mkdir()
    return measure(words, folder, environment, machine, f"{QUESTION}\n")


def held_by(hub: Hub, run: Path) -> dict[str, Any]:
    """What the Hub holds in the end, from its own store."""
    release = {p.relative_to(run / "release").as_posix() for p in (run / "release").rglob("*") if p.is_file()}
    repositories = {}
    for repo_id, kind in ((ID, "model"), (f"{ID}-GGUF", "model"), (f"{ID}-demo", "space")):
        files, refs = hub.snapshot(repo_id, kind=kind), hub.refs(repo_id, kind=kind)
        repositories[f"{kind} {repo_id}"] = {"files": len(files), "refs": sorted(refs)}
    assert set(hub.snapshot(ID)) - {".gitattributes"} == release, "main is not the release"
    return {"repositories": repositories, "requests": len(hub.requests), "tokens_on_other_origins": len(hub.leaks)}


def here() -> dict[str, Any]:
    """The code and what it ran on."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    packages = ("huggingface_hub", "hf_xet", "transformers", "torch", "gguf")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "commit": commit.stdout.strip(),
        "versions": versions,
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.exit(main())
