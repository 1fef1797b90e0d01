"""The engine against transformers' own generate, and what must not change an answer."""

import math

import pytest
import torch

from command import UserError
from inference import decoding
from inference.engine import Engine
from inference.noise import random_stream
from inference.rules import Sampling
from inference.sampling import Sampler
from tests.inference.conftest import CHATS, reference


@pytest.fixture
def stopping(tiny):
    """The tiny model with a second stop token that its greedy answers do reach, some early, some never."""
    model, tokenizer = tiny
    answers = [reference(model, tokenizer, chat, 30) for chat in CHATS]
    reached = {
        token: sum(token in answer[1:] for answer in answers)
        for token in {token for answer in answers for token in answer[1:]}
    }
    stop = max(reached, key=lambda token: (reached[token] < len(CHATS), reached[token]))
    model.generation_config.eos_token_id = [2, stop]
    yield Engine(model, tokenizer), stop
    model.generation_config.eos_token_id = 2


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("worth_sharing", [1, 1000])
def test_greedy_answers_equal_transformers_one_by_one(stopping, batch_size, worth_sharing, monkeypatch):
    monkeypatch.setattr(decoding, "ROOM", 1)  # the cache is shifted and lengthened often
    monkeypatch.setattr(decoding, "WORTH_SHARING", worth_sharing)
    engine, stop = stopping
    answers = list(engine.generate(CHATS, max_new_tokens=30, batch_size=batch_size))
    assert sorted(answer.index for answer in answers) == list(range(len(CHATS)))
    for answer in answers:
        assert answer.token_ids == reference(engine.model, engine.tokenizer, CHATS[answer.index], 30)
        assert answer.finish_reason == ("length" if len(answer.token_ids) == 30 else "stop")
        assert stop not in answer.token_ids
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}


def test_sampled_answers_depend_on_seed_and_index_only(stopping):
    engine, _ = stopping

    def texts(batch_size, seed, only=None):
        found = engine.generate(
            CHATS, max_new_tokens=20, sampling=Sampling(0.9, 0.9), seed=seed, batch_size=batch_size, only=only
        )
        return {answer.index: answer.token_ids for answer in found}

    whole = texts(8, 1)
    assert whole == texts(1, 1) == texts(3, 1)
    assert texts(2, 1, only=[5, 2]) == {index: whole[index] for index in (2, 5)}
    assert whole != texts(8, 2)
    same = [CHATS[0]] * 4
    assert (
        len({tuple(a.token_ids) for a in engine.generate(same, max_new_tokens=20, sampling=Sampling(1.5), seed=0)}) > 1
    )


def texts_of(pieces):
    return [piece.text for piece in pieces if piece.text]


def test_stream_is_the_answer_in_whole_characters(tiny):
    """The random model writes bytes at random: most are halves of characters."""
    engine = Engine(*tiny)
    for seed, chat in enumerate(CHATS):
        pieces = texts_of(engine.stream(chat, max_new_tokens=40, sampling=Sampling(1.0), seed=seed))
        (answer,) = engine.generate([chat], max_new_tokens=40, sampling=Sampling(1.0), seed=seed)
        assert "".join(pieces) == answer.text
        assert not any(piece.endswith("\ufffd") or not piece for piece in pieces)


def test_stream_holds_back_half_a_character(tiny, monkeypatch):
    model, tokenizer = tiny
    engine = Engine(model, tokenizer)
    ids = tokenizer.encode("a梨🌟b", add_special_tokens=False)
    script = iter([*ids, tokenizer.encode("梨")[0], 2])
    monkeypatch.setattr(Sampler, "choose", lambda *given: ([next(script)], [True]))
    pieces = texts_of(engine.stream(CHATS[0], max_new_tokens=50))
    assert pieces == ["a", "梨", "🌟", "b"]


def test_every_stop_token_ends_an_answer(tiny):
    model, tokenizer = tiny
    assert Engine(model, tokenizer).stop_ids == {2}
    model.generation_config.eos_token_id = (
        0  # a config that lacks the template's terminator, as Llama 3's first release did
    )
    tokenizer.eos_token = "<|endoftext|>"
    try:
        assert Engine(model, tokenizer).stop_ids == {0, 2}
    finally:
        model.generation_config.eos_token_id, tokenizer.eos_token = 2, "<|im_end|>"


