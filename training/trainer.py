"""ORPOTrainer: transformers' Trainer with ORPO steps. Overrides, each for one reason:

- `get_train_dataloader`: an item is a whole optimizer step, the same on every process; Trainer must not shard it.
- `training_step`: a step has as many micro-batches as its pairs fill, divided by the step's own counts.
- `log`: the step's ORPO metrics join Trainer's, in one device transfer a step.
- `_save_checkpoint`: a checkpoint gets its final name only when it is whole.
- `floating_point_ops`: an item is not a batch of tokens, so Trainer's estimate would be wrong; none is made.
"""

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer

from command import WorkError
from training import loss
from training.attention import use_path
from training.checkpoints import publish, writing_folder
from training.encoding import EncodedPair
from training.memory import ActivationBudget
from training.packing import collate, pack_step
from training.projection import check_projectable, token_log_probs
from training.scale import exchange, keep_fp32_where_it_counts, shard_on_cpu_too

METRICS = ("nll", "odds_ratio_loss", "log_odds", "accuracy")


class ORPOTrainer(Trainer):
    """Trains on a plan of steps.

    `pairs`: the encoded pairs; `plan`: for each optimizer step the indices of its pairs; `beta` and `objective`
    ("completion" or "sequence") as in training/loss.py; `micro_batch_tokens` bounds a micro-batch and its activations;
    `attention`: a path of training/attention.py.
    """

    def __init__(
        self,
        *args: Any,
        pairs: list[EncodedPair],
        plan: list[list[int]],
        beta: float,
        objective: str,
        micro_batch_tokens: int,
        attention: str = "branches",
        **kwargs: Any,
    ) -> None:
        shard_on_cpu_too()
        super().__init__(*args, train_dataset=plan, data_collator=self._collate_step, **kwargs)
        check_projectable(self.model)
        use_path(self.model, attention, max(pair.longer_branch for pair in pairs))
        keep_fp32_where_it_counts(self.accelerator)
        self.pairs = pairs
        self.beta = beta
        self.objective = objective
        self.micro_batch_tokens = micro_batch_tokens
        self.attention = attention
        sharding = self.accelerator.state.fsdp_plugin if self.accelerator.is_fsdp2 else None
        everything = self.args.activation_checkpointing or (sharding and sharding.activation_checkpointing)
        self.activations = None if everything else ActivationBudget(self.model, micro_batch_tokens)
        self._step_metrics: dict[str, Any] = {}

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=self.data_collator)

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Forward and backward of a whole optimizer step; the step's loss over all processes, detached."""
        started = time.perf_counter()
        model.train()
        total = torch.zeros((), device=self.args.device)
        metrics = torch.zeros(len(METRICS), device=self.args.device, dtype=torch.float64)
        micro_batches = inputs["micro_batches"]
        for number, batch in enumerate(micro_batches):
            with exchange(self.accelerator, model, last=number == len(micro_batches) - 1):
                with self.compute_loss_context_manager():
                    value, sums = self.micro_batch_loss(model, self._prepare_inputs(batch), inputs)
                # DDP, FSDP2 and ZeRO-3 average gradients over processes; the loss is a sum over them.
                value = value * self.accelerator.num_processes
                self.accelerator.backward(value)
            total += value.detach()
            metrics += sums
        self._step_metrics = {
            "sums": metrics,
            "pairs": inputs["pairs"],
            "tokens": inputs["tokens"],
            "started": started,
        }
        return total

    def micro_batch_loss(
        self, model: torch.nn.Module, batch: dict[str, Any], step: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """This micro-batch's share of the step's loss, and its sums of METRICS over pairs (float64)."""
        tensors, count = batch["tensors"], batch["pairs"]
        parts = ["chosen", "rejected"] + (["prompt"] if self.objective == "sequence" else [])
        source, target = (torch.cat([tensors[f"{part}_{kind}"] for part in parts]) for kind in ("source", "target"))
        if self.activations:
            self.activations.apply(tensors["input_ids"].shape[1])
        log_probs = token_log_probs(model, tensors, source, target, self.attention)
        if not batch["counts"]:
            return nothing(log_probs)
        by_part = dict(zip(parts, log_probs.split([len(tensors[f"{part}_source"]) for part in parts]), strict=True))
        chosen = loss.mean_log_prob(by_part["chosen"], tensors["chosen_pair"], count)
        rejected = loss.mean_log_prob(by_part["rejected"], tensors["rejected_pair"], count)
        if self.objective == "completion":
            value = loss.completion_loss(chosen, rejected, self.beta, step["pairs"])
            nll = -chosen.sum()
        else:
            sequence = by_part["prompt"].sum() + by_part["chosen"].sum()
            value = loss.sequence_loss(sequence, chosen, rejected, self.beta, step["pairs"], step["sequence_tokens"])
            nll = -sequence * step["pairs"] / step["sequence_tokens"]
        return value, pair_sums(nll, chosen, rejected)

    def _collate_step(self, items: list[list[int]]) -> dict[str, Any]:
        """One optimizer step: this process's micro-batches, and the counts of the whole global batch."""
        pairs = [self.pairs[index] for index in items[0]]
        layout = pack_step([pair.length for pair in pairs], self.micro_batch_tokens)
        own = share(layout, self.accelerator.process_index, self.accelerator.num_processes)
        return {
            "micro_batches": [
                {"tensors": collate([pairs[i] for i in batch]), "pairs": len(batch), "counts": counts}
                for batch, counts in own
            ],
            "pairs": len(pairs),
            "tokens": sum(pair.length for pair in pairs),
            "sequence_tokens": sum(len(pair.prompt) + len(pair.chosen) - 1 for pair in pairs),
        }

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._step_metrics:
            step = self._step_metrics
            if not math.isfinite(logs["loss"]):
                raise WorkError(
                    f"the loss of step {self.state.global_step} is {logs['loss']}. Lower learning_rate or beta; "
                    "--resume would come here again, so choose another --output."
                )
            sums = self.accelerator.reduce(step["sums"], "sum").tolist()
            logs |= {name: value / step["pairs"] for name, value in zip(METRICS, sums, strict=True)}
            logs |= {"pairs": step["pairs"], "tokens": step["tokens"]}
            logs["seconds"] = time.perf_counter() - step["started"]
        super().log(logs, start_time)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        folder = Path(self.args.output_dir)
        building = writing_folder(folder) if self.args.should_save else folder / ".writing"
        self.accelerator.wait_for_everyone()
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        self.args.output_dir = str(building)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.output_dir, self.args.save_total_limit = str(folder), limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            publish(building / f"checkpoint-{self.state.global_step}", folder, limit)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0


def share(layout: list[Any], process: int, processes: int) -> list[tuple[Any, bool]]:
    """This process's micro-batches of the step's, each with whether it counts; equally many on every process.

    Collectives inside forward and backward (FSDP2, ZeRO-3) hang unless all processes run equally many, so one that has
    fewer runs the step's last again, the smallest, without counting it.
    """
    own = [(rows, True) for rows in layout[process::processes]]
    return own + [(layout[-1], False)] * (math.ceil(len(layout) / processes) - len(own))


def nothing(log_probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A loss of 0 whose gradient is exactly 0 whatever the log-probabilities are (0 · inf would be NaN), and METRICS of 0."""
    zero = log_probs.masked_fill(torch.ones_like(log_probs, dtype=torch.bool), 0.0).sum()
    return zero, torch.zeros(len(METRICS), device=log_probs.device, dtype=torch.float64)


def pair_sums(nll: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Sums over a micro-batch's pairs of METRICS, (4,) float64, detached."""
    chosen, rejected = chosen.detach(), rejected.detach()
    gap = loss.log_odds_ratio(chosen, rejected)
    ratio = loss.odds_ratio_loss(chosen, rejected)
    return torch.stack([nll.detach(), ratio.sum(), gap.sum(), (gap > 0).float().sum()]).double()
