"""The stop benchmark counts what happened, goes on where it was stopped, and fails where an answer goes on."""

import json
import sys

import pytest

from benchmarks import gguf_stops
from benchmarks.gguf_stops import Store, Told, table
from command import WorkError
from inference import export_gguf
from tests.inference.gguf_models import make_llama3

ROW = {
    "maker": "f16",
    "mode": "greedy",
    "id": "a",
    "language": "en",
    "text": "fine",
    "tokens": 1,
    "ended": True,
    "inside": 0,
}
LOOP = "and so it goes on and on " * 40


def test_what_is_counted():
    rows = [
        Told(**ROW),
        Told(**ROW | {"id": "b", "ended": False, "text": LOOP, "tokens": 240}),
        Told(**ROW | {"id": "c", "ended": False, "text": "cut", "inside": 1}),
        Told(**ROW | {"id": "d", "text": "x<|im_end|>"}),
    ]
    counts = {"answers": 4, "tokens": 243, "ended": 2, "limit": 2, "loops": 1, "went_on": 1, "control": 1}
    assert table(rows, ["<|im_end|>"]) == {"f16": {"greedy": counts}}


def test_a_cut_line_is_answered_again(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps(ROW | {"id": "b"})[:-9])
    items = gguf_stops.prompts(1)
    store = Store(path)
    assert list(store.known) == [("f16", "greedy", "a")]
    assert store.missing("f16", "greedy", items) == items
    store.add(iter([Told(**ROW | {"id": "b"})]), 1)
    assert len(Store(path).known) == 2


def test_on_a_tiny_model(tiny_stops, capsys):
    run, record = tiny_stops
    assert run() == 0
    found = record()
    assert set(found["answers"]) == {"f16", "q8_0", "transformers"}
    assert found["chat_endpoint"]["f16"] == {
        "prompts": 2,
        "different": 0,
        "asked": 2,
        "ended": found["chat_endpoint"]["f16"]["ended"],
    }
    for modes in found["answers"].values():
        for counts in modes.values():
            assert (
                counts["answers"] == counts["ended"] + counts["limit"] == 2
                and not counts["went_on"] + counts["control"]
            )
    before = capsys.readouterr().out
    assert run() == 0 and capsys.readouterr().out == before  # nothing is answered anew


def test_an_answer_that_goes_on_is_an_error(tiny_stops, monkeypatch):
    run, _ = tiny_stops
    monkeypatch.setattr(gguf_stops.Store, "of", lambda store, items: [Told(**ROW | {"inside": 2})])
    with pytest.raises(WorkError, match="f16 go on after a stop token"):
        run()


@pytest.fixture
def tiny_stops(tmp_path, monkeypatch):
    """(the benchmark as a command, its record)."""
    pytest.importorskip("xllamacpp")
    model, gguf = make_llama3(tmp_path / "model"), tmp_path / "gguf"
    export_gguf.main([str(model), "--output", str(gguf), "--types", "f16", "q8_0", "--name", "m"])
    monkeypatch.setattr(gguf_stops, "RESULT", tmp_path / "result.json")
    monkeypatch.setattr(gguf_stops, "SLOTS", 2)
    items = gguf_stops.prompts(1)[:2]
    monkeypatch.setattr(gguf_stops, "prompts", lambda limit: items)
    arguments = [str(model), str(gguf), "--most", "8", "--threads", "1", "--work", str(tmp_path / "work")]
    monkeypatch.setattr(sys, "argv", ["gguf_stops", *arguments])
    return gguf_stops.main, lambda: json.loads((tmp_path / "result.json").read_text())
