"""Answers of one model to the suites, kept on disk as they come: a killed run continues, a repeated one generates nothing.

In a folder (base/ or tuned/):
- answers.jsonl, the store: every answer ever generated here, appended as it comes, under a key that is the hash of all that
  decides it (weights, tokenizer and template, dtype, prompt, sample, decoding and how the engine draws, token limit). Nothing is ever taken out.
- generations.jsonl and log_probs.jsonl: what the present evaluation asks for, picked from the store, in the suites' order.
- settings.json: what these were made from, with their hashes, so that files of two evaluations are never scored together.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from command import UserError
from eval.suites import Item, Suite
from inference.noise import DRAWING
from inference.rules import Sampling
from run_folder import file_sha256, held, read_json, whole_file, write_json

STORE, GENERATIONS, LOG_PROBS, SETTINGS = "answers.jsonl", "generations.jsonl", "log_probs.jsonl", "settings.json"
_SURROGATE = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]|[\ud800-\udfff]")
FINGERPRINT = ("sha256", "revision", "files", "endpoint")  # what of a model's identity decides its answers


@dataclass(frozen=True)
class Decoding:
    """How an answer is drawn: greedy at temperature 0, else `samples` answers a prompt."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    samples: int = 1


@dataclass(frozen=True)
class Request:
    """One answer, or one text's probability (`budget` 0), that an evaluation needs."""

    item: Item
    suite: str
    sample: int
    budget: int  # tokens that the answer may have
    key: str

    @property
    def stream(self) -> int:
        """The number that the answer's random stream is drawn from: the same for every model, so base and tuned share it."""
        return _digest([self.item.prompt, self.sample], 12)


def settings_of(
    model: dict[str, Any],
    dtype: str,
    suites: Sequence[Suite],
    limit: int | None,
    max_new_tokens: int | None,
    decoding: Decoding = Decoding(),
) -> dict[str, Any]:
    """All that decides the answers, as stored and compared. `max_new_tokens` overrides the suites' own."""
    return {
        "model": model,
        "dtype": dtype,
        "decoding": asdict(decoding) if decoding.temperature else "greedy",
        "limit": limit,
        "suites": {
            suite.name: {
                "version": suite.version,
                "sha256": suite.sha256,
                "max_new_tokens": _budget(suite, max_new_tokens),
                "items": len(suite.items),
                **({"source": suite.source, "rows": suite.rows_sha256} if suite.source else {}),
            }
            for suite in suites
        },
    }


def _budget(suite: Suite, override: int | None) -> int:
    return override if override and suite.max_new_tokens else suite.max_new_tokens


def requests_of(settings: dict[str, Any], suites: Sequence[Suite], decoding: Decoding) -> list[Request]:
    """What the evaluation asks for, in the suites' order."""
    shared = {"model": _weights(settings["model"]), "dtype": settings["dtype"], "decoding": _drawn(decoding)}
    if decoding.temperature and not settings["model"].get("endpoint"):  # a server draws in its own way
        shared["drawing"] = DRAWING
    return [
        Request(item, suite.name, sample, budget, _key(shared, budget, item.prompt, sample))
        for suite in suites
        for budget in [settings["suites"][suite.name]["max_new_tokens"]]
        for item in suite.items
        for sample in range(decoding.samples if budget else 1)
    ]


def _weights(model: dict[str, Any]) -> dict[str, Any]:
    return {name: model[name] for name in FINGERPRINT if model.get(name)}


def _drawn(decoding: Decoding) -> Any:
    """The decoding without the number of samples: asking for more of them keeps those that are there."""
    return {**asdict(decoding), "samples": None} if decoding.temperature else "greedy"


def _key(shared: dict[str, Any], budget: int, prompt: str, sample: int) -> str:
    record = {**shared, "max_new_tokens": budget, "prompt": prompt, "sample": sample}
    if not budget:
        del record["decoding"]  # a text is read, whatever the decoding of answers
        record.pop("drawing", None)
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


def _digest(record: Any, digits: int) -> int:
    return int(hashlib.sha256(json.dumps(record).encode()).hexdigest()[:digits], 16)


def what_differs(folder: Path, wanted: dict[str, Any]) -> str | None:
    """Which settings differ from those of the stored evaluation; None if none do, "none stored yet" if there is none.

    Of the model only the FINGERPRINT counts: the same weights under another path are the same model.
    """
    if not (folder / SETTINGS).exists():
        return "none stored yet"
    changes = list(_changes(_comparable(read_json(folder / SETTINGS)), _comparable(wanted), ""))
    return "; ".join(changes) or None


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    same = {key: settings.get(key) for key in ("dtype", "decoding", "limit", "suites")}
    return {"model": _weights(settings["model"])} | same


def _changes(stored: Any, wanted: Any, name: str) -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*stored, *wanted]):
            yield from _changes(stored.get(key), wanted.get(key), f"{name}.{key}".strip("."))
    elif stored != wanted:
        yield f"{name} was {_short(stored)}, is {_short(wanted)}"


def _short(value: Any) -> str:
    text = "absent" if value is None else "there" if isinstance(value, dict) else str(value)
    return text if len(text) <= 16 else text[:8] + "…"


