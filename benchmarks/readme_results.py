"""Write the measured figures into README.md and README_zh.md, between their `results` and `training` marks.

    python benchmarks/readme_results.py [--check]

Reads benchmarks/results/ (written by the other scripts here). With --check it changes nothing and says whether the
READMEs hold exactly these figures (exit status 1 if not).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

sys.path.insert(0, str(ROOT / "benchmarks"))

from readme_data import data_text  # noqa: E402  (the paths have to be there first)
from readme_evaluation import evaluation_text  # noqa: E402
from readme_publishing import publishing_text  # noqa: E402
from readme_using import using_text  # noqa: E402

from eval.report import markdown  # noqa: E402  (the repository root has to be on the path first)
from run_folder import read_json, whole_file  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PEERS = {"trl": "TRL 1.16 ORPOTrainer", "llama_factory": "LLaMA-Factory"}
WORDS = {
    "README.md": (
        "Measured in a fresh clone on {cores} cores ({cpu}): `./reproduce.sh` {first:.1f} minutes with the installation, of "
        "which training took {train:.1f} and scoring both models {score:.1f}; peak memory {peak:.1f} GB. A second call, which "
        "reuses everything: {again:.0f} seconds. `./test.sh -n 2`: {tests:.1f} minutes. All of commit {commit}."
    ),
    "README_zh.md": (
        "在全新克隆的仓库中、{cores} 个核心（{cpu}）上实测：`./reproduce.sh` 连同安装共 {first:.1f} 分钟，其中训练 {train:.1f} 分钟、"
        "评测两个模型 {score:.1f} 分钟；内存峰值 {peak:.1f} GB。再次运行会复用已有结果，只需 {again:.0f} 秒。`./test.sh -n 2`：{tests:.1f} 分钟。以上均为提交 {commit} 的数据。"
    ),
}


TRAINING_WORDS = {
    "README.md": {
        "head": ("trainer", "micro-batch", "CPU s / pair", "peak GB", "ours is faster", "our memory"),
        "ours": "ours, {} tokens' activations, `{}`",
        "checkpointing": "checkpointing",
        "pairs": "{} pair(s)",
        "intro": (
            "{pairs} of {of} real pairs over all lengths (mean {tokens_per_pair:,.0f} tokens, padding one pair at a time makes "
            "{padded:.2f} times as many; of all pairs {all_padded:.2f}), max_length {max_length:,}, {model} in {dtype} on "
            "{cores} cores. Faster: in CPU seconds a pair, by `ours, {fast} tokens`. Memory: peak above weights and optimizer state; "
            "in brackets for `ours, {small} tokens`. The first losses agree to {parity:.0e} where the means are over the same pairs."
        ),
        "batch": (
            "At TRL's own default of {micro_batch} pairs, over {pairs} real pairs at max_length {max_length:,}: {faster:.2f} × its speed in "
            "{memory:.0%} of its memory ({small_faster:.2f} × in {small_memory:.0%} for the smaller way); the first loss, {loss:.6f}, is "
            "the same to {digits:.0e}."
        ),
        "scaling": "Tokens a second and peak memory of ours, by size: {}.",
        "preparation": (
            "From pairs to token ids, {rows} real rows: {cold:.1f} times the rows a second of TRL's own `map`, {cached:.0f} times from "
            "the cache."
        ),
        "moved": (
            "Weights that move in a step at learning rate 5e-6: {bf16:.1%} of pure bf16 weights, {exact:.1%} of the masters that "
            "`adamw_bf16_exact` keeps in 16 + 16 bits, {fp32:.1%} of fp32 weights."
        ),
    },
    "README_zh.md": {
        "head": ("训练器", "微批量", "CPU 秒 / 对", "峰值 GB", "本项目快", "本项目内存"),
        "ours": "本项目，保留 {} 个词元的激活，`{}`",
        "checkpointing": "重算激活",
        "pairs": "{} 对",
        "intro": (
            "从 {of} 对真实数据中按长度均匀取 {pairs} 对（平均 {tokens_per_pair:,.0f} 个词元，逐对填充会变为 {padded:.2f} 倍，全部数据为 "
            "{all_padded:.2f} 倍），max_length {max_length:,}，{model}，{dtype}，{cores} 个核心。速度按每对的 CPU 秒计，以“保留 {fast} "
            "个词元”为准；内存为权重和优化器状态之外的峰值，括号内为“保留 {small} 个词元”。在均值取自同一批数据时，首步损失相差不超过 {parity:.0e}。"
        ),
        "batch": (
            "在 TRL 自身默认的 {micro_batch} 对微批量下（{pairs} 对真实数据，max_length {max_length:,}）：本项目速度为其 {faster:.2f} 倍，内存为其 "
            "{memory:.0%}（较省内存的方式为 {small_faster:.2f} 倍与 {small_memory:.0%}）；首步损失 {loss:.6f}，相差不超过 {digits:.0e}。"
        ),
        "scaling": "本项目在不同规模下每秒的词元数与内存峰值：{}。",
        "preparation": "从偏好对到词元编号（{rows} 行真实数据）：每秒行数是 TRL 自带 `map` 的 {cold:.1f} 倍，读缓存时为 {cached:.0f} 倍。",
        "moved": (
            "学习率 5e-6 时一步中发生变化的权重：纯 bf16 权重 {bf16:.1%}，`adamw_bf16_exact` 以 16 + 16 位保存的主权重 {exact:.1%}，"
            "fp32 权重 {fp32:.1%}。"
        ),
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    blocks = {
        "results": results_text,
        "evaluation": lambda name: evaluation_text(name, RESULTS),
        "publishing": lambda name: publishing_text(name, RESULTS),
        "data": lambda name: data_text(name, RESULTS),
        "using": lambda name: using_text(name, RESULTS),
        "training": training_text,
    }
    stale = [name for name in WORDS for mark, text in blocks.items() if update(ROOT / name, mark, text(name), check)]
    if check and stale:
        print(f"not as measured: {', '.join(stale)}. Run: python benchmarks/readme_results.py", file=sys.stderr)
    return int(check and bool(stale))


def results_text(name: str) -> str:
    """The sentence on time and memory, and the table of base against tuned."""
    comparison = read_json(RESULTS / "smollm2-demo.comparison.json")
    return f"{WORDS[name].format(**figures(comparison))}\n\n{markdown(comparison)}"


def figures(comparison: dict[str, Any]) -> dict[str, Any]:
    clone = read_json(RESULTS / "fresh_clone.json")
    training = read_json(RESULTS / "smollm2-demo.training.json")
    first, again, tests = clone["commands"]
    return {
        "cores": training["hardware"]["cores"],
        "cpu": training["hardware"]["cpu"],
        "commit": training["git"]["commit"][:7],
        "first": first["seconds"] / 60,
        "again": again["seconds"],
        "tests": tests["seconds"] / 60,
        "peak": first["peak_memory_bytes"] / 1e9,
        "train": training["seconds"] / 60,
        "score": sum(comparison["seconds"].values()) / 60,
    }


def training_text(name: str) -> str:
    """What training costs beside its peers, and what else was measured of it."""
    words = TRAINING_WORDS[name]
    step = read_json(RESULTS / "orpo_step.json")
    scaling = read_json(RESULTS / "orpo_scaling.json")["runs"]
    preparation = read_json(RESULTS / "preparation_real.json")
    moved = read_json(RESULTS / "moved_weights.json")["moved"]
    share = {
        "bf16": moved["bf16"][0]["weights"],
        "exact": moved["bf16_exact"][0]["masters"],
        "fp32": moved["fp32"][0]["weights"],
    }
    sizes = "; ".join(
        f"{run['size']} {run['tokens_per_second']:.0f} tok/s, {run['peak_bytes'] / 1e9:.1f} GB" for run in scaling
    )
    lines = [
        words["batch"].format(**batch_figures(read_json(RESULTS / "orpo_step_batch8.json"))),
        words["scaling"].format(sizes),
        words["preparation"].format(
            rows=preparation["rows"],
            cold=preparation["times_the_peer"]["ours"]["median"],
            cached=preparation["times_the_peer"]["ours_from_cache"]["median"],
        ),
        words["moved"].format(**share),
    ]
    return "\n\n".join([step_intro(step, words), step_table(step, words), *lines])


def batch_figures(record: dict[str, Any]) -> dict[str, Any]:
    """Ours against TRL with a whole step as its micro-batch, where both say the same loss."""
    (ratio,) = record["ratios"]["trl"]
    return {
        "micro_batch": ratio["micro_batch"],
        "pairs": ratio["pairs"],
        "max_length": record["max_length"],
        "faster": ratio["ours_times_its_cpu_speed"],
        "memory": ratio["ours_of_its_memory"],
        "small_faster": ratio["small_times_its_cpu_speed"],
        "small_memory": ratio["small_of_its_memory"],
        "loss": ratio["our_first_loss"],
        "digits": max(abs(ratio["first_loss"] / ratio["our_first_loss"] - 1), 1e-9),
    }


def step_intro(step: dict[str, Any], words: dict[str, Any]) -> str:
    own = [run["micro_batch"] for run in step["runs"] if run["contender"] == "ours"]
    same = [r for ratios in step["ratios"].values() for r in ratios if exact(r, step)]
    parity = max(abs(r["first_loss"] / r["our_first_loss"] - 1) for r in same)
    sample = step["sample"]
    return words["intro"].format(
        **sample, all_padded=sample["all"]["padded"], max_length=step["max_length"], model=step["model"], dtype=step["dtype"],
        cores=step["hardware"]["cores"], fast=max(own), small=min(own), parity=parity,
    )  # fmt: skip


def exact(ratio: dict[str, Any], step: dict[str, Any]) -> bool:
    """Whether a peer's loss is a mean over what ours is: LLaMA-Factory's always, TRL's if a micro-batch is the step."""
    return ratio in step["ratios"]["llama_factory"] or ratio["micro_batch"] == step["step_pairs"]


