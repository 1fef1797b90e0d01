"""How a model is made again: from the repository on the Hub alone, from a clone of the code, and what of its data is not public."""

import shlex
from collections.abc import Set
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from model_card.evaluation import reductions
from model_card.records import LOCAL_PATH
from model_card.text import fenced_as, visible

SCRIPTS = "scripts/SOURCE.json"  # there where a release carries the code that made it


def reproduction(
    training: dict[str, Any], name: str, repo_id: str | None, settings: dict[str, Any], files: Set[str]
) -> dict[str, Any]:
    """What both templates print. `settings` are the evaluation's, `files` the paths of the release.

    `from_hub` is None where the release carries no scripts.
    """
    return {
        "from_hub": from_hub(repo_id or name, name) if SCRIPTS in files else None,
        "from_clone": fenced_as("bash", "\n".join([*checkout(training), "./reproduce.sh recipe.yaml"])),
        "steps": steps(training, name, repo_id, settings),
        "unpublished": unpublished(training, files),
        "carried": carried(training, files),
    }


def from_hub(repo_id: str, name: str) -> Markup:
    """The shell commands of someone who has nothing but the repository's name."""
    folder = name.replace(" ", "-")
    lines = [f"hf download {repo_id} --local-dir {folder}", f"cd {folder}/scripts", "bash reproduce.sh ../recipe.yaml"]
    return fenced_as("bash", "\n".join(lines))


def checkout(training: dict[str, Any]) -> list[str]:
    """The command that brings a clone to the commit of the run; none where it was not recorded."""
    commit = training["git"].get("commit")
    return [f"git checkout {shlex.quote(visible(str(commit)))}"] if commit else []


def steps(training: dict[str, Any], name: str, repo_id: str | None, settings: dict[str, Any]) -> Markup:
    """The same one by one, with the options of this run; `.venv` is what `reproduce.sh --setup` makes."""
    python = ".venv/bin/python"
    folder, base = f"runs/{name.replace(' ', '-')}", shlex.quote(visible(str(training["base_model"].get("model"))))
    lines = [
        *checkout(training),
        "./reproduce.sh --setup",
        f"{python} -m training.train recipe.yaml --output {folder}",
        f"{python} -m eval.run {folder}/model --base {base} \\\n    --output {folder}/eval{reduced_options(settings)}",
        f"{python} -m model_card.build {folder}" + (f" --repo-id {repo_id}" if repo_id else ""),
    ]
    return fenced_as("bash", "\n".join(lines))


def reduced_options(settings: dict[str, Any]) -> str:
    """The options of eval.run with which a reduced evaluation was made; empty for a full one."""
    reduced = reductions(settings) or {"limit": None, "budgets": []}
    limit = f" --limit {reduced['limit']}" if reduced["limit"] else ""
    return limit + (f" --max-new-tokens {reduced['budgets'][0][1]}" if reduced["budgets"] else "")


def carried(training: dict[str, Any], files: Set[str]) -> dict[int, str]:
    """Place in the list of sources → address below scripts/ of those that are a file which the release carries."""
    paths = [str(source.get("path")) for source in training["data"].get("sources") or []]
    return {place: quote(path) for place, path in enumerate(paths) if f"scripts/{path}" in files}


def unpublished(training: dict[str, Any], files: Set[str]) -> list[int]:
    """The places in the list of sources of those that are a local file which neither the code nor the release holds."""
    found = []
    for place, source in enumerate(training["data"].get("sources") or []):
        path = str(source.get("path"))
        missing = path.endswith((".json", ".jsonl", ".parquet")) and SCRIPTS in files and f"scripts/{path}" not in files
        if LOCAL_PATH.fullmatch(path) or missing:
            found.append(place)
    return found
