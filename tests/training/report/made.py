"""Pairs and what is known of them, made for the tests of the report."""

from collections import Counter

import numpy as np

from training.preferences import Pair, Preferences
from training.preferences.findings import Finding, FindingLog
from training.preferences.loading import OVERLAP as OVERLAPS
from training.preferences.relations import Relations

SHARED = "a piece of the data that a suite shares"
ROWS = (
    ("长城有多长？", "长城全长两万多公里。", "The Great Wall is over 20,000 km long."),
    ("水在几度沸腾？", "在标准大气压下是一百度。", "标准大气压下是九十度。"),
    ("How long is the Great Wall?", "It is over 20,000 km long.", "长城全长两万多公里。"),
    ("Name a colour.", "Blue is one.", "I'm sorry, but I cannot help with that."),
    ("What is two and two?", "It is four.", "It is five! 😀"),
)


def pairs_of(rows, source=0):
    return [
        Pair(
            ({"role": "user", "content": prompt},),
            chosen,
            rejected,
            f"made.jsonl:{line}",
            source,
            {"topic": f"t{line % 2}"},
        )
        for line, (prompt, chosen, rejected) in enumerate(rows, 1)
    ]


def made(rows=ROWS, findings=(), overlaps=(), near=None, twins=()):
    """(Preferences, Relations) of these rows; near: the group of each."""
    log = FindingLog()
    for finding in findings:
        log.add(finding)
    for overlap in overlaps:
        log.add(Finding(overlap["where"], OVERLAPS, f"13-gram in chosen: {SHARED}", "Remove the row."))
    pairs = pairs_of(rows)
    sources = [{"path": "data/made.jsonl", "rows": len(rows) + len(log), "kept": len(rows)}]
    groups = np.arange(len(rows)) if near is None else np.array(near)
    data = Preferences(pairs, sources, Counter(log.counts), "0" * 64, log, list(overlaps)[: FindingLog.MOST])
    return data, Relations(groups, list(twins), groups, len(rows))


def finding(line, reason="empty turn", detail="`chosen` is empty"):
    return Finding(f"made.jsonl:{line}", reason, detail, "Mend or remove the row.")


OVERLAP = {"where": "made.jsonl:9", "suite": "language", "id": "zh-1", "rule": "13-gram", "share": 0.75}
