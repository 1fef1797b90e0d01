"""Whether a model fits into memory: asked before it is loaded, since nobody can catch the kernel's out-of-memory kill."""

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command import WorkError
from run_folder import gigabytes

LIBRARIES = 400_000_000  # bytes that torch and transformers hold beside the weights
BYTES = {"float32": 4, "bfloat16": 2}  # auto: as stored
STORED = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2}  # of a safetensors header; what is not named has 1
# What else there is to do, of a folder and of a GGUF file
EXPORT = "run a GGUF file of it: python -m inference.export_gguf MODEL --types q4_0, which needs little memory"
RUN_GGUF = "give chat, generate, compare or demo --runtime llama.cpp, which keeps a GGUF file as small as it is"
QUANTIZED = {"nf4": 0.52, "int8": 1.0}  # bytes of a weight, its scales included
NEVER_QUANTIZED = ("embed", "lm_head")  # transformers keeps the embedding and the output projection as they are


def ways_to_load(path: Path, dtype: str, quantization: str | None) -> dict[str, int]:
    """Options → bytes of the weights once loaded, what is asked for first and then what is smaller.

    `path` is a folder of safetensors or a GGUF file, which transformers turns back into whole numbers.
    """
    asked = (dtype, quantization)
    if path.is_file():
        tensors, ways = list(_gguf_tensors(path)), [asked, ("bfloat16", None)]
    else:
        tensors, ways = list(_tensors(path)), [asked, ("bfloat16", None), (dtype, "int8"), (dtype, "nf4")]
    sizes = {way: sum(_bytes(*tensor, *way) for tensor in tensors) for way in ways}
    return {_options(*way): size for way, size in sizes.items() if way == asked or size < sizes[asked]}


def _options(dtype: str, quantization: str | None) -> str:
    return f"--quantization {quantization}" if quantization else f"--dtype {dtype}"


def _bytes(name: str, stored: str, shape: list[int], dtype: str, quantization: str | None) -> int:
    """Bytes of one tensor in memory."""
    size = BYTES.get(dtype) or STORED.get(stored, 1)
    if quantization and len(shape) == 2 and not any(word in name for word in NEVER_QUANTIZED):
        size = QUANTIZED[quantization]
    return round(math.prod(shape) * size)


def _tensors(folder: Path) -> Iterator[tuple[str, str, list[int]]]:
    """(name, type, shape) of each tensor of a folder, from the headers alone: no torch, no weights."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118  a safe_open is no dict
                part = file.get_slice(name)
                yield name, part.get_dtype(), part.get_shape()


def _gguf_tensors(path: Path) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """The same of a GGUF file; transformers takes `auto` for float32."""
    from transformers.integrations.gguf.reader import GgufHeader

    for tensor in GgufHeader.from_file(str(path)).tensors:
        yield tensor.name, "F32", tensor.shape


def require_memory(what: str, ways: dict[str, int], remedy: str, free: int | None = None) -> None:
    """WorkError if the first of the ways to load `what` needs more than is free; it names those that do fit, and the remedy."""
    free = max(free_memory() - LIBRARIES, 0) if free is None else free
    asked, size = next(iter(ways.items()))
    if size > free:
        raise WorkError(
            f"{what} needs {gigabytes(size)} of memory with {asked}; {gigabytes(free)} are free for it. "
            f"{_help(ways, remedy, free)}"
        )


def _help(ways: dict[str, int], remedy: str, free: int) -> str:
    """What to do where the first way does not fit."""
    fitting = [f"{way} ({gigabytes(size)})" for way, size in list(ways.items())[1:] if size <= free]
    smaller = f"Load it smaller: {', '.join(fitting)}; or" if fitting else "End other programs, or"
    return f"{smaller} {remedy}."


@contextmanager
def memory_errors(what: str, ways: dict[str, int], remedy: str) -> Iterator[None]:
    """WorkError in place of what the libraries raise where memory ends while `what` is loaded."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(word in str(error) for word in ("out of memory", "memory:")):
            raise
        asked, size = next(iter(ways.items()))
        raise WorkError(
            f"{what}: out of memory while it was loaded; it needs {gigabytes(size)} with {asked}. "
            f"{_help(ways, remedy, size - 1)}"
        ) from error


def free_memory() -> int:
    """Bytes that this process may still take: of the machine with its swap, of its control groups and of its address space."""
    import psutil

    free = [psutil.virtual_memory().available + psutil.swap_memory().free, *_control_groups()]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free.append(limit - psutil.Process().memory_info().vms)
    return min(free)


def _control_groups(records: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Free bytes of each control group that this process is in, of version 1 or 2; what can be reclaimed counts as free."""
    for line in records.read_text().splitlines() if records.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = root / controllers
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        group = top / path.lstrip("/")
        for folder in [group, *group.parents]:
            if not folder.is_relative_to(top):
                break
            limit, used = (folder / name for name in names)
            if limit.is_file() and (text := limit.read_text().strip()) != "max":
                yield int(text) - int(used.read_text()) + _reclaimable(folder / "memory.stat")


def _reclaimable(path: Path) -> int:
    """Bytes of files that a control group keeps in memory and gives up when memory is short."""
    stat = dict(line.split() for line in path.read_text().splitlines())
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
