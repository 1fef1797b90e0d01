"""From a MODEL to an engine that answers: which program runs it."""

import gc
import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from command import UserError
from inference.loading import Source, check_loading, default_dtype, load_model, load_tokenizer
from run_folder import gigabytes

RUNTIMES = ("auto", "transformers", "llama.cpp")
LLAMA_CPP_PACKAGE = "xllamacpp==2026.10.11549"


def open_engine(
    source: Source, *, dtype: str | None = None, quantization: str | None = None, runtime: str = "auto"
) -> Any:
    """The engine of a MODEL, loaded. UserError, before torch is imported, for options that cannot be meant for it."""
    in_llama_cpp = check_engine(source, dtype=dtype, quantization=quantization, runtime=runtime)
    with _without_collector():
        if in_llama_cpp:
            return _open_llama_cpp(source)
        from inference.engine import Engine

        tokenizer = load_tokenizer(source)
        if not tokenizer.chat_template:
            raise UserError(f"MODEL {source.spec} has no chat template, so it cannot chat. Give a chat model.")
        return Engine(load_model(source, dtype or default_dtype(), quantization=quantization), tokenizer)


def check_engine(source: Source, *, dtype: str | None, quantization: str | None, runtime: str) -> bool:
    """Whether llama.cpp will run it. UserError, before torch is imported, for options that cannot be meant for this MODEL."""
    check_loading(source, dtype, quantization)
    return runs_in_llama_cpp(source, runtime, dtype)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python's garbage collector switched off: it would walk what torch and transformers define again and again while they
    are imported, for a fifth of the time to the first token (benchmarks/first_token.py)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def runs_in_llama_cpp(source: Source, runtime: str, dtype: str | None) -> bool:
    """Whether llama.cpp runs it: asked for, or a GGUF file where it is installed and no --dtype asks for transformers.

    The embedded base, a GGUF file too, is left to transformers: so it answers as it is trained and evaluated.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"--runtime {runtime!r} is none of {', '.join(RUNTIMES)}.")
    installed = importlib.util.find_spec("xllamacpp") is not None
    if runtime != "llama.cpp":
        return runtime == "auto" and source.kind == "gguf" and dtype is None and installed
    if source.kind not in ("gguf", "pypi"):
        raise UserError(
            f"--runtime llama.cpp runs GGUF files; MODEL {source.spec} is none. Export it: python -m inference.export_gguf {source.spec}"
        )
    if source.kind == "pypi":
        raise UserError(
            f"--runtime llama.cpp: MODEL {source.spec} always runs in transformers, as it is trained. Leave the option out."
        )
    if dtype is not None:
        raise UserError(f"--dtype {dtype} is for transformers; llama.cpp computes in the file's own. Leave it out.")
    if not installed:
        raise UserError(f"--runtime llama.cpp needs xllamacpp. Install it: pip install {LLAMA_CPP_PACKAGE}")
    return True


def _open_llama_cpp(source: Source) -> Any:
    from inference.llama_cpp.engine import LlamaCppEngine

    began = time.monotonic()
    engine = LlamaCppEngine(source)
    size = gigabytes(source.path.stat().st_size)
    print(f"loaded {source.name} in llama.cpp in {time.monotonic() - began:.1f} s (file of {size})", file=sys.stderr)
    return engine
