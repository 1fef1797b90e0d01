"""LoRA adapters through peft: put on the model, saved, merged into it. And how the model to train is loaded."""

import functools
import os
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from command import UserError
from inference.loading import Source, fetch, load_model, load_tokenizer, resolve
from run_folder import file_sha256, whole_folder

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def load_trainable(
    source: Source, weights: str, lora: dict[str, Any] | None, quantization: str | None, seed: int
) -> torch.nn.Module:
    """The model to train: whole, its weights in fp32 or bf16, or frozen under a new LoRA adapter in fp32.

    On the CPU (the trainer moves it), but 4-bit weights are made where they stay, on the GPU if there is one.
    """
    if lora is None:
        return load_model(source, dtype=DTYPES[weights], device="cpu")
    from peft import LoraConfig, get_peft_model

    model = load_quantized(source, weights) if quantization else load_model(source, dtype=DTYPES[weights], device="cpu")
    refuse_tied_embedding(model, lora["target_modules"])
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=lora["target_modules"],
        base_model_name_or_path=base_name(source),
        revision=fetch(source).name if source.kind == "hub" else None,
    )
    torch.manual_seed(seed)  # the adapter begins at random numbers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old word
            model = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"lora.target_modules {lora['target_modules']}: {error}") from None
    config.base_model_name_or_path = base_name(source)
    # At "auto", its default, each save would ask the Hub for the base's config to see whether words were added.
    model.save_pretrained = functools.partial(model.save_pretrained, save_embedding_layers=False)
    return model


def refuse_tied_embedding(model: torch.nn.Module, targets: str | list[str]) -> None:
    """UserError where an adapter on the input embedding would change the tied output projection, once it is merged."""
    embedding = next(name for name, module in model.named_modules() if module is model.get_input_embeddings())
    named = [target for target in targets if embedding.endswith(target)] if isinstance(targets, list) else []
    if named and model.config.get_text_config().tie_word_embeddings:
        raise UserError(
            f"lora.target_modules: {named[0]} is tied to the output projection, which must stay as it is. Remove it."
        )


def base_name(source: Source) -> str:
    """What adapter_config.json calls the base; `inference.loading` resolves it, transformers too if it is no GGUF."""
    return source.hub_id if source.kind == "hub" else source.spec


def load_quantized(source: Source, weights: str) -> torch.nn.Module:
    """The model with its linear layers in 4 bits (nf4, double quantisation: 4.13 bits a weight), computed in the dtype of `weights`.

    UserError for a GGUF file, which is quantised already.
    """
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils import logging

    if source.kind not in ("hub", "folder"):
        raise UserError(f"quantization: nf4 is made from a folder's or the Hub's safetensors; {source.spec} is none.")
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, DTYPES[weights]),
    )
    logging.disable_progress_bar()
    place = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )
    model = AutoModelForCausalLM.from_pretrained(
        fetch(source),
        quantization_config=config,
        device_map={"": place},
        dtype=getattr(torch, DTYPES[weights]),
        use_safetensors=True,
        trust_remote_code=False,
    )
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # trainer_args decides that


def count_parameters(model: torch.nn.Module) -> dict[str, int]:
    """`parameters` of the model, without an adapter's own, and `trainable_parameters`."""
    if not is_adapted(model):
        counts = [
            (getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()
        ]  # ds_: cut by ZeRO-3
        return {"parameters": sum(n for n, _ in counts), "trainable_parameters": sum(n for n, t in counts if t)}
    trainable, total = model.get_nb_trainable_parameters()
    return {"parameters": total - trainable, "trainable_parameters": trainable}


def is_adapted(model: torch.nn.Module) -> bool:
    return hasattr(model, "peft_config")


def finish_adapter(model: torch.nn.Module, folder: Path) -> None:
    """What peft leaves to do in a folder that an adapter was saved to; nothing for a whole model."""
    if is_adapted(model):
        (folder / "README.md").unlink(missing_ok=True)  # peft's card template; the card is the card station's
        model.generation_config.save_pretrained(folder)


def merge(run_dir: Path, weights: str) -> None:
    """RUN_DIR/model, an adapter, becomes the whole model with the adapter added; the adapter goes to RUN_DIR/adapter.

    Added in fp32 and rounded once, to `weights`. UserError where RUN_DIR/model is no adapter.
    """
    model_folder, adapter = run_dir / "model", run_dir / "adapter"
    if (model_folder / "adapter_config.json").is_file():
        with whole_folder(adapter) as folder:
            shutil.copytree(model_folder, folder, dirs_exist_ok=True)
    elif model_folder.exists() or not (adapter / "adapter_config.json").is_file():  # else killed while merging
        raise UserError(f"{model_folder} is no adapter, so there is nothing to merge.")
    source = replace(resolve(str(adapter)), name="the adapter and its base")
    print(f"merging {adapter} into its base", file=sys.stderr)
    model = load_model(source, dtype="float32", device="cpu").to(getattr(torch, DTYPES[weights]))
    with whole_folder(model_folder) as folder:
        model.save_pretrained(folder)
        load_tokenizer(source).save_pretrained(folder)


def adapter_record(run_dir: Path) -> dict[str, Any] | None:
    """For training.json: whether model/ has the adapter merged in, and the adapter's digest; None without LoRA."""
    for folder, merged in ((run_dir / "adapter", True), (run_dir / "model", False)):
        weights = folder / "adapter_model.safetensors"
        if weights.is_file():
            return {"merged": merged, "sha256": file_sha256(weights)}
    return None
