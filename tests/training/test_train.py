"""The command itself: a run folder from a tiny real model; killed, resumed, stopped, refused."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from command import UserError
from tests.conftest import ROOT
from training import train

PAIRS = [
    {
        "id": f"p{i}",
        "topic": "t",
        "fault": "f",
        "prompt": f"问题{i}",
        "chosen": f"答案是{i}。",
        "rejected": f"answer {i * 7}",
    }
    for i in range(11)
]


@pytest.fixture
def recipe(tmp_path, tiny_model_folder):
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in PAIRS), encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    values = {"model": str(tiny_model_folder), "dataset": str(data), "learning_rate": 1e-2, "global_batch_size": 4, "epochs": 3, "max_length": 256, "trainer_args": {"save_steps": 3, "use_cpu": True}}  # fmt: skip
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def command(recipe, output, *more):
    return [sys.executable, "-m", "training.train", str(recipe), "--output", str(output), *more]


def run(*words, **options):
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=400, **options)


def weights(run_dir):
    from safetensors.torch import load_file

    return load_file(run_dir / "model" / "model.safetensors")


def test_a_whole_run(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main([str(recipe), "--output", str(out)]) == 0
    record = json.loads((out / "training.json").read_text())
    steps = record["steps"]
    assert [s["step"] for s in steps] == list(range(1, 10))  # 11 pairs × 3 epochs in steps of exactly 4
    assert all(s["pairs"] == 4 for s in steps)
    assert steps[-1]["loss"] < steps[0]["loss"]
    for step in steps:  # loss = nll + beta · odds-ratio loss, as logged
        assert step["loss"] == pytest.approx(step["nll"] + 0.05 * step["odds_ratio_loss"], rel=1e-4)
    assert record["tokens"] == sum(s["tokens"] for s in steps)
    assert record["data"]["pairs"] == 11
    assert record["peak_memory_bytes"] > 1e7
    assert record["base_model"]["sha256"]
    report = json.loads((out / "data_report.json").read_text())
    assert (report["rows"], report["kept"], report["languages"]) == (11, 11, {"zh": 11})
    assert yaml.safe_load((out / "recipe.yaml").read_text())["epochs"] == 3
    generation = json.loads((out / "model" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [2]
    assert (generation["temperature"], generation["top_p"]) == (0.6, 0.9)

    before = (out / "training.json").stat().st_mtime_ns
    assert train.main([str(recipe), "--output", str(out)]) == 0
    assert "reused" in capsys.readouterr().out
    assert (out / "training.json").stat().st_mtime_ns == before

    with pytest.raises(UserError, match=r"another recipe: beta 0\.05 there, 0\.3 here"):
        train.main([str(recipe), "--output", str(out), "--beta", "0.3"])


def test_ctrl_c_keeps_a_checkpoint(recipe, tmp_path):
    out = tmp_path / "run"
    words = command(recipe, out, "--max_steps", "4000", "--trainer_args.save_steps", "4000")
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=err)
        deadline = time.monotonic() + 300
        while "tok/s" not in (tmp_path / "err").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=200) == 130
    text = (tmp_path / "err").read_text()
    assert "Traceback" not in text
    assert "stopped. Step " in text
    assert "--resume" in text
    assert len(list((out / "checkpoints").glob("checkpoint-*"))) == 1
    assert not (out / "model").exists()


def test_ctrl_c_in_the_last_step_ends_the_command_with_a_whole_model(recipe, tmp_path, monkeypatch):
    from training.progress import StopOnSignal

    monkeypatch.setattr(StopOnSignal, "on_step_end", lambda self, *_, **__: setattr(self, "asked", True))
    with pytest.raises(KeyboardInterrupt, match="the model is whole"):
        train.main([str(recipe), "--output", str(tmp_path / "run"), "--max_steps", "1"])
    assert (tmp_path / "run" / "training.json").exists()


def quick(words, seconds=2.0):
    """Run a command that must refuse at once: status 2, one message, no traceback, no torch in sight."""
    started = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    took = time.monotonic() - started
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert took < seconds * float(os.environ.get("TEST_SLOWNESS", "3"))  # quiet machines: 1
    return done.stderr


def test_refusals_name_the_thing_and_come_quickly(recipe, tmp_path):
    out = tmp_path / "run"
    assert "did you mean beta" in quick(command(recipe, out, "--betta", "1"))
    assert "does not exist" in quick(command(tmp_path / "none.yaml", out))
    assert "does not exist" in quick(command(recipe, out, "--dataset", str(tmp_path / "none.jsonl")))
    assert "no config.json" in quick(command(recipe, out, "--model", str(tmp_path)))
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "x"}\n')
    assert f"{bad}:1: no answers: has no `chosen`" in quick(command(recipe, out, "--dataset", str(bad)))
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert "no pair to train on" in quick(command(recipe, out, "--dataset", str(empty)))
    assert not out.exists()


def test_a_bad_trainer_argument_is_named(recipe, tmp_path):
    with pytest.raises(UserError, match="unknown key 'save_stepz'; did you mean save_steps"):
        train.main([str(recipe), "--output", str(tmp_path / "run"), "--trainer_args.save_stepz", "3"])


@pytest.mark.parametrize(("key", "value", "need"), [("weight_decay", "abc", "a number"), ("use_cpu", "maybe", "true or false"), ("save_steps", "abc", "a number")])  # fmt: skip
def test_a_trainer_argument_of_another_kind_is_named(recipe, tmp_path, key, value, need):
    with pytest.raises(UserError, match=f"trainer_args.{key} is '{value}'; needed: {need}"):
        train.main([str(recipe), "--output", str(tmp_path / "run"), f"--trainer_args.{key}", value])


def test_a_prompt_that_fills_max_length(recipe, tmp_path, capsys):
    with pytest.raises(UserError, match="none of 11 pairs fits into max_length 20"):
        train.main([str(recipe), "--output", str(tmp_path / "run"), "--max_length", "20"])
    assert "pairs.jsonl:1: prompt fills max_length: prompt is" in capsys.readouterr().err


def test_an_output_that_is_a_file(recipe, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file"):
        train.main([str(recipe), "--output", str(tmp_path / "file")])


def test_no_disk_space_is_told_before_training(recipe, tmp_path, monkeypatch):
    import shutil

    from command import WorkError

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(WorkError, match="training needs"):
        train.main([str(recipe), "--output", str(tmp_path / "run")])
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_each_recipe_key_changes_the_run(recipe, tmp_path):
    """No key is dead: with each of these changed, the weights after three steps differ from the plain run's."""
    import torch

    def final(*more):
        out = tmp_path / "_".join(more).replace("/", "_").replace("--", "")[:40]
        assert train.main([str(recipe), "--output", str(out), "--max_steps", "3", *more]) == 0
        return weights(out)["model.embed_tokens.weight"]

    plain = final()
    assert torch.allclose(plain, final("--micro_batch_tokens", "64"), atol=1e-4)  # layout, not result
    for key, value in [("beta", "2"), ("objective", "sequence"), ("lr_scheduler", "constant"), ("warmup_ratio", "0.5"), ("seed", "1"), ("global_batch_size", "2"), ("optimizer", "sgd"), ("max_length", "35"), ("precision", "bf16"), ("system_prompt", "S"), ("trainer_args.weight_decay", "0.5")]:  # fmt: skip
        assert not torch.equal(plain, final(f"--{key}", value)), key


