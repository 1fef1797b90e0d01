"""The rules of a model: how a conversation becomes tokens, where an answer ends, how it is sampled.

They are read from the model's own files, here and nowhere else, and every front end keeps them: chat, generate, serve, the
demo, the GGUF export, the evaluation. Only what the user asks for goes before them.
"""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from command import UserError
from inference.gguf.check import check_gguf
from inference.loading import Source, adapter_base, fetch, gguf_stops


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
                raise UserError(f"{name} {getattr(self, name):g} must be {wanted}.")  # NaN is never good

    def told(self) -> str:
        """In a line for the user, without what is switched off."""
        greedy = self.temperature == 0
        names = ["repetition_penalty"] if greedy else [field.name for field in fields(self)]
        values = {name: getattr(self, name) for name in names}
        shown = [f"{name} {value:g}" for name, value in values.items() if value != getattr(GREEDY, name)]
        return ", ".join(["greedy", *shown] if greedy else shown)


GREEDY = Sampling()
FILES_SILENT = {"temperature": 1.0, "top_k": 50}  # transformers' own values; of the other fields, those of Sampling
GGUF_NAMES = {"temperature": "temp", "repetition_penalty": "penalty_repeat"}  # of Sampling; others are the same

# What else a generation_config.json can ask for that changes which token comes, with the value that asks for nothing.
# No front end does these, so a file that asks for one is refused: its model would answer otherwise here than elsewhere.
NOT_FOLLOWED = {
    "num_beams": 1,
    "encoder_repetition_penalty": 1,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "guidance_scale": 1,
    "penalty_alpha": None,
    "watermarking_config": None,
    "stop_strings": None,
}
NOT_FOLLOWED_SAMPLING = {"typical_p": 1, "epsilon_cutoff": 0, "eta_cutoff": 0, "top_h": None}  # nothing if greedy


@dataclass(frozen=True)
class Rules:
    """What a model's files say. `sampling` is what plain transformers would do with them."""

    template: str | None
    stop_ids: tuple[int, ...]
    stop_texts: tuple[str, ...]
    sampling: Sampling
    context: int | None  # tokens of a conversation and its answer


def read_rules(source: Source, tokenizer: Any) -> Rules:
    """The rules of a model, from its files alone: no torch, no weights. UserError for values that cannot be meant."""
    generation, config = read_generation(source)
    stops = stop_token_ids(generation, config, tokenizer)
    return Rules(
        tokenizer.get_chat_template() if tokenizer.chat_template else None,
        tuple(stops),
        tuple(tokenizer.convert_ids_to_tokens(stops)),
        sampling_of(generation),
        context_of(config),
    )


def read_generation(source: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    """(generation_config.json, config.json) of a model, {} for a file that is not there, GGUF's keys under transformers' names.

    An adapter has its base's, but for a generation_config.json of its own. UserError, with file and key, where the sampling
    or the context could not be kept.
    """
    path = fetch(source)
    if path.is_file():
        generation, config = _read_gguf(path)
        places = (f"{path}, general.sampling", f"{path}")
    else:
        files = path / "generation_config.json", path / "config.json"
        if (path / "adapter_config.json").is_file():
            generation, config = read_generation(adapter_base(path))
            generation = _read_object(files[0]) if files[0].is_file() else generation
        else:
            generation, config = (_read_object(file) if file.is_file() else {} for file in files)
        places = tuple(map(str, files))
    for place, check, record in zip(places, (sampling_of, context_of), (generation, config), strict=True):
        try:
            check(record)
        except UserError as error:
            raise UserError(f"{place}: {error} Correct it there.") from None
    return generation, config


def _read_object(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}). Copy or download the model again.") from None
    if not isinstance(record, dict):
        raise UserError(f"{path} is not a JSON object. Copy or download the model again.")
    return record


