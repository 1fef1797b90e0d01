"""Checks of a release's weights: that they open, are finite, and are the model that config.json describes."""

from pathlib import Path
from typing import Any

from publishing.file_checks import json_of, loading_errors
from run_folder import misfit

INDEX = "model.safetensors.index.json"
HALVES = ("model.embed_tokens.weight", "lm_head.weight")


def check_weights(release: Path) -> list[str]:
    """Every safetensors file opens, holds no NaN or Infinity, and together they are the model that config.json describes."""
    import torch
    from safetensors import SafetensorError, safe_open

    found: list[str] = []
    shapes: dict[str, tuple[int, ...]] = {}
    places: dict[str, list[str]] = {}
    types: dict[str, str] = {}
    size = 0
    for path in sorted(release.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - safe_open has no iterator
                    tensor = file.get_tensor(name)
                    shapes[name], types[name] = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
                    places.setdefault(name, []).append(path.name)
                    size += tensor.nbytes
                    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                        found.append(
                            f"{path.name}: {name} holds NaN or Infinity; train again with a lower learning rate"
                        )
        except SafetensorError as error:
            return [*found, f"{path.name} does not open ({error}); it is cut off or damaged: build the release again"]
    return [
        *found,
        *check_shapes(release, shapes),
        *check_types(release, types),
        *check_tied(release, places),
        *check_index(release, places, size),
    ]


def check_shapes(release: Path, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Names and shapes of the tensors are those of the model that config.json builds (on the meta device, without memory)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(release)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except loading_errors() as error:
        return [f"config.json does not make a model ({' '.join(str(error).split())[:200]})"]
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = set(model.all_tied_weights_keys) if config.tie_word_embeddings else set()
    found = [
        f"the weights lack {name}, which config.json describes"
        for name in wanted
        if name not in shapes and name not in tied
    ]
    found += [f"the weights hold {name}, which config.json does not describe" for name in shapes if name not in wanted]
    both = (name for name in shapes if name in wanted and shapes[name] != wanted[name])
    return found + [f"{name} has shape {shapes[name]}; config.json describes {wanted[name]}" for name in both]


def check_types(release: Path, types: dict[str, str]) -> list[str]:
    """The tensors have the type that config.json names, by which dtype="auto" loads them."""
    config = json_of(release / "config.json")
    named = config.get("dtype") or config.get("torch_dtype")
    other = sorted(name for name, kind in types.items() if "float" in kind and kind != named)
    if not other:
        return []
    more = f" and {len(other) - 1} others are" if len(other) > 1 else " is"
    return [f"config.json says dtype {named}; {other[0]}{more} {types[other[0]]}. Train again, or correct config.json"]


def check_tied(release: Path, places: dict[str, list[str]]) -> list[str]:
    """Where config.json ties output to input embeddings, a file that holds both holds the same numbers twice."""
    import torch
    from safetensors import safe_open

    if not json_of(release / "config.json").get("tie_word_embeddings") or not all(name in places for name in HALVES):
        return []
    one, two = (safe_open(release / places[name][0], framework="pt").get_tensor(name) for name in HALVES)
    if torch.equal(one, two):
        return []
    return ["config.json ties lm_head to the embeddings, but the weights of the two differ; one of them would be lost"]


def check_index(release: Path, places: dict[str, list[str]], size: int) -> list[str]:
    """Weights in several files have an index that names each tensor's file, and its total is theirs."""
    files = sorted({file for held in places.values() for file in held})
    found = [
        f"{name} stands in {' and '.join(held)}; save the model again" for name, held in places.items() if held[1:]
    ]
    if not (release / INDEX).is_file():
        return [*found, f"{INDEX} is missing, and the weights are in {len(files)} files"] if len(files) > 1 else found
    index = json_of(release / INDEX)
    if fault := misfit(index, {"weight_map?": {"*": str}, "metadata?": {"total_size?": int | float}}, INDEX):
        return [*found, f"{INDEX} is not of the known form ({fault}); save the model again"]
    named: dict[str, Any] = index.get("weight_map") or {}
    for name in sorted(named.keys() | places.keys()):
        if named.get(name) not in places.get(name, [None]):
            found.append(f"{INDEX}: {name} is said to be in {named.get(name)}, it is in {places.get(name)}")
        elif name not in places:
            found.append(f"{INDEX} names {name}, which no file holds")
    total = (index.get("metadata") or {}).get("total_size")
    if total is not None and total != size:
        found.append(f"{INDEX} says {total} bytes of weights, there are {size}; save the model again")
    return found
