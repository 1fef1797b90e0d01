"""Does an answer end by itself? Every prompt of the eval suites, answered by llama.cpp from each exported file and by transformers.

python -m benchmarks.gguf_stops MODEL GGUF_DIR [--limit N] [--most TOKENS]

MODEL is the folder that GGUF_DIR was exported from. llama.cpp (its own server, out of the package xllamacpp) is told no stop and
no sampling but temperature 0 where the answer is greedy: it has the file alone. Prompts go in as our token ids; that its own chat
endpoint makes the same ids of them with the file's template is checked for each. Answers are kept in --work, so the same command
goes on where it was stopped. Writes benchmarks/results/gguf_stops.json; status 1 if an answer goes on after a stop token or shows
a control token.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tqdm import tqdm

from command import UserError, WorkError, run_command
from eval.scorers.refusal import LOOP
from eval.scorers.text_quality import repetition
from eval.suites import Item, load_suite, suite_names
from inference.chat_format import encode_chat
from inference.loading import load_tokenizer, resolve
from inference.rules import GREEDY, Rules, read_rules
from inference.runtime import open_engine
from run_folder import read_json, write_json

RESULT = Path(__file__).parent / "results" / "gguf_stops.json"
SLOTS = 16  # answers at once
CHATS = 8  # prompts that the chat endpoint answers, too
MODES = ("greedy", "own")  # own: the release's sampling


@dataclass(frozen=True)
class Told:
    """One answer. `ended`: by a stop token; `inside`: how many stop tokens stand before its end."""

    maker: str
    mode: str
    id: str
    language: str
    text: str
    tokens: int
    ended: bool
    inside: int


def main() -> int:
    """Answer what is not answered yet, count, write, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gguf_stops", description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("gguf", metavar="GGUF_DIR", type=Path)
    parser.add_argument("--limit", type=int, help="prompts of each language in each suite (default: all)")
    parser.add_argument("--most", type=int, default=1024, help="tokens of an answer (default 1024)")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "gguf_stops", help="keeps the answers"
    )
    parser.add_argument("--threads", type=int, default=2, help="of llama.cpp (default 2; 1 on a busy machine)")
    options = parser.parse_args()
    source, export = resolve(options.model), read_json(options.gguf / "export.json")
    if source.kind != "folder":
        raise UserError(f"MODEL {options.model} must be a folder.")
    tokenizer = load_tokenizer(source)
    rules, items = read_rules(source, tokenizer), prompts(options.limit)
    files = {entry["type"]: options.gguf / file for file, entry in export["files"].items()}
    options.work.mkdir(parents=True, exist_ok=True)
    store = Store(options.work / f"{export['name']}-{export['source']['sha256'][:12]}-{options.most}.jsonl")
    chats = {}
    for kind, path in files.items():
        with llama_cpp(path, options.most + longest(tokenizer, items), options.threads) as ask:
            chats[kind] = through_chat(ask, tokenizer, items, options.most)
            for mode in MODES:
                left = store.missing(kind, mode, items)
                store.add(by_llama_cpp(ask, kind, mode, left, tokenizer, rules, options.most), len(left))
    engine = open_engine(source, dtype="float32")
    for mode in MODES:
        left = store.missing("transformers", mode, items)
        store.add(by_transformers(engine, mode, left, rules, options.most), len(left))
    control = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    record = {
        "model": export["name"],
        "model_sha256": export["source"]["sha256"],
        "prompts": len(items),
        "most": options.most,
        "sampling": asdict(rules.sampling),
        "chat_endpoint": chats,
        "answers": table(store.of(items), control),
    }
    write_json(RESULT, record)
    print(json.dumps(record, indent=1))
    wrong = [
        kind for kind, modes in record["answers"].items() for one in modes.values() if one["went_on"] + one["control"]
    ]
    if wrong:
        raise WorkError(
            f"answers of {', '.join(dict.fromkeys(wrong))} go on after a stop token or show a control token"
        )
    return 0


class Store:
    """Answers in a JSONL file, a line each as it comes; a line that was cut off is dropped."""

    def __init__(self, path: Path):
        self.path = path
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0] if path.is_file() else ""
        path.write_text(whole + "\n" if whole else "", encoding="utf-8")
        rows = [Told(**json.loads(line)) for line in whole.splitlines()]
        self.known = {(row.maker, row.mode, row.id): row for row in rows}

    def missing(self, maker: str, mode: str, items: list[Item]) -> list[Item]:
        """What this maker has not answered."""
        return [item for item in items if (maker, mode, item.id) not in self.known]

    def add(self, answers: Iterator[Told], count: int) -> None:
        """Keep `count` answers as they come."""
        with self.path.open("a", encoding="utf-8") as stream:
            for row in tqdm(answers, total=count, disable=not count):
                self.known[row.maker, row.mode, row.id] = row
                stream.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
                stream.flush()

    def of(self, items: list[Item]) -> list[Told]:
        """The answers to these prompts."""
        wanted = {item.id for item in items}
        return [row for row in self.known.values() if row.id in wanted]


