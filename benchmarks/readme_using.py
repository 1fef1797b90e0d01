"""The READMEs' block on using a model: parity of the prompts, GGUF in llama.cpp, stops, speed, servers, the first token."""

from pathlib import Path
from typing import Any

from run_folder import read_json

ENCODERS = ("training", "encode_chat", "transformers", "llama_cpp", "ollama")
MAKERS = ("transformers", "f16", "q8_0", "q4_0")
WORDS = {
    "README.md": {
        "parity": (
            "Prompts: {conversations} conversations (system, several turns, Chinese, emoji, blanks, control tokens typed by the user), encoded by "
            "each program; the cell counts those with the same token ids. Where a control token was typed, each program "
            "got it shielded as ours does, so that template and tokenizer are compared; unshielded, {unshielded} read it as a control token."
        ),
        "parity_head": (
            "model",
            "training's encoder",
            "ours (chat, generate, demo, eval)",
            "transformers",
            "llama.cpp",
            "Ollama's template (by Go)",
        ),
        "refused": "{equal} (+{refused} refused)",
        "differences": "What differs: {}",
        "gguf": (
            "GGUF in llama.cpp {version}: {encodings} of {encodings_all} encodings equal transformers'. Greedy answers of {most} tokens to {prompts} "
            "prompts, token for token: f16 {half} of {prompts} equal to transformers on the same half-precision numbers (largest "
            "difference of a logit {gap:.1e}; tolerance 1e-3), {exact} of {prompts} to transformers on the exact weights. "
            "Perplexity on {tokens:,} tokens:"
        ),
        "gguf_head": ("weights", "perplexity", "greedy answers equal to transformers'"),
        "stops": (
            "Answers that end by themselves, of {prompts} prompts of the suites (at most {most} tokens): in llama.cpp from the file "
            "alone, without a stop told; after a stop token {went_on} answers went on, {control} show a control token."
        ),
        "stops_head": ("", "greedy", "the release's own sampling"),
        "ended": "{ended} of {answers} ({loops} of the others repeat themselves)",
        "memory": (
            "Exporting true Llama 3 8B shapes ({weights:.1f} GB of random bfloat16 weights, Llama 3's own tokenizer) to {types} peaks at {peak:.2f} GB of "
            "memory; llama.cpp opens each and answers."
        ),
        "speed": "The same {prompts} prompts, greedy, at most {most} tokens each, {threads} threads, float32 but for llama.cpp; tokens a second of the answers:",
        "speed_head": (
            "program",
            "tokens/s",
            "× ours one by one",
            "× pipeline one by one",
            "answers equal to ours",
            "peak MB",
        ),
        "invariance": (
            "The same answers whatever the batch: {answers} answers in batches of {sizes}, other neighbours and order, greedy and at temperature 1: "
            "{equal} equal token for token ({tokens:,} tokens); {alone} tokens were near-ties and chosen by a forward of their row alone, {share:.1%} of the time."
        ),
        "first": (
            "First characters of an answer, from the start of the process (median of {rounds}): `inference.chat` {chat:.1f} s, plain transformers {plain:.1f} s "
            "(ratio of processor time {ratio:.2f})"
        ),
        "first_gguf": "; a q8_0 file in `inference.chat` {chat:.1f} s, plain llama.cpp {plain:.1f} s",
        "serving": "`inference.serve` asked by OpenAI's client, {prompts} prompts of {most} tokens at most, tokens/s (median seconds to the first token):",
        "clients": "{} client(s)",
        "server": "server",
    },
    "README_zh.md": {
        "parity": (
            "提示词：{conversations} 个对话（系统消息、多轮、中文、表情符号、空白、用户输入的控制标记）分别由各程序编码，表中是词元 id 完全相同的个数。"
            "用户输入了控制标记的，各程序都先按我们的方式加以保护，因此比较的是模板和分词器；不加保护时，{unshielded}会把它读成控制标记。"
        ),
        "parity_head": (
            "模型",
            "训练的编码器",
            "我们的（chat、generate、demo、eval）",
            "transformers",
            "llama.cpp",
            "Ollama 模板（由 Go 渲染）",
        ),
        "refused": "{equal}（另拒绝 {refused}）",
        "differences": "差异：{}",
        "gguf": (
            "llama.cpp {version} 中的 GGUF：{encodings_all} 次编码中 {encodings} 次与 transformers 相同。对 {prompts} 个提示词各贪心生成 {most} 个词元并逐个比较："
            "f16 与使用相同半精度数值的 transformers 相同的有 {half} 个（共 {prompts} 个；logit 最大相差 {gap:.1e}，容许 1e-3），与精确权重的 transformers 相同的有 {exact} 个。"
            "在 {tokens:,} 个词元上的困惑度："
        ),
        "gguf_head": ("权重", "困惑度", "与 transformers 相同的贪心回答"),
        "stops": (
            "自行结束的回答（评测集中的 {prompts} 个提示词，最多 {most} 个词元）：llama.cpp 只有文件本身，没有另外告诉它停止标记；"
            "停止标记之后仍继续的回答 {went_on} 个，显示出控制标记的 {control} 个。"
        ),
        "stops_head": ("", "贪心", "发布自带的采样"),
        "ended": "{answers} 个中 {ended} 个（其余有 {loops} 个是自我重复）",
        "memory": (
            "把真实的 Llama 3 8B 形状（{weights:.1f} GB 随机 bfloat16 权重，Llama 3 自己的分词器）导出为 {types}，内存峰值 {peak:.2f} GB；"
            "llama.cpp 能打开每个文件并作答。"
        ),
        "speed": "相同的 {prompts} 个提示词，贪心，每个最多 {most} 个词元，{threads} 个线程，除 llama.cpp 外均为 float32；每秒生成的词元数：",
        "speed_head": ("程序", "词元/秒", "相对我们逐个生成", "相对 pipeline 逐个生成", "与我们相同的回答", "峰值 MB"),
        "invariance": (
            "批大小不影响回答：{answers} 个回答分别以 {sizes} 为一批，邻居和顺序各不相同，贪心和温度 1 都有：{equal} 个逐词元相同（{tokens:,} 个词元）；"
            "{alone} 个词元几乎打平，改由该行单独前向计算决定，占时间的 {share:.1%}。"
        ),
        "first": (
            "从进程启动到回答的第一批字符（{rounds} 次的中位数）：`inference.chat` {chat:.1f} 秒，单用 transformers {plain:.1f} 秒（处理器时间之比 {ratio:.2f}）"
        ),
        "first_gguf": "；`inference.chat` 用 q8_0 文件 {chat:.1f} 秒，单用 llama.cpp {plain:.1f} 秒",
        "serving": "用 OpenAI 的客户端访问 `inference.serve`，{prompts} 个提示词，每个最多 {most} 个词元；词元/秒（首个词元的中位秒数）：",
        "clients": "{} 个客户端",
        "server": "服务器",
    },
}


