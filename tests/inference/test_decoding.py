"""What must not change an answer: the batch, the neighbours, the order, rounding, and a cache that another answer left."""

from itertools import zip_longest

import pytest
import torch

from inference import decoding
from inference.decoding import Decoder
from inference.engine import Engine
from inference.rules import GREEDY, Sampling
from tests.inference.conftest import CHATS

SAMPLINGS = [GREEDY, Sampling(1.0), Sampling(0.8, 0.9, 40, 0.02, 1.1)]


def rounding(monkeypatch, size):
    """Let every batch add another error to its logits, of up to `size`; those of a row alone stay as they are."""
    torch.manual_seed(0)
    for name in ("_prefill", "_step"):
        whole = getattr(Decoder, name)

        def rough(*given, whole=whole):
            logits = whole(*given)
            return logits + (torch.rand_like(logits) * 2 - 1) * size

        monkeypatch.setattr(Decoder, name, rough)


def answers(engine, sampling, batch_size, order):
    found = engine.generate(
        [CHATS[index] for index in order], max_new_tokens=30, sampling=sampling, batch_size=batch_size, streams=order
    )
    return {order[answer.index]: answer.token_ids for answer in found}


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.told())
def test_answers_are_the_same_under_rounding_in_any_batch(tiny, monkeypatch, sampling):
    engine, order = Engine(*tiny), list(range(len(CHATS)))
    plain = answers(engine, sampling, 1, order)
    rounding(monkeypatch, 0.02)
    monkeypatch.setattr(decoding, "SLACK", 0.05)
    for size in (1, 3, 8):
        assert answers(engine, sampling, size, order[::-1]) == plain
    assert answers(engine, sampling, 2, [5, 2]) == {index: plain[index] for index in (2, 5)}
    monkeypatch.setattr(decoding, "SLACK", 0.0)
    assert any(answers(engine, sampling, 8, order) != plain for _ in range(5)), (
        "the errors are too small to show anything"
    )


def test_only_fp32_chooses_again(tiny, monkeypatch):
    model, _ = tiny
    assert Decoder(model, frozenset(), None).slack == decoding.SLACK
    monkeypatch.setattr(type(model), "dtype", torch.bfloat16)
    assert Decoder(model, frozenset(), None).slack == 0


def streamed(engine, chat, sampling=GREEDY, **more):
    return "".join(piece.text for piece in engine.stream(chat, max_new_tokens=12, sampling=sampling, **more))


@pytest.fixture
def prefilled(monkeypatch):
    """How many tokens each prefill ran, padding counted."""
    widths, whole = [], Decoder._prefill

    def counted(self, rows, shared, slot):
        widths.append(len(rows) * (max(len(row.prompt) for row in rows) - shared.get_seq_length()))
        return whole(self, rows, shared, slot)

    monkeypatch.setattr(Decoder, "_prefill", counted)
    return widths


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.told())
def test_a_chat_goes_on_from_what_was_computed(tiny, prefilled, sampling):
    engine, chat = Engine(*tiny), list(CHATS[6])
    for turn in range(4):
        fresh = streamed(Engine(*tiny), chat, sampling, seed=turn)
        before = len(prefilled)
        assert streamed(engine, chat, sampling, seed=turn) == fresh
        chat += [{"role": "assistant", "content": fresh}, *CHATS[turn]]
        whole, continued = prefilled[before - 1], prefilled[before]
        assert whole - continued >= (prefilled[before - 3] if turn else 0), "the last prompt was not run again"
    list(engine.generate(CHATS[:1], max_new_tokens=1))
    streamed(engine, chat)
    assert prefilled[-1] > 150, "generate gives the memory back"


def test_another_conversation_after_a_stream(tiny):
    engine = Engine(*tiny)
    for chat in (CHATS[2], CHATS[5], CHATS[5], [{"role": "system", "content": "x"}, *CHATS[5]]):
        assert streamed(engine, chat) == streamed(Engine(*tiny), chat)


@pytest.mark.parametrize("name", ["_prefill", "_step"])
def test_an_interrupted_stream_leaves_the_engine_as_good_as_new(tiny, monkeypatch, name):
    """Ctrl-C in the middle of a forward: half of the layers have the new column."""
    engine, calls = Engine(*tiny), []
    last = engine.model.model.layers[1].self_attn

    def strike(*given):
        calls.append(given)
        if len(calls) == (1 if name == "_prefill" else 4):
            raise KeyboardInterrupt

    hook = last.register_forward_pre_hook(strike)
    with pytest.raises(KeyboardInterrupt):
        streamed(engine, CHATS[5])
    hook.remove()
    assert streamed(engine, CHATS[5]) == streamed(Engine(*tiny), CHATS[5])


def test_a_closed_stream_leaves_what_it_computed(tiny, prefilled):
    engine = Engine(*tiny)
    pieces = engine.stream(CHATS[5], max_new_tokens=40)
    next(pieces), next(pieces)
    pieces.close()
    assert streamed(engine, CHATS[5]) == streamed(Engine(*tiny), CHATS[5])
    assert prefilled[1] == 1, "all but the last token of the prompt was there"


def test_two_streams_at_once(tiny):
    engine = Engine(*tiny)
    both = zip_longest(*(engine.stream(CHATS[index], max_new_tokens=12) for index in (2, 5)))
    texts = ["".join(piece.text for piece in pieces if piece) for pieces in zip(*both, strict=True)]
    assert texts == [streamed(Engine(*tiny), CHATS[index]) for index in (2, 5)]


def test_prompts_join_within_a_bound_of_tokens(tiny, prefilled, monkeypatch):
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", 100)
    monkeypatch.setattr(decoding, "WORTH_SHARING", 1000)
    engine, order = Engine(*tiny), list(range(len(CHATS)))
    bounded = answers(engine, GREEDY, 8, order)
    assert len(prefilled) > 2 and max(prefilled) <= 100
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", 10)
    assert answers(engine, GREEDY, 8, order) == bounded, "a prompt beyond the bound joins alone"


@pytest.mark.base_model
def test_the_base_answers_alike_in_any_batch(base):
    engine = Engine(*base)
    chats = [
        [{"role": "user", "content": text}]
        for text in ("你好！", "Name a colour.", "写一首诗。", "What is 3 + 5?", "为什么？")
    ]
    whole = list(engine.generate(chats, max_new_tokens=8, sampling=Sampling(1.0), seed=4))
    for answer in whole:
        (alone,) = engine.generate(chats, max_new_tokens=8, sampling=Sampling(1.0), seed=4, only=[answer.index])
        assert alone == answer
