"""The texts of eval sets that must not be trained on: our suites, and other people's sets as their files are published.

Read here by their fields, not through eval/loaders: stations meet in files, the loaders put their own instructions around
a prompt and leave the model solutions out, which are held out too, and any other set with such fields can be given.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import UserError
from training.preferences.text import split_tokens

PROMPTS = ("prompt", "text", "question", "input", "problem", "instruction", "query")
ANSWERS = ("canonical_solution", "solution", "reference", "answer", "output", "response", "target")
NAMES = ("id", "task_id", "name")
LEAST_ANSWER = 8  # tokens: a shorter answer, a number or a letter, stands in many texts
KINDS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class HeldText:
    """A prompt (or a text to be read), or, if `answer`, the model solution to one."""

    suite: str
    id: str
    text: str
    answer: bool = False


def held_texts(path: Path) -> list[HeldText]:
    """All texts of a file, each row's prompt and model solution. UserError for a file that cannot be read or holds none."""
    kind = next((kind for kind in KINDS if path.name.endswith(kind)), None)
    if kind is None:
        raise UserError(f"{path}: unknown kind of eval set {path.suffix!r}; use one of {', '.join(KINDS)}.")
    suite = path.name.removesuffix(kind)
    found, rows = [], 0
    for number, row in enumerate(read_rows(path, kind), start=1):
        rows += 1
        found += texts_of_row(row, suite, number) if isinstance(row, dict) else []
    # SafetyBench's answers are a file of their own, an object of objects; whoever gives both files to eval.run gives both here
    if not found and not (kind == ".json" and rows and isinstance(read_json(path), dict)):
        raise UserError(f"{path} holds no eval text: a row needs one of {', '.join(PROMPTS)}. Give the set's own file.")
    return found


def texts_of_row(row: dict[str, Any], suite: str, number: int) -> Iterator[HeldText]:
    name = next((str(row[key]) for key in NAMES if row.get(key) is not None), str(number))
    for keys, answer in ((PROMPTS, False), (ANSWERS, True)):
        text = next((row[key] for key in keys if isinstance(row.get(key), str) and row[key].strip()), None)
        if text is not None and not (answer and len(split_tokens(text)) < LEAST_ANSWER):
            yield HeldText(suite, name, text, answer)


def read_rows(path: Path, kind: str) -> Iterator[Any]:
    if kind == ".parquet":
        yield from read_parquet(path)
    elif kind.startswith(".jsonl"):
        yield from read_jsonl(path)
    elif kind.startswith(".json"):
        content = read_json(path)
        yield from content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    else:
        yield from read_table(path, "\t" if kind == ".tsv" else ",")


def read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}). Convert it: iconv -t UTF-8.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}). Download it again.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Give the file of an eval set.") from None


def read_jsonl(path: Path) -> Iterator[Any]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:  # also an integer of 5,000 digits
                raise UserError(f"{path}:{number}: not valid JSON: {first_line(error)}. Mend the line.") from None


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {first_line(error)}. Give the file as it was downloaded.") from None


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def read_table(path: Path, separator: str) -> Iterator[dict[str, str]]:
    """A table with a header that names the fields; without one, as MGSM's question TAB answer is, the first column asks."""
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline=""), delimiter=separator, quoting=quoting))
    except csv.Error as error:
        raise UserError(f"{path}: {error}. Give the file as it was downloaded.") from None
    header = rows[0] if rows else []
    if not set(header) & set(PROMPTS) and separator == "\t":
        header = ["prompt", "answer"]
    else:
        rows = rows[1:]
    for row in rows:
        yield dict(zip(header, row, strict=False))


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from None
    yield from table.to_pylist()
