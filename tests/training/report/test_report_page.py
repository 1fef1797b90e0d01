"""The page: what it shows, and that no text of the data can do more on it than be read."""

import json
from collections import Counter
from html.parser import HTMLParser

import pytest

from eval.pages import stacked
from tests import browser as chromium
from tests.eval.hostile import HOSTILE
from tests.training.report.made import OVERLAP, ROWS, SHARED, finding, made
from training.preferences.text import is_unicode
from training.report import charts
from training.report.build import data_report, survey
from training.report.page import page
from training.report.text import visible


def page_of(*arguments, **options):
    data, relations = made(*arguments, **options)
    found = survey(data.pairs)
    report = data_report(data, found, relations, data.sha256)
    return page(report, found, relations, data, options.get("name", "made"))


class Reader(HTMLParser):
    """The tags with their attributes' names, and the text, of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.attributes = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)


def hostile_page(text):
    """A data set in which every text that a stranger may write is `text`, next to pairs that are none of it."""
    rows = [(f"问题 {text}", f"回答 {text}", f"Answer {text}"), (text, f"a {text}", f"b {text}"), *ROWS]
    data, relations = made(
        rows,
        [finding(9, text, text)],
        [{**OVERLAP, "where": text, "id": text}],
        near=[0, 0, 2, 3, 4, 5, 6],
        twins=[(1, 0, 0.9)],
    )
    for pair in data.pairs:
        pair.labels.update(topic=text, fault=text, language=text[:30])
    data.sources[0]["path"] = f"data/{text[:200]}"
    found = survey(data.pairs)
    return page(data_report(data, found, relations, ""), found, relations, data, text[:500])


HARMLESS = [Reader(hostile_page(text)) for text in ("harmless", "harmless 😀 words 好", "I cannot help with that.")]
FRAME = ("html", "head", "style", "body", "header", "h1", "main", "section", "h2", "nav", "meta")


@pytest.mark.parametrize("name", [name for name, text in HOSTILE.items() if is_unicode(text)])
def test_a_hostile_text_adds_no_tag_and_no_attribute(name):
    """Which classes have examples depends on the text; every tag and attribute is one of the harmless pages' all the same."""
    html = hostile_page(HOSTILE[name])
    found = Reader(html)
    names = {(tag, key) for tag, key, _ in found.attributes}
    assert set(found.tags) <= {tag for page in HARMLESS for tag in page.tags}
    assert names <= {(tag, key) for page in HARMLESS for tag, key, _ in page.attributes}
    assert [found.tags.count(tag) for tag in FRAME] == [HARMLESS[0].tags.count(tag) for tag in FRAME]
    assert not {key for _, key in names if key.startswith("on") or key in ("style", "src", "srcdoc")}
    assert all(value.startswith("#") for _, key, value in found.attributes if key == "href")
    assert not {"script", "img", "iframe", "link", "base"} & set(found.tags)
    assert "\x00" not in html and "\u202e" not in html and len(html) < 2_000_000


def test_texts_stand_there_letter_for_letter():
    text = "<b>&amp;\u202e {{ 7 * 7 }}"
    assert visible(text) in "".join(Reader(hostile_page(text)).text)


def test_what_it_shows():
    html = page_of(
        findings=[finding(7), finding(8)], overlaps=[OVERLAP] * 501, near=[0, 0, 2, 3, 4], twins=[(2, 0, 0.9)]
    )
    text = " ".join(" ".join(Reader(html).text).split())
    for part in (
        "508 rows read",
        "5 pairs to train on",
        "empty turn 2",
        "made.jsonl:7",
        "13-gram",
        "score 0.90",
        "The first 500 of 501",
        SHARED,
    ):
        assert part in text, part
    assert "The 1 largest groups" in text and "I'm sorry, but I cannot help" in text
    assert "Tokens were not measured" in text


