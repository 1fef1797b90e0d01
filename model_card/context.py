"""One context for both cards. Every figure in it is read from a record of the run; names of fixed things stand in FIXED."""

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

from markupsafe import Markup

from model_card.licence import Licence, base_name
from model_card.records import SIDES, Run
from model_card.text import fenced, fenced_as, visible
from model_card.usage import Release, snippets
from run_folder import is_hub_data_set

PROMPT_CHARACTERS = 600
ANSWER_CHARACTERS = 800

# Names and conventions that hold a digit and are no measurement of a run; the templates themselves hold none.
FIXED = {
    "paper": "arXiv:2403.07691",
    "paper_url": Markup("https://arxiv.org/abs/2403.07691"),
    "paper_bibtex": fenced_as(
        "bibtex",
        "@misc{hong2024orpo,\n"
        "  title = {{ORPO}: Monolithic Preference Optimization without Reference Model},\n"
        "  author = {Jiwoo Hong and Noah Lee and James Thorne},\n"
        "  year = {2024},\n"
        "  eprint = {2403.07691},\n"
        "  archivePrefix = {arXiv}\n"
        "}",
    ),
    "confidence": Markup("95 %"),
    "hash": Markup("SHA-256"),
    "sums": "SHA256SUMS",
    # What the released Llama3-8B-Chinese-Chat recommends; a generation_config.json that says otherwise wins.
    "temperature": 0.6,
    "top_p": 0.9,
    "max_new_tokens": 512,
}

# The owner that a card names when it was built without --repo-id: the reader sees that it must be filled in.
PLACEHOLDER_OWNER = "YOUR-ORG"

# What a suite or metric is about, by words in its name; each subject has a paragraph in both templates.
SUBJECTS = {
    "language": ("language", "chinese", "confusion", "lpr", "wpr", "bilingual"),
    "math": ("math", "gsm", "arithmetic"),
    "code": ("code", "humaneval", "mbpp"),
    "safety": ("safety", "refus", "xstest", "harm"),
    "identity": ("identity",),
    "perplexity": ("perplexity", "ppl"),
    "length": ("length", "token", "stop", "finish", "endless"),
    "form": ("repetition", "distinct", "emoji", "lead_in", "mixed"),
    "facts": ("chat", "fact", "knowledge"),
    "writing": ("writing",),
    "seed": ("seed",),
}


def make_context(run: Run, name: str, repo_id: str | None, licence: Licence) -> dict[str, Any]:
    """Everything both templates print; absolute local paths in the records are cut to their last part."""
    shown_id = repo_id or f"{PLACEHOLDER_OWNER}/{name.replace(' ', '-')}"
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
        "base": {"shown": base_name(training["base_model"]), **training["base_model"]},
        "quantized": training["base_model"].get("kind") in ("gguf", "pypi"),
        "licence": licence,
        "training": training,
        "full": not any(re.match(r"(lora|peft|adapter)", key) and value for key, value in training["recipe"].items()),
        "recipe": sorted(flat(training["recipe"])),
        "versions": sorted(training["versions"].items()),
        "hardware": sorted(training["hardware"].items()),
        "progress": progress(training),
        "data": training["data"],
        "datasets": hub_datasets(training),
        "commands": commands(training, name, repo_id, (run.comparison or {}).get("settings") or {}),
        "report": run.data_report,
        "eval": evaluation(run),
        "examples": [example(row) for row in run.examples],
        "sampling": sampling(run, shown_id),
        "seconds": training.get("seconds"),
        "peak_gigabytes": scaled(training.get("peak_memory_bytes"), 1e9),
    }


