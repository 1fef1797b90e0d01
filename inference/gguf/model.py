"""What an export to GGUF reads of a model apart from its weights, and how a GGUF file says it."""

import argparse
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import gguf
from gguf.gguf_writer import WriterState

from command import UserError
from inference.gguf.ollama import Family, find_family, go_template, parameters
from inference.gguf.vocabulary import add_vocabulary, end_tokens, pre_tokenizer, read_tokenizer
from inference.loading import Source, load_tokenizer
from inference.rules import GGUF_NAMES, sampling_of, stop_token_ids, turn_terminator
from run_folder import file_sha256, joint_sha256, read_json

SUPPORTED = "Llama (model_type llama, silu, no biases, plain or Llama 3.1 rope), which Llama 3 and SmolLM2 are"
FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
# llama.cpp's own list with `temperature` before top_k, as transformers has it; llama.cpp itself would apply it last.
SAMPLING_ORDER = "penalties;dry;top_n_sigma;temperature;top_k;typ_p;top_p;min_p;xtc"
READ = ("*.safetensors", "config.json", "generation_config.json", "tokenizer*.json", "chat_template.jinja")


@dataclass(frozen=True)
class Model:
    """What is written beside the weights. `record` is export.json without its files."""

    name: str
    config: dict[str, Any]
    tokenizer: dict[str, Any]  # tokenizer.json
    special: dict[str, Any]  # ids by GGUF's names, add_bos, chat_template
    record: dict[str, Any]


class StreamWriter(gguf.GGUFWriter):
    """A GGUFWriter into a stream that is open, so that a file takes its name only when it is whole."""

    def __init__(self, stream: IO[bytes]):
        super().__init__(None, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
        self.stream = stream

    def open_output_file(self, path: Path | None = None) -> None:
        """Instead of opening a path."""
        self.fout, self.state = [self.stream], WriterState.EMPTY


def add_metadata(writer: gguf.GGUFWriter, model: Model, type_name: str) -> None:
    """All keys of a file: what it is and where from, the shape of the model, its sampling, its tokenizer."""
    record, config = model.record, model.config
    writer.add_type("model")
    writer.add_name(model.name)
    writer.add_file_type(FILE_TYPES[type_name])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_license(record["license"] or "")  # an empty text is left out
    if record["hub_id"]:
        writer.add_source_repo_url(f"https://huggingface.co/{record['hub_id']}")
    if record["base_model"]:
        organization, _, name = record["base_model"].partition("/")
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, name)
        writer.add_base_model_organization(0, organization)
        writer.add_base_model_repo_url(0, f"https://huggingface.co/{record['base_model']}")
    for name, value in record["sampling"].items():
        getattr(writer, f"add_sampling_{GGUF_NAMES.get(name, name)}")(value)
    writer.add_sampling_sequence(record["sampling_order"])
    # transformers penalises every token that was there, llama.cpp the last 64; -1 would be none in llama.cpp of late 2026.
    writer.add_sampling_penalty_last_n(record["context_length"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    add_vocabulary(writer, model.tokenizer, config["vocab_size"], model.special)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json with head_dim and rope_parameters filled in as transformers does. UserError unless it is a plain Llama."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config["num_key_value_heads"] = config.get("num_key_value_heads") or config["num_attention_heads"]
        config["head_dim"] = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        old = {"rope_theta": config.get("rope_theta", 10000.0), **(config.get("rope_scaling") or {})}
        rope = {"rope_type": "default", **(config.get("rope_parameters") or old)}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is broken ({error!r}). Copy or download the model again.") from None
    rope["rope_type"] = rope.pop("type", rope["rope_type"])
    for key, value, wanted in (
        ("model_type", config.get("model_type"), ("llama",)),
        ("hidden_act", config.get("hidden_act", "silu"), ("silu",)),
        ("attention_bias", config.get("attention_bias", False), (False,)),
        ("mlp_bias", config.get("mlp_bias", False), (False,)),
        ("rope_type", rope["rope_type"], ("default", "llama3")),
        ("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0), (1.0,)),
        ("quantization_config", config.get("quantization_config"), (None,)),
    ):
        if value not in wanted:
            raise UserError(f"MODEL {folder}: {key} is {value!r}. What can be exported is {SUPPORTED}.")
    return config | {"rope_parameters": rope}


def read_model(source: Source, folder: Path, config: dict[str, Any], options: argparse.Namespace) -> Model:
    """Everything but the weights. UserError for what llama.cpp would do otherwise than transformers."""
    written, tokenizer = read_tokenizer(folder), load_tokenizer(source)
    if not isinstance(tokenizer.chat_template, str) or tokenizer.eos_token_id is None:
        raise UserError(f"MODEL {folder} has no chat template or no eos token. Use an instruct or chat model.")
    generation = optional_json(folder / "generation_config.json")
    stops, sampling = stop_token_ids(generation, config, tokenizer), asdict(sampling_of(generation))
    texts = tokenizer.convert_ids_to_tokens(stops)
    ends = end_tokens(stops, tokenizer.eos_token_id, turn_terminator(tokenizer))
    others = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "unk", "pad")}
    special = {
        "ids": {name: number for name, number in others.items() if number is not None} | ends,
        "add_bos": tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id],
        "chat_template": tokenizer.chat_template,
    }
    origin, name = read_origin(source, folder, options.license)
    name = options.name or name
    record = {
        "name": name,
        **origin,
        "source": digests(folder),
        "gguf_package": version("gguf"),
        "gguf_version": gguf.GGUF_VERSION,
        "architecture": "llama",
        "context_length": config["max_position_embeddings"],
        "pre_tokenizer": pre_tokenizer(written, folder / "tokenizer.json"),
        "special_tokens": special["ids"] | {"add_bos": special["add_bos"]},
        "stops": [{"id": stop, "text": text} for stop, text in zip(stops, texts, strict=True)],
        "sampling": sampling,
        "sampling_order": SAMPLING_ORDER,
        "template_sha256": hashlib.sha256(tokenizer.chat_template.encode()).hexdigest(),
        **ollama_rules(tokenizer, special["add_bos"], parameters(texts, sampling, config["max_position_embeddings"])),
    }
    return Model(name, config, written, special, record)


