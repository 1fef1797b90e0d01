"""Write the measured figures into README.md and README_zh.md, between their `results` marks.

    python benchmarks/readme_results.py [--check]

Reads benchmarks/results/ (written by benchmarks/fresh_clone.py). With --check it changes nothing and says whether the
READMEs hold exactly these figures (exit status 1 if not).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from eval.report import markdown  # noqa: E402  (the repository root has to be on the path first)
from run_folder import read_json, whole_file  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: python benchmarks/readme_results.py -->", "<!-- /results -->"
WORDS = {
    "README.md": (
        "Measured in a fresh clone on {cores} cores ({cpu}): `./reproduce.sh` {first:.1f} minutes with the installation, of "
        "which training took {train:.1f} and scoring both models {score:.1f}; peak memory {peak:.1f} GB. A second call, which "
        "reuses everything: {again:.0f} seconds. `./test.sh`: {tests:.1f} minutes."
    ),
    "README_zh.md": (
        "在全新克隆的仓库中、{cores} 个核心（{cpu}）上实测：`./reproduce.sh` 连同安装共 {first:.1f} 分钟，其中训练 {train:.1f} 分钟、"
        "评测两个模型 {score:.1f} 分钟；内存峰值 {peak:.1f} GB。再次运行会复用已有结果，只需 {again:.0f} 秒。`./test.sh`：{tests:.1f} 分钟。"
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [name for name in WORDS if update(ROOT / name, results_text(name), check)]
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
        "first": first["seconds"] / 60,
        "again": again["seconds"],
        "tests": tests["seconds"] / 60,
        "peak": first["peak_memory_bytes"] / 1e9,
        "train": training["seconds"] / 60,
        "score": sum(comparison["seconds"].values()) / 60,
    }


def update(path: Path, text: str, check: bool) -> bool:
    """Whether the file's marked part is other than `text`; puts it there unless `check`."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    old, after = rest.split(END)
    new = f"\n{text}\n"
    if new != old and not check:
        with whole_file(path) as stream:
            stream.write(before + BEGIN + new + END + after)
    return new != old


if __name__ == "__main__":
    sys.exit(main())
