"""Stored answers are known by how they were drawn, where that decides them."""

import pytest

from eval import generation
from eval.generation import Decoding, requests_of, settings_of
from eval.suites import load_suite


def keys(decoding, **model):
    suite = load_suite("seed")
    settings = settings_of({"sha256": "beef", **model}, "float32", [suite], None, None, decoding)
    return [request.key for request in requests_of(settings, [suite], decoding)]


@pytest.mark.parametrize(
    ("decoding", "model", "same"),
    [(Decoding(0.8), {}, False), (Decoding(), {}, True), (Decoding(0.8), {"endpoint": "http://x/v1#y"}, True)],
)
def test_another_way_of_drawing_makes_other_answers(monkeypatch, decoding, model, same):
    before = keys(decoding, **model)
    monkeypatch.setattr(generation, "DRAWING", generation.DRAWING + 1)
    assert (keys(decoding, **model) == before) == same


def test_greedy_answers_keep_their_key():
    """The key of a stored evaluation of before: nothing greedy is generated again."""
    assert keys(Decoding())[0] == "f3edc581181fb90c2a40085b06904051"
