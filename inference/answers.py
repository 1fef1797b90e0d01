"""What an engine gives: a whole answer, or the next characters of one. No torch here."""

from dataclasses import dataclass

CUT = "\N{REPLACEMENT CHARACTER}"  # what a tokenizer makes of a character of which bytes are missing


@dataclass(frozen=True)
class Answer:
    """One answer. The stop token is in neither `text` nor `token_ids`."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: str  # "stop" | "length"

    @property
    def tokens(self) -> int:
        """How long the answer is."""
        return len(self.token_ids)


@dataclass(frozen=True)
class Piece:
    """Some characters of an answer that is being made; `finish_reason` is None until the last."""

    text: str
    finish_reason: str | None  # "stop" | "length"
