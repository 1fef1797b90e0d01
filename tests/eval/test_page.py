"""The page for people: what it says, and that nothing in an answer can become part of it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
import yaml

from eval.judge import judge_folder
from eval.meanings import meaning_of
from eval.pages import stacked
from eval.report import charts
from eval.report.figures import p_value
from eval.report.items import join, read_side, verdict_of
from eval.report.judgement import OUTCOME_LABELS
from eval.report.page import TEMPLATES, page
from eval.verdicts import OUTCOMES, VERSION, prompt_sha256
from eval.visible_text import visible
from tests.eval.hostile import HOSTILE, TUNED, answer, comparison, numbers, store, store_hostile
from tests.eval.loopback_openai import completion, loopback


class Reader(HTMLParser):
    """Tags with their attributes, and the text of each element of a class."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.answers: list[str] = []
        self._depth = 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if self._depth and tag == "div":
            self._depth += 1
        if "answer" in (dict(attributes).get("class") or "").split():
            self._depth = 1
            self.answers.append("")

    def handle_endtag(self, tag):
        if tag == "div" and self._depth:
            self._depth -= 1

    def handle_data(self, data):
        if self._depth:
            self.answers[-1] += data


def text_of(html: str) -> str:
    """The page without style, script and tags, spaces folded."""
    html = re.sub(r"<(style|script)>.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return page(folder, store_hostile(folder))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb", "a⟦U+200B⟧b"),
        ("a\x00\x01b", "a⟦U+0000 U+0001⟧b"),
        ("\u202eabc\u202c", "⟦U+202E⟧abc⟦U+202C⟧"),
        ("\ud800", "⟦U+D800⟧"),
        ("\x00" * 1000, "⟦" + " ".join(["U+0000"] * 8) + " … 1,000 in all⟧"),
        ("a\r\nb\rc", "a\nb⟦U+000D⟧c"),
        ("a\u200db", "a⟦U+200D⟧b"),
        ("👩\u200d👧", "👩\u200d👧"),  # one picture of two
        ("❤\ufe0f é ñ 中文，。　\t\n", "❤\ufe0f é ñ 中文，。　\t\n"),
        ("مرحبا שלום हिन्दी ไทย", "مرحبا שלום हिन्दी ไทย"),
    ],
)
def test_hidden_characters_are_spelled_out_and_others_left_alone(text, shown):
    assert visible(text) == shown


def test_answers_arrive_letter_for_letter(hostile_page):
    texts = [text for text in HOSTILE.values() if text.strip()]
    assert len(texts) == len(HOSTILE) - 2
    assert Reader(hostile_page).answers == [visible(side) for text in texts for side in (text, text[:TUNED])]
    assert "\x00" not in hostile_page and hostile_page.encode("utf-8")


def test_hostile_texts_add_no_tag_and_no_attribute(hostile_page, tmp_path):
    """Tag for tag and attribute for attribute the page of harmless texts; only `long` boxes are for long answers."""
    harmless = Reader(page(tmp_path, store_hostile(tmp_path, harmless=True))).tags
    hostile = Reader(hostile_page).tags
    boxes = ("tabindex", "role", "aria-label", "lang")
    shapes = [[(tag, sorted(set(found) - set(boxes))) for tag, found in tags] for tags in (harmless, hostile)]
    assert shapes[0] == shapes[1]
    attributes = {name for _, found in hostile for name in found}
    assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcdoc", "autofocus")]
    assert all(found["href"].startswith("#") for _, found in hostile if "href" in found)
    assert not {"img", "iframe", "link", "object", "embed", "base"} & {tag for tag, _ in hostile}


def test_the_policy_allows_our_style_and_script_and_nothing_else(hostile_page):
    policy = next(found for tag, found in Reader(hostile_page).tags if "http-equiv" in found)["content"]
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", hostile_page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "http" not in policy