def using_text(name: str, results: Path) -> str:
    """The block of one README, from the files in `results`."""
    words = WORDS[name]
    parts = (parity, gguf, stops, memory, speed, invariance, first_token, serving)
    end = "。" if name.endswith("_zh.md") else "."
    return "\n\n".join(part(words, results, end) for part in parts)


def table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parity(words: dict[str, Any], results: Path, end: str) -> str:
    record = read_json(results / "template_parity.json")
    rows = []
    for model, found in record["models"].items():
        cells = [found["encoders"][encoder] for encoder in ENCODERS]
        rows.append([model, *(words["refused"].format(**c) if c["refused"] else str(c["equal"]) for c in cells)])
    read = [found["unshielded"] for found in record["models"].values()]
    programs = [name for name in read[0] if all(one.get(name) == "control token" for one in read if name in one)]
    told = words["parity"].format(conversations=record["conversations"], unshielded=", ".join(programs))
    why = " ".join(f"{name}: {record['differences'][name]}" for name in record["differences"])
    return "\n\n".join((told, table(words["parity_head"], rows), words["differences"].format(why)))


def gguf(words: dict[str, Any], results: Path, end: str) -> str:
    record = read_json(results / "gguf_llama_cpp.json")
    encoded, prompts = record["tokenization"], record["prompts"]
    half, exact = (record["f16"]["against"][name] for name in ("half_weights", "exact"))
    told = words["gguf"].format(
        version=record["f16"]["llama_cpp"],
        encodings=encoded["encodings"] - encoded["different"],
        encodings_all=encoded["encodings"],
        most=record["most"],
        prompts=prompts,
        half=half["equal_greedy_answers"],
        exact=exact["equal_greedy_answers"],
        gap=half["largest_logit_difference"],
        tokens=record["perplexity_tokens"],
    )
    rows = [
        [
            kind,
            f"{record[kind]['perplexity']:.2f}",
            f"{record[kind]['against']['exact']['equal_greedy_answers']} / {prompts}",
        ]
        for kind in MAKERS[1:]
    ]
    own = ["transformers, float32", f"{record['transformers']['perplexity']:.2f}", ""]
    return f"{told}\n\n{table(words['gguf_head'], [own, *rows])}"


