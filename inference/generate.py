"""Answer a file of prompts: python -m inference.generate MODEL --prompts FILE --output FILE [--batch-size 32]

JSONL in: `id`, `prompt` (a text or a list of messages). JSONL out: the same rows in the same order, each with `response`
and `finish_reason`. Finished rows are kept in OUTPUT.part; the same command continues from there.
"""

import argparse
import hashlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from command import UserError, run_command
from inference.chat_format import check_conversation, encode_chat
from inference.loading import (
    DTYPE_HELP,
    DTYPES,
    Source,
    default_dtype,
    load_model,
    load_tokenizer,
    resolve,
    weights_sha256,
)
from inference.options import MODEL_HELP, add_sampling, check_sampling, chosen_sampling
from inference.rules import read_generation, sampling_of
from run_folder import whole_file

MOST_SHOWN = 20  # malformed lines told one by one


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference.generate", description="Answer a file of prompts.", allow_abbrev=False
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--prompts", type=Path, required=True, help="JSONL with id and prompt")
    parser.add_argument("--output", type=Path, required=True, help="JSONL to write")
    add_sampling(parser, 512)
    parser.add_argument(
        "--batch-size",
        type=int,
        default=32,
        help="prompts at a time (default 32); but for rounding, answers do not depend on it",
    )
    parser.add_argument("--dtype", choices=DTYPES, help=DTYPE_HELP)
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    check_sampling(options)
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size} must be 1 or more.")
    if options.output.is_dir() or options.output.resolve() == options.prompts.resolve():
        raise UserError(f"--output {options.output} is a folder or the file of prompts itself. Name another file.")
    rows, source = read_prompts(options.prompts), resolve(options.model)
    options.dtype = options.dtype or default_dtype()
    options.sampling = chosen_sampling(sampling_of(read_generation(source)[0]), options)
    part = Part(options.output.with_name(f"{options.output.name}.part"), settings(options, source, rows))
    if part.is_done(options.output):
        print(f"{options.output} is done: {len(rows)} answers with these settings", file=sys.stderr)
        return 0
    answer(rows, part, source, options)
    part.finish(options.output, rows)
    print(f"{options.output}: {len(rows)} answers", file=sys.stderr)
    return 0


