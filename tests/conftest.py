"""What several tests need: a tiny real Llama, a small real tokenizer with a ChatML template, a Hub on loopback, shared data."""

import functools
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Tiny models are fastest on one thread, also in the commands that tests start; two threads each would fight for two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
# A shell that starts us in the background has Ctrl-C ignored, and every command of a test would inherit that and never hear it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> None:
    """Token ids and Xet's chunks that tests keep go to folders of the session's, also those of the commands that they start."""
    os.environ["HF_DATASETS_CACHE"] = str(tmp_path_factory.mktemp("datasets"))
    os.environ["HF_XET_CACHE"] = str(tmp_path_factory.mktemp("xet"))


@pytest.fixture(scope="session")
def tiny_tokenizer():
    return make_tiny_tokenizer()


def make_tiny_tokenizer():
    """Byte-level tokenizer without merges: every byte is a token, so any text of any language encodes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    inner = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(special + alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )
    tokenizer.chat_template = CHATML
    return tokenizer


@pytest.fixture
def tiny_model(tiny_tokenizer):
    """Two-layer Llama with grouped-query attention, fp32, seeded; large random weights so that masks matter."""
    return make_tiny_model(len(tiny_tokenizer))


def make_tiny_model(vocabulary: int, seed: int = 0):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config)


@pytest.fixture
def tiny_model_folder(tmp_path, tiny_model, tiny_tokenizer):
    folder = tmp_path / "tiny"
    tiny_model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def hub_server(tmp_path_factory):
    """One Hub for the session; no two tests share a repository's name. A test that switches faults on starts its own."""
    from tests.hub import Hub

    with Hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(scope="session")
def hub_url(hub_server) -> str:
    """Endpoint of the session's Hub, where the token hf_alice writes to alice/… and acme/…"""
    return hub_server.url


def hub_environment(url: str, home: Path) -> dict[str, str]:
    """For a command that works with the Hub at `url` as alice, with a cache of its own and without Xet."""
    return {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(home), "HF_TOKEN": "hf_alice", "HF_HUB_DISABLE_XET": "1"}


def cpu_seconds() -> float:
    """Of this process and of its children that have ended; unlike the clock's they do not grow where the machine is busy."""
    return sum(os.times()[:4])


def free_ports() -> int:
    """A port whose successor is free too."""
    for _ in range(50):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two free ports in a row")


def tried_again(test: Callable[..., None]) -> Callable[..., None]:
    """Three tries for a test of a key that has to fall into a moment: on a busy machine it comes before or after it.

    Before: a terminal is between two modes, or a page has not taken a field's value yet. After: the answer has ended by itself.
    """

    @functools.wraps(test)
    def tries(*words: Any, **named: Any) -> None:
        for left in (2, 1, 0):
            try:
                test(*words, **named)
                return
            except AssertionError:
                if not left:
                    raise

    return tries
