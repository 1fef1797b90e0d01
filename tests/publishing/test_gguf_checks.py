"""The GGUF repository's folder before it is pushed: a good one passes, each spoiled one is refused with its reason."""

import json
import os
import shutil
from pathlib import Path

import pytest

from publishing.release_checks import check_gguf_release
from run_folder import file_sha256

ID = "alice/demo-GGUF"
OLLAMA = {
    "stops": [{"id": 2, "text": "<|im_end|>"}],
    "sampling": {"temperature": 0.6, "top_p": 0.9},
    "ollama": {
        "template": "{{ .Prompt }}",
        "parameters": {"stop": ["<|im_end|>"], "temperature": 0.6, "top_p": 0.9, "top_k": 0, "num_ctx": 8192},
    },
}
SAMPLING = {"temp": 0.6, "top_p": 0.9, "top_k": 0, "min_p": 0.0, "penalty_repeat": 1.0, "sequence": "temperature;top_k"}
GENERATION = {"eos_token_id": [2], "do_sample": True, "temperature": 0.6, "top_p": 0.9}
TEMPLATE = "{{ messages[0]['content'] }}<|im_end|>"
ASIDE = {
    "Modelfile": "FROM ./demo-q8_0.gguf\n",
    "template": "{{ .Prompt }}",
    "params": json.dumps(OLLAMA["ollama"]["parameters"]),
}
CARD = f"""---
license: apache-2.0
language: [zh, en]
library_name: gguf
pipeline_tag: text-generation
base_model: alice/demo
base_model_relation: quantized
---
# {ID}

[中文](README_zh.md)
"""


