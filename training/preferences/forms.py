"""The forms of a row in use (ShareGPT, TRL conversational and plain, the old `answer` list), each read into a Pair."""

from typing import Any

from training.preferences.findings import BadRow
from training.preferences.pair import Pair
from training.preferences.text import is_unicode, shown

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
PROMPT_KEYS = ("conversations", "prompt", "question", "instruction")
LABELS = ("language", "topic", "fault")
KEYS = (
    *PROMPT_KEYS,
    "input",
    "history",
    "system",
    "chosen",
    "rejected",
    "answer",
    *LABELS,
)  # all that is read of a row
FORM = "Write `prompt`, `chosen` and `rejected`."
AS_TEXT = "Write it as a text."


def parse_row(row: Any, where: str, source: int = 0) -> Pair:
    """A Pair from a ShareGPT, TRL conversational, TRL plain or old `answer: [chosen, rejected]` row.

    BadRow (a ValueError) says what is wrong with the row, in terms of its own keys.
    """
    if not isinstance(row, dict):
        raise BadRow("not an object", f"a row is an object with chosen and rejected; this is {kind(row)}", FORM)
    row = split_prompt(row)
    messages = prompt_messages(row)
    chosen, rejected = response_texts(row)
    check_roles(messages)
    for name, text in (("chosen", chosen), ("rejected", rejected), *(("prompt", m["content"]) for m in messages)):
        check_text(name, text)
    labels = {key: shown(row[key], 80) for key in LABELS if isinstance(row.get(key), str) and is_unicode(row[key])}
    return Pair(tuple(messages), chosen, rejected, where, source, labels)


def check_text(name: str, text: str) -> None:
    """BadRow for a text that no tokenizer takes, or that teaches nothing."""
    if not text.strip():
        raise BadRow("empty turn", f"{name} is empty")
    if not is_unicode(text):
        raise BadRow("lone surrogate", f"{name} holds a lone surrogate (\\ud800 to \\udfff), which is no character")
    if "\0" in text:
        raise BadRow("NUL character", f"{name} holds a NUL (U+0000)", "Remove the character.")


def kind(value: Any) -> str:
    """The name of a value's type as JSON calls it."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def split_prompt(row: dict[str, Any]) -> dict[str, Any]:
    """TRL's implicit prompt: `chosen` and `rejected` are whole conversations; what they have in common is the prompt.

    A row with a `prompt` besides (HuggingFaceH4/ultrafeedback_binarized) has to mean one of the common user turns by it,
    or all of the common turns. Any other row is returned as it is.
    """
    both = row.get("chosen"), row.get("rejected")
    if not all(isinstance(side, list) and side for side in both) or max(map(len, both)) < 2:
        return row
    chosen, rejected = (
        [as_message(turn, f"{key}[{i}]") for i, turn in enumerate(side)]
        for key, side in zip(("chosen", "rejected"), both, strict=True)
    )
    common = chosen[:-1]
    if common != rejected[:-1]:
        at = next(
            (i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), min(map(len, both)) - 1
        )
        raise BadRow(
            "different beginnings", f"chosen and rejected differ from turn {at + 1} on; only their last may differ"
        )
    for key in PROMPT_KEYS:
        value = row.get(key)
        asked = [turn["content"].strip() for turn in common if turn["role"] == "user"]
        if isinstance(value, list):
            same = [as_message(turn, f"{key}[{i}]") for i, turn in enumerate(value)] == common
        else:
            same = value is None or (isinstance(value, str) and value.strip() in asked)
        if not same:
            raise BadRow("different beginnings", f"`{key}` is not what chosen and rejected begin with")
    rest = {key: value for key, value in row.items() if key not in PROMPT_KEYS}
    return {**rest, "prompt": common, "chosen": chosen[-1:], "rejected": rejected[-1:]}


def prompt_messages(row: dict[str, Any]) -> list[dict[str, str]]:
    """The turns before the answers, the row's `system` first."""
    key = next((key for key in PROMPT_KEYS if row.get(key) is not None), None)
    if key is None:
        raise BadRow("no prompt", f"has no prompt: one of {', '.join(f'`{k}`' for k in PROMPT_KEYS)} is needed", FORM)
    value = row[key]
    if isinstance(value, str):
        messages = [*history_of(row), {"role": "user", "content": with_input(value, row)}]
    elif row.get("input") or row.get("history"):
        raise BadRow("roles out of order", f"`{key}` holds turns, and `input` or `history` stand beside it", FORM)
    elif isinstance(value, list) and value:
        messages = [as_message(message, f"{key}[{i}]") for i, message in enumerate(value)]
    elif isinstance(value, list):
        raise BadRow("empty turn", f"`{key}` is empty; a text or a list of turns is needed")
    else:
        raise BadRow("not a text", f"`{key}` is {kind(value)}; a text or a list of turns is needed", AS_TEXT)
    system = row.get("system")
    if system is not None and not isinstance(system, str):
        raise BadRow("not a text", f"`system` is {kind(system)}; a text is needed", AS_TEXT)
    return [{"role": "system", "content": system}, *messages] if system and system.strip() else messages


