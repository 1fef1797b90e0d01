"""One context for both cards. Every figure in it is read from a record of the run; names of fixed things stand in FIXED."""

import dataclasses
import json
import re
from collections.abc import Set
from pathlib import Path
from typing import Any

from markupsafe import Markup

from inference.rules import GREEDY, sampling_of
from model_card.changes import Previous, changes
from model_card.citation import PAPER, cite_release
from model_card.evaluation import evaluation
from model_card.licence import Licence, base_name
from model_card.records import LOCAL_PATH, SIDES, Run, flat
from model_card.reproduction import reproduction
from model_card.text import NBSP, fenced, wrapped
from model_card.usage import Release, snippets
from run_folder import is_hub_data_set

PROMPT_CHARACTERS = 600
ANSWER_CHARACTERS = 800
UNSAFE_CHARACTERS = 60  # of an answer about safety without the full score: a card teaches nobody how
SAFETY = "safety"

# Names and conventions that hold a digit and are no measurement of a run; the templates themselves hold none.
FIXED = {
    "paper": "arXiv:2403.07691",
    "paper_url": Markup("https://arxiv.org/abs/2403.07691"),
    "nbsp": Markup(NBSP),
    "confidence": Markup(f"95{NBSP}%"),
    "hash": Markup("SHA-256"),
    "sums": "SHA256SUMS",
    # What the released Llama3-8B-Chinese-Chat recommends; a generation_config.json that says otherwise wins.
    "temperature": 0.6,
    "top_p": 0.9,
    "max_new_tokens": 512,
    # What a program adds where the files do not say otherwise; tests/model_card/test_usage.py asks the programs.
    "own_sampling": {"transformers": "top-k 50", "llama_cpp": "top-k 40, min-p 0.05"},
}

OFF = dataclasses.asdict(GREEDY)  # of each way to sample, the value that switches it off

# The owner that a card names when it was built without --repo-id: the reader sees that it must be filled in.
PLACEHOLDER_OWNER = "YOUR-ORG"


def make_context(
    run: Run,
    name: str,
    repo_id: str | None,
    licence: Licence,
    *,
    files: Set[str] = frozenset(),
    previous: Previous | None = None,
    contact: str | None = None,
    new_version: str | None = None,
) -> dict[str, Any]:
    """Everything both templates print; absolute local paths in the records are cut to their last part.

    `files` are the other paths of the release: a figure or script is spoken of where it is there. `contact` is a line of the
    publisher's, `new_version` the repository that replaces this one.
    """
    shown_id = repo_id or f"{PLACEHOLDER_OWNER}/{name.replace(' ', '-')}"
    settings = (run.comparison or {}).get("settings") or {}
    again = reproduction(run.training, name, repo_id, settings, files)  # asks which paths are absolute
    run = dataclasses.replace(
        run,
        training=shorten_paths(run.training),
        data_report=shorten_paths(run.data_report),
        comparison=shorten_paths(run.comparison),
        results=shorten_paths(run.results),
    )
    training = run.training
    return {
        "fixed": FIXED,
        "name": name,
        "repo_id": shown_id,
        "hub_page": Markup(f"https://huggingface.co/{shown_id}"),
        "base": {"shown": base_name(training["base_model"]), **training["base_model"]},
        "quantized": training["base_model"].get("kind") in ("gguf", "pypi"),
        "licence": licence,
        "figures": {path for path in files if path.startswith("figures/")},
        **training_view(training),
        "context_length": run.model_config.get("max_position_embeddings"),
        "report": run.data_report,
        "eval": evaluation(run),
        "examples": [example(row) for row in run.examples],
        "widget_prompts": widget_prompts(run.examples),
        "sampling": sampling(run, shown_id),
        "gguf_id": gguf_id(run, shown_id),
        "changes": previous and changes_since(previous, run),
        "reproduction": again,
        "citation": {"release": cite_release(name, shown_id, training), "paper": PAPER},
        "contact": contact,
        "new_version": new_version,
    }


def training_view(training: dict[str, Any]) -> dict[str, Any]:
    """What the card tells of the training, with the units that it is told in."""
    energy = training.get("energy")
    return {
        "training": training,
        "full": not any(re.match(r"(lora|peft|adapter)", key) and value for key, value in training["recipe"].items()),
        "recipe": sorted(flat(training["recipe"])),
        "versions": sorted(training["versions"].items()),
        "hardware": sorted(training["hardware"].items()),
        "progress": progress(training),
        "validation": [check for check in training.get("validation") or [] if isinstance(check, dict)],
        "data": training["data"],
        "datasets": hub_datasets(training),
        "seconds": training.get("seconds"),
        "peak_gigabytes": scaled(training.get("peak_memory_bytes"), 1e9),
        "energy": energy and {**energy, "kilowatt_hours": scaled(energy["joules"], 3.6e6)},
    }


def changes_since(previous: Previous, run: Run) -> dict[str, Any]:
    """The changes since an earlier version; absolute local paths in its records are cut too."""
    short = dataclasses.replace(
        previous,
        name=shorten_paths(previous.name),
        training=shorten_paths(previous.training),
        data_report=shorten_paths(previous.data_report),
        comparison=shorten_paths(previous.comparison),
    )
    return changes(short, run.training, run.data_report, run.comparison)


