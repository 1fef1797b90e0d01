"""The sampler against transformers' own processors, and its word on which choices are sure."""

import itertools

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from inference.noise import random_stream
from inference.rules import GREEDY, Sampling
from inference.sampling import Sampler

VOCABULARY = 60
TEXT = [3, 5, 5, 59, 0]
RULES = [
    Sampling(temperature, top_p, top_k, min_p, penalty)
    for temperature, top_p, top_k, min_p, penalty in itertools.product(
        (0.6, 1.7), (1.0, 0.9, 0.3), (0, 1, 7, 100), (0.0, 0.1, 1.0), (1.0, 1.3)
    )
]


@pytest.fixture(scope="module")
def logits():
    """Random ones, and a row with many ties: a tie at the cut is what top-k and top-p most often meet."""
    torch.manual_seed(3)
    tied = torch.randint(-2, 3, (4, VOCABULARY)).float()
    return torch.cat([torch.randn(4, VOCABULARY) * 2, tied])


@pytest.fixture(scope="module")
def maker():
    """A model, for the processors that its `generate` would make."""
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **shape))


def warped(maker, logits, rules):
    """Probabilities after all processors of transformers, in its order."""
    config = GenerationConfig(
        do_sample=True,
        temperature=rules.temperature,
        top_p=rules.top_p,
        top_k=rules.top_k,
        min_p=rules.min_p or None,
        repetition_penalty=rules.repetition_penalty,
    )
    ids = torch.tensor([TEXT] * len(logits))
    processors = maker._get_logits_processor(config, input_ids_seq_length=len(TEXT))
    return processors(ids, logits.clone()).softmax(1)


def drawn(sampler, logits, noise):
    return sampler.choose(logits, noise, [TEXT] * len(logits))[0]


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_tokens_that_can_be_drawn_are_those_that_transformers_keeps(penalty, logits, maker):
    """Noise that favours one token above all others: it is drawn if and only if the filters keep it, or what it ties with."""
    rows, favoured = logits.repeat_interleave(VOCABULARY, 0), torch.arange(VOCABULARY).repeat(len(logits))
    noise = torch.nn.functional.one_hot(favoured, VOCABULARY) * 1e4
    penalised = warped(maker, logits, Sampling(1.0, repetition_penalty=penalty))
    for rules in (rules for rules in RULES if rules.repetition_penalty == penalty):
        kept = warped(maker, logits, rules) > 0
        expected = penalised >= penalised.masked_fill(~kept, torch.inf).amin(1, keepdim=True)
        found = torch.tensor(drawn(Sampler(rules), rows, noise)) == favoured
        assert torch.equal(found.view_as(expected), expected), rules.told()


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_scores_that_race_are_the_log_probabilities_of_transformers(penalty, logits, maker):
    """Of any token and the likeliest: it wins just when its noise makes up for what it lacks, to 1e-5."""
    for rules in (rules for rules in RULES if rules.repetition_penalty == penalty):
        for row, probabilities in zip(logits[:4], warped(maker, logits[:4], rules), strict=True):
            lacking = probabilities.max().log() - probabilities.log()
            others = [token for token in probabilities.nonzero()[:, 0].tolist() if token != probabilities.argmax()]
            noise = torch.full((2 * len(others), VOCABULARY), -1e4)
            noise[:, probabilities.argmax()] = 0.0
            for place, token in enumerate(others):
                noise[2 * place : 2 * place + 2, token] = lacking[token] + torch.tensor([1e-5, -1e-5])
            wanted = [token for other in others for token in (other, int(probabilities.argmax()))]
            assert not others or drawn(Sampler(rules), row.expand(len(noise), -1), noise) == wanted, rules.told()


def test_draws_have_the_probabilities_of_the_softmax():
    """Chi-square of 20,000 draws over 60 tokens: 59 degrees of freedom, below 113 in all but 3 of 100,000 cases."""
    torch.manual_seed(0)
    row, sampler, stream = torch.randn(1, VOCABULARY), Sampler(Sampling(1.0)), random_stream(5, 0)
    counts, streams = np.zeros(VOCABULARY), [stream] * 200
    for _ in range(100):
        tokens = drawn(sampler, row.expand(200, -1), sampler.noise(streams, VOCABULARY))
        counts += np.bincount(tokens, minlength=VOCABULARY)
    expected = row.softmax(1)[0].numpy() * 20_000
    assert ((counts - expected) ** 2 / expected).sum() < 113


def test_unlikely_tokens_are_not_favoured():
    """Of noise made from single precision one number in 8 million is infinite; the largest of 40 million is about 17.5."""
    noise = Sampler(Sampling(1.0)).noise([random_stream(0, index) for index in range(20)], 2_000_000)
    assert 14 < noise.max() < 30 and noise.isfinite().all()


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_greedy_takes_the_likeliest_after_the_penalty(penalty, logits, maker):
    rules = Sampling(repetition_penalty=penalty)
    expected = warped(maker, logits[:4], Sampling(1.0, repetition_penalty=penalty)).argmax(1).tolist()
    assert Sampler(rules).choose(logits[:4], None, [TEXT] * 4)[0] == expected


@pytest.mark.parametrize("rules", [GREEDY, Sampling(repetition_penalty=1.3), *RULES[::11]])
def test_a_sure_choice_survives_every_error_within_the_slack(rules):
    """Logits with errors of up to half a (large) slack, a thousand rows: the sure choices are those of the exact logits, and most are sure."""
    torch.manual_seed(1)
    slack, sampler, rows = 0.05, Sampler(rules), 1000
    exact = torch.randn(rows, VOCABULARY) * 3
    noise = sampler.noise([random_stream(2, row) for row in range(rows)], VOCABULARY)
    texts = [TEXT] * rows
    wanted, all_sure = sampler.choose(exact, noise, texts)
    assert all(all_sure)
    wrong = 0
    for size in (1.0, 0.5):
        off = (torch.rand_like(exact) - 0.5).sign() * slack / 2 * size
        tokens, sure = sampler.choose(exact + off, noise, texts, slack)
        assert all(token == want for token, want, known in zip(tokens, wanted, sure, strict=True) if known)
        assert sum(sure) > 0.4 * rows or rules.min_p == 1
        wrong += sum(token != want for token, want in zip(tokens, wanted, strict=True))
    assert wrong or rules.min_p == 1, "the errors are too small to show anything"


def test_a_stream_is_its_own():
    one, two = (Sampler(Sampling(1.0)).noise([random_stream(0, 1), random_stream(0, index)], 8) for index in (2, 3))
    assert torch.equal(one[0], two[0]) and not torch.equal(one[1], two[1])
