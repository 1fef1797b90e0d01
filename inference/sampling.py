"""From logits to the next token of each row: greedy, or drawn with a random stream for each answer."""

import hashlib

import torch

from inference.rules import Sampling

NUCLEUS = 1024  # candidates sorted for top-p before the whole vocabulary is


def random_stream(seed: int, index: int) -> torch.Generator:
    """A generator of its own for answer `index`, so that no answer depends on what else is in the batch."""
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


class Sampler:
    """From logits (rows, vocabulary) to a token a row."""

    def __init__(self, sampling: Sampling):
        self.temperature, self.top_p = sampling.temperature, sampling.top_p

    def __call__(self, logits: torch.Tensor, streams: list[torch.Generator | None]) -> list[int]:
        """The likeliest token at temperature 0; else one drawn from the smallest set that has top_p of the probability."""
        if self.temperature == 0:
            return logits.argmax(1).tolist()
        probabilities = torch.softmax(logits / self.temperature, 1)
        mass, tokens = probabilities.topk(min(NUCLEUS, logits.shape[1]), 1)
        if self.top_p == 1 or mass.sum(1).min() < self.top_p:
            mass, tokens = probabilities.sort(1, descending=True)
        cumulative = mass.double().cumsum(1)
        kept = (cumulative - mass < self.top_p).sum(1)  # the first token that reaches top_p is still in
        total = cumulative.gather(1, kept[:, None] - 1)[:, 0]
        drawn = torch.tensor([torch.rand((), generator=stream, dtype=torch.float64).item() for stream in streams])
        place = torch.searchsorted(cumulative, (drawn.to(total) * total)[:, None], right=True)[:, 0]
        return tokens.gather(1, torch.minimum(place, kept - 1)[:, None])[:, 0].tolist()
