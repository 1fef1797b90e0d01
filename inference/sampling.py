"""From logits to the next token of each row, in transformers' order: repetition penalty, temperature, top-k, top-p, min-p.

A drawn token is the winner of a race: each token has an exponential random number e of its own and arrives at the time
e / p; the first that the filters keep is a draw from what they keep (the Gumbel-max trick). So every choice, greedy or drawn, is the
argmax of a score, and the sampler can tell whether a small error of the logits could have changed it.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from inference.rules import Sampling


class Sampler:
    """Greedy at temperature 0; else each row draws with its own stream."""

    def __init__(self, sampling: Sampling):
        self.rules = sampling
        penalty = sampling.repetition_penalty
        self.stretch = max(1.0, penalty, 1 / penalty) / (
            sampling.temperature or 1.0
        )  # of an error, by what is done to logits

    def noise(self, streams: Sequence[np.random.Generator], vocabulary: int) -> torch.Tensor | None:
        """What a step adds to the scores, (rows, vocabulary); None for greedy. Drawn as doubles: single ones end at 2^-24, which
        would favour the unlikeliest tokens."""
        if self.rules.temperature == 0:
            return None
        times = np.empty((len(streams), vocabulary), dtype=np.float32)
        for row, stream in zip(times, streams, strict=True):
            row[:] = stream.standard_exponential(vocabulary)
        return torch.from_numpy(times).log_().neg_()

    def choose(
        self, logits: torch.Tensor, noise: torch.Tensor | None, texts: Sequence[list[int]], slack: float = 0.0
    ) -> tuple[list[int], list[bool]]:
        """The tokens of logits (rows, vocabulary) in fp32, and which are sure: logits that differ from these by up to `slack` / 2
        give the same. With slack 0 all are. `texts`: prompt and answer so far, which the repetition penalty counts."""
        scores, slack = self._penalised(logits, texts), slack * self.stretch
        if noise is None:
            tokens, sure = _best(scores, slack)
        else:
            tokens, sure = self._race(scores / self.rules.temperature, noise.to(scores.device), slack)
        return tokens.tolist(), sure.tolist()

    def _penalised(self, logits: torch.Tensor, texts: Sequence[list[int]]) -> torch.Tensor:
        penalty = self.rules.repetition_penalty
        if penalty == 1:
            return logits
        logits = logits.clone()
        for row, text in zip(logits, texts, strict=True):
            there = torch.tensor(text, device=logits.device)
            row[there] = torch.where(row[there] < 0, row[there] * penalty, row[there] / penalty)
        return logits

    def _race(self, scaled: torch.Tensor, noise: torch.Tensor, slack: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Winners (rows,) and whether they are sure. One that a filter drops is taken out with all that are less likely, and the
        rest race on. Top-p drops a winner with probability 1 - top_p at most: a round or two, and nothing has to be sorted."""
        scores = scaled + noise
        if self.rules.top_p == 1 and not self.rules.top_k and not self.rules.min_p:
            return _best(scores, slack)
        edges = Edges(scaled, self.rules, slack)
        scores.masked_fill_(scaled < edges.floor, -torch.inf)
        tokens, sure = _best(scores, slack)
        kept = edges.keep(slice(None), tokens)
        sure, racing = sure & kept, (~kept).nonzero()[:, 0]
        while len(racing):
            racing = racing[edges.drop(racing, tokens[racing])]  # the others stay unsure
            likelier = edges.likelier(racing, tokens[racing])
            scores[racing] = scores[racing].masked_fill(~likelier, -torch.inf)
            tokens[racing], leads = _best(scores[racing], slack)
            kept = edges.keep(racing, tokens[racing])
            sure[racing] = leads & kept
            racing = racing[~kept]
        return tokens, sure


def _best(scores: torch.Tensor, slack: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The token with the highest score in each row, and whether it leads by more than `slack`."""
    if not slack:
        return scores.argmax(1), torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    values, tokens = scores.topk(2, 1)
    return tokens[:, 0], values[:, 0] - values[:, 1] > slack


class Edges:
    """What top-k, top-p and min-p keep of the logits over the temperature, (rows, vocabulary), if these may be off by `slack` / 2.

    All of a tie at the cut are kept. (So they are by transformers' top-k and min-p; its top-p leaves it to the accident of a sort.)
    """

    def __init__(self, scaled: torch.Tensor, rules: Sampling, slack: float):
        self.scaled, self.top_p, self.slack = scaled, rules.top_p, slack
        top = scaled.amax(1, keepdim=True)
        self.floor = self.least = top + (math.log(rules.min_p) if rules.min_p else -torch.inf)
        self.best = scaled.topk(rules.top_k + 1, 1).values if 0 < rules.top_k < scaled.shape[1] else None
        if self.best is not None:
            self.floor = torch.maximum(self.least, self.best[:, -2:-1])
        self.floor = self.floor - slack
        if self.top_p < 1:
            self.mass = (scaled - top).exp_()
            if self.best is not None:
                self.mass.masked_fill_(scaled < self.best[:, -2:-1] - slack, 0.0)
            self.most = self.mass.sum(1)  # of the top k and what nearly is
            self.total = self.most if self.best is None or not slack else (self.best[:, :-1] - top).exp_().sum(1)

    def likelier(self, rows: torch.Tensor | slice, tokens: torch.Tensor) -> torch.Tensor:
        """All tokens but those that are surely no likelier than this one of their row, (rows, vocabulary)."""
        scaled = self.scaled[rows]
        least = scaled.gather(1, tokens[:, None]) - self.slack
        return (scaled > least).scatter_(1, tokens[:, None], False)

    def keep(self, rows: torch.Tensor | slice, tokens: torch.Tensor) -> torch.Tensor:
        """Which of these tokens, one of each row, are surely kept, (rows,)."""
        own, slack = self.scaled[rows].gather(1, tokens[:, None])[:, 0], self.slack
        kept = own >= self.least[rows, 0] + slack
        if self.best is not None:
            kept &= own > self.best[rows, -1] + slack if slack else own >= self.best[rows, -2]
        if self.top_p < 1:
            before, total = torch.where(self.likelier(rows, tokens), self.mass[rows], 0.0).sum(1), self.total[rows]
            kept &= before + slack * total < self.top_p * total
        return kept

    def drop(self, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Which of these tokens are surely dropped, (rows,)."""
        scaled, slack = self.scaled[rows], self.slack
        own = scaled.gather(1, tokens[:, None])
        dropped = own[:, 0] < self.least[rows, 0] - slack
        if self.best is not None:
            dropped |= own[:, 0] < self.best[rows, -2] - slack
        if self.top_p < 1:
            before, most = torch.where(scaled > own + slack, self.mass[rows], 0.0).sum(1), self.most[rows]
            dropped |= before - slack * most >= self.top_p * most
        return dropped
