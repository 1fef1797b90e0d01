"""Energy: counters as they are, what they wrap round to, and nothing where there is none."""

import sys
from types import SimpleNamespace

import pytest

from tests.training.tiny_runs import make_recipe, record, train_in_a_fork
from training import energy
from training.energy import Counter, EnergyMeter, energy_of, find_counters, package_counters

CPU, CUDA = SimpleNamespace(type="cpu", index=None), SimpleNamespace(type="cuda", index=3)


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """A made-up /sys/class/powercap: two packages, a part of one, the first again over MMIO, the whole platform."""
    for folder, name, microjoules in (
        ("intel-rapl:0", "package-0", 999_000_000),
        ("intel-rapl:0:0", "core", 1),
        ("intel-rapl:1", "package-1", 5_000_000),
        ("intel-rapl:2", "psys", 7),
        ("intel-rapl-mmio:0", "package-0", 999_000_000),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "energy_uj").write_text(f"{microjoules}\n")
        (tmp_path / folder / "max_energy_range_uj").write_text("1000000000\n")
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    return tmp_path


@pytest.fixture
def nvml(monkeypatch):
    """A fake NVML whose GPUs have used 1,000 mJ more at each reading; `missing` are the UUIDs without a counter."""
    found = SimpleNamespace(used=0, missing=set(), asked=[])

    class NVMLError(Exception):
        pass

    def handle_of(uuid):
        found.asked.append(uuid)
        return uuid

    def used(handle):
        if handle in found.missing:
            raise NVMLError("Not Supported")
        found.used += 1000
        return found.used

    module = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handle_of,
        nvmlDeviceGetTotalEnergyConsumption=used,
        __spec__=SimpleNamespace(),
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda gpu: SimpleNamespace(uuid=f"uuid-{gpu}"))
    return found


def step(state, meter):
    """One optimizer step's log."""
    state.log_history.append({"log_odds": 0.1})
    meter.on_log(None, state, None, {"log_odds": 0.1})


def test_packages_are_counted_once_and_round_their_range(powercap):
    first, second = package_counters()
    assert (first.name, second.name) == ("CPU package-0", "CPU package-1")
    (powercap / "intel-rapl:0" / "energy_uj").write_text("250000\n")  # 1,000 J is the range: it started again
    (powercap / "intel-rapl:1" / "energy_uj").write_text("5500000\n")
    assert first.take() == pytest.approx(1.25) and second.take() == pytest.approx(0.5)
    assert first.take() == second.take() == 0


