"""Every row is kept or counted with its reason; what is kept, and its order, depends on the rows and the seed alone."""

import io
import json
import subprocess
import sys

import pytest

from command import UserError
from tests.conftest import ROOT, SHARED
from training.preferences import load_preferences

GOOD = {"prompt": "问", "chosen": "好", "rejected": "坏"}


@pytest.fixture
def suites(tmp_path):
    folder = tmp_path / "suites"
    folder.mkdir()
    (folder / "held.jsonl").write_text('{"id": "h", "prompt": "天空为什么是蓝色的?"}\n', encoding="utf-8")
    return folder


def write(path, rows):
    text = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return {"path": str(path)}


def many(count, name="q"):
    return [{"prompt": f"{name} {i}", "chosen": f"good {i}", "rejected": "bad"} for i in range(count)]


BAD = [
    ({"prompt": "p"}, "no answers"),
    ("{broken", "not valid JSON"),
    ({**GOOD, "chosen": "a<|eot_id|>b"}, "control token"),
    ({**GOOD, "prompt": "[INST] x"}, "control token"),
    ({**GOOD, "chosen": "\ud800"}, "lone surrogate"),
    ({**GOOD, "chosen": "a\0"}, "NUL character"),
    ({**GOOD, "rejected": 3}, "not a text"),
    ({**GOOD, "chosen": " "}, "empty turn"),
    ({**GOOD, "chosen": "same ", "rejected": "Same"}, "chosen equals rejected"),
    (GOOD, "exact duplicate"),
    ({**GOOD, "prompt": "天空为什么是蓝色的？"}, "overlaps an eval suite"),
]


def test_every_bad_row_is_dropped_counted_and_named(tmp_path, suites):
    rows = [GOOD, *(json.dumps(row) if isinstance(row, dict) else row for row, _ in BAD)]
    source = write(tmp_path / "p.jsonl", rows)
    data = load_preferences([source], suites)
    assert [pair.where for pair in data.pairs] == [f"{tmp_path}/p.jsonl:1"]
    assert data.dropped.total() == len(BAD) == len(data.log)
    expected = {f"{tmp_path}/p.jsonl:{line}": reason for line, (_, reason) in enumerate(BAD, start=2)}
    assert {finding.where: finding.reason for finding in data.log.first} == expected
    assert data.sources == [{**source, "rows": len(rows), "kept": 1}]
    told = io.StringIO()
    data.log.copy_to(told)
    assert {json.loads(line)["where"] for line in told.getvalue().splitlines()} == expected.keys()
    assert all(finding.fix for finding in data.log.first)


def test_strict_names_all_and_stops(tmp_path, suites):
    source = write(tmp_path / "p.jsonl", [GOOD, {"prompt": "p"}, GOOD])
    with pytest.raises(UserError) as caught:
        load_preferences([source], suites, strict=True)
    assert "p.jsonl:2: no answers" in str(caught.value) and "p.jsonl:3: exact duplicate" in str(caught.value)
    assert "2 row(s) cannot be used" in str(caught.value)
    assert len(load_preferences([write(tmp_path / "p.jsonl", [GOOD])], suites, strict=True).pairs) == 1


def test_findings_of_all_sources_come_together(tmp_path, suites):
    first, second = write(tmp_path / "a.jsonl", ["{broken"]), write(tmp_path / "b.jsonl", [{"prompt": "p"}])
    with pytest.raises(UserError) as caught:
        load_preferences([first, second], suites)
    assert "a.jsonl:1: " in str(caught.value) and "b.jsonl:1: " in str(caught.value)
    assert "no pair to train on (2 rows read)" in str(caught.value)


def test_a_model_brings_its_own_control_tokens(tmp_path, suites):
    source = write(tmp_path / "p.jsonl", [GOOD, {**GOOD, "prompt": "a <s> b"}])
    assert len(load_preferences([source], suites).pairs) == 2
    data = load_preferences([source], suites, control_tokens=["<s>", ""])
    assert data.dropped == {"control token": 1}


def test_row_order_and_files_change_nothing(tmp_path, suites):
    rows = many(60)
    split = [write(tmp_path / "a.jsonl", rows[:20]), write(tmp_path / "b.jsonl", rows[20:])]
    whole = load_preferences([write(tmp_path / "c.jsonl", [*rows[::-1], rows[3]])], suites)
    assert whole.sha256 == load_preferences(split, suites).sha256
    assert [p.question for p in whole.pairs] == [p.question for p in load_preferences(split[::-1], suites).pairs]
    assert whole.dropped == {"exact duplicate": 1}


