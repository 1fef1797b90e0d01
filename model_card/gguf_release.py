"""The GGUF repository of a release: which files it holds, and its own short card in both languages."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from markupsafe import Markup

from command import UserError
from model_card.card import load_template
from model_card.context import FIXED
from model_card.licence import LLAMA, Licence
from model_card.records import Run
from model_card.release import digest
from model_card.usage import Release, snippets
from run_folder import joint_sha256, misfit, read_json

CARDS = {"README.md": "gguf_card_en.md.jinja", "README_zh.md": "gguf_card_zh.md.jinja"}
OLLAMA_FILES = ("Modelfile", "template", "params")
PROGRAMS = ("llama_cpp", "ollama")
# What is read of export.json here, in the words of misfit.
EXPORT = {
    "name": str,
    "source": {"sha256": str},
    "files": {"*": {"type": str, "bytes": int, "sha256": str}},
    "stops": [{"id": int, "text": str}],
    "sampling": dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "repetition_penalty"), int | float),
    "sampling_order": str,
    "ollama": ({"default_system": str | None, "strips": bool}, type(None)),
    "ollama_reason": str | None,
    "context_length": int,
    "special_tokens": {"add_bos": object},
    "gguf_package": str,
    "template_sha256": str,
}
SNIPPET_TYPE = "q4_0"  # what the snippets fetch


def plan_gguf_release(run: Run, name: str, repo_id: str | None, licence: Licence) -> dict[str, Path | bytes]:
    """Path in the GGUF repository → a file to link, or bytes to write; all but SHA256SUMS, which write_release adds.

    Files are called after `name`, whatever they were exported as. UserError if a file is gone, has changed, or was made
    of other weights than the run's.
    """
    folder = run.folder / "gguf"
    record = read_json(folder / "export.json")
    check_export(folder, record, run.training, licence)
    names = {file: f"{name}-{entry['type']}.gguf" for file, entry in record["files"].items()}
    files: dict[str, Path | bytes] = {names[file]: folder / file for file in names}
    record = record | {"files": {names[file]: entry for file, entry in record["files"].items()}}
    files["export.json"] = (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()
    if record["ollama"]:
        files |= {file: (folder / file).read_bytes() for file in OLLAMA_FILES}
        _, _, rest = files["Modelfile"].partition(b"\n")
        files["Modelfile"] = f"FROM ./{list(names.values())[-1]}\n".encode() + rest
    files |= licence.files
    return files | {path: text.encode() for path, text in render_gguf_cards(record, name, repo_id, licence).items()}


def check_export(folder: Path, record: dict[str, Any], training: dict[str, Any], licence: Licence) -> None:
    """UserError, with the command that mends it, unless the folder holds what export.json says, made of the run's weights."""
    again = f"Export again: python -m inference.export_gguf {folder.parent / 'model'}"
    if fault := misfit(record, EXPORT, str(folder / "export.json")):
        raise UserError(f"{fault}. {again}")
    weights = {file: sha for file, sha in (training.get("model_sha256") or {}).items() if file.endswith(".safetensors")}
    if weights and record["source"]["sha256"] != joint_sha256(weights):
        raise UserError(f"{folder} was exported from other weights than training.json records. {again}")
    if (terms := LLAMA.get(licence.name)) and not terms.allows(record["name"]):
        raise UserError(
            f"{folder} calls the model {record['name']!r} inside its files; the {terms.product} licence asks for a name "
            f"that begins with {terms.begins!r}. {again} --name {terms.begins}-…"
        )
    for file, entry in record["files"].items():
        if not (folder / file).is_file():
            raise UserError(f"{folder / file} is in export.json but not there. {again}")
        if digest(folder / file) != entry["sha256"]:
            raise UserError(f"{folder / file} has changed since export.json recorded it. {again}")
    for file in OLLAMA_FILES if record["ollama"] else ():
        if not (folder / file).is_file():
            raise UserError(f"{folder / file} is missing. {again}")


def render_gguf_cards(record: dict[str, Any], name: str, repo_id: str | None, licence: Licence) -> dict[str, str]:
    """README.md with its front matter, and README_zh.md."""
    context = make_gguf_context(record, name, repo_id or f"YOUR-ORG/{name}", licence)
    cards = {}
    for file, template in CARDS.items():
        text = (Path(__file__).parent / template).read_text(encoding="utf-8")
        cards[file] = load_template(file).environment.from_string(text).render(context)  # the model card's own printer
    cards["README.md"] = f"---\n{gguf_front_matter(context)}\n---\n\n{cards['README.md']}"
    return cards


def make_gguf_context(record: dict[str, Any], name: str, repo_id: str, licence: Licence) -> dict[str, Any]:
    """What both cards show; every number comes from export.json."""
    types = [entry["type"] for entry in record["files"].values()]
    stops = record["stops"]
    release = Release(
        repo_id=repo_id,
        gguf_id=f"{repo_id}-GGUF",
        stop=[stop["id"] for stop in stops],
        stop_names=[stop["text"] for stop in stops],
        max_new_tokens=FIXED["max_new_tokens"],
        **{key: value for key, value in record["sampling"].items() if key in {field.name for field in fields(Release)}},
    )
    blocks = snippets(release) if SNIPPET_TYPE in types else {}
    wanted = [key for key in PROGRAMS if key in blocks and (key != "ollama" or record["ollama"])]
    return {
        "name": name,
        "repo_id": repo_id,
        "repo_url": Markup(f"https://huggingface.co/{repo_id}"),
        "licence": licence,
        "record": record,
        "types": types,
        "files": [{"path": file, **entry} for file, entry in record["files"].items()],
        "usage": {key: blocks[key] for key in wanted},
        "stops": [stop["text"] for stop in stops],
    }


def gguf_front_matter(context: dict[str, Any]) -> str:
    """The metadata the Hub reads: a quantised version of the model's own repository."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        language=["zh", "en"],
        base_model=context["repo_id"],
        base_model_relation="quantized",
        library_name="gguf",
        pipeline_tag="text-generation",
        tags=["gguf", "llama.cpp", "orpo", "conversational"],
        **context["licence"].metadata,
    )
    return data.to_yaml()
