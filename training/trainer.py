"""ORPOTrainer: transformers' Trainer with ORPO steps. Overrides, each for one reason:

- `get_train_dataloader`: an item is a whole optimizer step, the same on every process; Trainer must not shard it.
- `training_step`: a step has as many micro-batches as its pairs fill, divided by the step's own counts.
- `_get_grad_norm`: the last moment before the update: a step that must not be taken is not.
- `log`: the step's ORPO metrics join Trainer's, in one device transfer a step.
- `evaluate`: validation by the same micro-batches, without gradients.
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
from training.checkpoints import make_room, publish, told_write_failure, what_is_wrong
from training.encoded_pairs import EncodedPair
from training.health import Diverged, loss_limit, reason_to_stop
from training.memory import ActivationBudget
from training.packing import collate
from training.plan import pack_step
from training.projection import check_projectable, token_log_probs
from training.scale import exchange, keep_fp32_where_it_counts, shard_on_cpu_too

METRICS = ("nll", "odds_ratio_loss", "log_odds", "accuracy")
VALIDATION_CHUNK = 256  # pairs that are collated at once


class ORPOTrainer(Trainer):
    """Trains on a plan of steps.

    `pairs`: the encoded pairs; `plan`: for each optimizer step the indices of its pairs; `beta` and `objective`
    ("completion" or "sequence") as in training/loss.py; `micro_batch_tokens` bounds a micro-batch and its activations;
    `attention`: a path of training/attention.py; `validation`: indices of the pairs to validate on; `stop_loss_above` as
    in training/health.py.
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
        validation: list[int] | None = None,
        stop_loss_above: float | None = None,
        **kwargs: Any,
    ) -> None:
        shard_on_cpu_too()
        super().__init__(*args, train_dataset=plan, data_collator=self._collate_step, **kwargs)
        check_projectable(self.model)
        use_path(self.model, attention, max(pair.longer_branch for pair in pairs), self.args.device)
        keep_fp32_where_it_counts(self.accelerator)
        self.pairs = pairs
        self.beta = beta
        self.objective = objective
        self.micro_batch_tokens = micro_batch_tokens
        self.attention = attention
        sharding = self.accelerator.state.fsdp_plugin if self.accelerator.is_fsdp2 else None
        everything = self.args.activation_checkpointing or (sharding and sharding.activation_checkpointing)
        self.activations = None if everything else ActivationBudget(self.model, micro_batch_tokens)
        self.validation = validation or []
        self.stop_loss_above = stop_loss_above
        self._step_metrics: dict[str, Any] = {}

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=self.data_collator)

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Forward and backward of a whole optimizer step; the step's loss over all processes, detached."""
        started = time.perf_counter()
        model.train()
        random_state = torch_random_state()
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
            "sums": torch.cat([total.double().reshape(1) / self.accelerator.num_processes, metrics]),
            "pairs": inputs["pairs"],
            "tokens": inputs["tokens"],
            "started": started,
            "random_state": random_state,
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
            self.activations.apply(batch["longest"])
        log_probs = token_log_probs(model, tensors, source, target, self.attention, self.micro_batch_tokens)
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
        # The first of each round of processes is the longest: all recompute as many layers, so that collectives agree.
        longest = [sum(pairs[i].length for i in batch) for batch in layout[:: self.accelerator.num_processes]]
        return {
            "micro_batches": [
                {"tensors": collate([pairs[i] for i in batch]), "pairs": len(batch), "counts": counts, "longest": most}
                for (batch, counts), most in zip(own, longest, strict=True)
            ],
            "pairs": len(pairs),
            "tokens": sum(pair.length for pair in pairs),
            "sequence_tokens": sum(len(pair.prompt) + len(pair.chosen) - 1 for pair in pairs),
        }

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        """The gradient's norm. Diverged, with the state before this step saved, where the step must not be taken."""
        norm = super()._get_grad_norm(model, grad_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # FSDP2's is in parts
        step = self._step_metrics
        step["loss"], *sums = self.accelerator.reduce(step.pop("sums"), "sum").tolist()
        step["logs"] = {name: value / step["pairs"] for name, value in zip(METRICS, sums, strict=True)}
        first = next((entry["loss"] for entry in self.state.log_history if "log_odds" in entry), step["loss"])
        limit = loss_limit(self.stop_loss_above, self.model.config.get_text_config().vocab_size, first)
        reason = reason_to_stop(step["loss"], float(norm), limit)
        if reason:
            raise self._diverged(model, reason, float(norm))
        return norm

    def _diverged(self, model: torch.nn.Module, reason: str, grad_norm: float) -> Diverged:
        """Save the state before this step, with the step's own randomness, and look at each of its pairs alone."""
        step, number = self._step_metrics, self.state.global_step
        pairs = self.train_dataset[number]
        model.zero_grad()
        set_torch_random_state(step["random_state"])
        saved: Any = Path(self.args.output_dir) / f"checkpoint-{number}"
        if self.accelerator.distributed_type == "DEEPSPEED":
            saved = "the last checkpoint: DeepSpeed takes a step before its loss can be looked at"
        elif what_is_wrong(saved):
            limit = self.args.save_total_limit
            self.args.save_total_limit = None  # the older ones may be the better ones
            try:
                self._save_checkpoint(model, None)
            except WorkError as error:  # a full disk: the step and its pairs are told all the same
                if self.accelerator.num_processes > 1:  # the others wait for this checkpoint
                    raise
                saved = f"not saved: {error}"
            self.args.save_total_limit = limit
        record = {
            "step": number + 1,
            "checkpoint": str(saved),
            "loss": step["loss"],
            **step["logs"],
            "grad_norm": grad_norm,
            "learning_rate": self._get_learning_rate(),
            "pair_losses": [self.measure([index])["loss"] for index in pairs],
        }
        return Diverged(reason, record, pairs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._step_metrics:
            step = self._step_metrics
            logs |= step["logs"] | {"pairs": step["pairs"], "tokens": step["tokens"]}
            logs["seconds"] = time.perf_counter() - step["started"]
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean loss and METRICS over all validation pairs, logged as eval_loss and so on."""
        started = time.perf_counter()
        metrics = {f"eval_{name}": value for name, value in self.measure(self.validation).items()}
        metrics |= {"eval_pairs": len(self.validation), "eval_seconds": time.perf_counter() - started}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.no_grad()
    def measure(self, indices: list[int]) -> dict[str, float]:
        """Loss and METRICS over these pairs as if they were one step, in eval mode; independent of the layout."""
        pairs = [self.pairs[index] for index in indices]
        whole = {"pairs": len(pairs), "sequence_tokens": sum(len(p.prompt) + len(p.chosen) - 1 for p in pairs)}
        total = torch.zeros(1 + len(METRICS), device=self.args.device, dtype=torch.float64)
        model = self.model_wrapped
        model.eval()
        by_length = sorted(indices, key=lambda index: -self.pairs[index].length)
        for start in range(0, len(indices), VALIDATION_CHUNK):
            step = self._collate_step([by_length[start : start + VALIDATION_CHUNK]]) | whole
            for batch in step["micro_batches"]:
                with self.compute_loss_context_manager():
                    value, sums = self.micro_batch_loss(model, self._prepare_inputs(batch), step)
                total += torch.cat([value.double().reshape(1), sums / len(pairs)])
        model.train()
        values = self.accelerator.reduce(total, "sum").tolist()
        return dict(zip(("loss", *METRICS), values, strict=True))

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        folder, limit = Path(self.args.output_dir), self.args.save_total_limit
        name = f"checkpoint-{self.state.global_step}"
        building = make_room(folder, limit) if self.args.should_save else folder / ".writing"
        self.accelerator.wait_for_everyone()
        self.args.output_dir, self.args.save_total_limit = str(building), None
        try:
            with told_write_failure(folder, str(folder / name), bytes_of_state(self)):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    publish(building / name, folder, limit)
                self.accelerator.wait_for_everyone()
        finally:
            self.args.output_dir, self.args.save_total_limit = str(folder), limit

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


def bytes_of_state(trainer: Trainer) -> int:
    """Bytes of the weights and of the optimizer's tensors: what a checkpoint takes, but for some small files."""
    inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    moments = [v for state in inner.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    return sum(t.numel() * t.element_size() for t in [*trainer.model.parameters(), *moments])


def torch_random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What dropout will draw from, on the CPU and on this process's GPU."""
    return torch.get_rng_state(), [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []


def set_torch_random_state(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    for gpu in state[1]:
        torch.cuda.set_rng_state(gpu)


def pair_sums(nll: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Sums over a micro-batch's pairs of METRICS, (4,) float64, detached."""
    chosen, rejected = chosen.detach(), rejected.detach()
    gap = loss.log_odds_ratio(chosen, rejected)
    ratio = loss.odds_ratio_loss(chosen, rejected)
    return torch.stack([nll.detach(), ratio.sum(), gap.sum(), (gap > 0).float().sum()]).double()