def test_a_mix_is_counted_and_follows_the_seed(tmp_path, suites):
    a = {**write(tmp_path / "a.jsonl", many(30, "a")), "weight": 1}
    b = {**write(tmp_path / "b.jsonl", many(50, "b")), "weight": 2, "max_rows": 40}
    data = load_preferences([a, b], suites, seed=1)
    assert [source["kept"] for source in data.sources] == [20, 40]
    assert [source["rows"] for source in data.sources] == [30, 50]
    assert data.dropped == {"not drawn (max_rows or weight of the source)": 20}
    assert len(data.log) == 0  # nothing is wrong with these
    assert data.sha256 == load_preferences([a, b], suites, seed=1).sha256
    assert data.sha256 != load_preferences([a, b], suites, seed=2).sha256


def test_a_duplicate_belongs_to_the_first_source(tmp_path, suites):
    sources = [write(tmp_path / "a.jsonl", many(3)), write(tmp_path / "b.jsonl", many(5))]
    data = load_preferences(sources, suites)
    assert [source["kept"] for source in data.sources] == [3, 2]
    again = data.only([0, 1], data.dropped)
    assert len(again.pairs) == 2 and sum(source["kept"] for source in again.sources) == 2
    assert again.dropped == {"exact duplicate": 6}


def test_no_torch(tmp_path, suites):
    source = write(tmp_path / "p.jsonl", many(3))
    steps = f"import sys; from pathlib import Path; from training.preferences import load_preferences as load; load([{source}], Path({str(suites)!r})); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", steps], cwd=ROOT, check=True)


def test_the_demo_drops_nothing():
    data = load_preferences([{"path": str(ROOT / "training" / "data" / "demo_pairs.jsonl")}])
    assert (len(data.pairs), data.dropped) == (452, {})


def test_a_missing_suite_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match="overlap with it cannot be ruled out"):
        load_preferences([write(tmp_path / "p.jsonl", [GOOD])], tmp_path / "nowhere")


def test_other_peoples_sets_can_be_held_out(tmp_path, suites):
    extra = tmp_path / "theirs.jsonl"
    extra.write_text('{"id": "1", "prompt": "海水为什么是咸的，湖水却常常是淡的？"}\n', encoding="utf-8")
    source = write(tmp_path / "p.jsonl", [GOOD, {**GOOD, "prompt": "海水为什么是咸的，湖水却常常是淡的？"}])
    assert len(load_preferences([source], suites).pairs) == 2
    data = load_preferences([source], suites, extra_suites=[extra])
    assert data.dropped == {"overlaps an eval suite": 1}
    (overlap,) = data.overlaps
    assert (overlap["suite"], overlap["id"], overlap["in"]) == ("theirs", "1", "user turn")
    assert overlap["where"].endswith("p.jsonl:2")


def test_the_real_rows_of_the_articles_data(suites):
    folder = SHARED / "data" / "preference"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the real rows are not part of the project")
    data = load_preferences([{"path": str(folder / f"dpo_{lang}_demo.json")} for lang in ("en", "zh")])
    assert [(source["rows"], source["kept"]) for source in data.sources] == [(300, 295), (300, 289)]
    assert data.dropped == {"exact duplicate": 16}


def test_a_folder_is_recorded_as_one(tmp_path, suites, monkeypatch):
    """Its name may look like a data set of the Hub, which the card would then name."""
    from model_card.context import hub_datasets

    (tmp_path / "org" / "name").mkdir(parents=True)
    write(tmp_path / "org" / "name" / "a.jsonl", [GOOD])
    monkeypatch.chdir(tmp_path)
    data = load_preferences([{"path": "org/name"}], suites)
    assert data.sources == [{"path": "org/name", "folder": True, "rows": 1, "kept": 1}]
    assert hub_datasets({"data": {"sources": data.sources}}) == []


def test_the_order_of_weighted_sources_that_share_rows_changes_nothing(tmp_path, suites):
    """Rows 5 to 9 stand in both: they count for the smaller source, whichever is named first."""
    rows = many(30)
    a = {**write(tmp_path / "a.jsonl", rows[:10]), "weight": 1}
    b = {**write(tmp_path / "b.jsonl", rows[5:]), "weight": 1}
    one, other = load_preferences([a, b], suites), load_preferences([b, a], suites)
    assert one.sha256 == other.sha256 and len(one.pairs) == 20
    assert [source["kept"] for source in one.sources] == [10, 10]