def digests(folder: Path) -> dict[str, Any]:
    """`files`: SHA-256 of every file that an export depends on. `sha256`: that of the weights, as eval and training record it."""
    files = {file.name: file_sha256(file) for pattern in READ for file in sorted(folder.glob(pattern))}
    weights = {name: digest for name, digest in files.items() if name.endswith(".safetensors")}
    return {"sha256": joint_sha256(weights), "files": files}


def ollama_rules(tokenizer: Any, add_bos: bool, values: dict[str, Any]) -> dict[str, Any]:
    """`ollama`: the Go template with what is known of it and the parameters, or null with the reason."""
    family = find_family(tokenizer, add_bos)
    if not isinstance(family, Family):
        return {"ollama": None, "ollama_reason": family}
    known = {"family": family.name, "default_system": family.default_system, "strips": family.strips}
    return {"ollama": {**known, "template": go_template(family), "parameters": values}, "ollama_reason": None}


def read_origin(source: Source, folder: Path, licence: str | None) -> tuple[dict[str, Any], str]:
    """({license, base_model, hub_id}, name) by the training.json beside or above the weights, else by what was given."""
    places = [folder / "training.json", folder.parent / "training.json"]
    record = next((read_json(place) for place in places if place.is_file()), {})
    base = record.get("base_model") or {}
    known = base.get("license")
    if known and licence and known != licence:
        raise UserError(f"--license {licence} contradicts training.json, which says {known}. Leave --license out.")
    origin = {"license": known or licence, "base_model": base.get("hub_id"), "hub_id": source.hub_id}
    name = re.sub(r"[^\w.-]+", "-", record.get("run_name") or source.name.split("/")[0])
    return origin, name.lstrip(".-")


def optional_json(path: Path) -> dict[str, Any]:
    """A JSON object; {} if the file is missing. UserError if it is broken."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is broken ({error}). Copy or download the model again.") from None
