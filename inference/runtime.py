"""From a MODEL to an engine that answers: which program runs it."""

from typing import Any

from inference.loading import Source, default_dtype, load_model, load_tokenizer


def open_engine(source: Source, *, dtype: str | None = None) -> Any:
    """The engine of a MODEL, loaded."""
    from inference.engine import Engine

    tokenizer = load_tokenizer(source)
    return Engine(load_model(source, dtype or default_dtype()), tokenizer)