def complete(
    folder: Path,
    wanted: dict[str, Any],
    requests: Sequence[Request],
    load_engine: Callable[[], Any],
    batch_size: int,
    decoding: Decoding = Decoding(),
) -> str:
    """See to it that the folder holds the answers made with `wanted`; the engine is loaded only if some are missing.

    Returns what was done, for the user. UserError where another process writes here, or the store is broken.
    """
    with held(folder, "the evaluation's folder"):
        store = {row["key"]: row for row in read_rows(folder / STORE) if _is_answer(row)}
        missing = list({request.key: request for request in requests if request.key not in store}.values())
        difference = what_differs(folder, wanted)
        if not missing and difference is None and is_whole(folder):
            return f"reused: all {len(requests)} answers"
        start, kept = time.monotonic(), len(requests) - len(missing)
        if missing:
            store |= _fill(folder, missing, load_engine(), batch_size, decoding)
        made = {"batch_size": batch_size, "seconds": None if kept else round(time.monotonic() - start, 1)}
        _pick(folder, wanted, made, [(request, store[request.key]) for request in requests])
    why = f" ({difference})" if difference not in (None, "none stored yet") else ""
    return f"generated {len(missing)} answers, {kept} of {len(requests)} were there{why}"


def _is_answer(row: dict[str, Any]) -> bool:
    """Whether a row of the store has what `_fill` writes; one that was damaged is generated again."""
    answered = isinstance(row.get("response"), str) and isinstance(row.get("finish_reason"), str)
    read = isinstance(row.get("log_prob"), float | int)
    counted = isinstance(row.get("tokens"), int | None) and isinstance(row.get("by"), dict)
    return isinstance(row.get("key"), str) and (answered or read) and counted and not _SURROGATE.search(str(row))


def _fill(
    folder: Path, missing: Sequence[Request], engine: Any, batch_size: int, decoding: Decoding
) -> dict[str, dict[str, Any]]:
    """Generate what is missing and append it to the store as it comes; returns the new rows by key."""
    made, by = {}, engine.made_by()
    with appending(folder / STORE) as stream, tqdm(total=len(missing), desc=folder.name, unit="answer") as bar:
        for request, row in _results(engine, missing, batch_size, decoding):
            made[request.key] = {"key": request.key, **row, "by": by}
            stream.write(json.dumps(made[request.key], ensure_ascii=False) + "\n")
            stream.flush()
            bar.update()
        os.fsync(stream.fileno())
    return made


def _results(
    engine: Any, missing: Sequence[Request], batch_size: int, decoding: Decoding
) -> Iterator[tuple[Request, dict[str, Any]]]:
    """The answers, in batches over all suites at once, as they finish; then what was only read."""
    asked = [request for request in missing if request.budget]
    texts = [request for request in missing if not request.budget]
    answers = engine.generate(
        [[{"role": "user", "content": request.item.prompt}] for request in asked],
        max_new_tokens=[request.budget for request in asked],
        sampling=Sampling(decoding.temperature, decoding.top_p),
        seed=decoding.seed,
        batch_size=batch_size,
        streams=[request.stream for request in asked],
    )
    for answer in answers if asked else ():
        row = {"response": answer.text, "finish_reason": answer.finish_reason, "tokens": answer.tokens}
        yield asked[answer.index], row
    for index, log_prob, tokens in engine.log_probs([request.item.prompt for request in texts]) if texts else ():
        yield texts[index], {"log_prob": log_prob, "tokens": tokens}


def appending(path: Path) -> IO[str]:
    """Open to append, after cutting off a line that a kill left torn."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)
    return path.open("a", encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a JSONL file, without a torn last line; none where the file is missing. UserError if a row is broken."""
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            rows.append(json.loads(line))
            if not isinstance(rows[-1], dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{path}:{number} is broken ({error}). Remove that line and run the command again."
            ) from None
    return rows


def _pick(
    folder: Path, wanted: dict[str, Any], made: dict[str, Any], picked: Sequence[tuple[Request, dict[str, Any]]]
) -> None:
    """Write what the evaluation asked for; settings.json goes first and comes last, with the hashes of the files."""
    (folder / SETTINGS).unlink(missing_ok=True)
    for name, read in ((GENERATIONS, False), (LOG_PROBS, True)):
        rows = [_row(request, row) for request, row in picked if bool(request.budget) != read]
        if not rows:
            (folder / name).unlink(missing_ok=True)
            continue
        with whole_file(folder / name) as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    by = {name: [row["by"].get(name) for _, row in picked] for _, row in picked[:1] for name in row["by"]}
    versions = {name: ", ".join(sorted({found for found in all_found if found})) for name, all_found in by.items()}
    write_json(folder / SETTINGS, {**wanted, **made, "versions": versions, "written": _hashes(folder)})


def _row(request: Request, row: dict[str, Any]) -> dict[str, Any]:
    """A line of generations.jsonl or log_probs.jsonl."""
    told = {"id": request.item.id, "suite": request.suite}
    if not request.budget:
        return told | {"log_prob": row["log_prob"], "tokens": row["tokens"]}
    told |= {"category": request.item.category, "language": request.item.language, "sample": request.sample}
    answer = {name: row[name] for name in ("response", "finish_reason", "tokens")}
    return told | {"prompt": request.item.prompt} | answer


def _hashes(folder: Path) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in (GENERATIONS, LOG_PROBS) if (folder / name).exists()}


def is_whole(folder: Path) -> bool:
    """Whether the folder's answers are those that its settings.json speaks of."""
    return (folder / SETTINGS).exists() and read_json(folder / SETTINGS).get("written") == _hashes(folder)
