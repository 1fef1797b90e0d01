"""data_report.json: counts of rows that are known, and nothing of their texts."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest

from tests.training.report.made import OVERLAP, ROWS, finding, made
from training.encoded_pairs import EncodedPair, EncodedPairs
from training.encoding import CONTROL, EQUAL_CUT, GUTTED, UNFIT, Encoding, account, encode_pairs
from training.recipe import check_recipe
from training.report import build
from training.report.alarms import alarms
from training.report.build import Measured, data_report, near_groups, suggested_max_length, survey
from training.report.contradictions import Contradictions


def report_of(*arguments, **options):
    data, relations = made(*arguments, **options)
    return data_report(data, survey(data.pairs), relations, data.sha256)


def recipe(**values):
    given = {"model": "none", "dataset": "x.jsonl", "learning_rate": 1e-5, "global_batch_size": 2, "epochs": 1}
    return check_recipe(given | values, "made")


def test_what_is_counted_without_a_model():
    found = report_of(
        findings=[finding(7), finding(8, "exact duplicate", "the same as data/made.jsonl:1")], overlaps=[OVERLAP]
    )
    assert (found["rows"], found["kept"], found["languages"]) == (8, 5, {"en": 3, "zh": 2})
    assert found["contrast"]["by_language"]["zh"]["teaches"] == found["contrast"]["by_language"]["en"]["teaches"] == 1
    assert found["contrast"]["teaches"]["value"] == 0.4
    assert found["emoji"]["counts"]["only_rejected"] == found["refusals"]["counts"]["only_rejected"] == 1
    assert found["topics"] == {"t1": 3, "t0": 2}
    assert found["overlap"] == [OVERLAP]
    assert found["duplicates"]["exact"] == 1 and found["findings_in_all"] == 3
    assert found["findings"][1]["detail"] == "the same as made.jsonl:1"  # no folder inside a sentence
    assert "tokens" not in found and "cost" not in found and found["length_bias"]["tokens"] is None
    assert sum(found["histograms"]["chosen"]["counts"]) == 5
    json.dumps(found, allow_nan=False)


def test_no_text_of_the_data_is_in_it():
    """Nor in what is said of rows that are not used: the readers' own findings, whose details quote the rows."""
    from training.preferences.control_tokens import control_pattern
    from training.preferences.eval_texts import HeldText
    from training.preferences.loading import Reading
    from training.preferences.overlap import HeldOut

    shared = " ".join(f"SECRET秘密w{word}" for word in range(30))
    reading = Reading(HeldOut([HeldText("language", "zh-1", shared)]), control_pattern())
    for line, (prompt, chosen) in enumerate([(shared, "a"), ("x", f"y {shared}"), ("x <｜SECRET秘密｜>", "a")], 70):
        finding = reading.take({"prompt": prompt, "chosen": chosen, "rejected": "b"}, f"made.jsonl:{line}", 0)
        if finding:
            reading.log.add(finding)
    reading.log.add(reading.take({"prompt": [{"role": "SECRET秘密", "content": "x"}]}, "made.jsonl:80", 0))
    reading.store_waiting()
    assert reading.log.counts == {"overlaps an eval suite": 2, "control token": 1, "unknown role": 1}
    assert all("secret" in one.detail.lower() for one in reading.log.first)  # what is to be left out

    rows = [tuple(f"SECRET{part}{row} words 秘密" for part in range(3)) for row in range(60)]
    near = [0] * 30 + list(range(30, 60))
    data, relations = made([*rows, (rows[0][0], *rows[0][:0:-1])], near=[*near, 0], twins=[(1, 2, 0.9)])
    data = dataclasses.replace(data, log=reading.log, dropped=reading.log.counts, overlaps=reading.overlaps)
    found = data_report(data, survey(data.pairs), relations, data.sha256)
    assert found["duplicates"]["contradictions"] == 2
    told = json.dumps(found, ensure_ascii=False).lower()
    assert "secret" not in told and "秘密" not in told
    said = {one["where"]: one["detail"] for one in found["findings"]}
    assert said["made.jsonl:70"] == "whole in user turn of language zh-1 (100%)"
    assert said["made.jsonl:71"] == "13-gram in chosen of language zh-1 (100%)"
    assert said["made.jsonl:72"] == said["made.jsonl:80"] == ""
    assert all("secret" in one["detail"].lower() for one in build.findings(data, texts=True))  # the page has them


