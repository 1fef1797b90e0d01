"""The model that the memory benchmark exports is one that safetensors reads, in shards, of the shapes it says."""

from safetensors import safe_open

from benchmarks import gguf_memory
from inference.gguf.tensors import expected_shapes


def test_random_weights_in_shards(tmp_path, monkeypatch):
    monkeypatch.setitem(gguf_memory.SHAPES, "1b", (64, 96, 2, 4, 2, 300))
    monkeypatch.setattr(gguf_memory, "SHARD", 50_000)
    config = gguf_memory.make_config("1b")
    size = gguf_memory.write_weights(tmp_path, config)
    found = {}
    for file in tmp_path.glob("*.safetensors"):
        with safe_open(file, framework="pt") as stored:
            found |= {name: tuple(stored.get_tensor(name).shape) for name in stored.keys()}  # noqa: SIM118
    assert found == expected_shapes(config) and len(list(tmp_path.iterdir())) > 2
    assert size < sum(file.stat().st_size for file in tmp_path.iterdir()) < size + 10_000
