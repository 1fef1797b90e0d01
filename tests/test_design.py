"""The map of the design, held against the code."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

COMMANDS = (
    "training.train", "training.inspect_pairs", "training.plots", "training.merge_adapter", "training.recipe", "eval.run", "eval.rescore", "eval.judge", "eval.report", "model_card.build", "upload",
    "inference.chat", "inference.generate", "inference.compare", "inference.demo", "inference.export_gguf", "inference.serve",
    "inference.serving.llama_server",
)  # fmt: skip


def test_stations_do_not_import_their_neighbours():
    from importlinter.cli import lint_imports

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_the_map_catches_a_forbidden_import(tmp_path):
    """The contract itself is alive: a copy of the tree with one bad import breaks it."""
    import shutil

    for name in ("training", "eval", "model_card", "inference", "publishing"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.jsonl", "__pycache__"))
    for name in ("upload.py", "command.py", "run_folder.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "training" / "loss.py").open("a") as stream:
        stream.write("\nimport eval.statistics\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "training is not allowed to import eval" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_no_torch_and_bad_flags_are_status_2(name):
    code = (
        "import importlib, sys, time\n"
        f"module = importlib.import_module({name!r})\n"
        "for word in ('--help', '--no-such-flag'):\n"
        "    try: module.main([word])\n"
        "    except SystemExit as stop: print(stop.code)\n"
        "    except ValueError as error: print(2)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2"
    assert "usage:" in done.stdout


def test_the_report_on_pairs_loads_no_report_on_evaluations():
    """It shares one pure function with it, which stands alone: 23 modules less, pages and scoring among them."""
    code = (
        "import sys, training.report.text\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('eval', 'inference')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['eval', 'eval.visible_text']"


@pytest.mark.parametrize("name", ["upload.py", "command.py", "run_folder.py"])
def test_single_modules_import_no_station(name):
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {a.name for n in imports if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in imports if isinstance(n, ast.ImportFrom)}
    assert not {n.split(".")[0] for n in names} & {"training", "eval", "model_card", "inference"}


def test_requirements_are_pinned():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in lines if line and not line.startswith("#"))
