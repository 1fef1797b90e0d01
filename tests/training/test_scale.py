"""Many processes compute what one computes: real launches on the CPU (gloo) with the shipped accelerate configs."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml

from command import UserError
from tests.conftest import ROOT, make_tiny_model
from training import scale, train
from training.adapters import count_parameters

STEPS = 10
SAME = ("step", "loss", "nll", "odds_ratio_loss", "grad_norm", "learning_rate", "pairs", "tokens")
needs_deepspeed = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_tokenizer):
    """A folder with a tiny model, 11 pairs and a recipe: steps of three pairs, each a micro-batch of its own."""
    folder = tmp_path_factory.mktemp("scale")
    make_tiny_model(len(tiny_tokenizer)).save_pretrained(folder / "tiny")
    tiny_tokenizer.save_pretrained(folder / "tiny")
    rows = [
        {"id": str(i), "prompt": f"问题{i}", "chosen": f"答案是{i}。", "rejected": f"answer {i}"} for i in range(11)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {"model": str(folder / "tiny"), "dataset": str(folder / "pairs.jsonl"), "learning_rate": 1e-2, "lr_scheduler": "constant", "warmup_ratio": 0, "global_batch_size": 3, "max_steps": STEPS, "max_length": 256, "micro_batch_tokens": 64, "validation": {"pairs": 2, "every": 5}, "trainer_args": {"save_steps": 2, "use_cpu": True}}  # fmt: skip
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def one(place):
    """The run of a single process."""
    assert train.main([str(place / "tiny.yaml"), "--output", str(place / "one")]) == 0
    return place / "one"


def launch(place, config, name, *more):
    """The command of a two-process run by a shipped config, its environment and its run folder."""
    out = place / name
    accelerate = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--main_process_port",
        "0",
        "--num_processes",
        "2",
    ]
    words = ["--config_file", str(scale.CONFIGS / f"{config}.yaml"), "-m", "training.train", str(place / "tiny.yaml")]
    quiet = {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    return [*accelerate, *words, "--output", str(out), *more], {**os.environ, **quiet}, out


def run(*arguments):
    command, environment, out = launch(*arguments)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-4000:]
    (out / "log").write_text(done.stderr)
    return out


def weights(run_dir):
    from safetensors.torch import load_file

    return load_file(run_dir / "model" / "model.safetensors")


def steps(run_dir, *keys):
    return [[s[k] for k in keys] for s in json.loads((run_dir / "training.json").read_text())["steps"]]


def assert_same_run(one, many):
    """Losses, gradient norms, metrics, tokens of every step, and the weights with their names and types."""
    keys = (*SAME, "log_odds", "accuracy")
    assert len(steps(many, "loss")) == STEPS
    for theirs, ours in zip(steps(one, *keys), steps(many, *keys), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    one_by_one = [json.loads((run / "training.json").read_text())["validation"] for run in (one, many)]
    assert [v["step"] for v in one_by_one[1]] == [5, 10]
    assert [v["loss"] for v in one_by_one[1]] == pytest.approx([v["loss"] for v in one_by_one[0]], rel=1e-5)
    expected, found = weights(one), weights(many)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert (found[name] - tensor).abs().max() < 1e-5, name


def test_ddp_equals_one_process(place, one):
    """One micro-batch a step, so that the second process has none of its own in any step."""
    assert_same_run(one, run(place, "ddp", "ddp", "--micro_batch_tokens", "4096"))


def stopped_and_resumed(place, config, whole):
    """SIGTERM to the launcher stops both processes at the same step; --resume ends where the uninterrupted run ended."""
    import torch

    command, environment, out = launch(place, config, f"{config}-stopped")
    log = place / f"{config}-stopped.log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
        while not list(out.glob("checkpoints/checkpoint-*")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=100) != 0
    assert not (out / "training.json").exists()
    assert log.read_text().count("stopped. Step ") == 2

    run(place, config, out.name, "--resume")
    assert json.loads((out / "training.json").read_text())["resumed_from"]
    assert steps(out, *SAME) == steps(whole, *SAME)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(out)[name]), name


def test_fsdp2_equals_one_process_and_resumes(place, one):
    """Three micro-batches a step on two processes."""
    whole = run(place, "fsdp2", "fsdp2")
    assert_same_run(one, whole)
    assert (whole / "checkpoints" / f"checkpoint-{STEPS}" / "pytorch_model_fsdp_0").is_dir()  # sharded, not DDP
    assert (whole / "log").read_text().count("loaded tiny") == 1  # the second process has read no weights
    stopped_and_resumed(place, "fsdp2", whole)


def test_fsdp2_in_bf16_with_gradient_checkpointing_keeps_fp32_weights(place, one):
    """Three steps near fp32's: bf16 rounds to 0.4 %."""
    words = ("--max_steps", "3", "--precision", "bf16", "--trainer_args.gradient_checkpointing", "true")
    many = run(place, "fsdp2", "bf16", *words)
    for theirs, ours in zip(steps(one, "loss", "grad_norm")[:3], steps(many, "loss", "grad_norm"), strict=True):
        assert ours == pytest.approx(theirs, rel=3e-2)
    assert {str(tensor.dtype) for tensor in weights(many).values()} == {"torch.float32"}