def test_what_is_held_out_has_a_place_in_the_head_and_in_the_table():
    data, relations = made()
    kept, held = data.only([0, 1, 2], Counter()), data.only([3, 4], Counter())
    found = survey(kept.pairs)
    report = data_report(kept, found, relations.only([0, 1, 2]), "", held_out=held)
    text = " ".join(" ".join(Reader(page(report, found, relations.only([0, 1, 2]), kept, "made")).text).split())
    assert "3 pairs to train on 2 held out to validate on" in text
    assert "Rows Kept Held out Chinese English" in text and "data/made.jsonl 5 3 2 2 1" in text
    assert "held out" not in "".join(Reader(page_of()).text).lower()


def test_other_languages_have_columns_of_their_own_and_nothing_else_is_called_english():
    data, relations = made([("Où ?", "Là.", "Ici.")] * 5)
    for number, pair in enumerate(data.pairs):
        pair.labels["language"] = ("fr", "fr", "fr", "de", "de")[number]
    found = survey(data.pairs)
    html = page(data_report(data, found, relations, ""), found, relations, data, "made")
    text = " ".join(" ".join(Reader(html).text).split())
    assert "Rows Kept fr de Characters" in text and "data/made.jsonl 5 5 3 2" in text and "3 fr 2 de" in text


def test_rows_that_contradict_one_another_are_named():
    text = " ".join("".join(Reader(page_of([("p", "a", "b"), ("p", "b", "a")])).text).split())
    assert "made.jsonl:1 and made.jsonl:2" in text and "pull in both directions" in text


def test_an_empty_class_has_no_examples():
    text = "".join(Reader(page_of([("你好", "你好。", "您好。")])).text)
    assert "Both answers are in the prompt's language" in text
    assert "Teaches against it: rejected" not in text


def test_the_places_of_marks():
    assert stacked({"a": 1, "b": 0, "c": 3}) == [
        {"key": "a", "count": 1, "x": 0.0, "width": 25.0},
        {"key": "c", "count": 3, "x": 25.0, "width": 75.0},
    ]
    found = {"one": {"edges": [1, 2, 4], "counts": [3, 6]}, "two": {"edges": [4, 8], "counts": [5]}, "none": None}
    drawn = charts.histograms(found, ("one", "two", "none"))
    assert [bar["height"] for bar in drawn["parts"]["one"]] == [50.0, 100.0]
    assert drawn["parts"]["two"][0]["x"] > 66 and (
        drawn["parts"]["two"][0]["low"],
        drawn["parts"]["two"][0]["high"],
    ) == (4, 7)
    assert charts.histograms({"one": None}, ("one",)) == {"ticks": [], "parts": {}}
    assert [bar["width"] for bar in charts.bars({"x": 4, "y": 1})] == [100.0, 25.0]


@pytest.mark.skipif(not chromium.find(), reason="no Chromium on PATH (Debian: apt-get install chromium)")
def test_in_a_browser(tmp_path):
    """It fits a phone and a desk, its policy lets its own style through and stops nothing of it, both themes are there."""
    browser = chromium.Browser(tmp_path / "profile")
    try:
        path = tmp_path / "data_report.html"
        path.write_text(
            hostile_page(HOSTILE["no space"][:4000] + HOSTILE["script"] + HOSTILE["handlers"]), encoding="utf-8"
        )
        papers = []
        for size in (1100, 390):
            for theme in ("light", "dark"):
                browser.size(size, 900, mobile=size < 500)
                browser.theme(theme)
                browser.open(path)
                browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
                assert browser.run("document.documentElement.scrollWidth") <= size
                papers.append(browser.run("getComputedStyle(document.body).backgroundColor"))
                assert browser.complaints() == []
                browser.picture(tmp_path / f"{size}-{theme}.png", whole=True)
        assert papers[0] != papers[1] and json.dumps(papers[:2]) == json.dumps(papers[2:])
        assert browser.run("document.title") != "owned"
    finally:
        browser.close()
