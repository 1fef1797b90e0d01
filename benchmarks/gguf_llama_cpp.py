"""What a real llama.cpp makes of the exported files, against transformers on the safetensors: tokens, logits, perplexity.

NODE_LLAMA_CPP=… python -m benchmarks.gguf_llama_cpp MODEL GGUF_DIR   (NODE_LLAMA_CPP: benchmarks/llama_cpp.py)

MODEL is the folder that GGUF_DIR was exported from. Writes benchmarks/results/gguf_llama_cpp.json. Files are asked at once,
a process and a thread each.

transformers answers twice, in float32, so that what rounding the weights does is told apart from what llama.cpp does: `exact`
with the weights as they are, `half_weights` with matrices rounded to half precision, the very numbers of the f16 file. From
these llama.cpp may differ by the order of its sums alone: more than TOLERANCE in a logit is an error.
"""

import argparse
import json
import math
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.llama_cpp import ask, missing
from command import UserError, WorkError, run_command
from inference.chat_format import encode_chat
from inference.loading import load_model, load_tokenizer, resolve
from run_folder import read_json, write_json

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "gguf_llama_cpp.json"
TOLERANCE = 1e-3  # of a logit; on SmolLM2-135M, whose logits reach 32, 4.5e-5 was seen
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
    parser.add_argument("--limit", type=int, default=10, help="prompts of each language (default 10, which is all)")
    parser.add_argument(
        "--texts", type=int, default=48, help="for perplexity, of each language (default 48, which is all)"
    )
    options = parser.parse_args()
    if why := missing():
        raise WorkError(why)
    source, export = resolve(options.model), read_json(options.gguf / "export.json")
    if source.kind != "folder":
        raise UserError(f"MODEL {options.model} must be a folder.")
    tokenizer, model = load_tokenizer(source), load_model(source, "float32")
    files = {entry["type"]: options.gguf / file for file, entry in export["files"].items()}
    chosen = [prompt for group in (PROMPTS[:10], PROMPTS[10:]) for prompt in group[: options.limit]]
    prompts = [encode_chat(tokenizer, [{"role": "user", "content": prompt}]) for prompt in chosen]
    texts = [tokenizer(text, add_special_tokens=False)["input_ids"][:1024] for text in held_out_texts(options.texts)]
    stops = [stop["id"] for stop in export["stops"]]
    record = {
        "model": export["name"],
        "model_sha256": export["source"]["sha256"],
        "machine": platform.machine(),
        "most": options.most,
        "prompts": len(prompts),
        "tokenization": tokenization(tokenizer, files["f16"]),
        "perplexity_texts": len(texts),
        "perplexity_tokens": sum(len(ids) - 1 for ids in texts),
        "transformers": {"perplexity": perplexity([cost(model, ids) for ids in texts], texts)},
    }
    ours = references(model, prompts, stops, options.most)
    jobs = [{"ids": ids, "most": options.most} for ids in prompts]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = {
            kind: pool.submit(ask, path, greedy=jobs, logits=prompts, cost=texts, ends=stops)
            for kind, path in files.items()
        }
        for kind, answer in work.items():
            against = ours if kind == "f16" else {"exact": ours["exact"]}
            record[kind] = summary(answer.result(), against, texts)
            write_json(RESULT, record)
    print(json.dumps(record, indent=1))
    gap = record["f16"]["against"]["half_weights"]["largest_logit_difference"]
    if gap > TOLERANCE:
        raise WorkError(f"f16: a logit of llama.cpp is {gap:.2g} from transformers' with the same numbers")
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


def references(model: Any, prompts: list, stops: list[int], most: int) -> dict[str, list[dict[str, Any]]]:
    """transformers' greedy answers in both ways. The model's matrices stay rounded."""
    exact = [greedy(model, ids, stops, most) for ids in prompts]
    round_matrices(model)
    return {"exact": exact, "half_weights": [greedy(model, ids, stops, most) for ids in prompts]}


def round_matrices(model: Any) -> None:
    """To half precision and back, as an f16 file has them; norms stay."""
    for matrix in model.parameters():
        if matrix.ndim > 1:
            matrix.data = matrix.data.half().float()


def summary(answer: dict[str, Any], ours: dict[str, list], texts: list) -> dict[str, Any]:
    """One file against transformers: greedy answers, the logits after each prompt, perplexity."""
    return {
        "llama_cpp": answer["release"],
        "against": {name: agreement(answer, answers) for name, answers in ours.items()},
        "stops_end_an_answer": all(answer["ends"]),
        "answers_that_ended": sum(one["end"] is not None for one in answer["greedy"]),
        "answers_that_ended_in_transformers": sum(one["end"] is not None for one in ours["exact"]),
        "perplexity": perplexity(answer["cost"], texts),
    }


def agreement(answer: dict[str, Any], ours: list[dict[str, Any]]) -> dict[str, Any]:
    """How far llama.cpp's answers and logits are from transformers'; where they part, how far transformers' choice was ahead."""
    import torch

    gaps = [
        (mine["logits"] - torch.tensor(theirs)).abs().max().item()
        for mine, theirs in zip(ours, answer["logits"], strict=True)
    ]
    places = [first_difference(mine["ids"], theirs["ids"]) for mine, theirs in zip(ours, answer["greedy"], strict=True)]
    apart = [(place, mine["margins"][place]) for place, mine in zip(places, ours, strict=True) if place is not None]
    return {
        "equal_greedy_answers": len(ours) - len(apart),
        "first_different_token": [place for place, _ in apart],
        "margin_of_transformers_there": [margin for _, margin in apart],
        "largest_logit_difference": max(gaps),
        "largest_logit": max(mine["logits"].abs().max().item() for mine in ours),
    }


def first_difference(one: list[int], two: list[int]) -> int | None:
    """Where two answers part; None if they are equal."""
    return (
        None
        if one == two
        else next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    )


def greedy(model: Any, ids: list[int], stops: list[int], most: int) -> dict[str, Any]:
    """transformers' likeliest tokens up to a stop or `most`; `logits` after the prompt, (vocabulary,); `margins`: how far the
    logit of each chosen token was above the next one's."""
    import torch

    output = model.generate(
        torch.tensor([ids]),
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=stops[0],
        output_logits=True,
        return_dict_in_generate=True,
    )
    new = output.sequences[0, len(ids) :].tolist()
    best = [step[0].topk(2).values.tolist() for step in output.logits]
    ended = new[-1] in stops
    return {
        "ids": new[:-1] if ended else new,
        "end": new[-1] if ended else None,
        "logits": output.logits[0][0],
        "margins": [first - second for first, second in best],
    }


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
