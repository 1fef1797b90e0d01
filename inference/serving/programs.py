"""The three servers: what each needs, its command line with a model's own rules, and what it cannot keep.

A server is told only what it does not read from the model by itself. What it takes no option for is refused, not ignored.
"""

import importlib.util
import json
import os
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from command import UserError
from inference.llama_cpp.threads import threads
from inference.loading import Source, default_dtype
from inference.rules import Rules

PROGRAMS = ("transformers", "llama.cpp", "vllm")
SERVING_MODULES = ("fastapi", "uvicorn", "pydantic", "openai")  # transformers' is_serve_available
SLOTS = 4  # conversations that llama.cpp answers at a time at most; its server's own default
# Tokens of all their contexts together, so that memory is bounded (4 GiB of keys and values for Llama 3 8B). Each has its own:
# in one pool (--kv-unified, llama-server's default) all fail together when it is full.
SLOT_TOKENS = 32_768
KEYS = {"llama.cpp": "LLAMA_API_KEY", "vllm": "VLLM_API_KEY"}
# tokens that the repetition penalty looks back to at most; -1, all, is read as none by today's llama.cpp
MANY = 1 << 20
# llama.cpp's order puts temperature last; ours, transformers' and vLLM's first
SAMPLERS = "penalties;temperature;top_k;top_p;min_p"
REFUSED = {
    "transformers": {
        "context": "transformers serve takes no option for it; the model's config.json has it",
        "model_name": "transformers serve calls a model by its folder or Hub id",
    },
    "llama.cpp": {"dtype": "the type of the weights is the GGUF file's; export the one you want"},
    "vllm": {},
}
TYPED = "a control token typed in a message is read as that token"
LIMITS = {
    "transformers": (
        "one request is answered at a time",
        "a request may set temperature, top_p, frequency_penalty, seed, stop and max_tokens; top_k, min_p and "
        "repetition_penalty are the model's own; n, logprobs and presence_penalty are ignored",
        "a text given as `stop` stays at the answer's end",
        "a prompt longer than the context is not refused but computed, while all others wait, even if its client is gone; "
        "wrong values are status 500 without JSON. llama.cpp's server (a GGUF file) does neither",
        "/v1/models lists the Hub cache (status 500 where there is none); /load_model and /reset are open to all who reach the port",
        TYPED,
    ),
    "llama.cpp": ("any model's name is accepted", TYPED),
    "vllm": (TYPED,),
}


@dataclass(frozen=True)
class Wanted:
    """What the user asked of the server; None is the program's or the model's own."""

    host: str
    port: int
    dtype: str | None
    context: int | None
    model_name: str | None


@dataclass(frozen=True)
class Server:
    """A server that is ready to be started."""

    title: str
    command: list[str]
    environment: dict[str, str]
    model_name: str  # what a request says under `model`
    limits: list[str]

    def line(self) -> str:
        """The command line as a shell takes it."""
        return " ".join([*(f"{name}={value}" for name, value in self.environment.items()), shlex.join(self.command)])


def choose(source: Source, asked: str | None) -> str:
    """Which of PROGRAMS serves a MODEL: llama.cpp a GGUF file; a folder or a Hub id vLLM where it and a GPU are, else transformers."""
    gguf = source.kind in ("gguf", "pypi")
    if gguf and asked not in (None, "llama.cpp"):
        raise UserError(
            f"--with {asked}: MODEL {source.spec} is a GGUF file, which llama.cpp serves. Leave --with out."
        )
    if not gguf and asked == "llama.cpp":
        raise UserError(
            f"--with llama.cpp: MODEL {source.spec} is no GGUF file. Export one and serve that: "
            f"python -m inference.export_gguf {shlex.quote(source.spec)}"
        )
    if gguf:
        return "llama.cpp"
    return asked or ("vllm" if _find("vllm") and _has_cuda() else "transformers")


def check_options(program: str, wanted: Wanted) -> None:
    """UserError for what the program cannot be told."""
    for name, reason in REFUSED[program].items():
        if getattr(wanted, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} {getattr(wanted, name)}: {reason}.")


def check_installed(program: str) -> None:
    """UserError with the command that installs it, if the program is not here."""
    if program == "transformers":
        missing = [name for name in SERVING_MODULES if importlib.util.find_spec(name) is None]
        if missing or not _find("transformers"):
            wants = f"pip install 'transformers[serving]=={version('transformers')}'"
            raise UserError(f"transformers serve lacks {', '.join(missing) or 'its command'}: {wants}")
    elif program == "vllm" and not _find("vllm"):
        raise UserError("vLLM is not installed: pip install vllm (in an environment of its own, put on PATH)")
    elif program == "llama.cpp" and not (_find("llama-server") or _has_xllamacpp()):
        raise UserError("no llama.cpp to serve a GGUF file: pip install xllamacpp, or put llama-server on PATH")


