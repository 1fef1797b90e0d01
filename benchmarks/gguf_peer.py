"""An exported file beside the one that llama.cpp's own converter makes of the same model: tensor by tensor, key by key.

pip download --no-deps --no-binary :all: llama-cpp-python   (its source holds vendor/llama.cpp with convert_hf_to_gguf.py)
python vendor/llama.cpp/convert_hf_to_gguf.py MODEL --outtype f16|q8_0 --outfile PEER.gguf   (needs sentencepiece)
python -m benchmarks.gguf_peer OURS.gguf PEER.gguf [--peer-version TEXT]

Writes benchmarks/results/gguf_peer.json, an entry a file. The converter makes no q4_0.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

from command import run_command
from run_folder import read_json, write_json

RESULT = Path(__file__).parent / "results" / "gguf_peer.json"


def main() -> int:
    """Compare two files and keep what differs beside the other pairs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gguf_peer", description=__doc__.splitlines()[0])
    parser.add_argument("ours", type=Path)
    parser.add_argument("peer", type=Path)
    parser.add_argument("--peer-version", default="not told", help="of the program that made PEER")
    options = parser.parse_args()
    ours, peer = GGUFReader(options.ours), GGUFReader(options.peer)
    kept = read_json(RESULT) if RESULT.is_file() else {}
    kept.pop("schema_version", None)
    write_json(RESULT, kept | {options.ours.name: {"peer": options.peer_version, **compare(ours, peer)}})
    print(RESULT.read_text(encoding="utf-8"))
    return 0


def compare(ours: GGUFReader, peer: GGUFReader) -> dict[str, Any]:
    """`tensors`: how many are equal in name, type, shape and bytes, and by how much others differ. `keys`: equal ones, and the others with both values."""
    mine, theirs = ({tensor.name: tensor for tensor in reader.tensors} for reader in (ours, peer))
    both = mine.keys() & theirs.keys()
    differ = {name: gap(mine[name], theirs[name]) for name in sorted(both) if not same(mine[name], theirs[name])}
    fields, others = (keys(reader) for reader in (ours, peer))
    equal = [key for key in fields.keys() & others.keys() if fields[key] == others[key]]
    unlike = sorted((fields.keys() | others.keys()) - set(equal))
    return {
        "tensors": {
            "equal": len(both) - len(differ),
            "different": differ,
            "one_side": sorted(mine.keys() ^ theirs.keys()),
        },
        "keys": {
            "equal": len(equal),
            "different": {key: {"ours": short(fields.get(key)), "peer": short(others.get(key))} for key in unlike},
        },
    }


def same(one: Any, two: Any) -> bool:
    """Equal in type, shape and every byte."""
    return (
        one.tensor_type == two.tensor_type and list(one.shape) == list(two.shape) and np.array_equal(one.data, two.data)
    )


def gap(one: Any, two: Any) -> float | None:
    """Largest difference of two tensors' numbers; None if their shapes differ."""
    numbers = [dequantize(tensor.data, tensor.tensor_type) for tensor in (one, two)]
    return None if list(one.shape) != list(two.shape) else float(abs(numbers[0] - numbers[1]).max())


def keys(reader: GGUFReader) -> dict[str, Any]:
    """Key → value, without the reader's own `GGUF.*`."""
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def short(value: Any) -> Any:
    """A value, or for a long one how many and a hash."""
    if isinstance(value, str | list) and len(value) > 100:
        return f"{len(value)} of {type(value).__name__}, sha256 {hashlib.sha256(repr(value).encode()).hexdigest()[:12]}"
    return value


if __name__ == "__main__":
    run_command(main)
