"""ORPO trainers side by side: this project's, TRL's real class, and LLaMA-Factory's formulation as a readable twin.

Each trains in a process of its own, through transformers' Trainer loop, on the same token ids in the same order. Run by
orpo_step.py and orpo_scaling.py:

    python benchmarks/contenders.py SPEC.json RESULT.json
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

PAD = 0


def run_alone(spec: dict[str, Any]) -> dict[str, Any]:
    """What `measure` says of a specification, from a fresh process, so that its peak memory is its own.

    A contender that does not fit into memory is a result: {"failed": reason}.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted, found = Path(folder) / "spec.json", Path(folder) / "result.json"
        wanted.write_text(json.dumps(spec | {"folder": folder}))
        environment = {**os.environ, **spec.get("environment", {})}
        command = [sys.executable, __file__, wanted, found]
        done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
        if not found.exists():
            return {"failed": f"exit status {done.returncode}"}
        return json.loads(found.read_text())


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Train `spec["steps"]` (pairs of token ids by step; the first is a warm-up) and say what it took.

    `step_seconds`, `step_cpu_seconds`: of the steps after the first; `peak_bytes`: the most that was held above weights and
    optimizer state; `losses`: by step, the first of them with the base's weights.
    """
    import torch

    torch.manual_seed(0)
    model = load(spec)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    clock = make_clock()
    trainer = CONTENDERS[spec["contender"]](model, spec, training_arguments(spec), clock)
    before = memory_now()
    trainer.train()
    held = before + 2 * weights  # AdamW's two moments
    response = sum(len(c) + len(r) for step in spec["steps"][1:] for _, c, r in step)
    pairs = sum(map(len, spec["steps"][1:]))
    wall, cpu = (sum(times) for times in zip(*clock.steps, strict=True))
    return {
        "pairs": pairs,
        "step_seconds": [round(seconds, 3) for seconds, _ in clock.steps],
        "step_cpu_seconds": [round(seconds, 3) for _, seconds in clock.steps],
        "cpu_seconds_per_pair": round(cpu / pairs, 3),
        "pairs_per_second": round(pairs / wall, 4),
        "response_tokens_per_second": round(response / wall, 1),
        "peak_bytes": peak_memory() - held,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }


def load(spec: dict[str, Any]) -> Any:
    """The model, its weights in memory and not only mapped."""
    import torch

    from inference.loading import load_model, resolve

    model = load_model(resolve(spec["model"]), dtype=spec["dtype"], device=spec["device"])
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    with torch.no_grad():
        model(input_ids=torch.arange(8, device=spec["device"])[None])
    return model


def training_arguments(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "output_dir": spec["folder"],
        "max_steps": len(spec["steps"]),
        "learning_rate": 1e-6,
        "optim": "adamw_torch",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": spec["device"] == "cpu",
        "activation_checkpointing": spec["checkpointing"],
        "bf16": spec["dtype"] == "bfloat16",
        "seed": 0,
    }


def peer_arguments(spec: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    size = spec["micro_batch"]
    return arguments | {
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": len(spec["steps"][0]) // size,
    }


def ours(model: Any, spec: dict[str, Any], arguments: dict[str, Any], clock: Any) -> Any:
    from transformers import TrainingArguments

    from training.encoded_pairs import EncodedPair
    from training.trainer import ORPOTrainer

    pairs = [EncodedPair(*pair) for step in spec["steps"] for pair in step]
    numbers = iter(range(len(pairs)))
    return ORPOTrainer(
        model=model,
        args=TrainingArguments(**arguments),
        pairs=pairs,
        plan=[[next(numbers) for _ in step] for step in spec["steps"]],
        beta=spec["beta"],
        objective=spec["objective"],
        micro_batch_tokens=spec["micro_batch"],
        attention=spec["attention"],
        callbacks=[clock],
    )


def trl(model: Any, spec: dict[str, Any], arguments: dict[str, Any], clock: Any) -> Any:
    """trl.experimental.orpo.ORPOTrainer as it is, but for the token ids, which it would make itself, and their order."""
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class Peer(ORPOTrainer):
        def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
            return json.loads(feature["columns"])

        def _get_train_sampler(self, *args: Any) -> Any:
            return in_order(self.train_dataset)

    rows = []
    for prompt, chosen, rejected in (pair for step in spec["steps"] for pair in step):
        columns = {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
        for name, response in (("chosen", chosen), ("rejected", rejected)):
            columns[f"{name}_input_ids"] = prompt + response
            columns[f"{name}_attention_mask"] = [1] * len(prompt + response)
            columns[f"{name}_labels"] = [-100] * len(prompt) + response
        rows.append({"prompt": "", "chosen": "", "rejected": "", "columns": json.dumps(columns)})
    config = ORPOConfig(**peer_arguments(spec, arguments), beta=spec["beta"], max_length=spec["max_length"])
    data = Dataset.from_list(rows)
    return Peer(model=model, args=config, train_dataset=data, processing_class=stand_in(), callbacks=[clock])


def llama_factory(model: Any, spec: dict[str, Any], arguments: dict[str, Any], clock: Any) -> Any:
    """LLaMA-Factory 0.9.5's ORPO, written here: chosen and rejected padded into one batch, logits of every position, each
    response's mean log-probability, log odds with log1p(-exp), the mean over pairs."""
    import torch
    import torch.nn.functional as F
    from transformers import Trainer, TrainingArguments

    def collate(pairs: list[list[list[int]]]) -> dict[str, torch.Tensor]:
        rows = [(p, p + response) for side in (1, 2) for p, *responses in pairs for response in [responses[side - 1]]]
        width = -(-max(len(row) for _, row in rows) // 8) * 8
        return {
            "input_ids": torch.tensor([row + [PAD] * (width - len(row)) for _, row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for _, row in rows]),
            "labels": torch.tensor([[-100] * len(p) + row[len(p) :] + [-100] * (width - len(row)) for p, row in rows]),
        }

    class Twin(Trainer):
        def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
            labels = inputs.pop("labels")[:, 1:]
            logits = model(**inputs, use_cache=False).logits.to(torch.float32)[:, :-1]
            real = labels != -100
            per_token = logits.log_softmax(-1).gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2)
            chosen, rejected = ((per_token * real).sum(-1) / real.sum(-1)).chunk(2)
            odds = (chosen - rejected) - (torch.log1p(-torch.exp(chosen)) - torch.log1p(-torch.exp(rejected)))
            return (-chosen - spec["beta"] * F.logsigmoid(odds)).mean()

        def _get_train_sampler(self, *args: Any) -> Any:
            return in_order(self.train_dataset)

    pairs = [pair for step in spec["steps"] for pair in step]
    arguments = TrainingArguments(**peer_arguments(spec, arguments), remove_unused_columns=False)
    trainer = Twin(model=model, args=arguments, train_dataset=pairs, data_collator=collate, callbacks=[clock])
    trainer.model_accepts_loss_kwargs = False  # so that the mean over micro-batches is taken
    return trainer


CONTENDERS = {"ours": ours, "trl": trl, "llama_factory": llama_factory}


def in_order(data: Any) -> Any:
    from torch.utils.data import SequentialSampler

    return SequentialSampler(data)


def stand_in() -> Any:
    """A tokenizer that TRL asks for ids of padding and nothing else."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"<pad>": PAD}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<pad>", bos_token="<pad>")


def make_clock() -> Any:
    """A callback that notes the wall and CPU seconds of all optimizer steps but the first."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.steps: list[tuple[float, float]] = []

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started = now()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step > 1:
                wall, cpu = now()
                self.steps.append((wall - self.started[0], cpu - self.started[1]))

    return Clock()


def now() -> tuple[float, float]:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def memory_now() -> int:
    """Bytes held by tensors on the GPU, or resident in this process."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_memory() -> int:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