def test_sharded_bf16_adds_up_gradients_in_fp32():
    """accelerate's and DeepSpeed's own settings would do it in bf16, and round log-probabilities to bf16 as well."""
    import torch

    plugin = SimpleNamespace(mixed_precision_policy="accelerate's", deepspeed_config={"bf16": {"enabled": True}})
    state = SimpleNamespace(fsdp_plugin=plugin, deepspeed_plugin=plugin)
    fsdp = SimpleNamespace(mixed_precision="bf16", distributed_type="FSDP", is_fsdp2=True, state=state)
    scale.keep_fp32_where_it_counts(fsdp)
    policy = plugin.mixed_precision_policy
    assert (policy.param_dtype, policy.reduce_dtype, policy.output_dtype) == (torch.bfloat16, torch.float32, None)
    zero = SimpleNamespace(mixed_precision="bf16", distributed_type="DEEPSPEED", is_fsdp2=False, state=state)
    scale.keep_fp32_where_it_counts(zero)
    assert plugin.deepspeed_config["data_types"] == {"grad_accum_dtype": "fp32"}
    assert plugin.deepspeed_config["communication_data_type"] == "fp32"


@needs_deepspeed
def test_zero3_equals_one_process_and_resumes(place, one):
    whole = run(place, "deepspeed_zero3", "zero3")
    assert_same_run(one, whole)
    assert any((whole / "checkpoints" / f"checkpoint-{STEPS}").glob("global_step*/zero_pp_rank_1_*"))
    stopped_and_resumed(place, "deepspeed_zero3", whole)


def test_fsdp1_is_refused(place, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="fsdp_version is 1; needed: 2"):
        train.main([str(place / "tiny.yaml"), "--output", str(place / "refused")])


def test_deepspeed_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install deepspeed"):
        scale.check_launch()


