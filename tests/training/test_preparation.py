"""What a user is told of the pairs: every loss with its place, every cut in tokens, and a better max_length."""

import json

import pytest
import yaml

from command import UserError
from training import inspect_pairs, train
from training.preferences import Pair, Preferences, fingerprint
from training.preparation import encode, suggested_max_length


def data_of(*prompts, chosen="好的。", rejected="OK."):
    pairs = [
        Pair(({"role": "user", "content": prompt},), chosen, rejected, f"pairs.jsonl:{line}")
        for line, prompt in enumerate(prompts, 1)
    ]
    return Preferences(pairs, [], {}, fingerprint(pairs))


def test_the_suggested_lengths():
    assert suggested_max_length([10] * 98 + [20, 30], 30) is None
    assert suggested_max_length([10] * 98 + [20, 30], 29) == {"cuts_nothing": 30, "keeps_99_percent_whole": 20}
    assert suggested_max_length([10] * 99 + [30], 5) == {"cuts_nothing": 30, "keeps_99_percent_whole": 10}
    assert suggested_max_length([], 5) is None


@pytest.mark.parametrize("kind", ["cuts_nothing", "keeps_99_percent_whole"])
def test_the_suggested_length_does_what_it_says_and_one_less_does_not(tiny_tokenizer, kind):
    from training.encoding import encode_pairs

    pairs = data_of(*("x" * (i % 40) for i in range(1, 200)), "y" * 90, chosen="z" * 30).pairs
    better = suggested_max_length(encode_pairs(pairs, tiny_tokenizer, 60).whole_lengths, 60)[kind]
    allowed = 0 if kind == "cuts_nothing" else 2  # 1 % of 200

    def damaged(max_length):
        result = encode_pairs(pairs, tiny_tokenizer, max_length)
        return sum(length > max_length for length in result.whole_lengths)

    assert damaged(better) <= allowed < damaged(better - 1)


def test_nothing_cut_is_one_line(tiny_tokenizer, capsys):
    encode(data_of("a", "b"), tiny_tokenizer, 200)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("token ids of 2 pairs in ")


def test_what_is_left_out_is_named_and_a_better_length_told(tiny_tokenizer, capsys, monkeypatch):
    monkeypatch.setattr(tiny_tokenizer, "model_max_length", 115)
    encoding = encode(data_of(*["x" * 90] * 7, "short"), tiny_tokenizer, 100)
    assert encoding.kept == [7]
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith(
        "pairs.jsonl:1: prompt fills max_length: prompt is 109 tokens; max_length 100 leaves no room for an answer."
    )
    assert lines[6] == "… and 2 more pairs left out"
    assert lines[7] == (
        "7 of 8 pairs are longer than max_length 100: 119 would cut nothing; the model itself reads 115 at most."
    )


def test_both_lengths_are_told_where_they_differ(tiny_tokenizer, capsys):
    """119 tokens by hand: 1 + 5 of the user's header, 90, 2, 11 of the assistant's, 9 bytes of 好的。 and the terminator."""
    encode(data_of("x" * 90, *["x" * 80] * 150), tiny_tokenizer, 105)
    assert "119 would cut nothing, 109 keeps 99 % of the pairs whole." in capsys.readouterr().err


def test_where_nothing_fits_the_error_says_what_would(tiny_tokenizer):
    """No report is written then, and a run ends there: the error alone tells how to go on."""
    fix = r"Raise max_length: 119 would cut nothing, 109 keeps 99 % of the pairs whole\.$"
    with pytest.raises(UserError, match=fix):
        encode(data_of("x" * 90, *["x" * 80] * 150), tiny_tokenizer, 60)
    with pytest.raises(UserError, match=r"Raise max_length: 119 would cut nothing\.$"):
        encode(data_of("x" * 90), tiny_tokenizer, 60)


def test_pairs_that_cutting_makes_equal_are_named(tiny_tokenizer, capsys):
    data = data_of("a", "q", chosen="same " * 9 + "a", rejected="same " * 9 + "b")
    with pytest.raises(
        UserError, match=r"none of 2 pairs fits into max_length 60 \(2 chosen equals rejected after cutting"
    ):
        encode(data, tiny_tokenizer, 60)
    assert "pairs.jsonl:2: chosen equals rejected after cutting: max_length is 60." in capsys.readouterr().err


@pytest.fixture
def recipe(tmp_path, tiny_model_folder):
    rows = [{"prompt": "问题" * i, "chosen": f"答案是{i}。", "rejected": f"answer {i}"} for i in range(1, 12)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    values = {"model": str(tiny_model_folder), "dataset": str(tmp_path / "pairs.jsonl"), "learning_rate": 1e-3, "global_batch_size": 2, "max_steps": 1, "max_length": 80, "trainer_args": {"use_cpu": True}}  # fmt: skip
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_run_reports_what_it_cut(recipe, tmp_path, capsys):
    """In data_report.json and on the console, and again where the ids come from the cache."""
    reports = []
    for name in ("one", "two"):
        assert train.main([str(recipe), "--output", str(tmp_path / name)]) == 0
        report = json.loads((tmp_path / name / "data_report.json").read_text())
        told = capsys.readouterr().err
        cut, lost = report["cut"]["responses"], report["cut_tokens"]["responses"]
        assert f"kept {report['kept']} of 11 pairs" in told
        assert f"{cut} responses cut to max_length ({lost} tokens)" in told
        assert f"{report['suggested_max_length']['cuts_nothing']} would cut nothing" in told
        assert ("s, from " in told) == (name == "two")
        reports.append(report)
    assert reports[0] == reports[1]
    assert reports[0]["dropped"]["prompt fills max_length"] == 11 - reports[0]["kept"]

    enough = str(reports[0]["suggested_max_length"]["cuts_nothing"])
    assert train.main([str(recipe), "--output", str(tmp_path / "whole"), "--max_length", enough]) == 0
    whole = json.loads((tmp_path / "whole" / "data_report.json").read_text())
    assert (whole["kept"], whole["cut"], whole["dropped"], whole["suggested_max_length"]) == (11, {}, {}, None)


def test_inspect_pairs_tells_tokens_where_the_model_is_here(recipe, tmp_path, capsys):
    out = ["--output", str(tmp_path / "out"), "--device", "cpu"]
    assert inspect_pairs.main([str(recipe), *out]) == 0
    told = capsys.readouterr()
    assert "than max_length 80;" in " ".join(told.out.split())
    assert "would cut nothing" in told.err
    assert "prompt fills max_length" in told.out
    assert inspect_pairs.main([yaml.safe_load(recipe.read_text())["dataset"], *out]) == 0
    assert "max_length" not in capsys.readouterr().out