def test_what_was_compared_is_told(tmp_path):
    store(tmp_path, base=[answer("a", "x", 0.0)], tuned=[answer("a", "y")])
    found = comparison(date="2026-11-22")
    found["settings"]["reduced"] = ["only the first 2 items"]
    text = text_of(page(tmp_path, found))
    for part in ("org/base", "abc123", "f00d" * 16, "my/model", "float32", "greedy", "seed 2", "12.5", "2026-11-22"):
        assert part in text, part
    assert "Reduced evaluation" in text and "only the first 2 items" in text
    plain = text_of(page(tmp_path, comparison()))
    assert "Reduced evaluation" not in plain and "Of several samples" not in plain


def test_the_table_holds_values_intervals_counts_and_the_test(tmp_path):
    store(tmp_path, base=[answer("a", "x", 0.0)], tuned=[answer("a", "y")])
    text = text_of(page(tmp_path, comparison()))
    assert (
        "25.0 % [5.0, 70.0] 4 (+1) 75.0 % [30.0, 95.0] 4 +50.0 pp [+10.0, +80.0] ▲ better 4 &lt; 0.001 (1 : 12)" in text
    )
    found = comparison()
    for key in ("p", "base_only", "tuned_only"):
        del found["metrics"][0]["difference"][key]
    assert "McNemar" not in text_of(page(tmp_path, found))


def test_nothing_measured_is_told_with_its_reason(tmp_path):
    store(tmp_path, base=[answer("a", "x", None)], tuned=[answer("a", "y", None)])
    found = comparison()
    nothing = {"value": None, "low": None, "high": None, "n": 0, "reason": "no item could be judged in both"}
    found["metrics"][0] |= {
        "base": {**nothing, "unparsed": 1},
        "tuned": {**nothing, "unparsed": 1},
        "difference": nothing,
    }
    text = text_of(page(tmp_path, found))
    assert text.count("not measured") >= 3 and "no item could be judged in both" in text and "Not compared : 1" in text


def test_without_a_base_there_is_no_trace_of_one(tmp_path):
    store(tmp_path, tuned=[answer("a", "y")])
    found = comparison(base=None)
    found["metrics"][0] |= {"base": None, "difference": None}
    html = page(tmp_path, found)
    text = text_of(html)
    assert (
        "75.0 % [30.0, 95.0]" in text and "against" not in text and "compared" not in text and "Differences" not in text
    )
    assert "data-base" not in html and 'name="base"' not in html and 'name="change"' not in html


def test_cut_and_empty_and_missing_answers_are_marked(tmp_path):
    base = [answer("a", "half of it", 0.0, finish_reason="length"), answer("b", " \n", None, reason="empty")]
    store(tmp_path, base=base, tuned=[answer("a", "whole")])
    html = page(tmp_path, comparison())
    text = text_of(html)
    assert "✂ cut off" in text and "empty answer" in text and "no answer" in text and "– unscored empty" in text
    assert re.findall(r'data-cut="(\w*)"', html) == ["1", ""]
    assert re.findall(r'data-change="(\w*)"', html) == ["gained", ""]


def test_the_count_of_cut_answers_that_results_hold_wins(tmp_path):
    store(tmp_path, base=[answer("a", "x", finish_reason="length")], tuned=[answer("a", "y")])
    path = tmp_path / "tuned" / "results.json"
    results = json.loads(path.read_text())
    results["suites"]["seed"]["truncated"] = 77
    path.write_text(json.dumps(results))
    assert "seed 1 1 0 1 1 0 77 " in text_of(page(tmp_path, comparison()))


def test_several_samples_are_one_item_with_all_answers_in_order(tmp_path):
    scores = (1.0, 0.0, None)
    tuned = [answer("a", f"answer {n}", score, sample=n) for n, score in enumerate(scores)]
    store(tmp_path, base=[answer("a", "x", 0.0, sample=n) for n in range(3)], tuned=tuned[::-1])
    html = page(tmp_path, comparison())
    assert html.count("<article") == 1 and re.findall(r'data-tuned="(\w+)"', html) == ["partial"]
    assert re.findall(r"answer \d", html) == ["answer 0", "answer 1", "answer 2"]
    assert "tuned ◐ partial 1 / 3" in text_of(html) and 'data-change="more"' in html
    assert "1 / 0 / –" in text_of(html) and "Of several samples" in text_of(html)


