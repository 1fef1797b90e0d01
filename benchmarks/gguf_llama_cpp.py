"""What a real llama.cpp makes of the exported files, against transformers on the safetensors: tokens, logits, perplexity.

NODE_LLAMA_CPP=… python -m benchmarks.gguf_llama_cpp MODEL GGUF_DIR   (NODE_LLAMA_CPP: benchmarks/llama_cpp.py)

MODEL is the folder that GGUF_DIR was exported from. Writes benchmarks/results/gguf_llama_cpp.json.
"""

import argparse
import json
import math
import platform
from pathlib import Path
from typing import Any

from benchmarks.llama_cpp import ask, missing
from command import UserError, WorkError, run_command
from inference.chat_format import encode_chat
from inference.loading import load_model, load_tokenizer, resolve
from run_folder import read_json, write_json

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "gguf_llama_cpp.json"
PROMPTS = (
    "请用三句话介绍一下长城。", "北京的春天是什么样的？", "写一首关于月亮的短诗。", "为什么天空是蓝色的？", "怎样煮米饭？",
    "把“早上好”翻译成英语。", "3 加 5 等于几？", "推荐三本中国小说。", "什么是机器学习？", "你是谁？",
    "What is the capital of France?", "Explain photosynthesis in two sentences.", "Write a haiku about the sea.",
    "List three prime numbers.", "How do I boil an egg?", "Translate 'good night' into Chinese.", "What is 12 times 4?",
    "Who wrote Hamlet?", "Give me a short joke.", "What is a hash table?",
)  # fmt: skip


def tricky_texts() -> list[str]:
    """More than 200 texts that tokenizers part over: scripts, emoji, digits, blanks, code, spelt control tokens, and their pairs."""
    words = [
        "你好，世界！",
        "　全角空格　",
        "１２３４５",
        "123456",
        "3.14159",
        "1e-7",
        "٣٤",
        "½",
        "Ⅷ",
        "🌏",
        "👨‍👩‍👧‍👦",
        "é",
        "e\u0301",
        "ﬁ",
        "don't",
        "I'LL",
    ]
    words += [
        "  two",
        "tail  ",
        "\n\n2.",
        "\t\tif x:\n\t\t\tpass",
        "a\r\nb",
        " \n \n",
        "   ",
        "def f(x): return x**2",
        "{{ .Role }}",
        "<|im_end|>",
    ]
    words += [
        "<|im_start|>user",
        "<repo_name>",
        "https://a.b/c?d=e&f=1",
        "price: ￥1,234.56",
        "これは",
        "한국어",
        "Ωμέγα",
        "ТЕСТ",
        "\u200b",
        "…——“”",
    ]
    pairs = [
        one + two
        for place, one in enumerate(words)
        for two in (words[(place * 7 + 3) % 36], words[(place * 5 + 1) % 36])
    ]
    more = [f"{one}{sep}{two}" for one, two in zip(words, reversed(words), strict=True) for sep in (" ", "\n", "0")]
    return list(dict.fromkeys([*words, *pairs, *more]))


def held_out_texts(most: int) -> list[str]:
    """The first texts on which eval measures perplexity, `most` of each language."""
    files = [ROOT / "eval" / "suites" / f"text_{language}.jsonl" for language in ("zh", "en")]
    return [json.loads(line)["text"] for file in files for line in file.read_text(encoding="utf-8").splitlines()[:most]]


