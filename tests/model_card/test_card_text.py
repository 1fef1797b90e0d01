"""What a model wrote cannot break out of the place it has on a card, whoever reads the Markdown."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from command import UserError
from model_card.card import render_cards
from model_card.context import make_context
from model_card.licence import find_licence
from model_card.records import read_run
from model_card.text import Printer, fenced, number, one_line, percent, plain, visible, wrapped
from tests.made_run import make_run
from tests.model_card.renderers import RENDERERS, Page

CORPUS = [json.loads(line) for line in Path(__file__).with_name("hostile.jsonl").read_text().splitlines()]
TEXTS = [entry["text"] for entry in CORPUS]
CARDS = 40  # each with another text in each place
PRINTER = Printer("not measured")


@pytest.fixture(autouse=True)
def documents_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCUMENTS", str(tmp_path / "documents.json"))


def test_the_corpus_is_large_and_of_many_classes():
    assert len(CORPUS) >= 120 and len({entry["class"] for entry in CORPUS}) >= 20
    assert len(set(TEXTS)) == len(TEXTS)


# Each way of printing, by each reader: the reader sees the text itself and nothing else


def document(text: str) -> str:
    """The text in each way and place a template prints it."""
    cell, span = PRINTER.code(text), PRINTER.span(text)
    return "\n".join(
        [
            f"Paragraph {plain(text)} end.",
            "",
            f"{plain(text)} begins.",
            "",
            f"#### {span} · {plain(text)}",
            "",
            "| a | b | c |",
            "| --- | --- | --- |",
            f"| {cell} | {plain(text)} | last |",
            "",
            fenced(text, 10**6),
            "",
            f"After {span} all.",
        ]
    )


def wanted(text: str) -> list[tuple[str, str]]:
    """What a reader must see of `document`, white space as single spaces."""
    line = one_line(text)
    code = line or "not measured"
    return [
        ("p", f"Paragraph {line} end."),
        ("p", f"{line} begins."),
        ("h4", f"{code} · {line}"),
        ("th", "a"),
        ("th", "b"),
        ("th", "c"),
        ("td", code.replace("\\|", "\\<U+007C>")),
        ("td", line),
        ("td", "last"),
        ("pre", visible(text)),
        ("p", f"After {code} all."),
    ]


def squeezed(texts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(tag, " ".join(text.split())) for tag, text in texts]


@pytest.mark.parametrize("render", RENDERERS)
def test_every_reader_sees_the_text_itself(render):
    allowed = {"p", "h4", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    for text, html in zip(TEXTS, render([document(text) for text in TEXTS]), strict=True):
        page = Page(html)
        assert squeezed(page.texts) == squeezed(wanted(text)), text
        assert set(page.tags) <= allowed and page.attributes == [], (text, page.tags, page.attributes)
        assert page.tags["p"] == 3 and page.tags["pre"] == 1 and page.tables == [[3, 3]]


# The whole card


def places(value: Any, found: list[str]) -> Any:
    """The same record with a name of its own in the place of each text that is foreign, marked as such by "?"."""
    if isinstance(value, dict):
        return {places(key, found): places(inner, found) for key, inner in value.items()}
    if isinstance(value, list):
        return [places(inner, found) for inner in value]
    if value == "?":
        found.append(f"PLACE{len(found):03d}")
        return found[-1]
    return value


def planted(value: Any, texts: dict[str, str]) -> Any:
    """A record with the texts in its places."""
    if isinstance(value, dict):
        return {planted(key, texts): planted(inner, texts) for key, inner in value.items()}
    if isinstance(value, list):
        return [planted(inner, texts) for inner in value]
    return texts.get(value, value) if isinstance(value, str) else value


def foreign(run: Any) -> dict[str, Any]:
    """The fields of a Run in which every text that comes from data, models, files or other programs is "?"."""
    training, comparison, report = run.training, run.comparison, run.data_report
    row = comparison["metrics"][0] | {"suite": "?", "metric": "?", "unit": "?", "meaning": {"en": "?", "zh": "?"}}
    unmeasured = comparison["metrics"][-1] | {"suite": "?", "metric": "?", "reason": "?"}
    answer = {"row": {"response": "?", "finish_reason": "?"}, "item": {"score": 0.5, "reason": "?"}}
    example = {"suite": "?", "id": "?", "category": "?", "prompt": "?", "base": answer, "tuned": answer}
    turns = example | {"prompt": [{"role": "?", "content": "?"}, {"role": "user", "content": "?"}]}
    return {
        "training": training
        | {
            "recipe": training["recipe"] | {"lr_scheduler": "?", "system_prompt": "?", "trainer_args": {"?": ["?", 1]}},
            "base_model": training["base_model"] | {"model": "?", "name": "?", "revision": "?", "hub_id": None},
            "data": training["data"] | {"sources": [{"path": "?", "name": "?", "revision": "?", "rows": "?", "kept": 5}]},
            "versions": {"torch": "?", "?": "1"},
            "hardware": {"cpu": "?", "?": "?", "gpu": ["?"]},
            "git": {"commit": "?", "dirty": True},
            "started": "?",
            "finished": "?",
            "template_sha256": "?",
        },
        "comparison": comparison
        | {
            "metrics": [*comparison["metrics"], row, row | {"headline": False}, unmeasured],
            "settings": {"reduced": ["?"], "dtype": "?", "?": "?", "versions": {"?": "?"}},
            "seconds": {"?": 1.5},
            "scorers": {"?": "?"},
            "suites": {"?": {"base": {"truncated": 3}, "tuned": {"truncated": 2, "answers": 7}}},
        },
        "data_report": report
        | {key: {"?": 4, "known": 2} for key in ("dropped", "cut", "languages", "topics", "faults")}
        | {"tokens": {"?": {"mean": 1.5, "median": 2, "max": "?"}}},
        "examples": [example, turns],
    }  # fmt: skip


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A run with a name for each place, the names, its licence."""
    run, found = read_run(make_run(tmp_path_factory.mktemp("run"))), []
    licence = find_licence(
        run.training["base_model"], "demo", {"license": None, "license_file": None, "use_policy_file": None}
    )
    return dataclasses.replace(run, **places(foreign(run), found)), found, licence