def stops(words: dict[str, Any], results: Path, end: str) -> str:
    record = read_json(results / "gguf_stops.json")
    answers = record["answers"]
    every = [one for modes in answers.values() for one in modes.values()]
    told = words["stops"].format(
        prompts=record["prompts"],
        most=record["most"],
        went_on=sum(one["went_on"] for one in every),
        control=sum(one["control"] for one in every),
    )
    rows = [
        [
            maker if maker == "transformers" else f"llama.cpp {maker}",
            *(words["ended"].format(**answers[maker][mode]) for mode in ("greedy", "own")),
        ]
        for maker in MAKERS
    ]
    return f"{told}\n\n{table(words['stops_head'], rows)}"


def memory(words: dict[str, Any], results: Path, end: str) -> str:
    record = read_json(results / "gguf_memory.json")["8b"]
    peak = max(one["peak_rss_bytes"] for one in record["types"].values())
    return words["memory"].format(
        weights=record["weights_bytes"] / 1e9, types=", ".join(record["types"]), peak=peak / 1e9
    )


def speed(words: dict[str, Any], results: Path, end: str) -> str:
    record = read_json(results / "generate_speed.json")
    told = words["speed"].format(prompts=record["prompts"], most=record["max_new_tokens"], threads=record["threads"])
    rows = [
        [
            name,
            f"{one['tokens_per_second']:.0f}",
            f"{one['times_ours_one_by_one']:.2f}",
            f"{one['times_pipeline_one_by_one']:.2f}",
            f"{one['answers_equal_to_ours']} / {record['prompts']}",
            f"{one['peak_mb']:.0f}",
        ]
        for name, one in record["programs"].items()
    ]
    return f"{told}\n\n{table(words['speed_head'], rows)}"


def invariance(words: dict[str, Any], results: Path, end: str) -> str:
    record = read_json(results / "batch_invariance.json")
    ways = [way for found in record["found"].values() for name, way in found.items() if name.startswith("batch")]
    sizes = [name.removeprefix("batch ") for name in next(iter(record["found"].values())) if name.startswith("batch")]
    return words["invariance"].format(
        sizes=", ".join(sizes),
        answers=sum(way["answers"] for way in ways),
        equal=sum(way["answers_equal"] for way in ways),
        tokens=sum(way["tokens"] for way in ways),
        alone=sum(way["chosen_alone"] for way in ways),
        share=max(way["share_of_processor_time"] for way in ways),
    )


def first_token(words: dict[str, Any], results: Path, end: str) -> str:
    record = read_json(results / "first_token.json")
    programs, ratios = record["programs"], record["ratios"]
    told = words["first"].format(
        rounds=record["rounds"],
        chat=programs["chat"]["seconds"],
        plain=programs["plain_transformers"]["seconds"],
        ratio=ratios["chat/plain_transformers"]["own_seconds"],
    )
    if "chat_gguf" in programs:
        told += words["first_gguf"].format(
            chat=programs["chat_gguf"]["seconds"], plain=programs["plain_llama_cpp"]["seconds"]
        )
    return told + end


def serving(words: dict[str, Any], results: Path, end: str) -> str:
    record = read_json(results / "serving.json")
    told = words["serving"].format(prompts=record["prompts"], most=record["max_tokens"])
    counts = list(next(iter(record["servers"].values()))["clients"])
    head = (words["server"], *(words["clients"].format(count) for count in counts))
    rows = [
        [
            "llama.cpp" if "llama" in one["command"] else "transformers serve",
            *(
                f"{one['clients'][count]['tokens_per_second']:.0f} ({one['clients'][count]['median_seconds_to_first_token']:.2f})"
                for count in counts
            ),
        ]
        for one in record["servers"].values()
    ]
    return f"{told}\n\n{table(head, rows)}"
