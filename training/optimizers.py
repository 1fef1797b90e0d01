"""AdamW on bf16 weights that keeps an exact fp32 master in 16 + 16 bits, and how the Trainer is told to use it.

A bf16 weight is the upper half of an fp32 one. At a learning rate of 5e-6 an update is mostly smaller than half of a
bf16 weight's last place, so pure bf16 loses it (benchmarks/moved_weights.py). Here the parameter is the fp32 master
rounded to the nearest bf16, and the optimizer keeps what is left, master bits - (bf16 bits << 16), as int16. Both halves
together are the master, bit for bit, and cost 4 bytes as an fp32 weight does.

Ties round away from zero. Then exactly 65,536 masters round to each bf16 value, one for each int16. With ties to even
there are 65,537 for an even value, which 16 bits cannot tell apart; with truncation (remainder unsigned) the forward pass
would use weights that are up to one place too small. As in split SGD (arXiv:2005.04680), but to the nearest.

Bytes a parameter: weight 2, remainder 2, gradient 4 (2 with several processes), moments 8.
"""

from typing import Any

import torch
from torch.optim.adamw import adamw

from training.combinations import EXACT

CHUNK = 1 << 22  # elements updated at once: a few fp32 temporaries of 16 MB, whatever the size of a parameter


def join(weight: torch.Tensor, remainder: torch.Tensor) -> torch.Tensor:
    """The fp32 master of a bf16 weight and its int16 remainder, any shape."""
    return (weight.view(torch.int16).int().bitwise_left_shift_(16)).add_(remainder).view(torch.float32)


def split(master: torch.Tensor, weight: torch.Tensor, remainder: torch.Tensor) -> None:
    """Write an fp32 master into a bf16 weight, rounded to the nearest, and its int16 remainder, in place."""
    bits = master.view(torch.int32)
    upper = (bits + 0x8000).bitwise_right_shift_(16)
    weight.view(torch.int16).copy_(upper)
    remainder.copy_(bits - upper.bitwise_left_shift_(16))


class AdamWBF16Exact(torch.optim.Optimizer):
    """torch.optim.AdamW on the exact fp32 masters of bf16 parameters; the same update, bit for bit.

    In one process micro-batches add up in fp32: `grad_dtype` makes autograd keep each parameter's `.grad` in fp32. DDP and
    FSDP2 refuse gradients of another dtype than the parameter's (torch 2.13); there they add up in bf16.
    A saved model holds the bf16 weights, which every forward pass used; the masters are in the checkpoints' optimizer.pt.
    The state is int16 `remainder`, fp32 `exp_avg` and `exp_avg_sq`, and `step`; a master starts at its bf16 weight.
    ValueError for a parameter that is not bf16.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        for param in (param for group in self.param_groups for param in group["params"]):
            check_parameter(param)
            if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
                param.grad_dtype = torch.float32

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every parameter that has a gradient."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for param in filter(lambda p: p.grad is not None, group["params"]):
                self._update(param, group)
        return value

    def _update(self, param: torch.Tensor, group: dict[str, Any]) -> None:
        """torch's own AdamW on one parameter, a chunk of its master after another."""
        state = self.state[param]
        if not state:
            check_parameter(param)  # again: accelerate's FSDP2 puts sharded parameters into a finished optimizer
            state["step"] = torch.zeros(())
            state["remainder"] = torch.zeros_like(param, dtype=torch.int16)
            state["exp_avg"] = torch.zeros_like(param, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(param, dtype=torch.float32)
        tensors = [param.detach(), param.grad, *(state[key] for key in ("remainder", "exp_avg", "exp_avg_sq"))]
        chunks = zip(*(local(tensor).reshape(-1).split(CHUNK) for tensor in tensors), strict=True)
        for weight, grad, remainder, exp_avg, exp_avg_sq in chunks:
            master = join(weight, remainder)
            adamw(
                [master],
                [grad.float()],
                [exp_avg],
                [exp_avg_sq],
                [],
                [state["step"].clone()],
                foreach=False,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )
            split(master, weight, remainder)
        state["step"] += 1

    def master(self, param: torch.Tensor) -> torch.Tensor:
        """A parameter's exact fp32 weight, a new tensor of the local shard's shape."""
        remainder = self.state[param].get("remainder")
        weight = local(param.detach())
        return weight.float() if remainder is None else join(weight, local(remainder))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but nothing is cast: torch would round the fp32 moments of a bf16 parameter to bf16."""
        super().load_state_dict({**state_dict, "state": {}})
        numbers = (number for group in state_dict["param_groups"] for number in group["params"])
        params = (param for group in self.param_groups for param in group["params"])
        for number, param in zip(numbers, params, strict=True):
            for key, value in state_dict["state"].get(number, {}).items():
                place = "cpu" if key == "step" else param.device
                self.state[param][key] = value.to(place, copy=True)


def check_parameter(param: torch.Tensor) -> None:
    if param.dtype != torch.bfloat16 or not local(param.detach()).is_contiguous():
        raise ValueError(f"{EXACT} is for contiguous bf16 weights; a parameter is {param.dtype}. Set weights: bf16.")


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's shard of a DTensor; any other tensor itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def optimizer_class(name: str, args: Any) -> tuple[type, dict[str, Any]] | None:
    """What `Trainer(optimizer_cls_and_kwargs=…)` takes, for an optimizer that is ours; None for one that it knows.

    `args`: TrainingArguments, whose adam_beta1, adam_beta2, adam_epsilon and learning_rate count; Trainer groups the
    parameters and gives each group its weight decay.
    """
    if name != EXACT:
        return None
    betas = (args.adam_beta1, args.adam_beta2)
    return AdamWBF16Exact, {"lr": args.learning_rate, "betas": betas, "eps": args.adam_epsilon}