def test_an_answer_that_nobody_scored_is_unscored_not_dropped(tmp_path):
    store(tmp_path, tuned=[answer("a", "y")])
    with (tmp_path / "tuned" / "generations.jsonl").open("a") as stream:
        stream.write(json.dumps({key: answer("b", "z")[key] for key in ("id", "suite", "prompt", "response")} | {"finish_reason": "stop", "tokens": 1}) + "\n")  # fmt: skip
    _, answers = read_side(tmp_path / "tuned")
    items = join({"tuned": answers})
    assert [(item["id"], item["verdicts"]["tuned"]) for item in items] == [("a", "pass"), ("b", "unscored")]


@pytest.mark.parametrize(
    ("base", "tuned", "change"),
    [(0.0, 1.0, "gained"), (0.5, 1.0, "gained"), (1.0, 0.5, "lost"), (1.0, 1.0, "kept"), (0.0, 0.5, "missed"), (None, 1.0, "")],
)  # fmt: skip
def test_change_is_about_passing(tmp_path, base, tuned, change):
    store(tmp_path, base=[answer("a", "x", base)], tuned=[answer("a", "y", tuned)])
    sides = {side: read_side(tmp_path / side)[1] for side in ("base", "tuned")}
    assert join(sides)[0]["change"] == change


@pytest.mark.parametrize(
    ("base", "tuned", "change", "words"),
    [
        ((1, 0, 0, 0), (1, 1, 0, 0), "more", "▲ passes more often"),
        ((1, 1, 0, 0), (1, 0, 0, 0), "less", "▼ passes less often"),
        ((1, 1, 0, 0), (0, 0, 1, 1), "same", "1 passes as often"),
        ((1, 1, 1, 1), (1, 1, 1, 1), "same", "1 passes as often"),
        ((0, 0, None, None), (0, 1, 0, 1), "more", "▲ passes more often"),
        ((None, None), (1, 0), "", "1 not judged in both"),
    ],
)
def test_of_several_samples_the_change_is_how_often_they_pass(tmp_path, base, tuned, change, words):
    sides = {"base": base, "tuned": tuned}
    store(tmp_path, **{
        side: [answer("a", "x", score, sample=n) for n, score in enumerate(scores)] for side, scores in sides.items()
    })  # fmt: skip
    html = page(tmp_path, comparison())
    assert re.findall(r'data-change="(\w*)"', html) == [change] and words in text_of(html)
    single = ("now passes", "no longer passes", "passes both times", "passes neither time")
    assert not [told for told in single if told in text_of(html)]


def test_verdicts():
    assert [verdict_of(score) for score in (1.0, 0.99, 0.0, None)] == ["pass", "partial", "fail", "unscored"]


def test_filters_offer_what_is_there_and_nothing_that_all_share(tmp_path):
    rows = [answer("a", "x", category="one", language="zh"), answer("b", "x", category="two", language="zh")]
    store(tmp_path, base=rows, tuned=rows)
    html = page(tmp_path, comparison())
    assert '<option value="one">one</option><option value="two">two</option>' in html
    assert 'name="language"' not in html and 'name="suite"' not in html
    rows[1]["language"] = "en"
    store(tmp_path, base=rows, tuned=rows)
    assert '<option value="en" data-zh="英文">English</option>' in page(tmp_path, comparison())


GOOD, BAD, ODD = "a GOOD one", "a BAD one", "an ODD one"


def verdict_on(body):
    """A reply of the judge "j<b>": for the good answer; none that can be read where there is an odd one."""
    prompt = body["messages"][0]["content"]
    words = "Hm." if ODD in prompt else "[[A]]" if prompt.index(GOOD) < prompt.index(BAD) else "[[B]]"
    return completion(words, model="j<b>")


