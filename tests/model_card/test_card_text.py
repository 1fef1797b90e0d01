"""What a model wrote cannot break out of the place it has on a card."""

import json
import re

import pytest

from command import UserError
from model_card import build
from model_card.text import Printer, fenced, number, percent, plain
from tests.made_run import make_run

HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) https://evil.example www.evil.example",
    "# Heading\n## Another\n---\nlicense: mit\n---\n",
    "```\nout of the fence\n```",
    "``````\n# out of a longer fence\n``````",
    "~~~\ntilde\n~~~",
    "| a | b |\n| --- | --- |\n| c | d |",
    "{{ 7 * 7 }} {% raw %} {# x #} ${7*7} <%= 7 %>",
    "\x1b[31mred\x1b[0m \u202egnirts\u202c \u200b \x00 \ud800",
    "`one` ``two`` ```three``` \\` \\",
    "- item\n1. one\n> quote\n* star\n\tcode",
    "&lt;b&gt; &#60;i&#62;",
]


def outside_fences(markdown: str) -> str:
    """The text of a card that a Markdown reader interprets: all but fenced blocks (CommonMark 0.31, 4.5)."""
    kept, fence = [], None
    for line in markdown.split("\n"):
        ticks = re.match(r"(`{3,})([^`]*)$", line)
        if fence is None and ticks:
            fence = len(ticks[1])
        elif fence is not None:
            if ticks and len(ticks[1]) >= fence and not ticks[2].strip():
                fence = None
        else:
            kept.append(line)
    assert fence is None, "a fence stays open to the end of the card"
    return "\n".join(kept)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_fence_holds_whatever_is_inside(text):
    assert outside_fences(f"before\n{fenced(text, 800)}\nafter") == "before\nafter"


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_text_is_one_inert_line(text):
    line = plain(text)
    assert "\n" not in line
    assert not re.search(r"<[a-zA-Z/!%]|(?<!\\)[\[\]`|*_]|(?<!\\):(?=//)|^[#>+-]", line.replace("<U+", ""))


@pytest.mark.parametrize("text", HOSTILE)
def test_inline_code_cannot_be_left(text):
    for code in (Printer("-").code(text), Printer("-").span(text)):
        ticks = re.match(r"`+", code)[0]
        assert code.endswith(ticks) and "\n" not in code
        assert ticks not in re.findall(r"`+", code[len(ticks) : -len(ticks)])
        assert not re.search(r"(?<!\\)\|", Printer("-").code(text))


def test_long_text_is_cut_and_says_so():
    assert fenced("x" * 30, 10) == "```text\nxxxxxxxxxx […]\n```"


def test_a_card_with_hostile_answers_keeps_its_shape(tmp_path):
    """All places that foreign text can enter: prompts, answers, ids, reasons, names of suites, sources and reasons to drop."""
    calm = make_run(tmp_path / "calm")
    build.main([str(calm)])
    shape = outside_fences((calm / "release" / "README.md").read_text())
    run = make_run(tmp_path / "hostile")
    nasty = "x ".join(HOSTILE[:10]).replace("\ud800", "")
    for side in ("base", "tuned"):
        path = run / "eval" / side / "generations.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text(
            "".join(json.dumps({**r, "prompt": nasty, "response": nasty, "finish_reason": nasty}) + "\n" for r in rows)
        )
    report = json.loads((run / "data_report.json").read_text())
    report["dropped"], report["topics"] = {nasty: 4}, {nasty: 9, "b": 2}
    (run / "data_report.json").write_text(json.dumps(report))
    build.main([str(run)])
    for file in ("README.md", "README_zh.md"):
        text = outside_fences((run / "release" / file).read_text())
        assert re.findall(r"^#+ ", text, re.MULTILINE) == re.findall(r"^#+ ", shape, re.MULTILINE)
        spans = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
        assert "<script" not in spans and "evil.example" not in spans and "{{" not in spans
        rows = [line for line in text.split("\n") if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3, 4, 5, 6, 9}


def test_a_markdown_reader_sees_no_foreign_markup(tmp_path):
    """The same through a real CommonMark reader, with HTML, tables and autolinks on."""
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    reader = markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table")
    for text in HOSTILE:
        for place in (
            fenced(text, 800),
            f"| a |\n| --- |\n| {Printer('-').code(text)} |",
            f"A {plain(text)} b.",
            f"x {Printer('-').span(text)} y",
        ):
            page = re.sub(
                r"</?(p|table|thead|tbody|tr|th|td|code|pre)( class=\"language-text\")?>", "", reader.render(str(place))
            )
            assert not re.search(r"<[a-zA-Z/]", page), (text, page)


def test_numbers_are_printed_with_their_digits():
    assert [number(v) for v in (0, 21, 134515008, 0.05, 5e-6, 2.375, 33.271, 9208.6)] == [
        "0", "21", "134,515,008", "0.05", "5e-06", "2.375", "33.27", "9,209",
    ]  # fmt: skip
    assert percent(0.4375) == "43.8"
    with pytest.raises(UserError, match="no measured figure"):
        number(float("nan"))
