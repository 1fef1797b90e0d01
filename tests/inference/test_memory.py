"""A model that cannot fit is refused with numbers, before a weight is read."""

import json
import os
import resource
import subprocess
import sys

import pytest

from command import WorkError
from inference import memory
from inference.loading import load_model, resolve
from inference.memory import EXPORT, memory_errors, require_memory, ways_to_load
from tests.conftest import ROOT


def test_the_bytes_are_those_of_the_loaded_weights(tiny_folder):
    source = resolve(str(tiny_folder))
    for dtype in ("float32", "bfloat16", "auto"):
        asked, size = next(iter(ways_to_load(tiny_folder, dtype, None).items()))
        loaded = sum(weight.nbytes for weight in load_model(source, dtype).parameters())
        assert (asked, size) == (f"--dtype {dtype}", loaded)


def test_only_smaller_ways_are_named(tiny_folder):
    assert list(ways_to_load(tiny_folder, "bfloat16", None)) == [
        "--dtype bfloat16",
        "--quantization int8",
        "--quantization nf4",
    ]
    assert "--dtype bfloat16" not in ways_to_load(tiny_folder, "bfloat16", "int8")


def test_too_little_memory_is_told_with_numbers_and_what_fits():
    ways = {"--dtype float32": 32 * 10**9, "--dtype bfloat16": 16 * 10**9, "--quantization nf4": 55 * 10**8}
    require_memory("MODEL m", ways, EXPORT, 33 * 10**9)
    with pytest.raises(WorkError) as caught:
        require_memory("MODEL m", ways, EXPORT, 12 * 10**9)
    assert str(caught.value).startswith(
        "MODEL m needs 32.0 GB of memory with --dtype float32; 12.0 GB are free for it."
    )
    assert "--quantization nf4 (5.5 GB)" in str(caught.value) and "bfloat16" not in str(caught.value)


def test_what_the_libraries_raise_is_told_and_a_bug_is_not():
    for error in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried"),
    ):
        with (
            pytest.raises(WorkError, match="MODEL m: out of memory"),
            memory_errors("MODEL m", {"--dtype float32": 9}, EXPORT),
        ):
            raise error
    with pytest.raises(RuntimeError, match="size mismatch"), memory_errors("MODEL m", {"--dtype float32": 9}, EXPORT):
        raise RuntimeError("size mismatch")


@pytest.mark.parametrize(("controllers", "names"), [("", ("memory.max", "memory.current")), ("memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"))])  # fmt: skip
def test_a_control_groups_limit_counts_and_so_does_its_parents(tmp_path, controllers, names):
    (tmp_path / "records").write_text(f"4:cpuset:/\n1:{controllers}:/a/b\n")
    inner = tmp_path / "root" / controllers / "a" / "b"
    inner.mkdir(parents=True)
    for folder, limit, used, files in ((inner, "900", 300, 50), (inner.parent, "800", 700, 0)):
        (folder / names[0]).write_text(limit)
        (folder / names[1]).write_text(str(used))
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {files}\n")
    assert list(memory._control_groups(tmp_path / "records", tmp_path / "root")) == [650, 100]
    (inner.parent / names[0]).write_text("max")
    assert list(memory._control_groups(tmp_path / "records", tmp_path / "root")) == [650]


def test_chat_under_a_limit_says_so_and_status_1(tmp_path):
    """A model of 64 GB by its header alone: its file has a hole for the weights. The limit is of the address space."""
    shape = [100_000, 160_000]
    header = json.dumps({"lm_head.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 64 * 10**9]}}).encode()
    with (tmp_path / "model.safetensors").open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + 64 * 10**9)
    (tmp_path / "config.json").write_text("{}")
    code = "from command import run_command; from inference.loading import *; run_command(lambda: load_model(resolve('.')) and 0)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (72 * 10**9, 72 * 10**9)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "needs 64.0 GB of memory with --dtype float32" in done.stderr and "torch" not in done.stderr