def main() -> int:
    """Compare, write the record, print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gguf_llama_cpp", description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("gguf", metavar="GGUF_DIR", type=Path)
    parser.add_argument("--most", type=int, default=64, help="tokens of an answer (default 64)")
    parser.add_argument(
        "--texts", type=int, default=48, help="for perplexity, of each language (default 48, which is all)"
    )
    options = parser.parse_args()
    if why := missing():
        raise WorkError(why)
    source, export = resolve(options.model), read_json(options.gguf / "export.json")
    if source.kind != "folder":
        raise UserError(f"MODEL {options.model} must be a folder.")
    tokenizer, model = load_tokenizer(source), load_model(source)
    files = {entry["type"]: options.gguf / file for file, entry in export["files"].items()}
    prompts = [encode_chat(tokenizer, [{"role": "user", "content": prompt}]) for prompt in PROMPTS]
    ours = [greedy(model, ids, [stop["id"] for stop in export["stops"]], options.most) for ids in prompts]
    texts = [tokenizer(text, add_special_tokens=False)["input_ids"][:1024] for text in held_out_texts(options.texts)]
    record = {
        "model": export["name"],
        "model_sha256": export["source"]["sha256"],
        "machine": platform.machine(),
        "most": options.most,
    }
    record |= {"tokenization": tokenization(tokenizer, files["f16"])}
    record |= {"perplexity_texts": len(texts), "perplexity_tokens": sum(len(ids) - 1 for ids in texts)}
    record["transformers"] = {"perplexity": perplexity([cost(model, ids) for ids in texts], texts)}
    for kind, path in files.items():
        record[kind] = compare(model, path, prompts, ours, texts, export, options.most)
        write_json(RESULT, record)  # after each file, each takes minutes
    print(json.dumps(record, indent=1))
    return 0


def tokenization(tokenizer: Any, path: Path) -> dict[str, int]:
    """Texts whose tokens differ, with control tokens read as such and as plain text."""
    texts = tricky_texts()
    answer = ask(path, tokenize=[{"text": text, "special": special} for special in (True, False) for text in texts])
    ours = [
        tokenizer(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
        for special in (True, False)
        for text in texts
    ]
    differ = [pair for pair in zip(ours, answer["tokenize"], strict=True) if pair[0] != pair[1]]
    return {"texts": len(texts), "encodings": len(ours), "different": len(differ)}


def compare(
    model: Any, path: Path, prompts: list, ours: list, texts: list, export: dict[str, Any], most: int
) -> dict[str, Any]:
    """One file against transformers: greedy answers, the logits after each prompt, perplexity."""
    stops = [stop["id"] for stop in export["stops"]]
    jobs = [{"ids": ids, "most": most} for ids in prompts]
    answer = ask(path, greedy=jobs, logits=prompts, cost=texts, ends=stops)
    gaps = [logit_gap(model, ids, theirs) for ids, theirs in zip(prompts, answer["logits"], strict=True)]
    same = [mine == theirs for mine, theirs in zip(ours, answer["greedy"], strict=True)]
    common = [first_difference(mine["ids"], theirs["ids"]) for mine, theirs in zip(ours, answer["greedy"], strict=True)]
    return {
        "llama_cpp": answer["release"],
        "prompts": len(prompts),
        "equal_greedy_answers": sum(same),
        "first_different_token": [place for place in common if place is not None],
        "margin_of_transformers_there": [
            margin(model, ids + mine["ids"][:place])
            for ids, mine, place in zip(prompts, ours, common, strict=True)
            if place is not None
        ],
        "stops_end_an_answer": all(answer["ends"]),
        "answers_that_ended": sum(one["end"] is not None for one in answer["greedy"]),
        "answers_that_ended_in_transformers": sum(one["end"] is not None for one in ours),
        "largest_logit_difference": max(gaps),
        "perplexity": perplexity(answer["cost"], texts),
    }


def first_difference(one: list[int], two: list[int]) -> int | None:
    """Where two answers part; None if they are equal."""
    return (
        None
        if one == two
        else next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    )


def greedy(model: Any, ids: list[int], stops: list[int], most: int) -> dict[str, Any]:
    """transformers' likeliest tokens up to a stop or `most`."""
    import torch

    answer = model.generate(
        torch.tensor([ids]), max_new_tokens=most, do_sample=False, eos_token_id=stops, pad_token_id=stops[0]
    )
    new = answer[0, len(ids) :].tolist()
    return {"ids": new[:-1], "end": new[-1]} if new[-1] in stops else {"ids": new, "end": None}


def margin(model: Any, ids: list[int]) -> float:
    """How far the likeliest token's logit after `ids` is above the second's."""
    import torch

    with torch.no_grad():
        best, second = model(torch.tensor([ids])).logits[0, -1].topk(2).values.tolist()
    return best - second


def logit_gap(model: Any, ids: list[int], theirs: list[float]) -> float:
    """Largest difference of the logits after `ids`."""
    import torch

    with torch.no_grad():
        return (model(torch.tensor([ids])).logits[0, -1] - torch.tensor(theirs)).abs().max().item()


def cost(model: Any, ids: list[int]) -> float:
    """Sum of -log p over all tokens after the first."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum").item()


def perplexity(costs: list[float], texts: list[list[int]]) -> float:
    """exp of the mean cost a token."""
    return math.exp(sum(costs) / sum(len(ids) - 1 for ids in texts))


if __name__ == "__main__":
    run_command(main)
