"""The table of the terminal: 80 columns, the alarming first, nothing that moves a cursor, and ASCII where it must be."""

import io
from collections import Counter

import pytest

from tests.training.report.made import OVERLAP, finding, made
from training.report.build import data_report, survey
from training.report.terminal import COLUMNS, lines, print_report
from training.report.text import pad, width, wrap_path


def report_of(*arguments, **options):
    data, relations = made(*arguments, **options)
    return data_report(data, survey(data.pairs), relations, data.sha256)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def table(report, name="made", bars=True):
    return lines(report, name, bars)


def test_no_line_is_wider_than_the_terminal():
    rows = [("长" * 30, "好" * 400, "坏" * 900)] * 3 + [("What?", "a " * 3000, "b")] * 50
    findings = [finding(line, "a very long reason " * 9) for line in range(30)]
    report = report_of(rows, findings=findings, overlaps=[OVERLAP] * 30)
    report["by_source"][0]["path"] = "/很长的路径/" * 30 + "pairs.jsonl"
    report["topics"] = {"主题" * 60: 1, "y": 2}
    found = table(report, "名字" * 80)
    assert max(map(width, found)) <= COLUMNS
    assert len(found) < 60


def test_what_is_alarming_comes_first():
    rows = [("长城有多长？", "很长，很长。", f"大约{n}米。") for n in range(60)]
    found = table(report_of(rows, findings=[finding(99)], overlaps=[OVERLAP]))
    head = " ".join(" ".join(found[:9]).split())
    assert "62 rows → 60 kept" in found[0] and "held out" not in found[0]
    assert "2 of 62 rows dropped: empty turn 1, overlaps an eval suite 1." in head
    assert "language 1" in head and "removed before training" in head
    assert "None of 60 Chinese pairs teaches" in head
    assert all(line.startswith(("  !", "   ")) for line in found[2:6])


def test_what_is_held_out_stands_in_the_head_and_beside_its_source():
    data, relations = made()
    kept = data.only([0, 1, 2], Counter())
    report = data_report(kept, survey(kept.pairs), relations.only([0, 1, 2]), "", held_out=data.only([3, 4], Counter()))
    found = table(report)
    assert found[0].endswith("5 rows → 3 kept, 2 held out")
    head = next(number for number, line in enumerate(found) if line.startswith("source"))
    assert found[head].split()[1:] == ["rows", "kept", "held", "out", "Chinese", "English"]
    assert found[head + 1].split() == ["data/made.jsonl", "5", "3", "2", "2", "1"]


def test_every_language_is_counted():
    data, relations = made([("Où ?", "Là.", "Ici.")] * 6)
    for number, pair in enumerate(data.pairs):
        pair.labels["language"] = ("fr", "fr", "fr", "de", "de", "it")[number]
    found = table(data_report(data, survey(data.pairs), relations, ""))
    head = next(number for number, line in enumerate(found) if line.startswith("source"))
    assert found[head].split()[1:] == ["rows", "kept", "fr", "de", "other"]
    assert found[head + 1].split()[1:] == ["6", "6", "3", "2", "1"]
    assert "English" not in "\n".join(found)


def test_data_that_teach_the_wrong_way_are_called_so():
    rows = [("长城有多长？", "It is very long indeed.", "长城很长。")] * 9
    assert "9 of 9 Chinese pairs teach AGAINST" in "\n".join(table(report_of(rows)))


def test_chance_is_no_alarm_and_more_than_chance_is():
    def rows(better, worse):
        return [("Go on.", "Fine 😀", "Fine.")] * better + [("Go on.", "Fine.", "Fine 😀")] * worse

    assert "an emoji" not in "\n".join(table(report_of(rows(13, 8))))
    assert "30 pairs have an emoji in chosen alone, 8 in rejected" in "\n".join(table(report_of(rows(30, 8))))


def test_a_bare_file_says_that_tokens_were_not_measured():
    found = "\n".join(table(report_of()))
    assert "tokens: not measured" in found and "cost" not in found


def test_an_encoding_without_bars_gets_ascii():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_report(report_of([("长城有多长？", "很长。", "It is long.")] * 3), "名字", stream)
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert "3 rows > 3 kept" in text and "█" not in text and "@" in text


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_only_where_they_are_wanted(environment, coloured):
    stream = Terminal()
    print_report(report_of(), "made", stream, environment)
    assert ("\033[" in stream.getvalue()) is coloured
    plain = io.StringIO()
    print_report(report_of(), "made", plain, environment)
    assert "\033" not in plain.getvalue()


def test_nothing_of_the_data_moves_the_cursor():
    report = report_of(findings=[finding(1, "bad\x1b[2J\x07reason")])
    report["by_source"][0]["path"] = "a\x1b[31mb\u202e.jsonl"
    report["topics"] = {"\x1b]0;owned\x07": 3}
    text = "\n".join(table(report, "x\x1b[0m"))
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    assert "U+001B" in text


def test_columns():
    assert width("长a") == 3 and width("e\u0301") == 1
    assert pad("长城", 5) == "长城 " and pad("长城长", 4) == "长…" + " "
    assert pad("7", 3, right=True) == "  7"
    assert wrap_path("a/b/c.jsonl", 7) == "….jsonl"
