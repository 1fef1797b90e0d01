"""The READMEs' block on preference data: a million rows, the fuzz, duplicates and twins."""

from pathlib import Path
from typing import Any

from run_folder import read_json

WORDS = {
    "README.md": {
        "million": (
            "`inspect_pairs` on made rows of about {size:.0f} bytes ({form}; six in a hundred broken in known ways, each counted "
            "right): {runs}. From {few:,} to {many:,} rows memory grows by {growth:.0f} MB, {row} bytes a row."
        ),
        "run": "{rows:,} rows {rate:,.0f} rows/s, peak {peak:.0f} MB",
        "fuzz": (
            "Fuzz: {cases:,} malformed or hostile files of {classes} kinds (cut, damaged and wrongly encoded files, bombs, deep "
            "nesting, huge fields, wrong types, control tokens) through the real loading: {failures} failures; rows read were "
            "rows kept and rows dropped by reason in every one."
        ),
        "near": (
            "Near duplicates (Jaccard index of token pairs, 0.8): of made pairs at {jaccard:.2f} {found:.1%} found. Possible twins in "
            "Chinese and English: {right} of {pairs} known ones found, {wrong} wrong, among {strangers:,} strangers (READMEs, "
            "HumanEval, the demo's answers; the threshold was chosen on these sets)."
        ),
    },
    "README_zh.md": {
        "million": (
            "`inspect_pairs` 处理生成的数据，每行约 {size:.0f} 字节（{form}；每百行有六行以已知方式损坏，计数全部正确）：{runs}。"
            "从 {few:,} 行到 {many:,} 行，内存增加 {growth:.0f} MB，即每行 {row} 字节。"
        ),
        "run": "{rows:,} 行时每秒 {rate:,.0f} 行，内存峰值 {peak:.0f} MB",
        "fuzz": (
            "模糊测试：{cases:,} 个残缺或恶意的文件，共 {classes} 类（截断、损坏、编码错误、压缩炸弹、深层嵌套、超大字段、类型错误、控制词元），"
            "全部经过真实的读取流程：失败 {failures} 次；每一次读入的行数都等于保留的行数加上按原因丢弃的行数。"
        ),
        "near": (
            "近似重复（词元二元组的 Jaccard 系数，0.8）：系数为 {jaccard:.2f} 的人造数据找到 {found:.1%}。可能互为中英译文的数据：已知的 {pairs} 对"
            "找到 {right} 对，误判 {wrong} 对，混在 {strangers:,} 条无关数据之中（两份 README、HumanEval、演示数据的回答；阈值即在这些数据上选定）。"
        ),
    },
}


def data_text(name: str, results: Path) -> str:
    """The block of one README, from the files in `results`."""
    words = WORDS[name]
    million, fuzz = read_json(results / "pairs_million.json"), read_json(results / "pairs_fuzz.json")
    near = read_json(results / "pairs_duplicates.json")
    return "\n\n".join((million_text(million, words), fuzz_text(fuzz, words["fuzz"]), near_text(near, words["near"])))


def million_text(record: dict[str, Any], words: dict[str, str]) -> str:
    first, *_, last = record["runs"]
    runs = [
        words["run"].format(rows=run["rows"], rate=run["rows_per_second"], peak=run["peak_memory_bytes"] / 1e6)
        for run in record["runs"]
    ]
    growth = last["peak_memory_bytes"] - first["peak_memory_bytes"]
    size = last["file_bytes"] / last["rows"]
    between = {"few": first["rows"], "many": last["rows"], "growth": growth / 1e6, "row": record["bytes_a_row_more"]}
    return words["million"].format(size=size, form=record["form"], runs="; ".join(runs), **between)


def fuzz_text(record: dict[str, Any], words: str) -> str:
    return words.format(cases=record["cases"], classes=len(record["by_kind"]), failures=record["failed"])


def near_text(record: dict[str, Any], words: str) -> str:
    near = next(
        point
        for point in record["near_duplicates"]["recall"]
        if point["jaccard"] >= record["near_duplicates"]["threshold"]
    )
    twins = record["twins"]
    at = [
        next(one for one in group["by_threshold"] if one["least"] == twins["least"]) for group in twins["sets"].values()
    ]
    return words.format(
        jaccard=near["jaccard"],
        found=near["found"],
        right=sum(one["right"] for one in at),
        wrong=sum(one["wrong"] for one in at),
        pairs=sum(group["pairs"] for group in twins["sets"].values()),
        strangers=twins["strangers"],
    )
