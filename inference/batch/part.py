"""The answers that are there while not all are: OUTPUT.part, a folder, of which OUTPUT is made once it is complete.

For each settings that were begun it holds KEY.json (the settings) and KEY.jsonl (an answer a line, as they come; a line with
`made_by` where a process began). So a killed run continues, and other settings lose nothing of the former ones. Beside the
finished output stays OUTPUT.settings.json: the settings, what made the answers, and the output's digest.
"""

import hashlib
import json
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from command import UserError
from inference.batch.prompts import Prompts
from run_folder import file_sha256, held, read_json, whole_file, write_json

TOO_LONG = "prompt_too_long"  # the finish_reason of a prompt that --skip-long left without an answer
MISSING, LEFT_OUT = -1, -2  # instead of an answer's place
SKIPPED = {"response": None, "finish_reason": TOO_LONG, "tokens": 0}


@contextmanager
def part_folder(output: Path) -> Iterator[Path]:
    """OUTPUT.part, for this process alone; it is gone afterwards if nothing is in it. UserError if another process has it."""
    folder = output.with_name(f"{output.name}.part")
    with held(folder, "--output"):
        try:
            yield folder
        finally:
            with suppress(OSError):  # not empty: there are answers to continue from
                folder.rmdir()


class Part:
    """The answers of one run with certain settings, by number: sample s of row r is number r × samples + s."""

    def __init__(self, folder: Path, output: Path, settings: dict[str, Any], rows: int, samples: int):
        self.folder, self.output, self.settings, self.samples = folder, output, settings, samples
        self.mark = output.with_name(f"{output.name}.settings.json")
        self.answers = self._answers_of(settings)
        self.begun = self.answers.with_suffix(".json")
        self.places = array("q", [MISSING]) * (rows * samples)  # where in the file each answer begins
        self.made_by: list[dict[str, str]] = []

    def _answers_of(self, settings: dict[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{key}.jsonl"

    def is_done(self) -> bool:
        """Whether the output was finished with these very settings and is unchanged since.

        UserError if there is a file under its name that no run of this command left there.
        """
        digest = self._own_output()
        if digest is None:
            return False
        told = read_json(self.mark)
        done = told["output_sha256"] == digest and told["settings"] == self.settings
        if done:  # a kill between the last two steps of `finish` left them
            self.begun.unlink(missing_ok=True)
            self.answers.unlink(missing_ok=True)
        return done

    def _own_output(self) -> str | None:
        """Digest of the output that a run of this command left there; None if there is none. UserError if it is another file."""
        if not self.output.exists():
            return None
        digest, left = file_sha256(self.output), []
        if self.mark.is_file():
            told = read_json(self.mark)
            left.append(told["output_sha256"])
            if self._answers_of(told["settings"]).is_file():  # a kill may have kept its output from its name
                left.append(told.get("replaced_sha256"))
        if digest not in left:
            raise UserError(
                f"--output {self.output} is there and is not as this command left it, so it is not replaced. "
                f"Move it away{', and the same command continues' if self.answers.is_file() else ' or give another'}."
            )
        return digest

    def tell_changes(self) -> None:
        """Say what differs from the settings that the output, or an interrupted run, was made with."""
        others = sorted(self.folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
        if self.begun in others:
            return
        if others:
            changes = told_changes(read_json(others[-1]), self.settings)
            print(
                f"starting anew: {changes}. The former answers stay in {self.folder} until all are there",
                file=sys.stderr,
            )
        elif self.mark.is_file() and self.output.exists():
            changes = told_changes(read_json(self.mark)["settings"], self.settings)
            print(f"starting anew: {changes}. {self.output} is replaced when all answers are there", file=sys.stderr)

    @contextmanager
    def opened(self) -> Iterator["Part"]:
        """Read what is there and let `add` append to it. A line that a kill or a full disk cut is answered again.

        Where no answer is there in the end either, nothing is left of these settings.
        """
        write_json(self.begun, self.settings)
        self.answers.touch()
        with self.answers.open("r+b") as self.stream:
            self.stream.truncate(self._read())
            self.stream.seek(0, 2)
            try:
                yield self
            finally:
                if max(self.places) == MISSING:
                    self.begun.unlink()
                    self.answers.unlink()

    def _read(self) -> int:
        """Index the answers. Where the first line ends that is no whole record, or the file."""
        end = 0
        for line in self.stream:
            record = _record(line)
            if record is None:
                break
            if "made_by" in record:
                self._note(record["made_by"])
            else:
                self.places[record["number"]] = end
            end += len(line)
        return end

    def _note(self, made_by: dict[str, str]) -> None:
        if made_by not in self.made_by:
            self.made_by.append(made_by)

    def left(self) -> list[int]:
        """The numbers that have no answer yet and shall have one."""
        return [number for number, place in enumerate(self.places) if place == MISSING]

    def skip(self, rows: list[int]) -> None:
        """These rows get no answer."""
        for row in rows:
            for number in range(row * self.samples, (row + 1) * self.samples):
                self.places[number] = LEFT_OUT

    def wanted(self) -> int:
        """How many answers there will be."""
        return len(self.places) - self.places.count(LEFT_OUT)

    def begin(self, made_by: dict[str, str]) -> None:
        """Note what makes the answers to come, and say so if it is not what made those that are there."""
        if self.made_by and made_by not in self.made_by:
            was, now = (
                ", ".join(f"{name} {value}" for name, value in one.items()) for one in (self.made_by[-1], made_by)
            )
            print(f"the answers so far were made with {was}; the rest are made with {now}", file=sys.stderr)
        self._note(made_by)
        self._write({"made_by": made_by})

    def add(self, number: int, response: str, finish_reason: str, tokens: int) -> None:
        """Keep an answer: after this a kill cannot lose it."""
        answer = {"response": response, "finish_reason": finish_reason, "tokens": tokens}
        self.places[number] = self._write({"number": number, **answer})

    def _write(self, record: dict[str, Any]) -> int:
        place = self.stream.tell()
        self.stream.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self.stream.flush()
        return place

    def finish(self, prompts: Prompts, model: dict[str, Any]) -> Counter:
        """Write the output in the order of the prompts, then forget the part. What was counted: tokens and finish_reasons.

        The settings come under their name before the output does; were the process killed between, the part is still there,
        and they tell the digest of the former output too. UserError, the part kept, if a foreign file came there meanwhile.
        """
        replaced = self._own_output()
        counts: Counter = Counter()
        with whole_file(self.output, "wb") as stream:
            hashed = hashlib.sha256()
            for line in self._lines(prompts, counts):
                stream.write(line)
                hashed.update(line)
            told = {"settings": self.settings, "model": model, "made_by": self.made_by, "counts": dict(counts)}
            write_json(self.mark, {**told, "output_sha256": hashed.hexdigest(), "replaced_sha256": replaced})
        for file in self.folder.iterdir():
            file.unlink()
        return counts

    def _lines(self, prompts: Prompts, counts: Counter) -> Iterator[bytes]:
        for number, place in enumerate(self.places):
            answer = self._answer(place) if place >= 0 else SKIPPED
            sample = {"sample": number % self.samples} if self.samples > 1 else {}
            counts.update({answer["finish_reason"]: 1, "tokens": answer["tokens"]})
            row = {**prompts.row(number // self.samples), **sample, **answer}
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"

    def _answer(self, place: int) -> dict[str, Any]:
        self.stream.seek(place)
        record = json.loads(self.stream.readline())
        return {name: record[name] for name in SKIPPED}


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None for one that was cut, or that a crash of the machine left as rubbish."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and line.endswith(b"\n") else None


def told_changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    """`temperature 0.6 → 0.8, seed 0 → 1`: the settings that differ, a digest by its first 12 digits."""
    was, now = _flat(old), _flat(new)
    names = [name for name in {**was, **now} if name != "schema_version" and was.get(name) != now.get(name)]
    return ", ".join(f"{name} {_short(was.get(name))} → {_short(now.get(name))}" for name in names)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    inner = {key: value for group in settings.values() if isinstance(group, dict) for key, value in group.items()}
    return {key: value for key, value in settings.items() if not isinstance(value, dict)} | inner


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if value is not None else "none"
    return text if len(text) <= 40 else f"{text.strip(chr(34))[:12]}…"