def step_table(step: dict[str, Any], words: dict[str, Any]) -> str:
    lines = [f"| {' | '.join(words['head'])} |", "|" + " --- |" * len(words["head"])]
    for run in step["runs"]:
        if "failed" in run:
            continue
        cost = f"{run['cpu_seconds_per_pair']:.1f} | {run['peak_bytes'] / 1e9:.1f}"
        if run["contender"] == "ours":
            lines.append(f"| {words['ours'].format(run['micro_batch'], run['objective'])} | | {cost} | | |")
            continue
        ratio = next(
            r
            for r in step["ratios"][run["contender"]]
            if (r["micro_batch"], r["checkpointing"]) == (run["micro_batch"], run["checkpointing"])
        )
        who = PEERS[run["contender"]] + (f", {words['checkpointing']}" if run["checkpointing"] else "")
        memory = f"{ratio['ours_of_its_memory']:.0%} ({ratio['small_of_its_memory']:.0%})"
        faster = f"{ratio['ours_times_its_cpu_speed']:.2f} ×"
        lines.append(f"| {who} | {words['pairs'].format(run['micro_batch'])} | {cost} | {faster} | {memory} |")
    return "\n".join(lines)


def update(path: Path, mark: str, text: str, check: bool) -> bool:
    """Whether the file's part of that mark is other than `text`; puts it there unless `check`."""
    begin, end = f"<!-- {mark}: python benchmarks/readme_results.py -->", f"<!-- /{mark} -->"
    before, rest = path.read_text(encoding="utf-8").split(begin)
    old, after = rest.split(end)
    new = f"\n{text}\n"
    if new != old and not check:
        with whole_file(path) as stream:
            stream.write(before + begin + new + end + after)
    return new != old


if __name__ == "__main__":
    sys.exit(main())