@pytest.mark.parametrize(
    ("path", "detail", "shown"),
    [
        ("data/made.jsonl", "the same as data/made.jsonl:1", "the same as made.jsonl:1"),
        ("/home/alice/made.jsonl", "the same as /home/alice/made.jsonl[12]", "the same as made.jsonl[12]"),
        ("/made.jsonl", "the same as /made.jsonl:1", "the same as made.jsonl:1"),
        ("made.jsonl", "the same as made.jsonl:1", "the same as made.jsonl:1"),
        ("made.jsonl", "the same as other.jsonl:1", "the same as other.jsonl:1"),
        ("org/name", "the same as org/name[3]", "the same as org/name[3]"),  # of the Hub: no folder of this machine
        ("data/made.jsonl", "the same as data/made.jsonl.gz:1", "the same as data/made.jsonl.gz:1"),
        ("made.jsonl", "./x is no such file; a//b neither", "./x is no such file; a//b neither"),
        ("/made.jsonl", "https://a.org/x", "https://a.org/x"),
        ("org/name", "https://a.org/x", "https://a.org/x"),
    ],
)
def test_a_path_is_cut_where_a_place_begins_and_nowhere_else(path, detail, shown):
    reason = "exact duplicate" if detail.startswith("the same as") else "not valid JSON"
    data, relations = made(findings=[finding(7, reason, detail)])
    data.sources[0]["path"] = path
    found = data_report(data, survey(data.pairs), relations, data.sha256)
    assert found["findings"][0]["detail"] == shown


def test_a_folder_of_files_is_named_without_what_it_lies_in():
    data, relations = made(findings=[finding(7, "exact duplicate", "the same as /home/alice/pairs/a.jsonl:1")])
    data.sources[0] |= {"path": "/home/alice/pairs", "folder": True}
    found = data_report(data, survey(data.pairs), relations, data.sha256)
    assert found["findings"][0]["detail"] == "the same as pairs/a.jsonl:1"


def test_overlaps_are_counted_in_all_and_the_first_are_listed():
    found = report_of(overlaps=[{**OVERLAP, "where": f"made.jsonl:{line}"} for line in range(1500)])
    assert len(found["overlap"]) == 1000 and found["dropped"]["overlaps an eval suite"] == 1500
    told = [alarm.text for alarm in alarms(found)]
    assert "1,500 of 1,505 rows dropped: overlaps an eval suite 1,500." in told
    assert any(
        text.startswith("1,500 rows overlap a set to evaluate on (the first 1,000 listed: language") for text in told
    )


def test_topics_and_faults_are_bounded():
    rows = [("How long?", "Long.", f"Short {n}.") for n in range(3000)]
    data, relations = made(rows)
    for number, pair in enumerate(data.pairs):
        pair.labels.update(topic=f"topic {number}" + "x" * 500, fault=f"fault {number % 50}")
    found = data_report(data, survey(data.pairs), relations, data.sha256)
    assert len(found["topics"]) == 101 and found["topics"]["(others)"] == 2900
    assert len(found["faults"]) == 50 and sum(found["topics"].values()) == sum(found["faults"].values()) == 3000
    assert len(json.dumps(found["topics"])) < 10_000


def test_rows_of_another_language_are_not_judged_as_english():
    """A French pair that answers in French is no case of "teaches AGAINST": the report knows Chinese and English alone."""
    rows = [("Quelle est la longueur de la muraille ?", "Elle est longue et vieille.", "It is long and old.")] * 9
    data, relations = made([*rows, *ROWS])
    for pair in data.pairs[:9]:
        pair.labels["language"] = "fr"
    found = data_report(data, survey(data.pairs), relations, data.sha256)
    assert found["languages"] == {"fr": 9, "en": 3, "zh": 2} and list(found["by_language"]) == ["fr", "en", "zh"]
    assert found["by_source"][0]["languages"] == {"fr": 9, "en": 3, "zh": 2}
    assert found["contrast"]["by_language"]["fr"]["unclear"] == 9
    assert not any("AGAINST" in alarm.text or "9 " in alarm.text for alarm in alarms(found))


