"""The exact bf16 AdamW is torch's fp32 AdamW bit for bit, also after a checkpoint; its halves lose nothing."""

import copy
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from training import optimizers
from training.optimizers import AdamWBF16Exact, join, split

SHAPES = [(7,), (16, 33), (1,), (3, 5, 9), (64, 64)]


def pairs_of_parameters(seed=0):
    """The same bf16-representable values as fp32 parameters and as bf16 ones."""
    torch.manual_seed(seed)
    values = [torch.randn(shape).bfloat16() for shape in SHAPES]
    return [torch.nn.Parameter(v.float()) for v in values], [torch.nn.Parameter(v.clone()) for v in values]


def give_gradients(wide, narrow, step):
    """fp32 gradients of very different sizes, the same on both sides, none for one parameter at times."""
    torch.manual_seed(1000 + step)
    for number, (a, b) in enumerate(zip(wide, narrow, strict=True)):
        a.grad = torch.randn(a.shape) * 10.0 ** (step % 7 - 4)
        b.grad = a.grad.clone()
        if number == 2 and step % 3 == 0:
            a.grad = b.grad = None


def groups(params, decay):
    return [{"params": params[:2], "weight_decay": decay}, {"params": params[2:], "weight_decay": 0.0}]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [None, 40])
def test_every_update_is_that_of_torch_adamw_in_fp32(monkeypatch, decay, chunk):
    """300 steps, five shapes, a schedule of rates: the masters equal fp32 AdamW's weights in every bit, all the way."""
    if chunk:
        monkeypatch.setattr(optimizers, "CHUNK", chunk)
    wide, narrow = pairs_of_parameters()
    reference = torch.optim.AdamW(groups(wide, decay), lr=1e-3, betas=(0.9, 0.98), eps=1e-8, foreach=False)
    exact = AdamWBF16Exact(groups(narrow, decay), lr=1e-3, betas=(0.9, 0.98), eps=1e-8)
    for step in range(300):
        give_gradients(wide, narrow, step)
        for group in (*reference.param_groups, *exact.param_groups):
            group["lr"] = 5e-6 * (1 + step % 11)
        reference.step()
        exact.step()
        if step % 50 == 49:
            for a, b in zip(wide, narrow, strict=True):
                assert torch.equal(a.detach().view(torch.int32), exact.master(b).view(torch.int32))
                assert torch.equal(reference.state[a]["exp_avg_sq"], exact.state[b]["exp_avg_sq"])
    for a, b in zip(wide, narrow, strict=True):  # and the weights in use are the masters to the nearest
        error = (b.float() - a).abs().detach()
        assert (error <= (a.detach().bfloat16().float() - a).abs()).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_too():
    wide, narrow = ([torch.nn.Parameter(p.detach().cuda()) for p in side] for side in pairs_of_parameters())
    reference = torch.optim.AdamW(wide, lr=5e-6, foreach=False)
    exact = AdamWBF16Exact(narrow, lr=5e-6)
    for _ in range(50):
        for a, b in zip(wide, narrow, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        reference.step()
        exact.step()
    for a, b in zip(wide, narrow, strict=True):
        assert torch.equal(a.detach(), exact.master(b))


def test_both_halves_give_every_fp32_back():
    """Worked by hand: 1 + 2^-8 is half-way between the bf16 values 1 and 1 + 2^-7 and goes up, to remainder -32768."""
    bits = torch.cat([torch.randint(-(2**31), 2**31 - 1, (200_000,)), torch.tensor([0, 0x3F808000, 0x3F818000])]).int()
    master = bits.view(torch.float32)
    weight, remainder = torch.empty_like(master, dtype=torch.bfloat16), torch.empty_like(bits, dtype=torch.int16)
    split(master, weight, remainder)
    assert torch.equal(join(weight, remainder).view(torch.int32), bits)
    assert weight[-2] == 1 + 2**-7 and remainder[-2] == -32768
    plain = master.isfinite() & (bits & 0xFFFF != 0x8000)  # elsewhere it is torch's own rounding
    assert torch.equal(weight[plain].view(torch.int16), master[plain].bfloat16().view(torch.int16))


def test_small_updates_are_kept_that_pure_bf16_loses():
    """A rate of 5e-6 on weights near 1, whose bf16 neighbours are 0.4 % apart: 1,000 steps of one sign move by 5e-3."""
    weight = torch.nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
    optimizer = AdamWBF16Exact([weight], lr=5e-6, weight_decay=0.0)
    for _ in range(1000):
        weight.grad = torch.ones(8)
        optimizer.step()
    assert optimizer.master(weight)[0].item() == pytest.approx(1 - 5e-3, rel=1e-5)
    assert weight[0].item() == pytest.approx(1 - 5e-3, rel=2e-3)
    assert (torch.ones((), dtype=torch.bfloat16) - 5e-6).item() == 1  # what pure bf16 does, a thousand times


def test_gradients_of_micro_batches_add_up_in_fp32():
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    AdamWBF16Exact([weight])
    for size in [1.0] + 100 * [2.0**-9]:
        (weight * size).sum().backward()
    assert weight.grad.dtype == torch.float32
    assert weight.grad[0].item() == 1 + 100 * 2.0**-9  # in bf16 each of the hundred would be rounded away


def test_state_survives_saving_bit_for_bit(tmp_path):
    """Stopped after 20 steps and continued from a file, 20 more steps end in the same bits; int16 and fp32 stay."""
    _, narrow = pairs_of_parameters()
    exact = AdamWBF16Exact(groups(narrow, 0.1), lr=1e-4)
    for step in range(20):
        give_gradients(narrow, narrow, step)
        exact.step()
    torch.save({"weights": [p.data for p in narrow], "optimizer": exact.state_dict()}, tmp_path / "c.pt")
    saved = torch.load(tmp_path / "c.pt", weights_only=True)
    again = [torch.nn.Parameter(p) for p in saved["weights"]]
    resumed = AdamWBF16Exact(groups(again, 0.1), lr=1e-4)
    resumed.load_state_dict(copy.copy(saved["optimizer"]))
    assert {k: v.dtype for k, v in resumed.state[again[0]].items()} == {
        "step": torch.float32,
        "remainder": torch.int16,
        "exp_avg": torch.float32,
        "exp_avg_sq": torch.float32,
    }
    for step in range(20, 40):
        give_gradients(narrow, again, step)
        exact.step()
        resumed.step()
    for a, b in zip(narrow, again, strict=True):
        assert torch.equal(exact.master(a), resumed.master(b))


FSDP2 = """
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from training.optimizers import AdamWBF16Exact

torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
one = torch.nn.Linear(6, 8).bfloat16()
two = torch.nn.Linear(6, 8).bfloat16()
two.load_state_dict(one.state_dict())
fully_shard(two, mesh=init_device_mesh("cpu", (2,)), mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32))
optimizers = [AdamWBF16Exact(m.parameters(), lr=1e-3) for m in (one, two)]
for step in range(4):
    x = torch.randn(4, 6).bfloat16()
    for model, optimizer in zip((one, two), optimizers):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
rank = torch.distributed.get_rank()
for p, q in zip(one.parameters(), two.parameters()):
    whole, shard = optimizers[0].master(p), optimizers[1].master(q)
    assert torch.equal(whole.chunk(2)[rank], shard), (whole, shard)
    assert type(optimizers[1].state[q]["remainder"]).__name__ == "DTensor"
del two, optimizers, p, q, model, optimizer, whole, shard
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def test_shards_of_fsdp2_are_updated_as_whole_parameters_are():
    """Two gloo processes, the same data on both: each shard's master is its part of the unsharded one, in every bit."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "--no-python"]
    done = subprocess.run([*words, sys.executable, "-c", FSDP2], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def test_fp32_parameters_are_refused():
    with pytest.raises(ValueError, match=r"bf16 weights; a parameter is torch\.float32"):
        AdamWBF16Exact([torch.nn.Parameter(torch.ones(2))])