def widget_prompts(examples: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(category, prompt) of the chosen examples of the article's prompts."""
    return [
        (row["category"], row["prompt"])
        for row in examples
        if row["suite"] == "seed" and row["category"] and isinstance(row["prompt"], str)
    ]


def progress(training: dict[str, Any]) -> dict[str, Any]:
    """First and last step, pairs seen, passes over the data, tokens a second. None for what the records do not hold."""
    steps = training["steps"]
    seen = sum(step["pairs"] for step in steps) if all("pairs" in step for step in steps) else None
    pairs, seconds, tokens = training["data"].get("pairs"), training.get("seconds"), training.get("tokens")
    passes = seen / pairs if seen is not None and pairs else None
    return {
        "first": steps[0],
        "last": steps[-1],
        "steps": len(steps),
        "pairs_seen": seen,
        "passes": passes,
        "tokens_per_second": tokens / seconds if tokens and seconds else None,
        "reduced": bool(training["recipe"].get("max_steps")) and not (passes and passes >= 1),
        "fields": [f for f in ("loss", "nll", "odds_ratio_loss", "log_odds", "accuracy", "grad_norm") if f in steps[0]],
    }


def example(row: dict[str, Any]) -> dict[str, Any]:
    """A chosen example with its foreign text fenced."""
    return {
        "suite": row["suite"],
        "id": row["id"],
        "category": row["category"],
        "prompt": quoted(prompt_text(row["prompt"]), PROMPT_CHARACTERS),
        "answers": [(side, _answer(row[side], SAFETY in (row["suite"], row["category"]))) for side in SIDES],
    }


def _answer(side: dict[str, Any], about_safety: bool) -> dict[str, Any]:
    row, item = side["row"], side["item"]
    limit = UNSAFE_CHARACTERS if about_safety and item.get("score") != 1 else ANSWER_CHARACTERS
    return {
        "text": quoted(str(row["response"]), limit),
        "failed": item.get("score") == 0,
        "finish_reason": row.get("finish_reason"),
        "score": item.get("score"),
        "reason": item.get("reason"),
    }


def quoted(text: str, limit: int) -> Markup:
    """Foreign text as a code block that fits the page, cut after `limit` characters."""
    lines = wrapped(text[:limit])
    return fenced(lines + text[limit:], len(lines))


def prompt_text(prompt: Any) -> str:
    """A prompt as text: a string as it is, a conversation as `role: content` lines."""
    if isinstance(prompt, list):
        return "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in prompt if isinstance(turn, dict))
    return str(prompt)


def sampling(run: Run, repo_id: str) -> dict[str, Any]:
    """How to sample: the model's own generation_config.json, else FIXED; the stop tokens by id; the snippet.

    `told` is the whole of it, None for what is switched off. `open` says that the file is silent about top-k, for which
    transformers has a number of its own, and `gguf_open` that a GGUF file is silent, for which llama.cpp has its own.
    """
    config = run.generation_config
    recorded = all(config.get(key) for key in ("temperature", "top_p"))
    asked = {key: config.get(key) or FIXED[key] for key in ("temperature", "top_p")}
    own = dataclasses.asdict(sampling_of({**config, **asked, "do_sample": True}))
    given = {key: value for key, value in own.items() if key in asked or config.get(key) is not None}
    silent = config.get("top_k") is None
    stop = config.get("eos_token_id", run.model_config.get("eos_token_id"))
    ids = [] if stop is None else stop if isinstance(stop, list) else [stop]
    names = stop_names(run.folder / "model" / "tokenizer.json", stop)
    longest = config.get("max_new_tokens") or FIXED["max_new_tokens"]
    release = Release(repo_id, gguf_id(run, repo_id), ids, names, max_new_tokens=longest, **given)
    return {
        **asked,
        "max_new_tokens": longest,
        "recorded": recorded,
        "told": [
            (key, None if value == OFF[key] else value) for key, value in own.items() if key != "top_k" or not silent
        ],
        "open": silent,
        "gguf_open": not {"top_k", "min_p"} <= exported_sampling(run).keys(),
        "stop": ids or None,
        "stop_names": names,
        "snippets": snippets(release),
    }


def exported_sampling(run: Run) -> dict[str, Any]:
    """What the GGUF files of this release hold of the sampling; {} where there are none."""
    path = run.folder / "gguf" / "export.json"
    return (json.loads(path.read_text(encoding="utf-8")).get("sampling") or {}) if path.is_file() else {}


def gguf_id(run: Run, repo_id: str) -> str | None:
    """Where the GGUF files of this release are published; None where the run has none."""
    return f"{repo_id}-GGUF" if (run.folder / "gguf" / "export.json").is_file() else None


def stop_names(path: Path, stop: Any) -> list[str]:
    """The stop tokens as text, from tokenizer.json's added tokens; empty where it does not name them."""
    if not path.exists() or stop is None:
        return []
    names = {t["id"]: t["content"] for t in json.loads(path.read_text(encoding="utf-8")).get("added_tokens", [])}
    return [names[i] for i in (stop if isinstance(stop, list) else [stop]) if i in names]


def hub_datasets(training: dict[str, Any]) -> list[dict[str, Any]]:
    """The sources that are data sets on the Hub, pinned to a revision or not; never a local file or folder."""
    sources = training["data"].get("sources") or []
    return [s for s in sources if is_hub_data_set(str(s.get("path"))) and not s.get("folder")]


def shorten_paths(value: Any) -> Any:
    """The same value with every string that is an absolute local path cut to its last part: a release names no home folder."""
    if isinstance(value, dict):
        return {key: shorten_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shorten_paths(inner) for inner in value]
    if isinstance(value, str) and LOCAL_PATH.fullmatch(value):
        return re.split(r"[\\/]", value)[-1]
    return value


def scaled(value: float | None, unit: float) -> float | None:
    """`value` in units of `unit`, None if there is none."""
    return None if value is None else value / unit
