"""Nobody looks where they must not, and every path computes what the dense mask does, in values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from command import UserError, WorkError
from tests.conftest import make_tiny_model
from training import attention
from training.attention import Span, dense_mask, lay_branches, lay_varlen, run_packed, use_path
from training.encoded_pairs import EncodedPair
from training.packing import collate

CPU = torch.device("cpu")
PAIRS = [
    EncodedPair([5, 6, 7], [8, 9, 2], [10, 11, 12, 13, 2]),
    EncodedPair([5], [2], [30, 31, 2]),
    EncodedPair(list(range(20, 80)), [90, 2], list(range(100, 140))),
    EncodedPair([5, 2, 5, 7, 2], list(range(40, 75)), [2]),
]


def test_mask_by_hand():
    """Pair A: one token of prompt, chosen and rejected each; pair B: two of prompt, one of each. Rows are queries."""
    expected = [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 1, 0],
        [0, 0, 0, 1, 1, 0, 1],
    ]
    mask = dense_mask([Span(0, 1, 1, 1), Span(3, 2, 1, 1)], 7, torch.device("cpu"))
    assert mask[0, 0].int().tolist() == expected


def logits(model, pairs, path):
    use_path(model, path, 200, CPU)
    return run_packed(model, collate(pairs), path).logits[0]


@pytest.mark.parametrize("path", ["branches", "masked"])
def test_no_token_sees_another_pair_or_the_other_branch(tiny_model, path):
    """Probe: change one response or one pair, and see which positions move."""
    a, b = EncodedPair([5, 6, 7], [8, 9], [10, 11, 12]), EncodedPair([13, 14], [15], [16, 17])

    def moved(first, second):
        difference = logits(tiny_model, [a, b], path) - logits(tiny_model, [first, second], path)
        return (difference.abs().amax(-1) > 1e-6).tolist()

    prompt, chosen, rejected, other = [False] * 3, [False] * 2, [False] * 3, [False] * 5
    assert moved(EncodedPair([5, 6, 7], [50, 51], [10, 11, 12]), b) == [*prompt, True, True, *rejected, *other]
    assert moved(EncodedPair([5, 6, 7], [8, 9], [50, 51, 52]), b) == [*prompt, *chosen, True, True, True, *other]
    assert moved(EncodedPair([5, 50, 7], [8, 9], [10, 11, 12]), b) == [False, *[True] * 7, *other]
    assert moved(a, EncodedPair([50, 14], [15], [16, 17])) == [*prompt, *chosen, *rejected, *[True] * 5]


def test_each_branch_is_what_the_model_says_of_it_alone(tiny_model):
    """Logits of prompt + response in the packed row are those of the plain model on that sequence."""
    packed = logits(tiny_model, PAIRS, "branches")
    tiny_model.set_attn_implementation("sdpa")
    for span, pair in zip(collate(PAIRS)["spans"], PAIRS, strict=True):
        for response, begin in ((pair.chosen, span.start + span.prompt), (pair.rejected, span.branch)):
            alone = tiny_model(input_ids=torch.tensor([pair.prompt + response])).logits[0]
            positions = [*range(span.start, span.start + span.prompt), *range(begin, begin + len(response))]
            torch.testing.assert_close(packed[positions], alone, rtol=1e-4, atol=1e-4)


def outcome(model, path):
    model.zero_grad()
    out = logits(model, PAIRS, path)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return [out.detach(), *(p.grad for p in model.parameters())]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max().clamp(min=1e-6)


def test_branches_equal_the_dense_mask(tiny_model):
    assert_same(outcome(tiny_model, "branches"), outcome(make_tiny_model(tiny_model.config.vocab_size), "masked"))


def varlen_attn(q, k, v, query_starts, key_starts, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False):
    """FlashAttention's documented meaning, sequence by sequence: causal and aligned at the ends of queries and keys."""
    assert (window_size, q.dtype, query_starts.dtype) == ((-1, 0), k.dtype, torch.int32)
    parts = []
    for number in range(len(query_starts) - 1):
        rows, columns = (slice(int(s[number]), int(s[number + 1])) for s in (query_starts, key_starts))
        queries, keys = rows.stop - rows.start, columns.stop - columns.start
        assert queries <= max_q
        assert keys <= max_k
        one = (q[rows].transpose(0, 1), k[columns].transpose(0, 1), v[columns].transpose(0, 1))
        mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
        parts.append(F.scaled_dot_product_attention(*one, attn_mask=mask, scale=scale, enable_gqa=enable_gqa))
    return torch.cat(parts, 1).transpose(0, 1)