@pytest.mark.parametrize("name", ["PARALLELISM_CONFIG", "MEGATRON_LM"])
def test_other_ways_to_cut_a_model_are_refused(name, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(UserError, match="not tested here"):
        scale.check_launch()


@pytest.mark.parametrize("key", ["fsdp", "fsdp_config", "deepspeed"])
def test_sharding_by_trainer_args_is_refused(place, key):
    with pytest.raises(UserError, match=f"trainer_args.{key} is the launcher's to say"):
        train.main(
            [str(place / "tiny.yaml"), "--output", str(place / "refused"), f"--trainer_args.{key}", "full_shard"]
        )


def test_processes_that_do_not_know_of_each_other_are_refused(place, monkeypatch):
    """Two were launched on a machine without a GPU, and nothing said that the CPU is meant."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"2 processes were launched .* set --trainer_args\.use_cpu true"):
        scale.check_processes(1)


def test_a_checkpoint_cut_by_another_launch_is_refused(tmp_path, monkeypatch):
    for name, inside in (("fsdp", "pytorch_model_fsdp_0"), ("zero", "global_step2"), ("plain", "x")):
        (tmp_path / name / inside).mkdir(parents=True)
    scale.check_checkpoint(tmp_path / "plain")
    with pytest.raises(UserError, match="written under FSDP and this is a run without sharding"):
        scale.check_checkpoint(tmp_path / "fsdp")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    scale.check_checkpoint(tmp_path / "fsdp")
    with pytest.raises(UserError, match="written without sharding and this is a run under FSDP"):
        scale.check_checkpoint(tmp_path / "plain")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    for rank in range(2):
        (tmp_path / "zero" / "global_step2" / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").touch()
    with pytest.raises(UserError, match="written by 2 ZeRO processes; this run has 1"):
        scale.check_checkpoint(tmp_path / "zero")


def test_a_signal_that_comes_twice_at_once_is_one_wish(monkeypatch):
    """The terminal sends Ctrl-C to every process and the launcher sends it on; only a later one stops at once."""
    from training.progress import StopOnSignal

    stop, clock = StopOnSignal(), [100.0]
    monkeypatch.setattr("training.progress.time.monotonic", lambda: clock[0])
    stop._ask(signal.SIGINT, None)
    clock[0] += 0.5
    stop._ask(signal.SIGINT, None)
    assert stop.asked
    clock[0] += 1
    with pytest.raises(KeyboardInterrupt):
        stop._ask(signal.SIGINT, None)


def test_a_signal_that_comes_while_the_others_are_asked_is_not_lost(monkeypatch):
    from training import progress

    stop, control = progress.StopOnSignal(), SimpleNamespace(should_save=False, should_training_stop=False)
    monkeypatch.setattr(progress, "any_process", lambda asked, device: stop._ask(signal.SIGINT, None) or asked)
    stop.on_step_end(SimpleNamespace(device="cpu"), None, control)
    assert stop.asked and not control.should_training_stop  # too late for this step
    stop.on_step_end(SimpleNamespace(device="cpu"), None, control)
    assert control.should_save and control.should_training_stop


def test_a_hollow_model_is_the_real_one_without_its_weights(place):
    """Ties, names, shapes and RoPE's frequencies as loaded; parameters at addresses of their own."""
    import torch
    from transformers import AutoModelForCausalLM

    hollow, real = scale.hollow_model(place / "tiny"), AutoModelForCausalLM.from_pretrained(place / "tiny")
    assert {n: p.shape for n, p in hollow.named_parameters()} == {n: p.shape for n, p in real.named_parameters()}
    assert hollow.lm_head.weight is hollow.model.embed_tokens.weight
    assert len({p.data_ptr() for p in hollow.parameters()}) == len(list(real.parameters()))
    for name, buffer in real.named_buffers():
        assert torch.equal(hollow.get_buffer(name), buffer), name


def test_parameters_of_a_zero3_model_are_counted_whole():
    import torch

    cut = torch.nn.Parameter(torch.empty(0))
    cut.ds_numel = 12
    model = SimpleNamespace(parameters=lambda: [cut, torch.nn.Parameter(torch.zeros(3))])
    assert count_parameters(model)["parameters"] == 15


CONFIGS = {"one_device": "NO", "ddp": "MULTI_GPU", "fsdp2": "FSDP", "deepspeed_zero3": "DEEPSPEED"}


def test_every_shipped_config_is_tested():
    assert {path.stem for path in scale.CONFIGS.iterdir()} == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_accelerate_takes_the_config(name):
    """Its own parser and checks; the command line's number of processes wins; short enough to read."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    path = scale.CONFIGS / f"{name}.yaml"
    assert len(path.read_text().splitlines()) <= 25
    parse = launch_command_parser().parse_args
    arguments, config, _ = _validate_launch_command(parse(["--config_file", str(path), "x.py"]))
    assert config.distributed_type == CONFIGS[name]
    assert arguments.num_processes == (1 if name == "one_device" else 2)
    assert arguments.mixed_precision == "no"
    arguments, _, _ = _validate_launch_command(parse(["--config_file", str(path), "--num_processes", "7", "x.py"]))
    assert arguments.num_processes == 7
    for key, value in (config.fsdp_config | config.deepspeed_config).items():
        assert getattr(arguments, key) == value, key  # a key that the launcher has no argument for would do nothing
        assert key in vars(parse(["x.py"])), key