def test_without_counters_or_the_right_to_read_them_there_is_nothing(powercap, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert package_counters() == []
    monkeypatch.setattr(energy, "POWERCAP", powercap / "absent")
    assert find_counters(CPU, 1) == []
    assert energy_of([{"log_odds": 0.1}, {"eval_loss": 2.0}]) is None


def test_the_gpus_of_the_run_are_found_by_uuid(powercap, nvml):
    counters = find_counters(CUDA, 1)
    assert [c.name for c in counters] == ["CPU package-0", "CPU package-1", "GPU 3"]
    assert nvml.asked == ["GPU-uuid-3"]
    assert counters[-1].take() == 1.0, "millijoules are thousandths"


def test_all_gpus_of_this_machine_and_how_many_machines_there_are(nvml, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert [c.name for c in find_counters(CUDA, 2)][-2:] == ["GPU 0", "GPU 1"]
    assert [c.name for c in find_counters(CUDA, 8)][-1] == "GPU 1 of 1 of 4 machines"


def test_a_gpu_without_a_counter_leaves_no_half_figure(powercap, nvml, capsys):
    nvml.missing = {"GPU-uuid-3"}
    assert find_counters(CUDA, 1) == []
    assert "not measured: NVML: Not Supported" in capsys.readouterr().err


def test_each_step_gets_what_was_used_since_the_one_before():
    readings = iter([100.0, 110.0, 113.0, 120.0, 120.5])
    meter, state = EnergyMeter([Counter("CPU package-0", lambda: next(readings))]), SimpleNamespace(log_history=[])
    meter.on_train_begin(None, state, None)
    step(state, meter)
    meter.on_log(None, state, None, {"eval_loss": 1.0})  # a validation: part of the next step
    meter.read()  # as the thread does
    step(state, meter)
    meter.on_train_end(None, state, None)
    assert [entry["joules"] for entry in state.log_history] == [{"CPU package-0": 3.0}, {"CPU package-0": 7.5}]
    assert energy_of(state.log_history) == {"joules": 10.5, "source": "RAPL", "scope": "CPU package-0: 2 of 2 steps"}


def test_a_counter_that_fails_ends_the_measurement_and_not_the_run(capsys):
    def read():
        if state.log_history:
            raise OSError("NVML: GPU is lost")
        return 1.0

    state = SimpleNamespace(log_history=[])
    meter = EnergyMeter([Counter("GPU 0", read)])
    meter.on_train_begin(None, state, None)
    step(state, meter)
    step(state, meter)
    meter.on_train_end(None, state, None)
    assert energy_of(state.log_history) is None
    assert capsys.readouterr().err == "energy is no longer measured: NVML: GPU is lost\n"


def test_a_resumed_run_adds_up_and_says_which_steps_were_measured():
    history = [{"log_odds": 0, "joules": {"CPU package-0": 2.0, "GPU 0": 5.0}}, {"log_odds": 0}, {"log_odds": 0, "joules": {"GPU 0": 6.25}}]  # fmt: skip
    assert energy_of(history) == {
        "joules": 13.2,
        "source": "RAPL, NVML",
        "scope": "CPU package-0: 1 of 3 steps; GPU 0: 2 of 3 steps",
    }


def test_a_counter_that_wraps_within_a_step_is_seen_by_the_thread(monkeypatch):
    import time

    monkeypatch.setattr(energy, "SECONDS", 0.001)
    used = iter(range(0, 100_000, 3))
    meter = EnergyMeter([Counter("CPU package-0", lambda: next(used) % 10, span=10)])
    state = SimpleNamespace(log_history=[])
    meter.on_train_begin(None, state, None)
    while sum(meter.joules.values()) < 25:  # more than twice the counter's range
        time.sleep(0.001)
    step(state, meter)
    meter.on_train_end(None, state, None)
    measured = state.log_history[0]["joules"]["CPU package-0"]
    assert measured >= 25 and measured % 3 == 0


def test_a_run_records_its_energy_and_a_killed_and_resumed_one_all_of_it(tmp_path, tiny_tokenizer):
    """Each reading is 1 J more than the one before and each step one reading, so 8 steps are 8 J, resumed or not."""
    recipe = make_recipe(tmp_path, tiny_tokenizer)

    def count(last):
        def patch():
            from training import trainer

            ticks = iter(range(1000))
            energy.package_counters = lambda where: [Counter("CPU package-0", lambda: float(next(ticks)))]
            real = trainer.ORPOTrainer.training_step

            def training_step(self, *args, **kwargs):
                if self.state.global_step == last:
                    raise RuntimeError("the machine went down")
                return real(self, *args, **kwargs)

            trainer.ORPOTrainer.training_step = training_step

        return patch

    said = {"joules": 8.0, "source": "RAPL", "scope": "CPU package-0: 8 of 8 steps"}
    assert train_in_a_fork(recipe, tmp_path / "whole", before=count(None)) == 0
    assert record(tmp_path / "whole")["energy"] == said
    assert train_in_a_fork(recipe, tmp_path / "cut", before=count(5)) != 0
    assert train_in_a_fork(recipe, tmp_path / "cut", "--resume", before=count(None)) == 0
    assert record(tmp_path / "cut")["energy"] == said


def test_a_run_without_counters_says_null(tmp_path, tiny_tokenizer):
    recipe = make_recipe(tmp_path, tiny_tokenizer)

    def none():
        energy.package_counters = lambda where: []

    assert train_in_a_fork(recipe, tmp_path / "run", before=none) == 0
    assert record(tmp_path / "run")["energy"] is None