def _read_gguf(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a GGUF file says, in transformers' words.

    What it leaves open is taken as in a folder that leaves it open, not as llama.cpp does (temperature 0.8, top-k 40, top-p
    0.95, min-p 0.05): llama.cpp's converter copies these keys from generation_config.json, so a key is missing where that
    file was silent, and a model must not answer otherwise for the format of its file. A file without any is greedy.
    """
    from transformers.integrations.gguf import read_gguf_metadata

    check_gguf(path)
    metadata, _ = read_gguf_metadata(str(path))
    names = [field.name for field in fields(Sampling)]
    told = {name: metadata.get(f"general.sampling.{GGUF_NAMES.get(name, name)}") for name in names}
    generation = {name: _short(value) for name, value in told.items() if value is not None}
    drawn = any(name in generation for name in ("temperature", "top_p", "top_k", "min_p"))
    generation["do_sample"] = drawn and generation.get("temperature") != 0
    generation["eos_token_id"] = gguf_stops(metadata)
    context = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    return generation, {"max_position_embeddings": context}


def _short(value: Any) -> Any:
    """A 32-bit number of GGUF as it was written: 0.6 and not 0.6000000238418579."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def sampling_of(generation: dict[str, Any]) -> Sampling:
    """What transformers' `generate()` does with a generation_config, its own values for what that leaves open (top-k 50) included.

    UserError for a value that is no number or out of range, and for a way to choose tokens that is not followed here.
    """
    sampled = generation.get("do_sample")
    if not isinstance(sampled, bool | None):
        raise UserError(f"do_sample {sampled!r} must be true or false.")
    for name, off in (NOT_FOLLOWED | (NOT_FOLLOWED_SAMPLING if sampled else {})).items():
        if generation.get(name) not in (None, off, []):
            raise UserError(
                f"{name} {generation[name]!r} is a way to choose tokens that is not followed here: remove it."
            )
    names = [field.name for field in fields(Sampling)] if sampled else ["repetition_penalty"]
    own = {field.name: field.default for field in fields(Sampling)} | FILES_SILENT
    return Sampling(**{name: _number(generation, name, own[name]) for name in names})


def _number(record: dict[str, Any], name: str, default: float) -> float:
    """A number under `name`, of the default's type; the default where there is none."""
    value = record.get(name)
    if value is None:
        return default
    kind, wanted = (int, "a whole number") if isinstance(default, int) else (float, "a number")
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or kind(value) != value
    ):
        raise UserError(f"{name} {value!r} must be {wanted}.")
    return kind(value)


def context_of(config: dict[str, Any]) -> int | None:
    """Tokens that a conversation and its answer may take together; None where the config does not say.

    A rope that is stretched from an original length reaches `factor` times that, though the config may still give the
    original (Qwen 2.5 with YaRN). Stretched without one (`linear`, `dynamic`), makers differ in whether
    `max_position_embeddings` is the length before or after: it is kept, which is never too long.
    """
    length = _number(config, "max_position_embeddings", 0)
    name = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(name) or {}
    if not isinstance(rope, dict):
        raise UserError(f"{name} {rope!r} must be an object.")
    if not length and config.get("max_position_embeddings") is None:
        return None
    if length < 1:
        raise UserError(f"max_position_embeddings {length} must be 1 or more.")
    stretched = _number(rope, "original_max_position_embeddings", 0) * _number(rope, "factor", 1.0)
    return max(length, int(stretched))


def stop_token_ids(generation: dict[str, Any], config: dict[str, Any], tokenizer: Any) -> list[int]:
    """Every token that ends an answer: generation_config's, the config's and tokenizer's eos, and the template's turn terminator.

    UserError for a stop that is no token: it would never come, and the answer not end.
    """
    found: set[int] = set()
    for ids in (generation.get("eos_token_id"), config.get("eos_token_id"), tokenizer.eos_token_id):
        found.update(_token_ids(ids, len(tokenizer)))
    terminator = turn_terminator(tokenizer)
    return sorted(found if terminator is None else found | {terminator})


def _token_ids(ids: Any, tokens: int) -> list[int]:
    """eos_token_id as a list. UserError unless each is the number of one of the vocabulary's `tokens`."""
    listed = ids if isinstance(ids, list | tuple) else [] if ids is None else [ids]
    for one in listed:
        if isinstance(one, bool) or not isinstance(one, int) or not 0 <= one < tokens:
            raise UserError(
                f"eos_token_id {one!r} is no token of the vocabulary (0 to {tokens - 1}), so answers would not end there. "
                "Correct it in generation_config.json and config.json."
            )
    return list(listed)


def turn_terminator(tokenizer: Any) -> int | None:
    """The control token that the chat template puts after an assistant's turn; None if there is no template or no such token."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "endofanswer"}]
    try:
        _, answer, tail = tokenizer.apply_chat_template(turns, tokenize=False).rpartition("endofanswer")
    except TemplateError as error:
        raise UserError(f"the model's chat template refuses a question with an answer: {error}") from None
    ids = tokenizer.encode(tail.lstrip(), add_special_tokens=False) if answer else []
    known = tokenizer.added_tokens_decoder
    return ids[0] if ids and ids[0] in known and known[ids[0]].special else None