def read_prompts(path: Path) -> list[dict]:
    """The rows. UserError lists every malformed line as file:line and why."""
    try:
        lines = path.read_bytes().split(b"\n")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"--prompts {path}: {error.strerror}. Give a JSONL file.") from None
    rows, faults, seen = [], [], {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            check_row(row, seen, number)
            rows.append(row)
        except (UserError, UnicodeDecodeError, json.JSONDecodeError) as error:
            faults.append(f"{path}:{number}: {error}")
    if faults:
        more = [f"and {len(faults) - MOST_SHOWN} more"] if len(faults) > MOST_SHOWN else []
        raise UserError("\n".join([f"{len(faults)} malformed lines in {path}", *faults[:MOST_SHOWN], *more]))
    if not rows:
        raise UserError(f"--prompts {path} has no rows.")
    return rows


def check_row(row: object, seen: dict, number: int) -> None:
    """UserError unless the row has an id of its own and a prompt."""
    if not isinstance(row, dict):
        raise UserError("not a JSON object")
    if not isinstance(row.get("id"), str | int) or isinstance(row.get("id"), bool):
        raise UserError("`id` must be a text or a whole number")
    if row["id"] in seen:
        raise UserError(f"`id` {row['id']!r} is also on line {seen[row['id']]}")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UserError("holds a lone surrogate (\\ud800 to \\udfff), which is no character") from None
    seen[row["id"]] = number
    if isinstance(row.get("prompt"), str) and row["prompt"]:
        return
    if not isinstance(row.get("prompt"), list):
        raise UserError("`prompt` must be a text that is not empty, or a list of messages")
    check_conversation(row["prompt"])


def settings(options: argparse.Namespace, source: Source, rows: list[dict]) -> dict:
    """All that decides the answers; the batch size does not, but for rounding. A model folder counts by its weights, not by its name."""
    prompts = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    weights = weights_sha256(source.path) if source.path else None
    return {
        "model": {"spec": source.spec, "sha256": weights},
        "dtype": options.dtype,
        "prompts_sha256": prompts,
        "max_new_tokens": options.max_new_tokens,
        "sampling": asdict(options.sampling),
        "seed": options.seed,
    }


class Part:
    """The finished rows beside the output: the settings in the first line, then an answer a line, as they come.

    When all are there, the output is written from it, whole, and only the settings stay, with the output's digest, in
    OUTPUT.settings.json: that is how a second call knows that it is done.
    """

    def __init__(self, path: Path, settings: dict):
        self.path, self.settings = path, settings
        self.mark = path.with_suffix(".settings.json")
        self.answers: dict[int, dict] = {}

    def is_done(self, output: Path) -> bool:
        """Whether the output was finished with these very settings and is unchanged since."""
        if not self.mark.is_file() or not output.is_file():
            return False
        digest = hashlib.sha256(output.read_bytes()).hexdigest()
        return json.loads(self.mark.read_text(encoding="utf-8")) == {**self.settings, "output_sha256": digest}

    def open(self):
        """The file to append to, with the answers of an interrupted call read; anew if the settings are others."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.is_file() else []
        whole = [line for line in lines if line.endswith(b"\n")]  # a kill can cut the last line
        try:
            records = [json.loads(line) for line in whole]
        except ValueError:
            raise UserError(
                f"{self.path} is not the part of an earlier call. Move it away, or name another --output."
            ) from None
        if records and records[0] != self.settings:
            print(
                f"the settings, the prompts or the model changed since {self.path} was begun: starting anew",
                file=sys.stderr,
            )
            whole, records = [], []
        self.answers = {answer["row"]: answer for answer in records[1:]}
        with whole_file(self.path, "wb") as stream:
            stream.writelines(whole or [json.dumps(self.settings).encode() + b"\n"])
        return self.path.open("a", encoding="utf-8")

    def finish(self, output: Path, rows: list[dict]) -> None:
        """Write the output in the order of the prompts, and forget the part."""
        text = ""
        for number, row in enumerate(rows):
            answer = self.answers[number]
            text += (
                json.dumps(
                    {**row, "response": answer["response"], "finish_reason": answer["finish_reason"]},
                    ensure_ascii=False,
                )
                + "\n"
            )
        with whole_file(output) as stream:
            stream.write(text)
        with whole_file(self.mark) as stream:
            json.dump({**self.settings, "output_sha256": hashlib.sha256(text.encode()).hexdigest()}, stream)
        self.path.unlink()


def answer(rows: list[dict], part: Part, source: Source, options: argparse.Namespace) -> None:
    """Answer the rows that the part lacks, with a progress bar, each kept as soon as it is there."""
    with part.open() as stream:
        left = [number for number in range(len(rows)) if number not in part.answers]
        if part.answers:
            print(f"continuing: {len(part.answers)} of {len(rows)} answers are there", file=sys.stderr)
        if not left:
            return
        tokenizer = load_tokenizer(source)
        check_lengths([rows[number] for number in left], tokenizer, options.max_new_tokens)
        model = load_model(source, options.dtype)
        from tqdm import tqdm

        from inference.engine import Engine

        settings = {name: getattr(options, name) for name in ("max_new_tokens", "sampling", "seed", "batch_size")}
        answers = Engine(model, tokenizer).generate([as_conversation(row) for row in rows], only=left, **settings)
        for found in tqdm(answers, total=len(rows), initial=len(part.answers), unit="answer"):
            record = {"row": found.index, "response": found.text, "finish_reason": found.finish_reason}
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            stream.flush()
            part.answers[found.index] = record
        os.fsync(stream.fileno())


def check_lengths(rows: list[dict], tokenizer, max_new_tokens: int) -> None:
    """UserError with the ids of the prompts that leave no room for an answer, before the model is loaded."""
    room = tokenizer.model_max_length - max_new_tokens
    long = [row["id"] for row in rows if len(encode_chat(tokenizer, as_conversation(row))) > room]
    if long:
        raise UserError(
            f"prompt {', '.join(map(repr, long[:MOST_SHOWN]))}: longer than {room} tokens, which is the model's context "
            f"less --max-new-tokens {max_new_tokens}. Shorten or remove."
        )


def as_conversation(row: dict) -> list[dict]:
    return row["prompt"] if isinstance(row["prompt"], list) else [{"role": "user", "content": row["prompt"]}]


if __name__ == "__main__":
    run_command(main)