def judged(folder):
    """Three pairs of answers in two suites, and what the judge says of them."""
    about = {"a": "seed", "b": "chat", "c": "chat"}
    for side, texts in (("base", (BAD, GOOD, ODD)), ("tuned", (GOOD, BAD, BAD))):
        rows = [answer(key, text, suite=about[key], language="en") for key, text in zip(about, texts, strict=True)]
        store(folder, **{side: rows})
    with loopback(verdict_on, models=("j<b>",)) as server:
        return judge_folder(folder, server.url, "j<b>", ["seed", "chat"])


def test_a_judge_has_a_section_where_one_was_asked(tmp_path):
    record = judged(tmp_path)
    text = text_of(page(tmp_path, comparison()))
    assert f"endpoint {record['judge']['endpoint']}".replace("<", "&lt;").replace(">", "&gt;") in text
    assert "model j&lt;b&gt;" in text and "judged answers cut off base 0, tuned 0" in text and "at most 1024" in text
    assert f"version of the prompt {VERSION} ({prompt_sha256()})" in text
    won, lost = ("1.00 [0.21, 1.00], n 1", "0.00 [0.00, 0.79], n 1")
    for line in (
        "chat seed all",
        "items 2 1 3",
        "tuned wins 0 1 1",
        "base wins 1 0 1",
        "tie 0 0 0",
        "verdict turns with the order 0 0 0",
        "unparsed 1 0 1",
        "unparsed replies 2 / 4 0 / 2 2 / 6",
        f"win rate of tuned {lost} {won} 0.50 [0.09, 0.91], n 2",
        "first answer chosen (0.5: no bias) 0.50, n 2 0.50, n 2 0.50, n 4",
        "correlation with length not measured (needs a win of either model) not measured",
        "win rate at equal weight of longer and shorter not measured",
        "all: The longer answer won 2 of 2 decided pairs of unequal length",
    ):
        assert line in text, line
    assert [f"judge : {said}" in text for said in ("tuned wins", "base wins", "unparsed", "tie")] == [True] * 3 + [
        False
    ]


def test_of_one_judged_suite_there_is_no_column_of_all(tmp_path):
    judged(tmp_path)
    with loopback(verdict_on, models=("j<b>",)) as server:
        judge_folder(tmp_path, server.url, "j<b>", ["seed"])
    assert "seed tuned wins | tie | base wins" in text_of(page(tmp_path, comparison()))


def test_a_judgement_of_other_answers_is_told_and_not_shown(tmp_path):
    judged(tmp_path)
    assert "other answers than these" not in text_of(page(tmp_path, comparison()))
    alone = comparison(base=None)
    alone["metrics"][0] |= {"base": None, "difference": None}
    store(tmp_path / "other", tuned=[answer("a", "another answer", language="en")])
    (tmp_path / "judge.json").rename(tmp_path / "other" / "judge.json")
    for folder, found in ((tmp_path / "other", alone), (tmp_path / "other", comparison())):
        text = text_of(page(folder, found))
        assert "The judge There is a judgement (judge.json), but it speaks of other answers" in text
        assert "tuned wins" not in text
    (tmp_path / "other" / "judge.json").rename(tmp_path / "judge.json")
    assert "speaks of other answers" in text_of(page(tmp_path, alone)), "the page does not show base"
    store(tmp_path, tuned=[answer("a", "another answer", language="en")])
    assert "speaks of other answers" in text_of(page(tmp_path, comparison()))
    (tmp_path / "judge.json").unlink()
    assert "The judge" not in text_of(page(tmp_path, comparison()))


def test_every_outcome_of_a_judge_has_a_label():
    assert set(OUTCOME_LABELS) == set(OUTCOMES)


