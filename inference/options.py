"""The command-line options that the inference commands share, and what they mean."""

import argparse

from command import UserError
from inference.loading import PYPI_SPEC

MODEL_HELP = f"a model folder, a Hub id (org/name[@revision]), a .gguf file, or {PYPI_SPEC}"


def add_sampling(
    parser: argparse.ArgumentParser, max_new_tokens: int, temperature: float | None, top_p: float | None
) -> None:
    """Add --max-new-tokens, --temperature, --top-p and --seed; None as a default means the model's own."""
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        default=max_new_tokens,
        help=f"longest answer in tokens (default {max_new_tokens})",
    )
    parser.add_argument(
        "--temperature", type=float, default=temperature, help=f"0 is greedy (default {_told(temperature)})"
    )
    parser.add_argument(
        "--top-p", type=float, default=top_p, help=f"share of the probability to sample from (default {_told(top_p)})"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same answers (default 0)")


def _told(value: float | None) -> str:
    return "the model's own" if value is None else f"{value:g}"


def check_sampling(options: argparse.Namespace) -> None:
    """UserError for a value that cannot be meant."""
    if options.max_new_tokens < 1:
        raise UserError(f"--max-new-tokens {options.max_new_tokens} must be 1 or more.")
    if options.temperature is not None and not 0 <= options.temperature <= 100:
        raise UserError(f"--temperature {options.temperature:g} must be 0 (greedy) or more.")
    if options.top_p is not None and not 0 < options.top_p <= 1:
        raise UserError(f"--top-p {options.top_p:g} must be above 0 and at most 1.")


def own_sampling(model, temperature: float | None, top_p: float | None) -> tuple[float, float]:
    """(temperature, top_p): what was asked for, else the model's generation_config, else greedy."""
    own = model.generation_config
    if temperature is None:
        temperature = (1.0 if own.temperature is None else own.temperature) if own.do_sample else 0.0
    if top_p is None:
        top_p = own.top_p if own.do_sample and own.top_p else 1.0
    return temperature, top_p
