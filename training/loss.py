"""ORPO in pure maths (arXiv:2403.07691): torch only, fp32 in and out, gradients finite everywhere."""

import torch
import torch.nn.functional as F

# Where exp(log p) rounds to 1 the odds are infinite; the log-probability is held this far below 0, with gradient 0.
CLOSEST_TO_ZERO = -1e-10
LN_2 = 0.6931471805599453


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - e^x) for x ≤ 0, elementwise.

    Two branches as in Mächler, "Accurately computing log(1 - exp(-|a|))": log(-expm1(x)) above -ln 2, log1p(-e^x) below.
    The input of each branch is chosen before the branch, so that the branch not taken cannot put a NaN in the gradient.
    """
    x = x.clamp(max=CLOSEST_TO_ZERO)
    near_zero = x > -LN_2
    near = torch.log(-torch.expm1(torch.where(near_zero, x, -LN_2)))
    far = torch.log1p(-torch.exp(torch.where(near_zero, -LN_2, x)))
    return torch.where(near_zero, near, far)


def mean_log_prob(token_log_probs: torch.Tensor, pair_of_token: torch.Tensor, pairs: int) -> torch.Tensor:
    """Mean log-probability per response token, in nats: (N,) tokens with their pair's number → (pairs,), each ≤ 0."""
    zeros = token_log_probs.new_zeros(pairs)
    total = zeros.index_add(0, pair_of_token, token_log_probs)
    count = zeros.index_add(0, pair_of_token, torch.ones_like(token_log_probs))
    return total / count


def log_odds_ratio(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """log(odds(chosen) / odds(rejected)), odds = P / (1 - P), P = exp(mean log-probability): (B,), (B,) → (B,), eq. 4."""
    return (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))


def odds_ratio_loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(log-odds gap), eq. 7. Mean log-probabilities per response token (B,) → (B,), each > 0."""
    return -F.logsigmoid(log_odds_ratio(chosen, rejected))


def completion_loss(chosen: torch.Tensor, rejected: torch.Tensor, beta: float, pairs: int) -> torch.Tensor:
    """LLaMA-Factory's ORPO: mean over the global batch of -mean log p(chosen) + beta · odds-ratio loss.

    `chosen`, `rejected`: mean log-probabilities (B,) of the B pairs in this micro-batch; `pairs`: how many the global
    batch has. The losses of a step's micro-batches add up to the step's loss, however the pairs are split.
    """
    return (-chosen + beta * odds_ratio_loss(chosen, rejected)).sum() / pairs


def sequence_loss(
    sequence_log_prob: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor, beta: float, pairs: int, tokens: int
) -> torch.Tensor:
    """TRL's and the paper's code: the NLL is over prompt + chosen, a mean over all of the global batch's tokens.

    `sequence_log_prob`: sum of log-probabilities over prompt and chosen of this micro-batch, a scalar; `tokens`: how
    many such predictions the global batch has (each sequence but its first token).
    """
    return -sequence_log_prob / tokens + beta * odds_ratio_loss(chosen, rejected).sum() / pairs