def prompts(limit: int | None) -> list[Item]:
    """Every prompt of our suites that is answered."""
    suites = [load_suite(name, limit) for name in suite_names()]
    return [item for suite in suites if suite.max_new_tokens for item in suite.items]


def chat(item: Item) -> list[dict[str, str]]:
    """The prompt as a conversation."""
    return [{"role": "user", "content": item.prompt}]


def longest(tokenizer: Any, items: list[Item]) -> int:
    """Tokens of the longest prompt."""
    return max(len(encode_chat(tokenizer, chat(item))) for item in items)


@contextmanager
def llama_cpp(path: Path, tokens: int, threads: int) -> Iterator[Callable[[str, dict], dict]]:
    """A function that asks llama.cpp's server; each of its slots has room for `tokens`."""
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path, params.port, params.verbosity = str(path), 0, 1
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * (-(-(tokens + 8) // 256) * 256)  # llama.cpp's pages
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = Server(params)
    address = server.listening_address

    def ask(place: str, body: dict) -> dict:
        with urlopen(Request(address + place, json.dumps(body).encode())) as reply:
            return json.load(reply)

    yield ask
    del server  # which stops it


def through_chat(ask: Callable, tokenizer: Any, items: list[Item], most: int) -> dict[str, int]:
    """How many prompts the file's own template turns into other tokens than ours, and how some answers ended there."""
    different = 0
    for item in items:
        text = ask("/apply-template", {"messages": chat(item)})["prompt"]
        ids = ask("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
        different += ids != encode_chat(tokenizer, chat(item))
    some = items[:: max(1, len(items) // CHATS)][:CHATS]
    body = {"max_tokens": most, "temperature": 0}
    with ThreadPoolExecutor(CHATS) as pool:
        answers = pool.map(lambda item: ask("/v1/chat/completions", {"messages": chat(item), **body}), some)
        reasons = [answer["choices"][0]["finish_reason"] for answer in answers]
    return {"prompts": len(items), "different": different, "asked": len(some), "ended": reasons.count("stop")}


def by_llama_cpp(
    ask: Callable, kind: str, mode: str, items: list[Item], tokenizer: Any, rules: Rules, most: int
) -> Iterator[Told]:
    """Answers as they come, SLOTS at a time; the seed is the prompt's place."""
    drawn = {"temperature": 0} if mode == "greedy" else {}

    def answer(item: Item, seed: int) -> Told:
        body = {"prompt": encode_chat(tokenizer, chat(item)), "n_predict": most, "return_tokens": True, "seed": seed}
        got = ask("/completion", {**body, "cache_prompt": False, **drawn})
        ended, ids = got["stop_type"] == "eos", got["tokens"]
        inside = sum(token in rules.stop_ids for token in (ids[:-1] if ended else ids))
        return Told(kind, mode, item.id, item.language, got["content"], got["tokens_predicted"], ended, inside)

    with ThreadPoolExecutor(SLOTS) as pool:
        work = [pool.submit(answer, item, place) for place, item in enumerate(items)]
        yield from (one.result() for one in as_completed(work))


def by_transformers(engine: Any, mode: str, items: list[Item], rules: Rules, most: int) -> Iterator[Told]:
    """The same of our engine over transformers."""
    sampling = GREEDY if mode == "greedy" else rules.sampling
    chats = [chat(item) for item in items]
    for answer in engine.generate(chats, max_new_tokens=most, sampling=sampling, batch_size=SLOTS) if items else ():
        item, ended = items[answer.index], answer.finish_reason == "stop"
        inside = sum(token in rules.stop_ids for token in answer.token_ids)
        yield Told("transformers", mode, item.id, item.language, answer.text, answer.tokens, ended, inside)


def table(answers: list[Told], control: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Maker → mode → how many answers there are, ended by a stop token, ran to the limit, of these are a loop; `went_on`
    after a stop token; show a `control` token's text."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for row in answers:
        names = ("answers", "tokens", "ended", "limit", "loops", "went_on", "control")
        counts = found.setdefault(row.maker, {}).setdefault(row.mode, dict.fromkeys(names, 0))
        counts["answers"] += 1
        counts["tokens"] += row.tokens
        counts["ended" if row.ended else "limit"] += 1
        counts["loops"] += not row.ended and (repetition(row.text, row.language) or 0) >= LOOP
        counts["went_on"] += row.inside > 0
        counts["control"] += any(text in row.text for text in control)
    return found


if __name__ == "__main__":
    run_command(main)