def test_context_overflow_names_the_lengths(tiny):
    engine = Engine(*tiny)
    with pytest.raises(
        UserError, match=r"conversation 1 has \d+ tokens and the answer may have 480; the model's context is 512"
    ):
        list(engine.generate([CHATS[0], [{"role": "user", "content": "Qz!" * 20}]], max_new_tokens=480))


def test_log_probs_are_those_of_the_model_alone(tiny):
    model, tokenizer = tiny
    texts = ["hello there", "", "好的，谢谢你。" * 5, "x", "12 + 30"]
    found = list(Engine(model, tokenizer).log_probs(texts, batch_size=3))
    assert sorted(index for index, _, _ in found) == list(range(len(texts)))
    for index, value, count in found:
        ids = tokenizer.encode(texts[index], add_special_tokens=False)
        assert count == max(len(ids) - 1, 0)
        want = 0.0
        if count:
            with torch.no_grad():
                want = -count * model(torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
        assert math.isclose(value, want, rel_tol=1e-5, abs_tol=1e-6)


def test_log_probs_come_as_batches_finish_long_texts_first(tiny, monkeypatch):
    engine, score, batches = Engine(*tiny), Engine._score, []
    monkeypatch.setattr(Engine, "_score", lambda self, texts: batches.append(len(texts)) or score(self, texts))
    seen = [(index, len(batches)) for index, _, _ in engine.log_probs(["a b", "a b c d", "好" * 30, ""], batch_size=1)]
    assert seen == [(3, 0), (2, 1), (1, 2), (0, 3)]


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    """Probabilities 0.5, 0.3, 0.15, 0.05: top_p 0.7 leaves the first two in the ratio 5 : 3; 0.5 leaves the first."""
    logits = torch.tensor([[0.05, 0.5, 0.15, 0.3]]).log()

    def shares(top_p):
        sampler, stream = Sampler(Sampling(1.0, top_p)), random_stream(7, 0)
        drawn = [sampler.choose(logits, sampler.noise([stream], 4), [[]])[0][0] for _ in range(2000)]
        return [drawn.count(token) / 2000 for token in range(4)]

    assert shares(0.5) == [0, 1, 0, 0]
    assert shares(0.7) == pytest.approx([0, 0.625, 0, 0.375], abs=0.04)
    assert shares(1.0) == pytest.approx([0.05, 0.5, 0.15, 0.3], abs=0.04)


@pytest.mark.base_model
def test_greedy_answers_of_the_base_equal_transformers(base):
    model, tokenizer = base
    prompts = [
        "你好，请介绍一下你自己。",
        "What is the capital of France?",
        "写一首诗。",
        "List three fruits.",
        "3加5等于几？",
        "What is 3 + 5?",
    ]
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    for answer in Engine(model, tokenizer).generate(chats, max_new_tokens=16, batch_size=4):
        assert answer.token_ids == reference(model, tokenizer, chats[answer.index], 16)


def test_each_conversation_can_have_a_budget_of_its_own(stopping):
    engine, _ = stopping
    budgets = [3 + 4 * index for index in range(len(CHATS))]
    for answer in engine.generate(CHATS, max_new_tokens=budgets, batch_size=3):
        expected = reference(engine.model, engine.tokenizer, CHATS[answer.index], budgets[answer.index])
        assert answer.token_ids == expected
    with pytest.raises(UserError, match="max_new_tokens 0 must be 1 or more"):
        list(engine.generate(CHATS[:2], max_new_tokens=[5, 0]))


def test_streams_stand_for_the_indices(stopping):
    engine, _ = stopping

    def texts(chats, streams):
        found = engine.generate(chats, max_new_tokens=20, sampling=Sampling(1.2), seed=3, streams=streams)
        return {streams[answer.index]: answer.token_ids for answer in found}

    whole = texts([CHATS[0]] * 3, [70, 71, 72])
    assert texts([CHATS[0]], [71])[71] == whole[71]
    assert len({tuple(ids) for ids in whole.values()}) > 1
