"""The random numbers of an answer: a stream of its own, whatever else is in the batch. Imports no torch."""

import hashlib

import numpy as np

DRAWING = 2  # raised when the same seed begins to give other answers; stored sampled answers are known by it


def random_stream(seed: int, index: int) -> np.random.Generator:
    """The stream of answer `index`: one exponential number for each token of the vocabulary at every step."""
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest[:16])))
