"""What is wrong with the rows: each finding with its place, reason and fix; counted by reason, shown all at once."""

import json
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import Any

from command import UserError
from training.preferences.text import shown

SHOWN = 20  # findings in a message of the terminal; inspect_pairs writes all of them, into dropped.jsonl
LONGEST = (
    600  # characters of a place or detail; both may hold text of the data, and so are shown without escape sequences
)


@dataclass(frozen=True)
class Finding:
    """Why a row is not trained on, or, if `fatal`, why a source cannot be read to its end (then nothing is trained on)."""

    where: str  # file:line, file[row] or source[row]
    reason: str  # one of few fixed words, for counting: "not valid JSON", "empty turn", "exact duplicate"
    detail: str = ""  # the thing and its value: "`chosen` is int"
    fix: str = ""  # a sentence: "Write it as a text."
    fatal: bool = False

    def __str__(self) -> str:
        where, detail = shown(self.where, LONGEST), shown(self.detail, LONGEST)
        return f"{where}: {self.reason}" + (f": {detail}" if detail else "") + f". {self.fix}".rstrip()

    @property
    def place(self) -> tuple[str, int]:
        """For sorting as the rows stand in their files."""
        name, number = re.fullmatch(r"(?s)(.*?)[:\[]?(\d*)\]?", self.where).groups()
        return name, int(number or 0)

    def record(self) -> dict[str, Any]:
        """As it stands in dropped.jsonl and data_report.json."""
        return {"where": self.where, "reason": self.reason, "detail": shown(self.detail, LONGEST), "fix": self.fix}


class BadRow(ValueError):
    """A row that is no pair. `reason` is counted; the message is its detail; `fix` is what to do."""

    def __init__(self, reason: str, detail: str = "", fix: str = "Mend or remove the row."):
        super().__init__(detail or reason)
        self.reason, self.detail, self.fix = reason, detail, fix

    def at(self, where: str) -> Finding:
        return Finding(where, self.reason, self.detail, self.fix)


def list_findings(findings: list[Finding], total: int | None = None, head: str = "row(s) cannot be used") -> str:
    """All findings in one message, the fatal ones first and the first SHOWN by name; `total` if there are more than these."""
    total = len(findings) if total is None else total
    shown = sorted(findings, key=lambda finding: not finding.fatal)[:SHOWN]
    hint = "python -m training.inspect_pairs writes all of them"
    more = [f"… and {total - len(shown):,} more; {hint}"] if total > len(shown) else []
    return "\n  ".join([f"{total:,} {head}:", *map(str, shown), *more])


def count_words(counts: Counter) -> str:
    """`512 exact duplicate, 3 empty turn`, the most frequent first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())


class FindingLog:
    """All findings of a reading: counted, the first MOST in memory, every one in a temporary file without a name."""

    MOST = 1000

    def __init__(self) -> None:
        self.counts: Counter = Counter()
        self.first: list[Finding] = []
        self.fatal: list[Finding] = []
        self._file = tempfile.TemporaryFile("w+", prefix="findings-", encoding="utf-8")  # noqa: SIM115  (as long as the log)

    def add(self, finding: Finding) -> None:
        self.counts[finding.reason] += 1
        if finding.fatal:
            self.fatal.append(finding)
        if len(self.first) < self.MOST:
            self.first.append(finding)
        self._file.write(json.dumps(finding.record(), ensure_ascii=False) + "\n")

    def __len__(self) -> int:
        return self.counts.total()

    def copy_to(self, stream: Any) -> None:
        """Every finding as a line of JSON: dropped.jsonl."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, stream)
        self._file.seek(0, 2)

    def message(self) -> str:
        """The first SHOWN of them, the fatal ones before the others."""
        rest = [finding for finding in self.first if not finding.fatal]
        return list_findings([*self.fatal, *rest], len(self))


class UnusablePairs(UserError):
    """No training on these pairs; `log` holds every finding, the message the first of them."""

    def __init__(self, message: str, log: FindingLog) -> None:
        super().__init__(message)
        self.log = log