def test_every_label_has_a_translation_and_every_translation_a_use():
    template = (TEMPLATES / "report.html.jinja").read_text(encoding="utf-8")
    code = "".join(
        (TEMPLATES.parent / name).read_text(encoding="utf-8") for name in ("page.py", "items.py", "judgement.py")
    )
    labels = yaml.safe_load((TEMPLATES / "words.yaml").read_text(encoding="utf-8"))["labels"]
    used = set(re.findall(r"""(?:\bt|zh)\((?:"([^"]+)"|'([^']+)')\)""", template))
    assert {one or two for one, two in used} <= set(labels)
    assert [label for label in labels if f'"{label}"' not in template + code and f"'{label}'" not in template] == []
    assert all(re.search(r"[\u4e00-\u9fff]", words) for label, words in labels.items())


def test_every_metric_of_the_shipped_suites_has_an_explanation_of_its_own():
    from importlib import import_module

    from eval.metrics import PERPLEXITIES
    from eval.report.page import _meaning, _words
    from eval.suites import index

    scorers = {entry["scorer"] for entry in index().values()} - {"text"}
    measures = [*PERPLEXITIES, *(m for name in scorers for m in import_module(f"eval.scorers.{name}").METRICS)]
    assert [m.name for m in measures if meaning_of(m.name) is None] == []
    recorded = {"suite": "code", "metric": "pass", "unit": "proportion", "meaning": {"en": "x", "zh": "y"}}
    assert _meaning(recorded) == {"en": "x", "zh": "y"}
    assert _meaning({"suite": "code", "metric": "zh_sudoku_solved", "unit": "ratio"}) == _words()["units"]["ratio"]


def test_the_suite_decides_what_pass_means():
    assert "code" in meaning_of("pass", "code")["en"] and "代码" in meaning_of("zh_pass", "humaneval")["zh"]
    assert (
        meaning_of("pass", "chat") == meaning_of("pass", "writing") == meaning_of("pass", "gone") == meaning_of("pass")
    )
    assert "code" not in meaning_of("pass")["en"]


def test_places_on_an_axis():
    assert [charts.place(value, 0, 1) for value in (0, 0.5, 1, 7, -7)] == [4, 50, 96, 96, 4]
    assert charts.place(0, -0.2, 0.2) == 50
    assert [tick["label"] for tick in charts.ticks(-0.05, 0.05, 5, signed=True)] == ["-5", "-2.5", "0", "+2.5", "+5"]
    assert charts.interval(numbers(None, 0, 0), 0, 1) is None


@pytest.mark.parametrize(("low", "high", "half"), [(-0.01, 0.02, 0.02), (-0.3, 0.1, 0.5), (0.0, 0.0, 0.02), (-1, 1, 1)])
def test_the_axis_of_differences_holds_every_interval(low, high, half):
    assert charts.half_width([{"difference": {"value": 0.0, "low": low, "high": high}}, {"difference": None}]) == half


def test_only_units_with_a_scale_are_drawn():
    rows = comparison()["metrics"]
    assert (
        len(charts.suite_chart([*rows, {**rows[0], "unit": "tokens"}, {**rows[0], "unit": "perplexity"}])["lanes"]) == 1
    )


@pytest.mark.parametrize(
    ("low", "high", "better", "word"),
    [(0.1, 0.2, "higher", "better"), (0.1, 0.2, "lower", "worse"), (-0.2, -0.1, "lower", "better"), (-0.2, -0.1, "higher", "worse"),
     (-0.1, 0.2, "higher", "unclear"), (0.0, 0.2, "higher", "unclear"), (0.1, 0.2, None, "other")],
)  # fmt: skip
def test_direction(low, high, better, word):
    assert (
        charts.direction({"better": better, "difference": {"value": (low + high) / 2, "low": low, "high": high}})
        == word
    )
    assert charts.direction({"better": better, "difference": None}) == ""


def test_a_bar_is_cut_by_its_counts():
    assert stacked({"a": 1, "b": 0, "c": 3}) == [
        {"key": "a", "count": 1, "x": 0.0, "width": 25.0},
        {"key": "c", "count": 3, "x": 25.0, "width": 75.0},
    ]
    assert stacked({"a": 0}) == []


def test_p_values():
    assert [p_value(p) for p in (None, 0.0004, 0.001, 0.04999, 1.0)] == ["", "< 0.001", "0.001", "0.050", "1.000"]
