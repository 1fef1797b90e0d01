"""Answers of one model to the suites, kept on disk as they come: a killed run continues where it stopped.

In a folder (base/ or tuned/): generations.jsonl (an answer a row), log_probs.jsonl (a text a row), settings.json (what they
were made from). While they grow they are called *.part, and settings.part.json says what the parts belong to; the whole ones
of an earlier evaluation stay until the new ones are complete. settings.finish.json says that the parts are complete and is
there only while they get their final names: the next call carries on from it, so that a kill loses no answer.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from command import UserError
from eval.suites import Item, Suite
from run_folder import read_json, write_json

GENERATIONS, LOG_PROBS, SETTINGS = "generations.jsonl", "log_probs.jsonl", "settings.json"
SETTINGS_PART, SETTINGS_FINISH = "settings.part.json", "settings.finish.json"
FINGERPRINT = ("sha256", "revision", "files")  # what of a model's identity decides its answers


def settings_of(
    model: dict[str, Any], dtype: str, suites: Sequence[Suite], limit: int | None, max_new_tokens: int | None
) -> dict[str, Any]:
    """All that decides the answers, as stored and compared. `max_new_tokens` overrides the suites' own."""
    return {
        "model": model,
        "dtype": dtype,
        "decoding": "greedy",
        "limit": limit,
        "suites": {
            suite.name: {
                "version": suite.version,
                "sha256": suite.sha256,
                "max_new_tokens": _budget(suite, max_new_tokens),
                "items": len(suite.items),
            }
            for suite in suites
        },
    }


def _budget(suite: Suite, override: int | None) -> int:
    return override if override and suite.max_new_tokens else suite.max_new_tokens


def what_differs(folder: Path, wanted: dict[str, Any], name: str = SETTINGS) -> str | None:
    """Why the stored answers cannot be used: "none stored yet", or which settings differ; None if they can.

    Of the model only the FINGERPRINT counts: the same weights under another path are the same model.
    """
    if not (folder / name).exists():
        return "none stored yet"
    stored = read_json(folder / name)
    changes = list(_changes(_comparable(stored), _comparable(wanted), ""))
    return "; ".join(changes) or None


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    model = {key: settings["model"].get(key) for key in FINGERPRINT}
    return {"model": model, "dtype": dtype_of(settings)} | {
        key: settings.get(key) for key in ("decoding", "limit", "suites")
    }


def dtype_of(settings: dict[str, Any]) -> str:
    """The dtype of stored settings; those from before it was recorded are all of float32."""
    return settings.get("dtype", "float32")


def _changes(stored: Any, wanted: Any, name: str) -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*stored, *wanted]):
            yield from _changes(stored.get(key), wanted.get(key), f"{name}.{key}".strip("."))
    elif stored != wanted:
        yield f"{name} was {_short(stored)}, is {_short(wanted)}"


def _short(value: Any) -> str:
    text = "absent" if isinstance(value, dict) or value is None else str(value)
    return text if len(text) <= 16 else text[:8] + "…"


def complete(
    folder: Path,
    wanted: dict[str, Any],
    suites: Sequence[Suite],
    load_engine: Callable[[], Any],
    batch_size: int,
) -> str:
    """See to it that the folder holds whole answers made with `wanted`; the engine is loaded only if some are missing.

    Returns what was done, for the user: reused, continued or generated anew and why.
    """
    if (folder / SETTINGS_FINISH).exists():  # an earlier call was killed while it gave the parts their names
        _name_parts(folder)
    difference = what_differs(folder, wanted)
    if difference is None:
        return "reused: same model, settings and suites"
    resumed = what_differs(folder, wanted, SETTINGS_PART) is None
    if not resumed:
        for name in (GENERATIONS, LOG_PROBS):
            (folder / f"{name}.part").unlink(missing_ok=True)
        write_json(folder / SETTINGS_PART, wanted)
    start, kept = time.monotonic(), _fill(folder, wanted, suites, load_engine, batch_size)
    seconds = None if resumed else round(time.monotonic() - start, 1)
    _finish(folder, wanted, {"batch_size": batch_size, "seconds": seconds, "versions": _versions()})
    return f"continued: {kept} answers were there" if resumed else f"generated anew: {difference}"


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers")}