def test_varlen_lays_out_what_the_kernel_documents(tiny_model, monkeypatch):
    """The layout of the CUDA path, with the kernel's meaning written out for the CPU; the kernel itself: the gpu test."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    monkeypatch.setattr(attention, "check_varlen", lambda device: None)
    assert_same(outcome(tiny_model, "varlen"), outcome(make_tiny_model(tiny_model.config.vocab_size), "masked"))


def test_varlen_is_checked_on_its_device_before_it_is_used(monkeypatch):
    """A kernel that aligns the mask at the beginnings, as older FlashAttention did, is refused by its values."""
    with pytest.raises(UserError, match="needs a CUDA device; this run is on cpu"):
        attention.check_varlen(torch.device("cpu"))

    class Device:  # the CPU under another name
        type = "cuda"

    cpu, states = torch.device("cpu"), torch.randn
    monkeypatch.setattr(torch, "Generator", lambda device, make=torch.Generator: make(cpu))
    monkeypatch.setattr(torch, "randn", lambda *a, device, **k: states(*a, **k))
    for name in ("lay_branches", "lay_varlen"):
        lay = getattr(attention, name)
        monkeypatch.setattr(attention, name, lambda spans, device, lay=lay: lay(spans, cpu))
    monkeypatch.setattr(attention, "compute_dtype", lambda device, dtype: dtype)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    attention.check_varlen(Device())

    def wrong(q, k, v, *rest, **options):
        return varlen_attn(q, k.roll(1, 0), v, *rest, **options)

    def missing(*arguments, **options):
        raise RuntimeError("No available kernel")

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", missing)
    with pytest.raises(WorkError, match=r"cannot run on this device \(No available kernel\)"):
        attention.check_varlen(Device())
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", wrong)
    with pytest.raises(WorkError, match="varlen differs on this device by"):
        attention.check_varlen(Device())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_varlen_on_the_device():
    attention.check_varlen(torch.device("cuda"))


def test_layers_that_are_not_full_attention_are_refused(tiny_model):
    tiny_model.config.layer_types = ["full_attention", "sliding_attention"]
    tiny_model.config.sliding_window = 128
    with pytest.raises(
        UserError, match=r"a sliding window of 128 tokens, and the longest pair has 200.*max_length 128"
    ):
        use_path(tiny_model, "branches", 200, CPU)
    use_path(tiny_model, "branches", 128, CPU)
    tiny_model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(UserError, match="layers of linear_attention"):
        use_path(tiny_model, "branches", 10, CPU)


def test_a_model_with_an_attention_of_its_own_is_refused(tiny_model, monkeypatch):
    """transformers only warns where a model cannot take another attention."""
    monkeypatch.setattr(type(tiny_model), "set_attn_implementation", lambda self, name: None)
    with pytest.raises(UserError, match="does not take its attention from transformers' AttentionInterface"):
        use_path(tiny_model, "branches", 10, CPU)


@pytest.mark.parametrize("asked", [{"softcap": 30.0}, {"s_aux": torch.zeros(4)}])
def test_what_a_path_does_not_compute_is_refused(asked):
    states = [torch.randn(1, 2, 4, 8)] * 3
    layout = lay_branches([Span(0, 2, 1, 1)], torch.device("cpu"))
    with pytest.raises(UserError, match=next(iter(asked))):
        attention.attend_branches(torch.nn.Module(), *states, None, branches=layout, **asked)


def test_a_model_that_drops_the_layout_is_refused():
    with pytest.raises(UserError, match="does not hand the layout of the pairs on"):
        attention.attend_branches(torch.nn.Module(), *[torch.randn(1, 2, 4, 8)] * 3, None)
    layout = lay_varlen([Span(0, 2, 1, 1)], torch.device("cpu"))
    with pytest.raises(UserError, match="attention_dropout"):
        attention.attend_varlen(torch.nn.Module(), *[torch.randn(1, 2, 4, 8)] * 3, None, dropout=0.1, varlen=layout)
