"""Export a model to GGUF for llama.cpp and Ollama: python -m inference.export_gguf MODEL [--output DIR] [--types f16 q8_0 q4_0]

MODEL is a folder of safetensors (RUN_DIR/model, a release) or a Hub id. Writes NAME-TYPE.gguf for each type, export.json, and
for Ollama `Modelfile`, `template` and `params`. A file that is whole and made of the same model is kept.
"""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from command import CommandParser, UserError, run_command
from inference.loading import Source, check_folder, fetch, resolve
from run_folder import file_sha256, held, read_json, require_space, require_writable, whole_file, write_json

TYPES = ("f16", "q8_0", "q4_0")


def build_parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m inference.export_gguf",
        description="Export a model to GGUF for llama.cpp and Ollama.",
    )
    parser.add_argument("model", metavar="MODEL", help="a folder of safetensors, or a Hub id (org/name[@revision])")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: RUN_DIR/gguf, else NAME-GGUF here")
    parser.add_argument(
        "--types", nargs="+", choices=TYPES, default=list(TYPES), metavar="TYPE", help=f"of {', '.join(TYPES)}"
    )
    parser.add_argument("--name", help="of the files and the model (default: the run's or the folder's name)")
    parser.add_argument("--license", metavar="ID", help="where the model's training.json does not say it")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Check the model and the disk, then write what is not there yet."""
    options = build_parser().parse_args(argv)
    if options.name and not re.fullmatch(r"\w[\w.-]*", options.name):
        raise UserError(f"--name {options.name!r} cannot be a file's name. Use letters, digits, . _ and -.")
    source = check_source(resolve(options.model))
    output = options.output or default_output(source)
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file. Name a folder.")
    require_writable(output)  # here, as hashing and planning 16 GB of weights takes minutes
    folder = fetch(source)
    check_folder(folder)
    from inference.gguf.model import read_config, read_model
    from inference.gguf.tensors import plan_tensors

    config = read_config(folder)
    types = [name for name in TYPES if name in options.types]
    plans = {name: plan_tensors(folder, config, name) for name in types}
    model = read_model(source, folder, config, options)
    export(output, model, plans)
    return 0


def export(output: Path, model: Any, plans: dict[str, list]) -> None:
    """Write the planned files that are not there whole, export.json after each, and last what Ollama reads."""
    with held(output, "--output"):
        entries = reusable(output, model.record)
        todo = {file_name(model.name, name): name for name in plans if file_name(model.name, name) not in entries}
        size = sum(tensor.nbytes for name in todo.values() for tensor in plans[name])
        require_space(output, size + 20_000_000 * len(todo), "exporting")  # a vocabulary is a few MB
        for name in entries:
            print(f"{output / name}: kept, whole and of this model")
        for path, name in todo.items():
            entries[path] = write_file(output / path, model, name, plans[name])
            ordered = sorted(entries, key=lambda file: TYPES.index(entries[file]["type"]))
            write_json(output / "export.json", model.record | {"files": {file: entries[file] for file in ordered}})
            print(f"{output / path}: {entries[path]['bytes']:,} bytes")
        write_ollama(output, model, list(read_json(output / "export.json")["files"]))


def check_source(source: Source) -> Source:
    """UserError for a MODEL that is no folder of whole safetensors."""
    if source.kind in ("gguf", "pypi"):
        raise UserError(f"MODEL {source.spec} is a GGUF file already. Give the model's folder of safetensors.")
    if source.kind == "adapter":
        raise UserError(
            f"MODEL {source.spec} is a LoRA adapter. Merge it first: python -m training.merge_adapter RUN_DIR"
        )
    return source


def default_output(source: Source) -> Path:
    """RUN_DIR/gguf for RUN_DIR/model or RUN_DIR/release, else NAME-GGUF where the command runs."""
    if source.kind == "folder" and source.path.resolve().name in ("model", "release"):
        return source.path.resolve().parent / "gguf"
    return Path(f"{source.name}-GGUF")


def file_name(name: str, type_name: str) -> str:
    """NAME-TYPE.gguf, by which the Hub and Ollama know the type."""
    return f"{name}-{type_name}.gguf"


def reusable(output: Path, record: dict[str, Any]) -> dict[str, Any]:
    """File → its entry in the export.json there, for each whole file of this very model, made by this gguf package."""
    if not (output / "export.json").is_file():
        return {}
    before = read_json(output / "export.json")
    if any(before.get(key) != value for key, value in record.items()):
        print(f"{output} holds an export of another model or by another program; it is written anew.", file=sys.stderr)
        return {}
    files = before["files"].items()
    return {
        name: entry
        for name, entry in files
        if (output / name).is_file() and file_sha256(output / name) == entry["sha256"]
    }


def write_file(path: Path, model: Any, type_name: str, tensors: list) -> dict[str, Any]:
    """Write one GGUF file whole; its entry in export.json."""
    from tqdm import tqdm

    from inference.gguf.model import StreamWriter, add_metadata

    with whole_file(path, "wb") as stream:
        writer = StreamWriter(stream)
        add_metadata(writer, model, type_name)
        for tensor in tensors:
            writer.add_tensor_info(tensor.name, tensor.shape, "float32", tensor.nbytes, tensor.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        size = sum(tensor.nbytes for tensor in tensors)
        with tqdm(total=size, unit="B", unit_scale=True, desc=path.name, disable=None) as bar:  # None: off in a pipe
            for tensor in tensors:
                writer.write_tensor_data(tensor)
                bar.update(tensor.nbytes)
    kinds = Counter(tensor.kind.name for tensor in tensors)
    return {"type": type_name, "bytes": path.stat().st_size, "sha256": file_sha256(path), "tensors": dict(kinds)}


def write_ollama(output: Path, model: Any, files: list[str]) -> None:
    """Modelfile for the smallest file, and the Hub's `template` and `params`; said, and none left, where there can be none."""
    from inference.gguf.ollama import modelfile, params_file

    rule, made = model.record["ollama"], ("Modelfile", "template", "params")
    if rule is None:
        for name in made:
            (output / name).unlink(missing_ok=True)
        print(f"no files for Ollama: {model.record['ollama_reason']}.")
        return
    template, values = rule["template"], rule["parameters"]
    texts = (modelfile(files[-1], template, values), template, params_file(values))
    for name, text in zip(made, texts, strict=True):
        with whole_file(output / name) as stream:
            stream.write(text)
    print(f"{output}: {', '.join(made)} for Ollama ({rule['family']})")


if __name__ == "__main__":
    run_command(main)
