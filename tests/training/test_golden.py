"""Ten steps of the tiny model on a CPU in fp32, against the numbers that were recorded, with their environment, when they
were last known to be right.

    python -m tests.training.test_golden        # records them anew; say in the commit why they changed

On the same processor, thread count and torch they must be equal to the last bit; elsewhere, where other kernels add up in
another order, to 1e-4 relative (with torch's plainest kernels, ATEN_CPU_CAPABILITY=default, they differ by 6e-5 at most).
"""

import json
import platform
import tempfile
from pathlib import Path

import pytest

from tests.training.tiny_runs import ROWS

FILE = Path(__file__).parent / "golden" / "ten_steps.json"
KEYS = ("loss", "nll", "odds_ratio_loss", "log_odds", "accuracy", "grad_norm", "learning_rate")


def ten_steps(model, tokenizer, folder: Path, objective: str) -> list[dict[str, float]]:
    """The log of ten steps of four of the tiny runs' pairs, by the trainer as train.py builds it."""
    from training.assembly import build_trainer
    from training.encoding import encode_pairs
    from training.preferences.forms import parse_row
    from training.recipe import check_recipe

    values = {"model": "m", "dataset": "d", "learning_rate": 3e-3, "global_batch_size": 4, "max_steps": 10, "beta": 0.3}
    values |= {"objective": objective, "micro_batch_tokens": 256, "trainer_args": {"use_cpu": True}}
    pairs = encode_pairs([parse_row(row, "") for row in ROWS], tokenizer, 256).pairs
    trainer, _ = build_trainer(check_recipe(values, "golden"), model, tokenizer, pairs, 0, folder)
    trainer.train()
    return [{key: entry[key] for key in KEYS} for entry in trainer.state.log_history if "log_odds" in entry]


def environment() -> dict[str, object]:
    import torch
    import transformers

    from training.record import cpu_name

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    kind = [
        int(line.split()[-1]) for line in lines if line.split(":")[0].strip() in ("cpu family", "model", "stepping")
    ]
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cpu": cpu_name(),
        "family_model_stepping": kind[:3],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


@pytest.mark.parametrize("objective", ["completion", "sequence"])
def test_ten_golden_steps(tiny_model, tiny_tokenizer, tmp_path, objective):
    golden = json.loads(FILE.read_text(encoding="utf-8"))
    found = ten_steps(tiny_model, tiny_tokenizer, tmp_path, objective)
    assert len(found) == 10
    if environment() == golden["environment"]:
        assert found == golden[objective]
    for step, expected in zip(found, golden[objective], strict=True):
        assert step == pytest.approx(expected, rel=1e-4, abs=1e-5)


def record_anew() -> None:
    from tests.conftest import make_tiny_model, make_tiny_tokenizer

    tokenizer = make_tiny_tokenizer()
    record: dict[str, object] = {"environment": environment()}
    for objective in ("completion", "sequence"):
        with tempfile.TemporaryDirectory() as folder:
            record[objective] = ten_steps(make_tiny_model(len(tokenizer)), tokenizer, Path(folder), objective)
    FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record_anew()
