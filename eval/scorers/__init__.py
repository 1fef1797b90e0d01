"""Pure, versioned functions: a response in, a score and its reason out. None imports torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """What a scorer says of one answer: `score` from 0 (fails) to 1 (passes), None where nothing could be judged."""

    score: float | None
    reason: str