def test_help_is_quick_and_torch_free():
    code = "import sys\nfrom training import train\ntry:\n train.main(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout
    assert time.monotonic() - started < 1.0 * float(os.environ.get("TEST_SLOWNESS", "3"))


def test_inspect_pairs_tells_of_the_pairs_what_a_run_tells(recipe, tmp_path, capsys):
    from training import inspect_pairs

    assert inspect_pairs.main([str(recipe), "--output", str(tmp_path / "data"), "--device", "cpu"]) == 0
    assert "11 rows → 11 kept" in capsys.readouterr().out
    assert train.main([str(recipe), "--output", str(tmp_path / "run"), "--max_steps", "1"]) == 0
    asked = [str(recipe), "--output", str(tmp_path / "data"), "--device", "cpu", "--max_steps", "1"]
    assert inspect_pairs.main(asked) == 0
    told, ran = (json.loads((tmp_path / name / "data_report.json").read_text()) for name in ("data", "run"))
    for key in ("time", "flops", "layer_parameters"):
        del told["cost"][key]
    assert told == ran


def test_demo_data_is_what_its_readme_says():
    """Counts in training/data/README.md are those of the file; 452 pairs; nothing dropped, nothing shared with eval."""
    from training.preferences import load_preferences

    folder = ROOT / "training" / "data"
    data = load_preferences([{"path": str(folder / "demo_pairs.jsonl")}])
    assert not data.dropped
    text = (folder / "README.md").read_text(encoding="utf-8")
    for key in ("topic", "fault"):
        for language in ("zh", "en"):
            names = [p.labels[key] for p in data.pairs if p.labels["language"] == language]
            for name in set(names):
                row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
                column = {"zh": 2, "en": 3}[language]
                assert row.split("|")[column].strip() == str(names.count(name)), (name, language)
    assert sum(p.labels["language"] == "zh" for p in data.pairs) >= 300
    assert sum(p.labels["language"] == "en" for p in data.pairs) >= 100
