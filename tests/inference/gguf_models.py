"""Small models to export: the tiny chat model of conftest.py changed in one way, and one with Llama 3's tokenizer and template."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.gguf.vocabulary import LLAMA3_WORDS

LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA3_CONTROL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def changed(folder: Path, target: Path, file: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a model folder with one JSON file changed."""
    shutil.copytree(folder, target)
    record = json.loads((target / file).read_text(encoding="utf-8"))
    change(record)
    (target / file).write_text(json.dumps(record), encoding="utf-8")
    return target


def make_llama3(folder: Path) -> Path:
    """Untied, grouped-query, Llama 3.1's rope, two stop tokens; tokenizer and template behave as Llama 3's."""
    import torch
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(ignore_merges=True))
    cut = pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator(
        ["the cat sat on the mat, 12345 times", "你好，你好吗？今天天气很好。", "I'll don't WE'RE"], trainer
    )
    inner.add_special_tokens([AddedToken(text, special=True) for text in LLAMA3_CONTROL])
    begin = inner.token_to_id(LLAMA3_CONTROL[0])
    inner.post_processor = processors.TemplateProcessing(
        "<|begin_of_text|> $A", special_tokens=[(LLAMA3_CONTROL[0], begin)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=LLAMA3_CONTROL[0], eos_token="<|eot_id|>")
    tokenizer.chat_template = LLAMA3_TEMPLATE
    torch.manual_seed(1)
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0}
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 3,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
        rope_parameters=rope | {"high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    )
    model = LlamaForCausalLM(config)
    ends = [tokenizer.convert_tokens_to_ids(text) for text in ("<|end_of_text|>", "<|eot_id|>")]
    model.generation_config = GenerationConfig(eos_token_id=ends, do_sample=True, temperature=0.6, top_p=0.9)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