def test_rows_that_pull_in_both_directions():
    """Prompt, chosen and rejected: lines 1 and 3 say the opposite of each other, so do 2 and 5 but for a space; 4 has its own prompt."""
    rows = [("p", "a", "b"), ("q", "a", "b"), ("p", "b", "a"), ("r", "b", "a"), ("q", "b ", "a"), ("p", "b", "c")]
    found = report_of(rows)
    assert found["duplicates"]["contradictions"] == 4
    assert found["duplicates"]["contradictions_first"] == [
        {"one": "made.jsonl:1", "other": "made.jsonl:3"},
        {"one": "made.jsonl:2", "other": "made.jsonl:5"},
    ]
    (told,) = (alarm for alarm in alarms(found) if "both directions" in alarm.text)
    assert told.grave and told.text.startswith("4 kept rows contradict another")


def test_of_many_contradictions_twenty_are_named():
    rows = [(f"p{n // 2}", *("ab" if n % 2 else "ba")) for n in range(100)]
    found = report_of(rows)["duplicates"]
    assert (found["contradictions"], len(found["contradictions_first"])) == (100, 20)
    assert report_of()["duplicates"]["contradictions"] == 0 and Contradictions().find(20) == (0, [])


def test_a_long_detail_is_cut_and_spelled_out():
    found = report_of(findings=[finding(7, detail="x\u202ey" + "z" * 5000)])["findings"][0]["detail"]
    assert found.startswith("x⟦U+202E⟧y") and len(found) < 200


def test_the_first_thousand_findings_are_kept():
    found = report_of(findings=[finding(line) for line in range(1200)])
    assert (len(found["findings"]), found["findings_in_all"]) == (1000, 1200)


def test_groups_of_near_duplicates():
    assert near_groups(np.array([0, 1, 0, 3, 1, 1])) == [[1, 4, 5], [0, 2]]
    assert near_groups(np.array([0, 1, 2])) == [] and near_groups(np.zeros(0, int)) == []
    told = report_of(near=[0, 0, 2, 3, 0])["duplicates"]
    assert (told["near_groups"], told["near_rows"]) == (1, 3)
    assert told["near_largest"] == [{"rows": 3, "where": ["made.jsonl:1", "made.jsonl:2", "made.jsonl:5"]}]


def test_twins_are_told_by_place():
    assert report_of(twins=[(2, 0, 0.8), (3, 1, 0.95)])["duplicates"]["twins_best"][0] == {
        "one": "made.jsonl:4",
        "other": "made.jsonl:2",
        "score": 0.95,
    }


def test_refusals_are_asked_of_a_sample_that_content_alone_decides(monkeypatch):
    monkeypatch.setattr(build, "REFUSAL_SAMPLE", 40)
    rows = [(f"Question {n}?", f"Answer {n}.", "I cannot help with that.") for n in range(400)]
    data, _ = made(rows)
    turned, _ = made(rows[::-1])
    one, other = survey(data.pairs), survey(turned.pairs)
    assert 15 < one.asked_refusals < 80
    assert one.asked_refusals == other.asked_refusals
    assert one.counts["refusals"]["en"]["only_rejected"] == one.asked_refusals


def test_labels_that_are_no_languages_do_not_flood_the_report():
    data, relations = made([("你好", "好", "坏")] * 100)
    for number, pair in enumerate(data.pairs):
        pair.labels["language"] = f"{number}" * 50
    found = data_report(data, survey(data.pairs), relations, data.sha256)
    assert len(found["languages"]) == 41 and max(map(len, found["languages"])) <= 40


@pytest.fixture(scope="module")
def measured(request):
    tokenizer = request.getfixturevalue("tiny_tokenizer")
    data, relations = made([*ROWS, ("长" * 60, "好" * 90, "坏" * 80)])
    plan = recipe(max_length=70, micro_batch_tokens=200)
    encoding = encode_pairs(data.pairs, tokenizer, plan.max_length)
    kept = data.only(encoding.kept, encoding.dropped)
    found = survey(kept.pairs)
    report = data_report(kept, found, relations, data.sha256, Measured(encoding.pairs, encoding, plan))
    return report, encoding


def test_the_part_in_tokens(measured):
    report, encoding = measured
    assert report["kept"] == len(encoding.pairs)
    total = sum(pair.length for pair in encoding.pairs)
    assert report["tokens_per_pass"] == total == report["cost"]["tokens_per_pass"]
    assert sum(part["sum"] for part in report["tokens"].values()) == total
    assert sum(source["tokens"] for source in report["by_source"]) == total
    longest = max(encoding.whole_lengths)
    assert report["suggested_max_length"]["cuts_nothing"] == longest
    lost = report["lost_to_max_length"]
    assert lost["pairs_longer"] == sum(length > 70 for length in encoding.whole_lengths) > 0
    assert lost["tokens_cut"] == sum(encoding.cut_tokens.values())
    assert lost["tokens_lost"] == lost["tokens_cut"] + lost["tokens_left_out"]
    assert set(report["chosen_longer"]) == {"value", "n"}
    assert "time" not in report["cost"]


