"""The command: a bare file, a recipe, what it writes, its exit status, and that it needs no torch before it must."""

import json
import subprocess
import sys

import pytest
import yaml

from command import UserError, WorkError
from tests.conftest import ROOT
from training import inspect_pairs

ROWS = [
    {"prompt": f"长城的第{n}段有多长？", "chosen": f"大约{n}公里。", "rejected": f"About {n} km long."}
    for n in range(1, 13)
]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def recipe(tmp_path, pairs, tiny_model_folder):
    path = tmp_path / "tiny.yaml"
    values = {"model": str(tiny_model_folder), "dataset": str(pairs), "learning_rate": 1e-2, "global_batch_size": 4, "epochs": 3, "max_length": 80}  # fmt: skip
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def report_in(folder):
    return json.loads((folder / "data_report.json").read_text(encoding="utf-8"))


def test_a_bare_file(pairs, tmp_path, capsys):
    assert inspect_pairs.main([str(pairs), "--output", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "12 rows → 12 kept" in told and "tokens: not measured" in told
    report = report_in(tmp_path / "out")
    assert report["kept"] == 12 and report["contrast"]["counts"]["teaches"] == 12 and "cost" not in report
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "data_report.html",
        "data_report.json",
        "dropped.jsonl",
    ]
    assert (tmp_path / "out" / "dropped.jsonl").read_text() == ""


def test_a_bare_file_never_imports_torch(pairs, tmp_path):
    code = f"import sys\nfrom training import inspect_pairs\nassert inspect_pairs.main([{str(pairs)!r}, '--output', {str(tmp_path / 'out')!r}]) == 0\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_bare_file_with_a_model_is_measured_in_tokens(pairs, tmp_path, tiny_model_folder):
    arguments = [str(pairs), "--output", str(tmp_path / "out"), "--model", str(tiny_model_folder), "--max-length", "60"]
    assert inspect_pairs.main([*arguments, "--device", "h200"]) == 0
    report = report_in(tmp_path / "out")
    assert report["max_length"] == 60 and report["cost"]["time"]["device"] == "NVIDIA H200"


def test_a_recipe_and_its_overrides(recipe, tmp_path, capsys):
    out = tmp_path / "out"
    assert inspect_pairs.main([str(recipe), "--output", str(out), "--device", "cpu", "--epochs", "6"]) == 0
    told = capsys.readouterr()
    report = report_in(out)
    assert report["cost"]["steps"] == 18 and report["cost"]["time"]["device"] == "this machine's CPU"
    assert report["max_length"] == 80 and "18 steps of 4 pairs" in told.out
    assert inspect_pairs.main([str(recipe), "--output", str(out), "--device", "cpu", "--max-length", "70"]) == 0
    assert report_in(out)["max_length"] == 70


def test_findings_are_written_and_strict_is_status_2_after_the_report(pairs, tmp_path, capsys):
    with pairs.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(ROWS[0]) + "\n" + json.dumps({"prompt": "x", "chosen": "y"}) + "\n")
    out = tmp_path / "out"
    assert inspect_pairs.main([str(pairs), "--output", str(out)]) == 0
    assert inspect_pairs.main([str(pairs), "--output", str(out), "--strict"]) == 2
    told = capsys.readouterr()
    assert "12 kept" in told.out and f"{pairs}:14: no answers" in told.err
    rows = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert sorted(row["where"] for row in rows) == [f"{pairs}:13", f"{pairs}:14"]
    assert report_in(out)["findings_in_all"] == 2


def test_json_goes_to_stdout_alone(pairs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert inspect_pairs.main([str(pairs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kept"] == 12 and told["schema_version"] == 1
    assert not (tmp_path / "runs").exists()


def test_the_default_place(pairs, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert inspect_pairs.main([str(pairs)]) == 0
    assert inspect_pairs.main([str(recipe), "--name", "my-run", "--device", "cpu"]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["my-run-data", "pairs-data"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--device", "h900"], "'h900' is not known"),
        (["--max-length", "0"], "--max-length is 0"),
        (["--max_lenth", "9"], "did you mean --max_length"),
    ],
)
def test_bad_usage_is_told_before_anything_is_read(pairs, tmp_path, more, message, monkeypatch):
    monkeypatch.setattr(inspect_pairs, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(UserError, match=message):
        inspect_pairs.main([str(pairs), "--output", str(tmp_path / "out"), *more])


def test_an_output_that_cannot_be_written_is_told_before_anything_is_read(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(inspect_pairs, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(UserError, match="is a file"):
        inspect_pairs.main([str(pairs), "--output", str(pairs)])


@pytest.mark.parametrize("model", [None, "some-org/no-such-model"])
@pytest.mark.parametrize("validation", [None, "pairs", "dataset"])
def test_kept_held_out_and_dropped_add_up_to_the_rows(pairs, recipe, tmp_path, capsys, model, validation):
    """With a tokenizer and without; rows that are dropped by the reading, by the length and by the split among them."""
    own = tmp_path / "own.jsonl"
    near = {**ROWS[0], "chosen": "不知道。"}
    own.write_text(
        "".join(json.dumps(row) + "\n" for row in ({"prompt": "别的", "chosen": "好。", "rejected": "ok"}, near, {}))
    )
    with pairs.open("a", encoding="utf-8") as stream:
        stream.write(
            json.dumps({"prompt": "长" * 90, "chosen": "好。", "rejected": "ok"}) + "\n" + json.dumps(ROWS[1]) + "\n"
        )
    more = {None: [], "pairs": ["--validation.pairs", "3"], "dataset": ["--validation.dataset", str(own)]}[validation]
    more += ["--validation.every", "2"] if validation else []
    more += ["--model", model] if model else []
    assert inspect_pairs.main([str(recipe), "--output", str(tmp_path / "o"), "--device", "cpu", *more]) == 0
    report = report_in(tmp_path / "o")
    held = report.get("validation", {"pairs": 0})["pairs"]
    assert held == {None: 0, "pairs": 3, "dataset": 1}[validation]
    assert (
        report["rows"]
        == report["kept"] + held + sum(report["dropped"].values())
        == (17 if validation == "dataset" else 14)
    )
    assert ("prompt fills max_length" in report["dropped"]) is (model is None)
    assert sum(source["held_out"] for source in report["by_source"]) == held
    assert sum(source["pairs"] for source in report["by_source"]) == report["kept"]
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith(f"{report['kept']} kept, {held} held out" if validation else f"{report['kept']} kept")
    if validation == "dataset":
        assert [report["by_source"][1][key] for key in ("rows", "pairs", "held_out")] == [3, 0, 1]


def test_a_model_that_is_not_here_is_said(pairs, recipe, tmp_path, capsys, monkeypatch):
    """A recipe's is left out of the report; one that was asked for by its name is an error."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WorkError, match="some-org/no-such-model"):
        inspect_pairs.main([str(pairs), "--output", str(tmp_path / "o"), "--model", "some-org/no-such-model"])
    assert inspect_pairs.main([str(recipe), "--output", str(tmp_path / "o"), "--model", "some-org/no-such-model"]) == 0
    assert "Lengths are in characters alone." in capsys.readouterr().err
    assert "tokens" not in report_in(tmp_path / "o")