def context_with(calm, texts: dict[str, str]) -> dict[str, Any]:
    run, _, licence = calm
    fields = {key: planted(getattr(run, key), texts) for key in ("training", "comparison", "data_report", "examples")}
    return make_context(dataclasses.replace(run, **fields), "demo", "acme/demo", licence)


def cards_with(calm, texts: dict[str, str]) -> dict[str, str]:
    return render_cards(context_with(calm, texts))


@pytest.fixture(scope="module")
def hostile(calm):
    """Cards with another text of the corpus in each place, but where a suite's name would choose other paragraphs."""

    def paragraphs(context: dict[str, Any]) -> tuple[list[str], int]:
        return context["eval"]["subjects"], len(context["eval"]["undescribed"])

    names, usual = calm[1], paragraphs(context_with(calm, {}))
    rows = [[TEXTS[(7 * card + place) % len(TEXTS)] for place in range(len(names))] for card in range(2 * CARDS)]
    contexts = [context_with(calm, dict(zip(names, row, strict=True))) for row in rows]
    found = [render_cards(context) for context in contexts if paragraphs(context) == usual][:CARDS]
    assert len(found) == CARDS
    return found


def body(card: str) -> str:
    """A card without its front matter."""
    return card.split("\n---\n", 1)[1] if card.startswith("---\n") else card


def test_every_place_is_on_both_cards(calm):
    """Else a test of what is planted there shows nothing."""
    for file, card in cards_with(calm, {}).items():
        other = "zh" if file == "README.md" else "en"
        elsewhere = {(row["meaning"] or {}).get(other) for row in calm[0].comparison["metrics"]}
        assert {name for name in calm[1] if name not in card} <= elsewhere


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("file", ["README.md", "README_zh.md"])
def test_a_card_with_hostile_texts_has_the_shape_of_a_calm_one(file, render, calm, hostile):
    documents = [body(card[file]) for card in [cards_with(calm, {}), *hostile]]
    shape, *shapes = [Page(html).shape() for html in render(documents)]
    assert shape["tags"]["table"] >= 9 and len(shape["headings"]) >= 10, "the reader sees the card"
    for place, found in enumerate(shapes):
        assert found == shape, f"card {place}"


def test_front_matter_holds_its_own_keys_whatever_the_names_are(calm, hostile):
    _, calm_front, _ = cards_with(calm, {})["README.md"].split("---\n", 2)
    keys = Counter(yaml.safe_load(calm_front))
    for cards in hostile:
        start, front, _ = cards["README.md"].encode().decode().split("---\n", 2)
        assert start == "" and Counter(yaml.safe_load(front)) == keys
        cards["README_zh.md"].encode()


# Small things


def test_long_text_is_cut_and_says_so():
    assert fenced("x" * 30, 10) == "```text\nxxxxxxxxxx […]\n```"
    assert one_line("a " + "x" * 101) == "a " + "x" * 100 + "[…]"
    assert one_line("长" * 300) == "长" * 300, "Han text needs no spaces to wrap"


@pytest.mark.parametrize(
    "text", ["短句。\n" * 3, "很长的一句话，" * 40, "a line of many words " * 30, "x" * 300, "混 mixed 文字 " * 30, ""]
)
def test_long_lines_are_broken_and_nothing_else_is_changed(text):
    lines = wrapped(text).split("\n")
    assert "".join(lines) == text.replace("\n", "")
    assert all(sum(1 + (c >= "一") for c in line) <= 78 for line in lines), "one closing mark may hang over"
    assert wrapped(text) == text or len(lines) < len(text) / 25
    assert not any(line.endswith("wor") for line in lines), "words stay whole"


def test_what_cannot_be_seen_is_spelled_out_and_what_can_is_left():
    assert visible("a\u200bb\x00\x1b[0m") == "a<U+200B>b<U+0000><U+001B>[0m"
    assert visible("\x00" * 99) == "<" + " ".join(["U+0000"] * 8) + " … 99 in all>"
    assert visible("👨\u200d👩\u200d👧 ❤\ufe0f a\u200db") == "👨\u200d👩\u200d👧 ❤\ufe0f a<U+200D>b"
    assert visible("e\u0301 é 中文，。 مرحبا\tx\r\ny") == "e\u0301 é 中文，。 مرحبا    x\ny"
    assert visible("Z" + "\u0351" * 6) == "Z" + "\u0351" * 4 + "<U+0351><U+0351>"
    assert visible("`" * 32) == "`" * 32 and visible("`" * 33) == "<U+0060 … 33 in all>"


def test_ordinary_text_is_printed_as_it_is():
    for text in ("Plain words, with punctuation: 1.5 % (n = 3).", "一加一等于二。", "answer-rate 3.11.2+cpu"):
        assert plain(text).replace("\\", "") == text


def test_numbers_are_printed_with_their_digits():
    assert [number(v) for v in (0, 21, 134515008, 0.05, 5e-6, 2.375, 33.271, 9208.6)] == [
        "0", "21", "134,515,008", "0.05", "5e-06", "2.375", "33.27", "9,209",
    ]  # fmt: skip
    assert percent(0.4375) == "43.8"
    with pytest.raises(UserError, match="no measured figure"):
        number(float("nan"))
