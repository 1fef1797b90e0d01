"""What differs between one process and many: who launches, when gradients are exchanged, how sharded weights are read.

Scale-out is accelerate's: `accelerate launch --config_file training/accelerate/NAME.yaml -m training.train …`. No torch
is imported here before it is needed: a wrong launch is told first.
"""

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from command import UserError

CONFIGS = Path(__file__).parent / "accelerate"


def check_launch() -> None:
    """UserError where accelerate launched this process in a way that cannot work here."""
    if _launched_with("FSDP") and os.environ.get("FSDP_VERSION", "1") != "2":
        raise UserError(
            f"fsdp_version is {os.environ.get('FSDP_VERSION', '1')}; needed: 2, the one this trainer is tested with. "
            "Set `fsdp_version: 2`, or launch with --config_file training/accelerate/fsdp2.yaml."
        )
    if _launched_with("DEEPSPEED") and importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            "DeepSpeed is not installed: .venv/bin/pip install deepspeed, or launch with fsdp2.yaml instead."
        )
    for name, what in (("PARALLELISM_CONFIG", "parallelism_config"), ("MEGATRON_LM", "MEGATRON_LM")):
        if _launched_with(name):
            raise UserError(
                f"accelerate's {what} cuts models and sequences in ways that are not tested here. Use fsdp2.yaml."
            )


def _launched_with(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() not in ("false", "0", "")


def check_checkpoint(checkpoint: Path) -> None:
    """UserError where this launch cannot continue a checkpoint, because another kind of launch has cut it."""
    made, here = cut_by(checkpoint), launch_kind()
    if made != here:
        raise UserError(
            f"{checkpoint} was written {made} and this is a run {here}. Launch as before, or choose another --output."
        )
    parts = len(list(checkpoint.glob("global_step*/zero_pp_rank_*_optim_states.pt")))
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if parts not in (0, processes):  # FSDP2's are cut anew when they are read
        raise UserError(
            f"{checkpoint} was written by {parts} ZeRO processes; this run has {processes}. Launch {parts}."
        )


def cut_by(checkpoint: Path) -> str:
    """The kind of launch that wrote a checkpoint, by what lies in it."""
    if any(checkpoint.glob("pytorch_model_fsdp*")):
        return "under FSDP"
    return "under DeepSpeed" if any(checkpoint.glob("global_step*")) else "without sharding"


def launch_kind() -> str:
    if _launched_with("FSDP"):
        return "under FSDP"
    return "under DeepSpeed" if _launched_with("DEEPSPEED") else "without sharding"


def check_same_data(accelerator: Any, sha256: str) -> None:
    """UserError where the processes have read different pairs: a file or a branch that moved while they started."""
    from accelerate.utils import gather_object

    if len(set(gather_object([sha256]))) > 1:
        raise UserError(
            "the processes read different pairs. Pin the data set's revision, or let nobody write to the files."
        )


def check_processes(processes: int) -> None:
    """UserError where the launched processes do not know of each other: each would train the whole run, into one folder."""
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != processes:
        raise UserError(
            f"{launched} processes were launched and there is no GPU for them. Launch one, or set --trainer_args.use_cpu true."
        )


def shard_on_cpu_too() -> None:
    """Let an FSDP2 launch shard on CPUs, where accelerate 1.15 would fall back to DDP without a word. Before Accelerator().

    Its AcceleratorState turns to FSDP only from a list of accelerators' types; from there on nothing asks for the device.
    """
    if _launched_with("FSDP"):
        from accelerate import PartialState
        from accelerate.utils import DistributedType

        if PartialState().distributed_type == DistributedType.MULTI_CPU:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def awaits_weights(kind: str) -> bool:
    """Whether this process gets its part of the weights from the first one, so that it need not read the model.

    `kind` as inference.loading says. transformers 5.23 reads all weights in every process, whatever
    cpu_ram_efficient_loading says: 32 GB of the machine's memory for each process of an 8B model.
    """
    efficient = os.environ.get("FSDP_CPU_RAM_EFFICIENT_LOADING", "false").lower() == "true"
    return _launched_with("FSDP") and efficient and os.environ.get("RANK", "0") != "0" and kind in ("folder", "hub")


def hollow_model(folder: Path) -> Any:
    """The model of `folder` with fp32 parameters whose memory is never touched; what is computed (RoPE) is real."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.to_empty(device="cpu")  # parameters need addresses: accelerate tells them apart by these
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    model.tie_weights()
    return model


def keep_fp32_where_it_counts(accelerator: Any) -> None:
    """In bf16, sharded: weights are gathered and multiplied in bf16; gradients are exchanged and added up in fp32.

    By their own settings FSDP2 (accelerate 1.15) and ZeRO-3 (DeepSpeed 0.19) do that in bf16, over all micro-batches of a
    step, and FSDP2 would round the log-probabilities to 8 bits too. Before the model is prepared.
    """
    if accelerator.mixed_precision != "bf16":
        return
    if accelerator.distributed_type == "DEEPSPEED":
        config = accelerator.state.deepspeed_plugin.deepspeed_config
        config.update({"data_types": {"grad_accum_dtype": "fp32"}, "communication_data_type": "fp32"})
    elif accelerator.is_fsdp2:
        import torch
        from torch.distributed.fsdp import MixedPrecisionPolicy

        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        accelerator.state.fsdp_plugin.mixed_precision_policy = policy


def exchange(accelerator: Any, model: Any, last: bool) -> AbstractContextManager:
    """Around a micro-batch: whether its gradients are exchanged between processes now or with the step's last one.

    DDP waits: the gradient is whole on each process anyway, and one exchange a step is enough. FSDP2 and ZeRO-3 exchange
    after every micro-batch: waiting would keep a whole fp32 gradient on each device (32 GB for 8B parameters), which is
    what sharding is there to avoid, and the exchange runs beside the next layer's backward. DeepSpeed steps its optimizer
    inside backward, so it has to know which micro-batch is the last.
    """
    if accelerator.distributed_type == "DEEPSPEED":
        accelerator.gradient_state._set_sync_gradients(last)
        return nullcontext()
    return nullcontext() if last or accelerator.is_fsdp2 else accelerator.no_sync(model)


def whole_state_dict(trainer: Any) -> dict[str, Any] | None:
    """All weights on the CPU of the first process ({} on the others); None where weights are not sharded.

    Every process must call it. A tied weight has one name, as in what save_pretrained writes from one process.
    """
    accelerator, model = trainer.accelerator, trainer.model_wrapped
    if accelerator.distributed_type == "DEEPSPEED":
        return accelerator.get_state_dict(model) or {}
    if not accelerator.is_fsdp2:
        return None
    once = {name for name, _ in model.named_parameters()}
    again = {name for name, _ in model.named_parameters(remove_duplicate=False)} - once
    return {name: tensor for name, tensor in accelerator.get_state_dict(model).items() if name not in again}


def part(accelerator: Any) -> None:
    """The end of what the processes do together: all arrive, then close their connections.

    A process that ends with connections open is sometimes aborted by gloo's threads (seen in one of nine DDP launches).
    """
    accelerator.wait_for_everyone()
    accelerator.end_training()


def any_process(flag: bool, device: Any) -> bool:
    """Whether `flag` is set on any process. Every process must ask, at the same step."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return flag
    answer = torch.tensor(float(flag), device=device)
    torch.distributed.all_reduce(answer, op=torch.distributed.ReduceOp.MAX)
    return bool(answer)