def test_the_bias_of_length_in_tokens():
    data, relations = made([("a", "b", "c")] * 3)
    encoded = [EncodedPair([1], [1, 2, 3], [1, 2]), EncodedPair([1], [1, 2], [1, 2]), EncodedPair([1], [1], [1, 2])]
    encoding = encode_of(encoded)
    report = data_report(
        data, survey(data.pairs), relations, "", Measured(EncodedPairs.of(encoded), encoding, recipe())
    )
    assert report["chosen_longer"] == {"value": 1 / 3, "n": 3}
    assert report["length_bias"]["tokens"]["equal"] == 1
    assert report["lost_to_max_length"]["share_of_tokens"] == 0 and report["suggested_max_length"] is None


def encode_of(encoded):
    lengths = [pair.longer_branch for pair in encoded]
    return Encoding(EncodedPairs.of(encoded), list(range(len(encoded))), [], Counter(), Counter(), lengths, Counter())


def test_what_is_lost_to_the_length_by_hand():
    """Whole pairs of 10, 30, 40, 50, 8, 9 and 7 tokens, max_length 20. The second keeps 20 of 30; the third does not fit, of the
    fourth more than half an answer would go, the fifth is equal when cut: 10 + 40 + 50 + 8 of 138 tokens. The sixth and the seventh are equal as tokens and empty, which no length mends."""
    kept = [EncodedPair([1] * 4, [2] * 3, [3] * 3), EncodedPair([1] * 10, [2] * 6, [3] * 4)]
    result = Encoding(EncodedPairs.of(kept), [], [], Counter(), Counter(), [], Counter())
    whole = (
        kept[0],
        EncodedPair([1] * 10, [2] * 12, [3] * 8),
        EncodedPair([1] * 20, [2] * 10, [3] * 10),
        EncodedPair([1] * 10, [2] * 30, [3] * 10),
        EncodedPair([1] * 2, [2, 2, 4], [2, 2, 5]),
        EncodedPair([1] * 3, [2] * 3, [2] * 3),
        EncodedPair([1] * 3, [2] * 3, [9]),
    )
    cut = (
        *kept,
        EncodedPair([1] * 20, [], []),
        EncodedPair([1] * 10, [2] * 10, [3] * 10),
        EncodedPair([1] * 2, [2, 2], [2, 2]),
        whole[5],
        whole[6],
    )
    result.left_out.append((7, CONTROL, 0))
    for index, (one, other) in enumerate(zip(whole, cut, strict=True)):
        account(result, index, one, other)
    assert result.lost_tokens == {UNFIT: 40, GUTTED: 50, EQUAL_CUT: 8}
    lost = build.lost(result, 20)
    assert lost["pairs_left_out"] == 3 and len(result.left_out) == 6
    assert (lost["tokens_cut"], lost["tokens_left_out"], lost["tokens_lost"]) == (10, 98, 108)
    assert lost["share_of_tokens"] == 108 / 138


def test_the_share_of_tokens_counts_what_is_held_out_too(tiny_tokenizer):
    """It is of all pairs that were read, however many of them are set apart to validate on."""
    data, relations = made([*ROWS, ("长" * 20, "好" * 12, "坏" * 11), ("长" * 60, "好" * 90, "坏" * 80)])
    encoding = encode_pairs(data.pairs, tiny_tokenizer, 105)
    assert encoding.lost_tokens.total() and encoding.cut_tokens.total()
    kept = data.only(encoding.kept, encoding.dropped)
    trained = kept.only(range(2), Counter())
    measured = Measured(encoding.pairs[:2], encoding, recipe(max_length=105))
    report = data_report(
        trained,
        survey(trained.pairs),
        relations.only(range(2)),
        "",
        measured,
        kept.only(range(2, len(kept.pairs)), Counter()),
    )
    whole = sum(pair.length for pair in encode_pairs(data.pairs, tiny_tokenizer, 10_000).pairs)
    lost = report["lost_to_max_length"]
    assert lost["share_of_tokens"] == pytest.approx(lost["tokens_lost"] / whole)


def test_the_suggested_lengths_of_nothing():
    assert suggested_max_length([], 5) is None
