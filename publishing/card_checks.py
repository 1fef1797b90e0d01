"""Checks of the two cards: metadata that the Hub understands, figures that the records hold, links that lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from publishing.file_checks import json_of
from publishing.hub_lists import LICENCES, RELATIONS, TASKS
from publishing.table_checks import check_tables, outside_fences
from run_folder import is_llama3_name

CARDS = ("README.md", "README_zh.md")
LANGUAGE = r"[a-z]{2,3}|multilingual|code"
# How a name must begin and what both cards must say, sections 1.b.i of each licence.
LLAMA = {
    "llama3": ("Llama-3", "Built with Meta Llama 3"),
    **{f"llama3.{n}": ("Llama", "Built with Llama") for n in (1, 2, 3)},
}
HUB_ID = r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?"
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<(?:img|a)\b[^>]*?(?:src|href)=[\"']([^\"']+)[\"']")


def check_cards(run_dir: Path, release: Path, repo_id: str) -> list[str]:
    """Both cards: front matter, licence duties, the model that they tell readers to load, tables, links."""
    data, found = front_matter(release)
    if data is None:
        return found
    found = check_metadata(data)
    found += check_model_index(release, data.get("model-index"))
    found += check_duties(release, data, repo_id)
    again = f".venv/bin/python -m model_card.build {shlex.quote(str(run_dir))} --repo-id {repo_id}"
    for name in CARDS:
        if f'model_id = "{repo_id}"\n' not in card_text(release, name) and (release / name).is_file():
            found.append(f"{name} tells readers to load another model than {repo_id}; build it again: {again}")
    known = [repo_id, f"{repo_id}-GGUF", *(value for value in data.values() if isinstance(value, str))]
    return [*found, *check_tables(release, known), *check_links(release)]


def card_text(release: Path, name: str) -> str:
    """A card's text, empty where it is missing."""
    path = release / name
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def front_matter(release: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """README.md's front matter, or None and what is wrong with it."""
    if not (release / "README.md").is_file():
        return None, []  # check_names says so
    match = re.match(r"---\n(.*?)\n---\n", card_text(release, "README.md"), re.DOTALL)
    try:
        data = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        return None, [f"README.md: the front matter is not YAML ({' '.join(str(error).split())})"]
    if not isinstance(data, dict):
        return None, ["README.md has no front matter; build the release again"]
    return data, []


def check_metadata(data: dict[str, Any]) -> list[str]:
    """The words of the front matter are those that the Hub knows; required ones are there."""
    found = [f"the front matter has no {key}; build the release again" for key in ("license", "pipeline_tag", "language", "library_name") if not data.get(key)]  # fmt: skip
    task, licence, relation = (data.get(key) for key in ("pipeline_tag", "license", "base_model_relation"))
    if task and task not in TASKS:
        found.append(f"pipeline_tag {task!r} is no task of the Hub; text-generation is one")
    if licence and licence not in LICENCES:
        found.append(
            f"license {licence!r} is no licence that the Hub knows; say `other` with license_name and license_link"
        )
    if licence == "other" and not (data.get("license_name") and data.get("license_link")):
        found.append("license `other` needs license_name and license_link")
    if relation is not None and relation not in RELATIONS:
        found.append(f"base_model_relation {relation!r} is none of {', '.join(sorted(RELATIONS))}")
    if relation is not None and not data.get("base_model"):
        found.append("base_model_relation stands there without base_model")
    found += [f"language {word!r} is no ISO 639 code, such as zh" for word in words(data.get("language")) if not re.fullmatch(LANGUAGE, word)]  # fmt: skip
    for key in ("base_model", "datasets", "new_version"):
        found += [f"{key} {word!r} is no id on the Hub, such as ORG/NAME" for word in words(data.get(key)) if not re.fullmatch(HUB_ID, word)]  # fmt: skip
    tags = data.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        found.append("tags is not a list of words")
    return [f"README.md: {finding}" for finding in found]


def words(value: Any) -> list[str]:
    """A word or a list of words, as a list of text."""
    return [] if value is None else [str(word) for word in (value if isinstance(value, list) else [value])]


def check_model_index(release: Path, model_index: Any) -> list[str]:
    """The model index has the Hub's form, and every figure of it is the tuned model's in the released comparison.json.

    Form: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    """
    rows = json_of(release / "eval" / "comparison.json").get("metrics") or []
    found = []
    try:
        for result, metric in results_of(model_index):
            suite, kind = result["dataset"].get("config") or result["dataset"]["name"], metric["type"]
            tuned = next((r["tuned"] for r in rows if (r["suite"], r["metric"]) == (suite, kind)), {})
            if result["task"]["type"] not in TASKS:
                found.append(f"the model index has the task {result['task']['type']!r}, which the Hub does not know")
            if tuned.get("value") is None or abs(tuned["value"] - metric["value"]) > 5e-7:
                found.append(f"the model index states {suite} {kind} = {metric['value']}, comparison.json does not")
            allowed = [*(tuned.get(key) for key in ("value", "low", "high", "n", "unparsed")), 0.95, 95]
            wrong = [n for n in inner_numbers(metric) if not any(n == a or round(a or 0, 6) == n for a in allowed)]
            found += [
                f"the model index states {number} for {suite} {kind}, comparison.json does not" for number in wrong
            ]
    except (KeyError, TypeError, AttributeError) as error:
        return [f"README.md: the model index or comparison.json is not of the known form ({error!r}); build it again"]
    return [f"README.md: {finding}" for finding in found]


def results_of(model_index: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each (result, metric) of a model index."""
    for model in model_index or []:
        if not isinstance(model["name"], str):
            raise TypeError("name is not a text")
        for result in model["results"]:
            for metric in result["metrics"]:
                yield result, metric


def inner_numbers(metric: dict[str, Any]) -> Iterator[float]:
    """The numbers of a metric's nested fields, such as its interval; its value is looked at apart."""
    for key, value in metric.items():
        if isinstance(value, dict):
            yield from inner_numbers(value)
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, int | float) and not isinstance(item, bool))
        elif isinstance(value, int | float) and not isinstance(value, bool) and key != "value":
            yield value


def check_duties(release: Path, data: dict[str, Any], repo_id: str) -> list[str]:
    """What the licence of the base asks of whoever passes a changed model on."""
    licence = str(data.get("license"))
    files = {"llama3": ("NOTICE", "USE_POLICY.md"), "gemma": ("NOTICE",)}.get(licence.partition(".")[0], ())
    found = [
        f"{name} is missing; the licence {licence} asks for it" for name in files if not (release / name).is_file()
    ]
    if licence not in LLAMA:
        return found
    begins, words = LLAMA[licence]
    name = repo_id.split("/")[1]
    if not (is_llama3_name(name) if licence == "llama3" else name.startswith(begins)):
        found.append(f"--repo-id {repo_id}: the licence {licence} asks for a name that begins with {begins}")
    return found + [
        f"{card} does not say “{words}”, which the licence {licence} asks for"
        for card in CARDS
        if (text := card_text(release, card)) and words not in text
    ]


def check_links(release: Path) -> list[str]:
    """Each relative link and picture of both cards is a file of the release."""
    found = []
    for name in CARDS:
        for match in LINK.finditer(outside_fences(card_text(release, name))):
            target = unquote((match[1] or match[2]).split("#")[0])
            if not target or re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.IGNORECASE):
                continue
            if target.startswith("/") or ".." in Path(target).parts or not (release / target).exists():
                found.append(f"{name} links to {target}, which is not in the release; build it again")
    return found