def progress(training: dict[str, Any]) -> dict[str, Any]:
    """First and last step, pairs seen, passes over the data, tokens a second. None for what the records do not hold."""
    steps = training["steps"]
    seen = sum(step["pairs"] for step in steps) if all("pairs" in step for step in steps) else None
    pairs, seconds, tokens = training["data"].get("pairs"), training.get("seconds"), training.get("tokens")
    return {
        "first": steps[0],
        "last": steps[-1],
        "steps": len(steps),
        "pairs_seen": seen,
        "passes": seen / pairs if seen is not None and pairs else None,
        "tokens_per_second": tokens / seconds if tokens and seconds else None,
        "reduced": bool(training["recipe"].get("max_steps")),
        "fields": [f for f in ("loss", "nll", "odds_ratio_loss", "log_odds", "accuracy", "grad_norm") if f in steps[0]],
    }


def evaluation(run: Run) -> dict[str, Any] | None:
    """The comparison as table rows, its settings, and what its scorers are about; None if nothing was compared."""
    if run.comparison is None:
        return None
    metrics = run.comparison["metrics"]
    settings = run.comparison.get("settings") or {}
    return {
        "rows": metrics,
        "headlines": [row for row in metrics if row.get("headline", True)],
        "cut": cut_off(run.comparison.get("suites") or {}),
        "judged": (run.folder / "eval" / "judge.json").exists(),
        "settings": sorted(flat({key: value for key, value in settings.items() if key != "reduced"})),
        "seconds": sorted(flat(run.comparison.get("seconds") or {})),
        "reduced": reductions(settings),
        "scorers": sorted(
            (run.comparison.get("scorers") or (run.results.get("tuned") or {}).get("scorers") or {}).items()
        ),
        "meanings": meanings(metrics),
        "subjects": sorted({s for row in metrics for s in subjects(f"{row['suite']} {row['metric']}")}),
        "undescribed": sorted(
            {r["suite"] for r in metrics} - {r["suite"] for r in metrics if subjects(f"{r['suite']} {r['metric']}")}
        ),
        "unmeasured": [row for row in metrics if any((row[side] or {}).get("value") is None for side in SIDES)],
    }


def cut_off(suites: dict[str, Any]) -> list[dict[str, Any]]:
    """The suites in which answers reached the token limit: {"suite", "base", "tuned", "answers"}; base null where there is none."""
    found = []
    for name, sides in suites.items():
        counts = {side: (sides.get(side) or {}).get("truncated") for side in SIDES}
        if any(counts.values()):
            found.append({"suite": name, **counts, "answers": (sides.get("tuned") or {}).get("answers")})
    return found


def reductions(settings: dict[str, Any]) -> dict[str, Any] | None:
    """What makes this less than the full evaluation, for both templates to say in words; None if nothing.

    The figures are the settings'; eval/'s sentences in `reduced` tell which suite is meant. `other`: sentences of another form.
    """
    reasons = settings.get("reduced") or []
    reasons = [str(reason) for reason in (reasons if isinstance(reasons, list) else [reasons])]
    limit, suites = settings.get("limit"), settings.get("suites") or {}
    cut = {f"suite {name}: ": (name, suite["max_new_tokens"]) for name, suite in suites.items()}
    changed = {f"suite {name} has changed": name for name in suites}
    known = (*cut, *changed, *(["only the first "] if limit else []))
    found = {
        "limit": limit,
        "budgets": [told for start, told in cut.items() if any(reason.startswith(start) for reason in reasons)],
        "changed": [name for start, name in changed.items() if any(reason.startswith(start) for reason in reasons)],
        "other": [reason for reason in reasons if not reason.startswith(known)],
    }
    return found if any(found.values()) else None