def write_gguf(path: Path, template: str = TEMPLATE, eos: int = 2, sampling: dict = SAMPLING, **fields: str) -> None:
    """One tensor and the fields that the checks read."""
    import numpy
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    writer.add_chat_template(template)
    writer.add_eos_token_id(eos)
    for key, value in sampling.items():
        getattr(writer, f"add_sampling_{key}")(value)
    for key, value in fields.items():
        writer.add_string(f"general.{key}", value)
    value = float("nan") if fields.get("name") == "nan" else 1.0
    writer.add_tensor("token_embd.weight", numpy.full((4, 8), value, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(folder: Path) -> None:
    """export.json and SHA256SUMS of what lies there now."""
    files = {p.name: {"bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in folder.glob("*.gguf")}
    export = {"schema_version": 1, "source": {"sha256": "ab" * 32}, "files": files} | OLLAMA
    (folder / "export.json").write_text(json.dumps(export))
    resum(folder)


def resum(folder: Path) -> None:
    lines = [f"{file_sha256(p)}  {p.name}\n" for p in sorted(folder.iterdir()) if p.name != "SHA256SUMS"]
    (folder / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("run") / "demo"
    (run / "release").mkdir(parents=True)
    (run / "training.json").write_text(json.dumps({"model_sha256": {"model.safetensors": "ab" * 32}}))
    (run / "release" / "chat_template.jinja").write_text(TEMPLATE)
    (run / "release" / "generation_config.json").write_text(json.dumps(GENERATION))
    folder = run / "release-gguf"
    folder.mkdir()
    write_gguf(folder / "demo-q8_0.gguf")
    for name, text in (("README.md", CARD), ("README_zh.md", f"# {ID}\n"), ("LICENSE", "…"), *ASIDE.items()):
        (folder / name).write_text(text)
    describe(folder)
    return run


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "demo")) / "release-gguf"


def findings(folder: Path) -> list[str]:
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return check_gguf_release(folder, files, {name: file_sha256(p) for name, p in files.items()}, ID)


def test_a_good_folder_has_no_findings(folder):
    assert findings(folder) == []


def card(folder: Path, old: str, new: str) -> None:
    replace(folder, "README.md", old, new)


def replace(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    resum(folder)


def remake(folder: Path, **fields) -> None:
    write_gguf(folder / "demo-q8_0.gguf", **fields)
    describe(folder)


def half(folder: Path) -> None:
    path = folder / "demo-q8_0.gguf"
    path.write_bytes(path.read_bytes()[:-60])
    describe(folder)


FAULTS = {
    "no gguf": (lambda f: ((f / "demo-q8_0.gguf").unlink(), describe(f)), "there is no .gguf file"),
    "safetensors": (lambda f: ((f / "model.safetensors").write_text("x"), resum(f)), "model.safetensors is not a file that"),
    "unlisted": (lambda f: ((f / "system").write_text("Be brief.")), "system is not in SHA256SUMS"),
    "other Modelfile": (lambda f: replace(f, "Modelfile", "q8_0", "q4_0"), "Modelfile is FROM 'demo-q4_0.gguf', which is not"),
    "other Ollama template": (lambda f: replace(f, "template", "Prompt", "System"), "template is not the one"),
    "stop gone": (lambda f: replace(f, "params", "<|im_end|>", "</s>"), "params says stop ['</s>'], export.json ['<|im_end|>']"),
    "lost parameter": (lambda f: replace(f, "params", ', "num_ctx": 8192', ""), "params says num_ctx None, export.json 8192"),
    "added parameter": (lambda f: replace(f, "params", "}", ', "seed": 1}'), "params says seed 1, export.json None"),
    "no top-k inside": (lambda f: remake(f, sampling={k: v for k, v in SAMPLING.items() if k != "top_k"}), "says nothing of top_k, so llama.cpp would use its own"),
    "no order inside": (lambda f: remake(f, sampling={k: v for k, v in SAMPLING.items() if k != "sequence"}), "llama.cpp would apply temperature last"),
    "other sampling inside": (lambda f: remake(f, sampling=SAMPLING | {"temp": 1.0}), "has temperature 1, the release's generation_config.json 0.6"),
    "other sampling": (lambda f: replace(f, "params", "0.6", "1.6"), "params says temperature 1.6, export.json 0.6"),
    "no params": (lambda f: ((f / "params").unlink(), resum(f)), "params is missing"),
    "cut off": (half, "demo-q8_0.gguf is not a whole GGUF file"),
    "no gguf inside": (lambda f: ((f / "demo-q8_0.gguf").write_text("hello, world. " * 9), describe(f)), "is not a whole GGUF file"),
    "other file": (lambda f: (write_gguf(f / "demo-q8_0.gguf", author="x"), resum(f)), "is not the file that export.json describes"),
    "other weights": (lambda f: ((f.parent / "training.json").write_text('{"model_sha256": {"model.safetensors": "00"}}')), "from other weights than this run's"),
    "other template": (lambda f: remake(f, template="{{ x }}"), "another chat template than the release"),
    "other stop": (lambda f: remake(f, eos=7), "ends an answer at [7]"),
    "one stop too few": (lambda f: (f.parent / "release" / "generation_config.json").write_text(json.dumps(GENERATION | {"eos_token_id": [2, 5]})), "ends an answer at [2], the release's generation_config.json at [2, 5]"),
    "nan": (lambda f: remake(f, name="nan"), "token_embd.weight holds NaN"),
    "path": (lambda f: remake(f, source="/" + "home/alice/model"), "general.source holds a path of a home folder"),
    "token": (lambda f: remake(f, source="hf_" + "a1B2" * 8 + "xy"), "general.source holds a Hub token"),
    "relation": (lambda f: card(f, "relation: quantized", "relation: finetune"), "base_model_relation is not quantized"),
    "other base": (lambda f: card(f, "base_model: alice/demo", "base_model: bob/demo"), "base_model is bob/demo, not alice/demo"),
    "other name": (lambda f: card(f, f"# {ID}", "# demo"), f"README.md names another repository than {ID}"),
    "task": (lambda f: card(f, "text-generation", "chat"), "pipeline_tag 'chat' is no task"),
    "link": (lambda f: card(f, "(README_zh.md)", "(zh.md)"), "links to zh.md"),
    "licence gone": (lambda f: ((f / "LICENSE").unlink(), resum(f)), "LICENSE is missing"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is not valid JSON"), ("{}", "has no schema_version"), ('{"schema_version": 1, "source": {"sha256": "x"}, "files": []}', "files is no object")]
)  # fmt: skip
def test_an_export_record_that_cannot_be_read_is_the_first_finding(folder, text, said):
    (folder / "export.json").write_text(text)
    resum(folder)
    (found,) = findings(folder)
    assert found.startswith("export.json") and said in found


def test_a_named_pipe_is_a_finding(folder):
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    os.mkfifo(folder / "system")
    found = check_gguf_release(folder, files | {"system": folder / "system"}, {}, ID)
    assert found == ["system is no file but a named pipe, a socket or a device; remove it and build the release again"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_spoiled_folder_is_refused_with_its_reason(folder, fault):
    spoil, reason = FAULTS[fault]
    spoil(folder)
    found = findings(folder)
    assert any(reason in finding for finding in found), found
    assert not any("a1B2" in finding for finding in found)