def make_server(program: str, source: Source, path: Path, rules: Rules, wanted: Wanted) -> Server:
    """The server of a model that is on this disk at `path`."""
    if wanted.context and rules.context and wanted.context > rules.context:
        raise UserError(f"--context {wanted.context}: the model's own is {rules.context}. Give at most that.")
    make = {"transformers": _transformers_serve, "llama.cpp": _llama_server, "vllm": _vllm_serve}[program]
    server = make(source, path, rules, wanted)
    key = KEYS.get(program)
    if wanted.host not in ("127.0.0.1", "localhost", "::1") and not os.environ.get(key or ""):
        server.limits.append(
            f"all who reach {wanted.host} may ask" + (f"; {key} in the environment is its key" if key else "")
        )
    return server


def _transformers_serve(source: Source, path: Path, rules: Rules, wanted: Wanted) -> Server:
    """Pinned to the one model, and offline, so that no request downloads another."""
    name = source.spec if source.kind == "hub" else str(path)
    if source.kind != "hub" and "@" in name:
        raise UserError(f"MODEL {name}: transformers serve takes what follows an @ for a revision. Rename the folder.")
    command = [_find("transformers") or "transformers", "serve", name, *_address(wanted)]
    command += ["--dtype", wanted.dtype or default_dtype()]
    limits = list(LIMITS["transformers"])
    if rules.sampling.temperature == 0:
        limits.append("the model is greedy: a request's temperature is ignored")
    environment = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    return Server("transformers serve", command, environment, name, limits)


def _llama_server(source: Source, path: Path, rules: Rules, wanted: Wanted) -> Server:
    """llama.cpp's server out of xllamacpp, whose version our tests ran, else llama-server, whose version we do not know.

    No web page from elsewhere may ask it; LLAMA_API_KEY is its key.
    """
    name = wanted.model_name or source.name
    context = wanted.context or rules.context or 0  # 0 is the file's own
    slots = max(1, min(SLOTS, SLOT_TOKENS // context)) if context else 1
    runs = [sys.executable, "-m", "inference.serving.llama_server"]
    command = runs if _has_xllamacpp() else [_find("llama-server") or "llama-server"]
    command += ["--model", str(path), "--alias", name, *_address(wanted), "--cors-origins", "localhost"]
    command += ["--ctx-size", str(context * slots), "--parallel", str(slots), "--threads", str(threads())]
    command += ["--jinja", "--samplers", SAMPLERS, "--repeat-last-n", str(context or MANY), "--log-verbosity", "2"]
    sampling = rules.sampling
    for option, value in (
        ("--temp", sampling.temperature),
        ("--top-k", sampling.top_k),
        ("--top-p", sampling.top_p),
        ("--min-p", sampling.min_p),
        ("--repeat-penalty", sampling.repetition_penalty),
    ):
        command += [option, f"{value:.6g}"]
    limits = [f"{slots} requests are answered at a time, the others wait", *LIMITS["llama.cpp"]]
    return Server("llama-server", command, {}, name, limits)


def _vllm_serve(source: Source, path: Path, rules: Rules, wanted: Wanted) -> Server:
    """vLLM samples what generation_config.json leaves open otherwise than transformers, so all of it is spelled out."""
    name = wanted.model_name or source.hub_id or source.name
    command = [_find("vllm") or "vllm", "serve", str(path), "--served-model-name", name, *_address(wanted)]
    command += ["--override-generation-config", json.dumps(asdict(rules.sampling))]
    if wanted.dtype:
        command += ["--dtype", wanted.dtype]
    if wanted.context:
        command += ["--max-model-len", str(wanted.context)]
    return Server("vllm serve", command, {}, name, list(LIMITS["vllm"]))


def unknown_stops(rules: Rules, generation: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """The stops that only the template tells, so that a server does not know them."""
    known = generation.get("eos_token_id", config.get("eos_token_id"))
    ids = known if isinstance(known, list) else [known]
    return [text for number, text in zip(rules.stop_ids, rules.stop_texts, strict=True) if number not in ids]


def _address(wanted: Wanted) -> list[str]:
    return ["--host", wanted.host, "--port", str(wanted.port)]


def _find(name: str) -> str | None:
    """A program beside this Python, or on PATH."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def _has_xllamacpp() -> bool:
    return importlib.util.find_spec("xllamacpp") is not None


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