def meanings(rows: list[dict[str, Any]]) -> list[tuple[dict[str, str], list[str]]]:
    """What eval/ recorded of the metrics, {"en", "zh"}, each with the names it explains, in the table's order."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if isinstance(told := row.get("meaning"), dict) and row["metric"] not in (
            names := found.setdefault((str(told.get("en")), str(told.get("zh"))), [])
        ):
            names.append(row["metric"])
    return [({"en": en, "zh": zh}, names) for (en, zh), names in found.items()]


def subjects(name: str) -> list[str]:
    """The subjects whose words stand in a suite's or metric's name."""
    return [subject for subject, words in SUBJECTS.items() if any(word in name.lower() for word in words)]


def example(row: dict[str, Any]) -> dict[str, Any]:
    """A chosen example with its foreign text fenced."""
    return {
        "suite": row["suite"],
        "id": row["id"],
        "category": row["category"],
        "prompt": fenced(prompt_text(row["prompt"]), PROMPT_CHARACTERS),
        "answers": [(side, _answer(row[side])) for side in SIDES],
    }


def _answer(side: dict[str, Any]) -> dict[str, Any]:
    row, item = side["row"], side["item"]
    return {
        "text": fenced(str(row["response"]), ANSWER_CHARACTERS),
        "finish_reason": row.get("finish_reason"),
        "score": item.get("score"),
        "reason": item.get("reason"),
    }


def prompt_text(prompt: Any) -> str:
    """A prompt as text: a string as it is, a conversation as `role: content` lines."""
    if isinstance(prompt, list):
        return "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in prompt if isinstance(turn, dict))
    return str(prompt)


def commands(training: dict[str, Any], name: str, repo_id: str | None, settings: dict[str, Any]) -> Markup:
    """The shell commands that make this model and this card again; `.venv` is what `reproduce.sh --setup` makes."""
    python = ".venv/bin/python"
    folder, base = f"runs/{name.replace(' ', '-')}", shlex.quote(visible(str(training["base_model"].get("model"))))
    commit = training["git"].get("commit")
    checkout = [f"git checkout {shlex.quote(visible(str(commit)))}"] if commit else []
    lines = [
        *checkout,
        "./reproduce.sh --setup",
        f"{python} -m training.train recipe.yaml --output {folder}",
        f"{python} -m eval.run {folder}/model --base {base} --output {folder}/eval{reduced_options(settings)}",
        f"{python} -m model_card.build {folder}" + (f" --repo-id {repo_id}" if repo_id else ""),
    ]
    return fenced_as("bash", "\n".join(lines))


def reduced_options(settings: dict[str, Any]) -> str:
    """The options of eval.run with which a reduced evaluation was made; empty for a full one."""
    reduced = reductions(settings) or {"limit": None, "budgets": []}
    limit = f" --limit {reduced['limit']}" if reduced["limit"] else ""
    return limit + (f" --max-new-tokens {reduced['budgets'][0][1]}" if reduced["budgets"] else "")


def sampling(run: Run, repo_id: str) -> dict[str, Any]:
    """How to sample: the model's own generation_config.json, else FIXED; the stop tokens by id; the snippet."""
    config = run.generation_config
    stop = config.get("eos_token_id", run.model_config.get("eos_token_id"))
    values = {key: config.get(key) or FIXED[key] for key in ("temperature", "top_p", "max_new_tokens")}
    ids = [] if stop is None else stop if isinstance(stop, list) else [stop]
    names = stop_names(run.folder / "model" / "tokenizer.json", stop)
    release = Release(repo_id, gguf_id(run, repo_id), ids, names, **values)
    return {**values, "stop": ids or None, "stop_names": names, "snippets": snippets(release)}


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
    """The sources that are data sets on the Hub, pinned to a revision or not; never a local file."""
    return [s for s in training["data"].get("sources") or [] if is_hub_data_set(str(s.get("path")))]


def flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """A nested record as (dotted key, value); lists stay whole."""
    rows: list[tuple[str, Any]] = []
    for key, value in record.items():
        if isinstance(value, dict) and value:
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


def shorten_paths(value: Any) -> Any:
    """The same value with every string that is an absolute local path cut to its last part: a release names no home folder."""
    if isinstance(value, dict):
        return {key: shorten_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shorten_paths(inner) for inner in value]
    if isinstance(value, str) and re.fullmatch(r"(~?/|[A-Za-z]:[\\/])[^\n]*[^\s/\\]", value):
        return re.split(r"[\\/]", value)[-1]
    return value


def scaled(value: float | None, unit: float) -> float | None:
    """`value` in units of `unit`, None if there is none."""
    return None if value is None else value / unit
