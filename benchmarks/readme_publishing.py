"""The READMEs' block on publishing: the demo pushed to a Hub on loopback, the fault table."""

from pathlib import Path

from run_folder import read_json

WORDS = {
    "README.md": {
        "demo": (
            "The demo's release pushed to a Hub on loopback (code of commit {commit}) with `--gguf --space --collection`: {files} files, "
            "every file read back by SHA-256, logits equal bit for bit; {seconds:.0f} s, and {again:.0f} s and no commit for the same "
            "command again. On a machine with an empty home `from_pretrained` and `inference.chat` then answer from it."
        ),
        "faults": (
            "Faults: {scenarios:,} of {planned:,} planned scenarios were played (refusals, lost answers, drops, stalls, slow links, kill -9 "
            "and Ctrl-C at each request of a push, a full disk, two publishers at once, pairs of them); after each, main held the "
            "whole old or the whole new release, and the same command completed it; exceptions: {wrong}. Most commits of one "
            "release: {most}; tokens shown: {tokens}."
        ),
    },
    "README_zh.md": {
        "demo": (
            "演示的发布（代码为提交 {commit}）以 `--gguf --space --collection` 推送到本机回环上的 Hub：{files} 个文件逐个按 SHA-256 读回核对，logits 逐位相同；"
            "耗时 {seconds:.0f} 秒，再次运行同一命令 {again:.0f} 秒，不产生提交。随后在主目录为空的机器上，`from_pretrained` 和 `inference.chat` "
            "都能用它作答。"
        ),
        "faults": (
            "故障：{planned:,} 个计划场景中运行了 {scenarios:,} 个（在推送的每个请求处拒绝、丢失应答、断开、停滞、慢速链路、kill -9 与 Ctrl-C，"
            "磁盘写满，两人同时发布，以及两两组合）；每次之后 main 都是完整的旧发布或完整的新发布，同一命令可把它做完：例外 {wrong} 次。"
            "同一发布的提交最多 {most} 个；令牌泄露 {tokens} 次。"
        ),
    },
}


def publishing_text(name: str, results: Path) -> str:
    """The block of one README, from the files in `results`."""
    words = WORDS[name]
    return "\n\n".join((demo(words["demo"], results), faults(words["faults"], results)))


def demo(words: str, results: Path) -> str:
    record = read_json(results / "publish_demo.json")
    *_, first, again = record["commands"]
    files = sum(repository["files"] for repository in record["hub"]["repositories"].values())
    return words.format(commit=record["commit"][:7], files=files, seconds=first["seconds"], again=again["seconds"])


def faults(words: str, results: Path) -> str:
    record = read_json(results / "publishing_faults.json")
    most, tokens = record["most_commits_of_a_release"], record["tokens_in_output"]
    return words.format(
        scenarios=record["scenarios"], planned=record["planned"], wrong=record["wrong"], most=most, tokens=tokens
    )