def test_the_label_of_a_duplicate_does_not_depend_on_the_order(tmp_path, suites):
    rows = [{**GOOD, "topic": topic} for topic in ("x", "y", "z")]
    labels = {
        load_preferences([write(tmp_path / "p.jsonl", [rows[i] for i in order])], suites).pairs[0].labels["topic"]
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0))
    }
    assert len(labels) == 1


def test_a_validation_source_is_drawn_apart_and_gives_way(tmp_path, suites):
    training = {**write(tmp_path / "a.jsonl", many(40)), "weight": 1}
    validation = {**write(tmp_path / "b.jsonl", many(3) + many(9, "v")), "max_rows": 5}
    data = load_preferences([training], suites, validation=[validation])
    assert [source["kept"] for source in data.sources] == [40, 5]
    assert data.dropped == {"exact duplicate": 3, "not drawn (max_rows or weight of the source)": 4}


def test_a_missing_source_is_told_before_another_is_read(tmp_path, suites, monkeypatch):
    from training.preferences import loading

    monkeypatch.setattr(loading.Reading, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(UserError, match=r"none\.jsonl does not exist"):
        load_preferences([write(tmp_path / "a.jsonl", [GOOD]), {"path": "none.jsonl"}], suites)


def test_no_escape_sequence_of_a_row_reaches_a_message(tmp_path, suites):
    (suites / "held.jsonl").write_text(
        json.dumps(
            {
                "id": "h\x1b[31m",
                "prompt": "why did the old \x1bcanal\u202e beside the mill close after trains came to town",
            }
        )
    )
    leak = {
        **GOOD,
        "chosen": "Why did the old \x1bcanal\u202e beside the mill close after trains came to town? Nobody knows.",
    }
    rows = [leak, {**GOOD, "prompt": "x<｜" + "a" * 50 + "｜>\x1b[2J"}, {**GOOD, "prompt": "<｜" + "a" * 5000 + "｜>"}]
    data = load_preferences([write(tmp_path / "p.jsonl", rows)], suites)
    assert data.dropped == {"overlaps an eval suite": 1, "control token": 1}
    for finding in data.log.first:
        assert str(finding).isprintable() and len(str(finding)) < 900
        assert finding.record()["detail"].isprintable()


def test_all_findings_are_kept_where_nothing_can_be_trained_on(tmp_path, suites, capsys):
    from training import inspect_pairs
    from training.preferences.findings import SHOWN

    source = write(tmp_path / "p.jsonl", [{"prompt": "p"}] * 50)
    with pytest.raises(UserError, match=f"… and {50 - SHOWN} more") as caught:
        inspect_pairs.main([source["path"], "--output", str(tmp_path / "out")])
    assert len((tmp_path / "out" / "dropped.jsonl").read_text().splitlines()) == 50
    assert f"All 50 are in {tmp_path}/out/dropped.jsonl" in str(caught.value)


@pytest.mark.parametrize("key", ["name", "revision", "streaming", "split"])
def test_keys_of_the_hub_are_refused_for_a_file(tmp_path, suites, key):
    source = {**write(tmp_path / "p.jsonl", [GOOD]), key: True if key == "streaming" else "x"}
    with pytest.raises(UserError, match=f"lies on this disk, where {key} "):
        load_preferences([source], suites)


def test_a_folder_whose_split_is_unclear_is_refused_and_what_is_not_read_is_told(tmp_path, suites, capsys):
    folder = tmp_path / "pairs"
    folder.mkdir()
    write(folder / "train.jsonl", [GOOD])
    (folder / "notes.csv").write_text("x")
    (folder / "README.md").write_text("x")
    assert len(load_preferences([{"path": str(folder)}], suites).pairs) == 1
    assert capsys.readouterr().err == f"{folder}: not read: notes.csv\n"
    write(folder / "extra.jsonl", [GOOD])
    with pytest.raises(UserError, match=r"holds train.jsonl, which names a split, and extra.jsonl, which does not"):
        load_preferences([{"path": str(folder)}], suites)


@pytest.mark.parametrize(
    "text",
    ['{"prompt": ' + "[" * 100_000, '{"prompt": "a", "n": ' + "9" * 5000 + "}", '{"prompt": "a", "id": "\\ud800"}'],
)
def test_a_hostile_eval_set_is_a_message_or_read(tmp_path, suites, text):
    (tmp_path / "theirs.jsonl").write_text(text)
    try:
        load_preferences([write(tmp_path / "p.jsonl", [GOOD])], suites, extra_suites=[tmp_path / "theirs.jsonl"])
    except UserError as error:
        assert "theirs.jsonl:1: not valid JSON" in str(error)
