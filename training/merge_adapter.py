"""Merge the LoRA adapter of a finished run into its base: RUN_DIR/model becomes a whole model.

python -m training.merge_adapter RUN_DIR

The adapter is kept in RUN_DIR/adapter, and training.json records the merged weights. Then eval, the card and upload work
on the run as on any other.
"""

import sys
from pathlib import Path

from command import CommandParser, UserError, run_command
from inference.loading import adapter_base
from run_folder import file_sha256, read_json, require_space, write_json


def build_parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m training.merge_adapter",
        description="Merge the LoRA adapter of a finished run into its base model.",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="a finished run by a recipe with lora")
    return parser


def main(argv: list[str] | None = None) -> int:
    run_dir = build_parser().parse_args(argv).run_dir
    record = read_json(run_dir / "training.json")
    adapter = record.get("adapter")
    if adapter is None:
        raise UserError(f"{run_dir} was trained without lora: its model is whole already.")
    if (run_dir / "model" / "config.json").is_file() and adapter["merged"]:
        print(f"{run_dir}/model is merged already.")
        return 0
    if not (run_dir / "model" / "config.json").is_file():
        here = run_dir / "model" if (run_dir / "model").is_dir() else run_dir / "adapter"  # killed while merging
        adapter_base(here)  # a base that cannot be found is told before torch is imported
        size = {"fp32": 4, "bf16": 2}[record["recipe"]["weights"]]
        require_space(run_dir, size * record["parameters"], "merging")
        from training.adapters import merge

        merge(run_dir, record["recipe"]["weights"])
    digests = {file.name: file_sha256(file) for file in sorted((run_dir / "model").glob("*.safetensors"))}
    record.pop("schema_version")
    write_json(run_dir / "training.json", record | {"adapter": adapter | {"merged": True}, "model_sha256": digests})
    print(f"{run_dir}/model is the whole model; the adapter is in {run_dir}/adapter.", file=sys.stdout)
    return 0


if __name__ == "__main__":
    run_command(main)
