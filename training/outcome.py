"""What a finished run leaves: model/, what training.json says of it, and the plots. Torch comes late."""

import hashlib
import sys
from pathlib import Path
from typing import Any

from inference.loading import Source
from run_folder import file_sha256, read_json, whole_folder, write_json
from training.preferences import Preferences
from training.recipe import Recipe
from training.validation import validations_of


def save_model(trainer: Any, weights: dict | None, tokenizer: Any, run_dir: Path) -> None:
    """model/: safetensors, config, tokenizer with its template, and a generation_config with every stop token.

    `weights`: all of them, or None where the model itself holds them whole.
    Sampling is the article's: temperature 0.6, top_p 0.9, and nothing else.
    """
    from transformers import GenerationConfig

    from inference.rules import stop_token_ids
    from training.adapters import finish_adapter

    model = trainer.accelerator.unwrap_model(trainer.model)
    stops = stop_token_ids(model.generation_config.to_dict(), model.config.to_dict(), tokenizer)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        top_k=0,  # transformers and llama.cpp have top-k of their own where a file is silent: 50 and 40
    )
    with whole_folder(run_dir / "model") as folder:
        model.save_pretrained(folder, state_dict=weights)
        finish_adapter(model, folder)
        tokenizer.save_pretrained(folder)


def write_outcome(
    run_dir: Path,
    recipe: Recipe,
    kept: Preferences,
    read_sha256: str,
    trainer: Any,
    source: Source,
    tokenizer: Any,
    ended: dict[str, Any],
) -> None:
    """training.json and the plots of a run whose model is saved. `ended`: when and how it did."""
    from training.record import steps_of, training_record

    history = trainer.state.log_history
    record = training_record(recipe, kept, read_sha256, steps_of(history))
    record |= ended | {"seconds": round(sum(step["seconds"] for step in record["steps"]), 1)}
    if recipe.validation:
        record["validation"] = validations_of(history)
    write_json(run_dir / "training.json", record | identify(run_dir, recipe.name, source, trainer.model, tokenizer))
    (run_dir / "stopped.json").unlink(missing_ok=True)  # of an earlier attempt
    draw_or_tell(run_dir)


def identify(run_dir: Path, name: str | None, source: Source, model: Any, tokenizer: Any) -> dict[str, Any]:
    """What came of the run: the part of training.json that identifies base, template and weights."""
    from inference.loading import identity
    from training.adapters import adapter_record, count_parameters

    return {
        "status": "finished",
        "run_name": name or run_dir.resolve().name,
        "base_model": identity(source),
        "template_sha256": hashlib.sha256(tokenizer.chat_template.encode()).hexdigest(),
        **count_parameters(model),
        "adapter": adapter_record(run_dir),
        "model_sha256": {p.name: file_sha256(p) for p in sorted((run_dir / "model").glob("*.safetensors"))},
    }


def draw_or_tell(run_dir: Path) -> None:
    """training.png and training.svg. The run is whole without them, so a failure is told and no more."""
    try:
        from training.plots import draw_run

        draw_run(run_dir, read_json(run_dir / "training.json"))
    except Exception as error:
        print(
            f"no plots: {type(error).__name__}: {error}. python -m training.plots {run_dir} draws them.",
            file=sys.stderr,
        )
