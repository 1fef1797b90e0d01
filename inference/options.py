"""The command-line options that the inference commands share, and what they mean."""

import argparse
from dataclasses import fields, replace
from typing import Any

from command import UserError
from inference.loading import DTYPE_HELP, DTYPES
from inference.quantization import KINDS
from inference.rules import Sampling
from inference.runtime import RUNTIMES
from inference.sources import PYPI_SPEC

LONGEST = 512  # tokens of an answer, where the context leaves room for as many before it
MODEL_HELP = f"a model folder, a Hub id (org/name[@revision]), a .gguf file, or {PYPI_SPEC}"


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add --max-new-tokens, --seed and an option for each field of Sampling; None means what fits the model."""
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        help=f"longest answer in tokens (default {LONGEST}, or half the model's context if that is less)",
    )
    for name, kind, meaning in (
        ("temperature", float, "0 is greedy"),
        ("top-p", float, "share of the probability to draw from"),
        ("top-k", int, "how many tokens to draw from; 0 is all"),
        ("min-p", float, "least probability, as a share of the likeliest token's"),
        ("repetition-penalty", float, "above 1: tokens that were there become less likely"),
    ):
        parser.add_argument(f"--{name}", type=kind, help=f"{meaning} (default: the model's own)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same answers (default 0)")


def add_loading(parser: argparse.ArgumentParser) -> None:
    """Add what `open_engine` takes."""
    parser.add_argument("--dtype", choices=DTYPES, help=DTYPE_HELP)
    parser.add_argument(
        "--quantization", choices=KINDS, help="make the weights of safetensors smaller, by bitsandbytes"
    )
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="auto",
        help="what runs the model (default auto: a .gguf file in llama.cpp where xllamacpp is installed, else transformers)",
    )


def loading_options(options: argparse.Namespace) -> dict[str, Any]:
    """What the user said of loading, as `open_engine` takes it."""
    return {name: getattr(options, name) for name in ("dtype", "quantization", "runtime")}


def asked_sampling(options: argparse.Namespace) -> dict[str, float]:
    """The fields of Sampling that the user gave."""
    names = [field.name for field in fields(Sampling)]
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def check_sampling(options: argparse.Namespace) -> None:
    """UserError for a value that cannot be meant."""
    if options.max_new_tokens is not None and options.max_new_tokens < 1:
        raise UserError(f"--max-new-tokens {options.max_new_tokens} must be 1 or more.")
    for name, value in asked_sampling(options).items():
        try:
            Sampling(**{name: value})
        except UserError as error:
            raise UserError(f"--{str(error).replace(name, name.replace('_', '-'), 1)}") from None


def chosen_sampling(own: Sampling, options: argparse.Namespace) -> Sampling:
    """What was asked for, else the model's own. A temperature for a greedy model leaves the rest off."""
    return replace(own, **asked_sampling(options))


def chosen_max_new_tokens(options: argparse.Namespace, context: int | None) -> int:
    """What was asked for, else LONGEST, or half of a context that is shorter than twice that. UserError where it fills the context."""
    asked = options.max_new_tokens
    if asked is None:
        return min(LONGEST, max(1, context // 2)) if context else LONGEST
    if context and asked >= context:
        raise UserError(
            f"--max-new-tokens {asked} leaves no room for a prompt: the context of {options.model} has {context:,} tokens. "
            f"Give less, such as {max(1, context // 2)}."
        )
    return asked
