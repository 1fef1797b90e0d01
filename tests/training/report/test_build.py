"""data_report.json: counts of rows that are known, and nothing of their texts."""

import json

import numpy as np
import pytest

from tests.training.report.made import OVERLAP, ROWS, finding, made
from training.encoded_pairs import EncodedPair, EncodedPairs
from training.encoding import encode_pairs
from training.recipe import check_recipe
from training.report import build
from training.report.build import Measured, data_report, near_groups, suggested_max_length, survey


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
    assert (found["rows"], found["kept"], found["languages"]) == (7, 5, {"en": 3, "zh": 2})
    assert found["contrast"]["by_language"]["zh"]["teaches"] == found["contrast"]["by_language"]["en"]["teaches"] == 1
    assert found["contrast"]["teaches"]["value"] == 0.4
    assert found["emoji"]["counts"]["only_rejected"] == found["refusals"]["counts"]["only_rejected"] == 1
    assert found["topics"] == {"t1": 3, "t0": 2}
    assert found["overlap"] == [OVERLAP]
    assert found["duplicates"]["exact"] == 1 and found["findings_in_all"] == 2
    assert found["findings"][1]["detail"] == "the same as made.jsonl:1"  # no folder inside a sentence
    assert "tokens" not in found and "cost" not in found and found["length_bias"]["tokens"] is None
    assert sum(found["histograms"]["chosen"]["counts"]) == 5
    json.dumps(found, allow_nan=False)


def test_no_text_of_the_data_is_in_it():
    rows = [tuple(f"SECRET{part}{row} words 秘密" for part in range(3)) for row in range(60)]
    near = [0] * 30 + list(range(30, 60))
    found = report_of(rows, near=near, twins=[(1, 2, 0.9)])
    assert "SECRET" not in json.dumps(found) and "秘密" not in json.dumps(found, ensure_ascii=False)


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
    from collections import Counter

    from training.encoding import Encoding

    return Encoding(
        encoded, list(range(len(encoded))), [], Counter(), Counter(), [pair.longer_branch for pair in encoded]
    )


def test_the_suggested_lengths_of_nothing():
    assert suggested_max_length([], 5) is None
