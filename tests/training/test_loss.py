"""The ladder of proof: numbers worked by hand, a float64 twin, edges, then the peers' formulas (test_parity.py)."""

import math

import pytest
import torch

from training import loss


def test_odds_ratio_by_hand():
    """p_w = 1/2: odds 1. p_l = 1/4: odds 1/3. Ratio 3, log 3 = 1.0986123.
    sigmoid(log 3) = 3/4, so the loss is -log 0.75 = 0.2876821."""
    chosen, rejected = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert loss.log_odds_ratio(chosen, rejected).item() == pytest.approx(1.0986123, rel=1e-6)
    assert loss.odds_ratio_loss(chosen, rejected).item() == pytest.approx(0.2876821, rel=1e-6)


def test_completion_loss_by_hand():
    """Two pairs as above: NLL log 2 = 0.6931472 each, plus beta 0.5 · 0.2876821 = 0.8369882; the mean is the same."""
    chosen, rejected = torch.tensor([math.log(0.5)] * 2), torch.tensor([math.log(0.25)] * 2)
    assert loss.completion_loss(chosen, rejected, 0.5, 2).item() == pytest.approx(0.8369882, rel=1e-6)


def test_sequence_loss_by_hand():
    """6 tokens of log-probability -1 in all -3: NLL 0.5; one pair as above with beta 1: 0.5 + 0.2876821."""
    chosen, rejected = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    value = loss.sequence_loss(torch.tensor(-3.0), chosen, rejected, 1.0, 1, 6)
    assert value.item() == pytest.approx(0.7876821, rel=1e-6)


def test_mean_log_prob_by_hand():
    """Pair 0 has tokens -1 and -3, pair 1 has -5: means -2 and -5."""
    means = loss.mean_log_prob(torch.tensor([-1.0, -5.0, -3.0]), torch.tensor([0, 1, 0]), 2)
    assert means.tolist() == [-2.0, -5.0]


@pytest.mark.parametrize("x", [-1e-9, -1e-7, -1e-3, -0.69, -0.7, -100.0])
def test_log1mexp_value_and_gradient(x):
    """Against float64: log(1 - e^x) and its derivative -1 / (e^-x - 1)."""
    point = torch.tensor(x, requires_grad=True)
    value = loss.log1mexp(point)
    value.backward()
    exact = float(torch.tensor(x))
    assert value.item() == pytest.approx(math.log(-math.expm1(exact)), rel=1e-5, abs=1e-30)
    expected = 0.0 if exact < -80 else -1 / math.expm1(-exact)
    assert point.grad.item() == pytest.approx(expected, rel=1e-5, abs=1e-30)


def test_certainty_is_finite():
    """A response of probability 1 (log-probability 0), where peers give inf or NaN."""
    chosen = torch.tensor([0.0, -1e-12, -1.0], requires_grad=True)
    rejected = torch.tensor([-1.0, 0.0, 0.0], requires_grad=True)
    total = loss.completion_loss(chosen, rejected, 0.1, 3)
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(chosen.grad).all()
    assert torch.isfinite(rejected.grad).all()


def test_swap_negates_the_gap():
    chosen, rejected = torch.tensor([-0.3, -2.0]), torch.tensor([-1.7, -0.01])
    gap, swapped = loss.log_odds_ratio(chosen, rejected), loss.log_odds_ratio(rejected, chosen)
    assert torch.allclose(gap, -swapped)


def test_gradcheck_in_float64():
    chosen = torch.tensor([-0.1, -0.9, -3.0], dtype=torch.float64, requires_grad=True)
    rejected = torch.tensor([-0.5, -0.2, -4.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, r: loss.completion_loss(c, r, 0.3, 3), (chosen, rejected))
