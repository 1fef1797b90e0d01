"""The rules of a model: how a conversation becomes tokens, where an answer ends, how it is sampled.

They are read from the model's own files, here and nowhere else, and every front end keeps them: chat, generate, serve, the
demo, the GGUF export, the evaluation. Only what the user asks for goes before them.
"""

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from command import UserError
from inference.gguf_check import check_gguf
from inference.loading import Source, fetch


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn, in transformers' words and in its order: repetition penalty, temperature, top-k, top-p, min-p."""

    temperature: float = 0.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0: of all tokens
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, good, wanted in (
            ("temperature", 0 <= self.temperature <= 100, "0 (greedy) to 100"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 (of all tokens) or more"),
            ("min_p", 0 <= self.min_p <= 1, "between 0 and 1"),
            ("repetition_penalty", 0 < self.repetition_penalty <= 100, "above 0 (1 is none) and at most 100"),
        ):
            if not good:
                raise UserError(f"{name} {getattr(self, name):g} must be {wanted}.")

    def told(self) -> str:
        """In a line for the user, without what is switched off."""
        if self.temperature == 0:
            return "greedy"
        off = Sampling()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = [f"{name} {value:g}" for name, value in values.items() if value != getattr(off, name)]
        return ", ".join(shown)


GREEDY = Sampling()


@dataclass(frozen=True)
class Rules:
    """What a model's files say. `sampling` is what plain transformers would do with them."""

    template: str | None
    stop_ids: tuple[int, ...]
    stop_texts: tuple[str, ...]
    sampling: Sampling
    context: int | None  # tokens of a conversation and its answer


def read_rules(source: Source, tokenizer: Any) -> Rules:
    """The rules of a model, from its files alone: no torch, no weights."""
    generation, config = read_generation(source)
    stops = stop_token_ids(generation, config, tokenizer)
    return Rules(
        tokenizer.chat_template,
        tuple(stops),
        tuple(tokenizer.convert_ids_to_tokens(stops)),
        sampling_of(generation),
        config.get("max_position_embeddings"),
    )


def read_generation(source: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    """(generation_config.json, config.json) of a model, with GGUF's keys under transformers' names."""
    path = fetch(source)
    if path.is_file():
        return _read_gguf(path)
    names = ("generation_config.json", "config.json")
    found = [path / name if (path / name).is_file() else None for name in names]
    generation, config = (json.loads(file.read_text(encoding="utf-8")) if file else {} for file in found)
    return generation, config


def _read_gguf(path: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    from transformers.integrations.gguf import read_gguf_metadata

    check_gguf(path)
    metadata, _ = read_gguf_metadata(str(path))
    ends = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    generation: dict[str, Any] = {"eos_token_id": [end for end in ends if end is not None]}
    names = {
        "temp": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
        "min_p": "min_p",
        "penalty_repeat": "repetition_penalty",
    }
    told = {ours: metadata.get(f"general.sampling.{theirs}") for theirs, ours in names.items()}
    generation |= {name: value for name, value in told.items() if value is not None}
    generation["do_sample"] = bool(generation.get("temperature"))
    context = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    return generation, {"max_position_embeddings": context}


def sampling_of(generation: dict[str, Any]) -> Sampling:
    """What transformers' `generate()` does with a generation_config, its own defaults for what that leaves open (top-k 50) included."""
    if not generation.get("do_sample"):
        return replace(GREEDY, repetition_penalty=float(_or(generation.get("repetition_penalty"), 1.0)))
    return Sampling(
        temperature=float(_or(generation.get("temperature"), 1.0)),
        top_p=float(_or(generation.get("top_p"), 1.0)),
        top_k=int(_or(generation.get("top_k"), 50)),
        min_p=float(_or(generation.get("min_p"), 0.0)),
        repetition_penalty=float(_or(generation.get("repetition_penalty"), 1.0)),
    )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def stop_token_ids(generation: dict[str, Any], config: dict[str, Any], tokenizer: Any) -> list[int]:
    """Every token that ends an answer: generation_config's, the config's and tokenizer's eos, and the template's turn terminator."""
    found: set[int] = set()
    for ids in (generation.get("eos_token_id"), config.get("eos_token_id"), tokenizer.eos_token_id):
        found.update(ids if isinstance(ids, list | tuple) else [] if ids is None else [ids])
    terminator = turn_terminator(tokenizer)
    return sorted(found if terminator is None else found | {terminator})


def turn_terminator(tokenizer) -> int | None:
    """The control token that the chat template puts after an assistant's turn; None if there is no template or no such token."""
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "endofanswer"}]
    tail = tokenizer.apply_chat_template(turns, tokenize=False).rpartition("endofanswer")[2].lstrip()
    ids = tokenizer.encode(tail, add_special_tokens=False)
    return (
        ids[0]
        if ids and ids[0] in tokenizer.added_tokens_decoder and tokenizer.added_tokens_decoder[ids[0]].special
        else None
    )
