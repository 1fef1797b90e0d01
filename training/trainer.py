"""ORPOTrainer: transformers' Trainer with ORPO steps. Overrides, each for one reason:

- `get_train_dataloader`: an item is a whole optimizer step, the same on every process; Trainer must not shard it.
- `training_step`: a step has as many micro-batches as its pairs fill, divided by the step's own counts.
- `log`: the step's ORPO metrics join Trainer's, in one device transfer a step.
- `_save_checkpoint`: a checkpoint gets its final name only when it is whole.
- `floating_point_ops`: an item is not a batch of tokens, so Trainer's estimate would be wrong; none is made.
"""

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from command import WorkError
from training import loss
from training.attention import decode_hidden
from training.checkpoints import publish, writing_folder
from training.encoding import EncodedPair
from training.packing import collate, pack_step

VOCABULARY_CHUNK = 8192  # words a tile of the projection
METRICS = ("nll", "odds_ratio_loss", "log_odds", "accuracy")


class ORPOTrainer(Trainer):
    """Trains on a plan of steps.

    `pairs`: the encoded pairs; `plan`: for each optimizer step the indices of its pairs; `beta` and `objective`
    ("completion" or "sequence") as in training/loss.py; `micro_batch_tokens` bounds a micro-batch, padding included.
    """

    def __init__(
        self,
        *args: Any,
        pairs: list[EncodedPair],
        plan: list[list[int]],
        beta: float,
        objective: str,
        micro_batch_tokens: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, train_dataset=plan, data_collator=self._collate_step, **kwargs)
        self.pairs = pairs
        self.beta = beta
        self.objective = objective
        self.micro_batch_tokens = micro_batch_tokens
        self._step_metrics: dict[str, Any] = {}

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=self.data_collator)

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Forward and backward of a whole optimizer step; the step's loss over all processes, detached."""
        started = time.perf_counter()
        model.train()
        processes = self.accelerator.num_processes
        total = torch.zeros((), device=self.args.device)
        metrics = torch.zeros(len(METRICS), device=self.args.device, dtype=torch.float64)
        micro_batches = inputs["micro_batches"]
        for number, batch in enumerate(micro_batches):
            last = number == len(micro_batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    value, sums = self.micro_batch_loss(model, self._prepare_inputs(batch), inputs)
                # DDP averages gradients over processes; the loss is a sum over them.
                value = value * processes * inputs["weight"]
                self.accelerator.backward(value)
            total += value.detach()
            metrics += sums * inputs["weight"]
        self._step_metrics = {
            "sums": metrics,
            "pairs": inputs["pairs"],
            "tokens": inputs["tokens"],
            "started": started,
        }
        return total

    def micro_batch_loss(
        self, model: torch.nn.Module, batch: dict[str, torch.Tensor], step: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """This micro-batch's share of the step's loss, and its sums of METRICS over pairs (float64)."""
        hidden = decode_hidden(model, batch).flatten(0, 1)
        count = int(batch["chosen_pair"][-1]) + 1
        parts = ["chosen", "rejected"] + (["prompt"] if self.objective == "sequence" else [])
        log_probs = dict(zip(parts, self._log_probs(model, hidden, batch, parts), strict=True))
        chosen = loss.mean_log_prob(log_probs["chosen"], batch["chosen_pair"], count)
        rejected = loss.mean_log_prob(log_probs["rejected"], batch["rejected_pair"], count)
        if self.objective == "completion":
            value = loss.completion_loss(chosen, rejected, self.beta, step["pairs"])
            nll = -chosen.sum()
        else:
            sequence = log_probs["prompt"].sum() + log_probs["chosen"].sum()
            value = loss.sequence_loss(sequence, chosen, rejected, self.beta, step["pairs"], step["sequence_tokens"])
            nll = -sequence * step["pairs"] / step["sequence_tokens"]
        return value, pair_sums(nll, chosen, rejected)

    def _log_probs(
        self, model: torch.nn.Module, hidden: torch.Tensor, batch: dict[str, torch.Tensor], parts: list[str]
    ) -> tuple[torch.Tensor, ...]:
        """fp32 log-probabilities of the target tokens of each part, (N,) each, through one chunked projection."""
        head = getattr(model, "module", model).get_output_embeddings()
        source = torch.cat([batch[f"{part}_source"] for part in parts])
        target = torch.cat([batch[f"{part}_target"] for part in parts])
        out = ChunkedLogProbFunction.apply(
            hidden[source], head.weight, head.bias, target, 1.0, VOCABULARY_CHUNK, None, 1.0, ()
        )[0]
        return out.split([len(batch[f"{part}_source"]) for part in parts])

    def _collate_step(self, items: list[list[int]]) -> dict[str, Any]:
        """One optimizer step: this process's micro-batches, and the counts of the whole global batch."""
        pairs = [self.pairs[index] for index in items[0]]
        layout = pack_step([pair.length for pair in pairs], self.micro_batch_tokens)
        own = layout[self.accelerator.process_index :: self.accelerator.num_processes]
        pad = self.processing_class.pad_token_id
        # A process with no micro-batch of its own runs one of another's with weight 0: DDP needs its forward.
        batches = [collate([[pairs[i] for i in row] for row in rows], pad) for rows in own or layout[:1]]
        return {
            "micro_batches": batches,
            "weight": float(bool(own)),
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


def pair_sums(nll: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Sums over a micro-batch's pairs of METRICS, (4,) float64, detached."""
    chosen, rejected = chosen.detach(), rejected.detach()
    gap = loss.log_odds_ratio(chosen, rejected)
    ratio = loss.odds_ratio_loss(chosen, rejected)
    return torch.stack([nll.detach(), ratio.sum(), gap.sum(), (gap > 0).float().sum()]).double()