def _fill(folder: Path, wanted: dict, suites: Sequence[Suite], load_engine: Callable[[], Any], batch_size: int) -> int:
    """Generate what is missing in the parts; returns how many rows were there before."""
    rows = [*read_rows(folder / f"{GENERATIONS}.part"), *read_rows(folder / f"{LOG_PROBS}.part")]
    done = {row["id"] for row in rows}
    todo = [(suite, [item for item in suite.items if item.id not in done]) for suite in suites]
    engine = load_engine() if any(items for _, items in todo) else None
    for suite, items in todo:
        budget = wanted["suites"][suite.name]["max_new_tokens"]
        name = GENERATIONS if budget else LOG_PROBS
        made = _answers(engine, suite, items, budget, batch_size) if budget else _log_probs(engine, suite, items)
        with _appending(folder / f"{name}.part") as part:
            for row in tqdm(made if items else (), desc=f"{folder.name} {suite.name}", total=len(items), unit="item"):
                part.write(json.dumps(row, ensure_ascii=False) + "\n")
                part.flush()
    return len(done)


def _answers(
    engine: Any, suite: Suite, items: Sequence[Item], budget: int, batch_size: int
) -> Iterator[dict[str, Any]]:
    conversations = [[{"role": "user", "content": item.prompt}] for item in items]
    for answer in engine.generate(conversations, max_new_tokens=budget, temperature=0.0, batch_size=batch_size):
        item = items[answer.index]
        yield {
            "id": item.id,
            "suite": suite.name,
            "sample": 0,
            "prompt": item.prompt,
            "response": answer.text,
            "finish_reason": answer.finish_reason,
            "tokens": len(answer.token_ids),
        }


def _log_probs(engine: Any, suite: Suite, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    for index, log_prob, tokens in engine.log_probs([item.prompt for item in items]):
        yield {"id": items[index].id, "suite": suite.name, "log_prob": log_prob, "tokens": tokens}


def _appending(path: Path) -> IO[str]:
    """Open to append, after cutting off a line that a kill left torn."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)
    return path.open("a", encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a JSONL file, without a torn last line; none where the file is missing. UserError if a row is broken."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        return [json.loads(line) for line in lines]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} holds a broken row ({error}). Remove it and run the evaluation again.") from None


def _finish(folder: Path, wanted: dict[str, Any], made: dict[str, Any]) -> None:
    """Say in SETTINGS_FINISH that the parts are complete, then give them their final names."""
    for name in _made_files(wanted):
        _sync(folder / f"{name}.part")
    write_json(folder / SETTINGS_FINISH, {**wanted, **made})
    _name_parts(folder)


def _made_files(settings: dict[str, Any]) -> list[str]:
    """Which of the two files the suites of these settings fill."""
    read = {suite["max_new_tokens"] == 0 for suite in settings["suites"].values()}
    return [name for name, only_read in ((GENERATIONS, False), (LOG_PROBS, True)) if only_read in read]


def _name_parts(folder: Path) -> None:
    """Give complete parts their final names; may be killed at any step and called again. settings.json goes first, comes last."""
    made = _made_files(read_json(folder / SETTINGS_FINISH))
    (folder / SETTINGS).unlink(missing_ok=True)
    for name in (GENERATIONS, LOG_PROBS):
        part = folder / f"{name}.part"
        if part.exists():
            part.replace(folder / name)
        elif name not in made:
            (folder / name).unlink(missing_ok=True)
    (folder / SETTINGS_PART).unlink(missing_ok=True)
    (folder / SETTINGS_FINISH).rename(folder / SETTINGS)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def in_suite_order(rows: Iterable[dict[str, Any]], suites: Sequence[Suite]) -> list[dict[str, Any]]:
    """The rows in the order of the suites' items: answers come in the order in which they finish."""
    order = {item.id: place for place, item in enumerate(item for suite in suites for item in suite.items)}
    return sorted(rows, key=lambda row: order[row["id"]])
