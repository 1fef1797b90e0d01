"""Weights in 4 or 8 bits, made by bitsandbytes while a model is loaded; refused where they cannot be."""

import importlib.util
import logging
from typing import Any

from command import UserError

KINDS = ("nf4", "int8")
BLOCK = 64  # weights of nf4 that share a scale
PACKAGE = "bitsandbytes==0.50.2"


def check_request(what: str, kind: str, config: dict[str, Any]) -> None:
    """UserError where the files or the installed packages rule the kind out: asked before torch is imported."""
    if kind not in KINDS:
        raise UserError(f"--quantization {kind!r} is none of {', '.join(KINDS)}.")
    if config.get("quantization_config"):
        method = config["quantization_config"].get("quant_method", "a method of its own")
        raise UserError(f"{what} is quantised already ({method}). Leave --quantization {kind} out.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"--quantization {kind} needs bitsandbytes. Install it: pip install {PACKAGE}")


def loading_arguments(kind: str, dtype: str, config: dict[str, Any], device: str) -> dict[str, Any]:
    """What from_pretrained takes for it. UserError, with bitsandbytes' words, where it cannot compute on `device`.

    nf4 is quantised twice (0.52 bytes a weight) and computes in `dtype` ("auto": the config's); int8 multiplies in fp16.
    """
    import torch
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells each layer of int8 that it casts
    _try(kind, device)
    own = config.get("dtype") or config.get("torch_dtype") or "float32"
    compute = getattr(torch, own if dtype == "auto" else dtype)
    if kind == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True), "device_map": {"": device}}
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def _try(kind: str, device: str) -> None:
    """Multiply once: only that shows whether the installed bitsandbytes has what this processor or GPU needs."""
    import torch

    try:
        import bitsandbytes as bnb

        layer = (
            bnb.nn.Linear4bit(64, 64, quant_type="nf4", compute_dtype=torch.float32)
            if kind == "nf4"
            else bnb.nn.Linear8bitLt(64, 64, has_fp16_weights=False)
        )
        layer.to(device)(torch.ones(1, 64, device=device))
    except (RuntimeError, NotImplementedError, AttributeError, ImportError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"--quantization {kind}: the installed bitsandbytes cannot compute on this {device} ({reason}). "
            "Leave it out, or use --dtype bfloat16 or a GGUF of the model."
        ) from error


def check_rows(what: str, model: Any, device: str) -> None:
    """UserError for nf4 on a CPU with rows that are no whole blocks, over which bitsandbytes fails at the first token."""
    import bitsandbytes as bnb

    for name, module in model.named_modules():
        if device == "cpu" and isinstance(module, bnb.nn.Linear4bit) and module.in_features % BLOCK:
            raise UserError(
                f"--quantization nf4: bitsandbytes needs rows of a multiple of {BLOCK} weights on a CPU; {name} of {what} has "
                f"{module.in_features}. Use --quantization int8."
            )
