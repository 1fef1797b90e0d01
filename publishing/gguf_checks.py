"""Checks of RUN_DIR/release-gguf, the GGUF files' own repository, before it is pushed."""

import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from inference.loading import gguf_stops
from inference.rules import GGUF_NAMES, Sampling
from publishing.card_checks import CARDS, check_duties, check_links, check_metadata, front_matter
from publishing.file_checks import (
    HOME_PATH,
    SECRETS,
    check_contents,
    check_names,
    check_sums,
    check_texts,
    json_of,
)
from publishing.record_checks import check_records
from run_folder import GGUF_RELEASE_FILES, joint_sha256

MUST_HAVE = ("README.md", "README_zh.md", "LICENSE", "export.json", "SHA256SUMS")
OLLAMA_FILES = ("Modelfile", "template", "params")
Files = dict[str, Path]


def check_gguf_release(folder: Path, files: Files, digests: dict[str, str], repo_id: str) -> list[str]:
    """All findings about a folder of GGUF files, `repo_id` being their own repository; empty means that it may be pushed."""
    names = check_names(files, MUST_HAVE, ".gguf", GGUF_RELEASE_FILES)
    if not all(path.is_file() for path in files.values()):
        return names  # reading a named pipe would never end
    broken = check_records(folder, ())
    found = [
        *broken,
        *names,
        *check_sums(folder, digests),
        *check_contents(files),
        *check_texts(folder.parent, files),
        *check_gguf_card(folder, repo_id),
        *([] if broken else [*check_export(folder, files, digests), *check_ollama(folder, files)]),
    ]
    for path in (path for path in files if path.endswith(".gguf")):
        found += check_file(files[path], folder.parent / "release")
    return found


def check_gguf_card(folder: Path, repo_id: str) -> list[str]:
    """The front matter names the model that these files were made from, as quantized; licence duties; links."""
    data, found = front_matter(folder)
    if data is None:
        return found
    found = [*check_metadata(data), *check_duties(folder, data, repo_id), *check_links(folder)]
    if data.get("base_model_relation") != "quantized":
        found.append("README.md: base_model_relation is not quantized; build the release again")
    base = data.get("base_model")
    base = base[0] if isinstance(base, list) and base else base
    if base != repo_id.removesuffix("-GGUF"):
        found.append(
            f"README.md: base_model is {base}, not {repo_id.removesuffix('-GGUF')}; build it for this --repo-id"
        )
    return found + [
        f"{name} names another repository than {repo_id}; build it for this --repo-id"
        for name in CARDS
        if (folder / name).is_file() and repo_id not in (folder / name).read_text(encoding="utf-8", errors="replace")
    ]


def check_export(folder: Path, files: Files, digests: dict[str, str]) -> list[str]:
    """export.json names each GGUF file with its digest and size, and was made from the weights of this release."""
    export = json_of(folder / "export.json")
    named: dict[str, Any] = export.get("files") or {}
    found = []
    for path in sorted({path for path in files if path.endswith(".gguf")} | named.keys()):
        entry = named.get(path)
        if entry is None or path not in files:
            found.append(
                f"{path} is {'not in export.json' if entry is None else 'in export.json, but not there'}; export again"
            )
        elif entry.get("sha256") != digests.get(path) or entry.get("bytes") != files[path].stat().st_size:
            found.append(f"{path} is not the file that export.json describes; export again")
    trained = json_of(folder.parent / "training.json").get("model_sha256") or {}
    weights = {name: digest for name, digest in trained.items() if name.endswith(".safetensors")}
    source = (export.get("source") or {}).get("sha256")
    if weights and source != joint_sha256(weights):
        found.append("export.json: the GGUF files were made from other weights than this run's; export again")
    return found


def check_ollama(folder: Path, files: Files) -> list[str]:
    """What Ollama reads is what export.json recorded: the template, every stop, the sampling; Modelfile names a file of here."""
    present = [name for name in OLLAMA_FILES if name in files]
    export = json_of(folder / "export.json")
    rule = export.get("ollama") or {}
    if not present and not rule:
        return []
    found = [f"{name} is missing; export again" for name in OLLAMA_FILES if name not in files]
    texts = {name: files[name].read_text(encoding="utf-8", errors="replace") for name in present}
    source = texts.get("Modelfile", "").partition("\n")[0].removeprefix("FROM ./")
    if "Modelfile" in texts and source not in files:
        found.append(f"Modelfile is FROM {source!r}, which is not in the folder; build the release again")
    if "template" in texts and texts["template"] != rule.get("template"):
        found.append("template is not the one that export.json recorded; export again")
    if "params" in texts:
        given, wanted = json_of(folder / "params"), rule.get("parameters") or {}
        found += [
            f"params says {key} {given.get(key)}, export.json {wanted.get(key)}; export again"
            for key in {**wanted, **given}
            if given.get(key) != wanted.get(key)
        ]
    return found


def check_file(path: Path, release: Path) -> list[str]:
    """A GGUF file opens whole, with the release's chat template and stop tokens, and holds no secret or path in its fields."""
    import numpy
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError, OSError) as error:
        return [f"{path.name} is not a whole GGUF file ({' '.join(str(error).split())[:200]}); export it again"]
    told = {name: field.contents() for name, field in reader.fields.items() if name != "tokenizer.ggml.merges"}
    found = check_fields(path.name, told, release)
    for tensor in reader.tensors:
        if tensor.data.dtype in (numpy.float16, numpy.float32) and not numpy.isfinite(tensor.data).all():
            found.append(f"{path.name}: {tensor.name} holds NaN or Infinity; export it again from whole weights")
    return found


def check_fields(name: str, told: dict[str, Any], release: Path) -> list[str]:
    """Template, stop tokens and sampling as in the release, none more and none less; no secrets, no personal paths."""
    found = check_sampling(name, told, json_of(release / "generation_config.json"))
    template = release / "chat_template.jinja"
    if not template.is_file() or told.get("tokenizer.chat_template") != template.read_text(encoding="utf-8"):
        found.append(f"{name} has another chat template than the release; export it again")
    stops = json_of(release / "generation_config.json").get("eos_token_id")
    stops = stops if isinstance(stops, list) else [stops]
    ends = gguf_stops(told)
    if not ends or set(ends) != set(stops):
        found.append(
            f"{name} ends an answer at {sorted(ends)}, the release's generation_config.json at {stops}; export again"
        )
    for key, value in told.items():
        patterns = {**SECRETS, "a path of a home folder": HOME_PATH}
        if isinstance(value, str) and not key.startswith("tokenizer."):
            found += [
                f"{name}: {key} holds {what}; export it again" for what, p in patterns.items() if re.search(p, value)
            ]
    return found


def check_sampling(name: str, told: dict[str, Any], generation: dict[str, Any]) -> list[str]:
    """The file names every way of sampling, or llama.cpp adds its own top-k and min-p; what the release says, it says too."""
    found = []
    for key in (field.name for field in fields(Sampling)):
        given = told.get(f"general.sampling.{GGUF_NAMES.get(key, key)}")
        wanted = generation.get(key) if generation.get("do_sample") else None
        if given is None:
            found.append(f"{name} says nothing of {key}, so llama.cpp would use its own; export again")
        elif wanted is not None and not math.isclose(given, wanted, rel_tol=1e-6):
            found.append(f"{name} has {key} {given:g}, the release's generation_config.json {wanted:g}; export again")
    if "general.sampling.sequence" not in told:
        found.append(f"{name} gives no order of sampling, so llama.cpp would apply temperature last; export again")
    return found