def with_input(text: str, row: dict[str, Any]) -> str:
    """Alpaca's form: what an instruction is about stands in `input`, behind it on a line of its own."""
    more = row.get("input")
    if more is not None and not isinstance(more, str):
        raise BadRow("not a text", f"`input` is {kind(more)}; a text is needed", AS_TEXT)
    return f"{text}\n{more}" if more and more.strip() else text


def history_of(row: dict[str, Any]) -> list[dict[str, str]]:
    """LLaMA-Factory's `history`: earlier exchanges, each [question, answer]."""
    history = row.get("history")
    if history is not None and not isinstance(history, list):
        raise BadRow("not a turn", f"`history` is {kind(history)}; a list of [question, answer] is needed")
    turns = []
    for i, exchange in enumerate(history or []):
        if not isinstance(exchange, list) or len(exchange) != 2 or not all(isinstance(text, str) for text in exchange):
            raise BadRow("not a turn", f"`history[{i}]` is no [question, answer] of two texts")
        turns += [{"role": role, "content": text} for role, text in zip(("user", "assistant"), exchange, strict=True)]
    return turns


def as_message(message: Any, name: str) -> dict[str, str]:
    """One turn, {role, content} or ShareGPT's {from, value}, by its name in the row."""
    if not isinstance(message, dict):
        raise BadRow("not a turn", f"{name} is {kind(message)}; an object with role and content is needed")
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if not isinstance(role, str) or role not in ROLES:
        found = repr(shown(role, 40)) if isinstance(role, str) else kind(role)  # the repr of a deep list would recurse
        raise BadRow("unknown role", f"{name} has the role {found}; known are {', '.join(sorted(ROLES))}")
    if content is not None and not isinstance(content, str):
        raise BadRow("not a text", f"{name} holds {kind(content)}; a text is needed", AS_TEXT)
    if not content or not content.strip():
        raise BadRow("empty turn", f"{name} has no text")
    return {"role": ROLES[role], "content": content}


def response_texts(row: dict[str, Any]) -> tuple[str, str]:
    """Chosen and rejected."""
    if "answer" in row and "chosen" not in row:
        answer = row["answer"]
        if not (isinstance(answer, list) and len(answer) == 2 and all(isinstance(a, str) for a in answer)):
            raise BadRow("no answers", "`answer` must be a list of two texts, [chosen, rejected]", FORM)
        return answer[0], answer[1]
    for key in ("chosen", "rejected"):
        if row.get(key) is None:
            raise BadRow("no answers", f"has no `{key}`", FORM)
    return response_text(row["chosen"], "chosen"), response_text(row["rejected"], "rejected")


def response_text(value: Any, key: str) -> str:
    """The text of an answer: a text, one assistant turn, or a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        message = as_message(value, key)
        if message["role"] != "assistant":
            raise BadRow(
                "roles out of order", f"`{key}` is a turn of the {message['role']}; it must be the assistant's"
            )
        return message["content"]
    if not isinstance(value, str):
        raise BadRow("not a text", f"`{key}` is {kind(value)}; a text or one assistant turn is needed", AS_TEXT)
    return value


def check_roles(messages: list[dict[str, str]]) -> None:
    """BadRow unless the turns are [system,] user, assistant, …, user."""
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    expected = ["user" if i % 2 == 0 else "assistant" for i in range(len(turns))]
    if turns != expected or len(turns) % 2 == 0:
        found = ", ".join(roles[:8]) + (", …" if len(roles) > 8 else "")
        raise BadRow("roles out of order", f"roles are {found}; needed: [system,] user, assistant, …, ending with user")
