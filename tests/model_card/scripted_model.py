"""A real Llama that spells what it is told, so that a program shows by its answers how it samples and where it stops.

After the header of an answer it says O or A, then K or L, then one of two stop tokens, each with equal odds; what comes after
a stop is `!` without end. At temperature 0.6 a pair holds 92 % of the probability, so that top-p 0.9 leaves nothing else; at
temperature 1 it holds 38 %, and other bytes come. tokenizer and config name one of the stops, generation_config both.
"""

import itertools
from pathlib import Path

import torch
from tokenizers.models import BPE
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.conftest import make_tiny_tokenizer

ANSWERS = {"".join(letters) for letters in itertools.product("OA", "KL")}
STOPS = ["<|im_end|>", "<|endoftext|>"]
PAIR = 4.38  # logit of each of a pair, others 0: 2·exp(4.38/0.6) / (2·exp(4.38/0.6) + 258) = 0.92
CERTAIN = 30.0
NEXT = {
    "Ċ": "OA",
    "O": "KL",
    "A": "KL",
    "K": STOPS,
    "L": STOPS,
    STOPS[0]: "!",
    STOPS[1]: "!",
    "!": "!",
}  # Ċ is a line break


def save_scripted_model(folder: Path) -> list[int]:
    """Write model, tokenizer and generation_config (temperature 0.6, top-p 0.9, no top-k, both stops); the ids of the stops."""
    tokenizer = make_tokenizer()
    ids = tokenizer.get_vocab()
    model = LlamaForCausalLM(config(len(ids), ids[STOPS[0]]))
    with torch.no_grad():
        write_script(model, ids)
    stops = [ids[name] for name in STOPS]
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops,
        pad_token_id=stops[0],
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        top_k=0,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return stops


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tests' byte-level tokenizer with a merge, without which llama.cpp takes no BPE."""
    tokenizer = make_tiny_tokenizer()
    ids = tokenizer.get_vocab()
    tokenizer.backend_tokenizer.model = BPE(vocab={**ids, "ZZ": len(ids)}, merges=[("Z", "Z")])
    return tokenizer


def config(vocabulary: int, eos: int) -> LlamaConfig:
    """One layer, as wide as the vocabulary and more; widths that every program takes (heads of 64, blocks of 32)."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=320,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=eos,
        pad_token_id=eos,
    )


def write_script(model: LlamaForCausalLM, ids: dict[str, int]) -> None:
    """Attention and MLP add nothing, so the last hidden state is the last token's unit vector: the head holds the script."""
    layer, width = model.model.layers[0], model.config.hidden_size
    layer.self_attn.o_proj.weight.zero_()
    layer.mlp.down_proj.weight.zero_()
    model.model.embed_tokens.weight.copy_(torch.eye(len(ids), width))
    model.model.norm.weight.fill_(width**-0.5)  # RMSNorm makes sqrt(width) of a unit vector's one
    model.lm_head.weight.zero_()
    for last, following in NEXT.items():
        for token in following:
            model.lm_head.weight[ids[token], ids[last]] = PAIR if len(following) > 1 else CERTAIN
