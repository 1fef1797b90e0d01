"""Let a model judge base against tuned: python -m eval.judge DIR --judge URL#MODEL [--suite NAME …]

DIR is an eval folder with answers of both. Each prompt's two answers (the first sample of each model) are shown in both orders to
the model MODEL of an OpenAI-compatible endpoint; a win counts only where both orders agree. Writes DIR/judge.json. The replies are
kept in DIR/judge.jsonl: a killed run continues with the same command, and a repeated one asks nothing.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from command import CommandParser, UserError, run_command
from eval.arguments import positive
from eval.endpoint import KEY_VARIABLE, UNVERIFIED, Endpoint, EndpointEngine, RequestError, parse_endpoint
from eval.generation import GENERATIONS, appending, is_whole, read_rows
from eval.sides import SIDES
from eval.verdicts import VERSION, Judged, Pair, judge_prompt, prompt_sha256, read_verdict, summary
from run_folder import file_sha256, held, read_json, write_json

REPLIES, RECORD = "judge.jsonl", "judge.json"
DEFAULT_SUITES = ("writing", "chat")
Question = tuple[Pair, str, str]  # the pair, who is answer A, the key under which the reply is kept


def build_parser() -> CommandParser:
    """The command line."""
    parser = CommandParser(prog="python -m eval.judge", description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path, help="eval folder with base/ and tuned/, such as runs/NAME/eval")
    parser.add_argument("--judge", required=True, metavar="URL#MODEL", help="such as http://localhost:8000/v1#NAME")
    parser.add_argument(
        "--suite", nargs="+", action="extend", metavar="NAME", help=f"default: {', '.join(DEFAULT_SUITES)}"
    )
    parser.add_argument("--concurrency", type=positive, default=8, metavar="N", help="requests at once (default 8)")
    parser.add_argument("--max-new-tokens", type=positive, default=1024, metavar="N", help="of a reply (default 1024)")
    parser.add_argument(
        "--key-variable",
        default=KEY_VARIABLE,
        metavar="NAME",
        help=f"environment variable with the key, which is sent to URL (default {KEY_VARIABLE})",
    )
    return parser


def judge_folder(
    folder: Path,
    url: str,
    model: str,
    suites: Sequence[str] = DEFAULT_SUITES,
    concurrency: int = 8,
    key_variable: str = KEY_VARIABLE,
    max_new_tokens: int = 1024,
) -> dict[str, Any]:
    """Ask what is not yet known, write judge.json, return it. No request is made where every reply is known."""
    pairs, judge = stored_pairs(folder, suites), Endpoint(url, model)
    questions = [(pair, first, _key(judge, max_new_tokens, pair, first)) for pair in pairs for first in SIDES]
    with held(folder, "the evaluation's folder"), appending(folder / REPLIES) as stream:
        rows = read_rows(folder / REPLIES)
        known = {row["key"] for row in rows if "key" in row}
        unknown = list({question[2]: question for question in questions if question[2] not in known}.values())
        if unknown:
            engine = EndpointEngine(url, model, key_variable)
            for row in _asked(engine, unknown, concurrency, max_new_tokens):
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                stream.flush()
                rows.append(row)
    record = _record(folder, judge, questions, rows) | {"max_new_tokens": max_new_tokens}
    write_json(folder / RECORD, record)
    return record


def read_judgement(folder: Path) -> dict[str, Any] | None:
    """judge.json, or None where there is none or it speaks of other answers than those stored now."""
    if not all(path.exists() for path in (folder / RECORD, *_answers(folder).values())):
        return None
    record = read_json(folder / RECORD)
    return record if record["answers"] == _answers_sha256(folder) else None


def stored_pairs(folder: Path, suites: Sequence[str]) -> list[Pair]:
    """The first answers of base and tuned to the prompts of these suites. UserError unless both answered the same prompts."""
    rows = {side: _first_answers(folder / side / GENERATIONS, suites) for side in SIDES}
    prompts = [{key: row["prompt"] for key, row in rows[side].items()} for side in SIDES]
    if prompts[0] != prompts[1]:
        raise UserError(
            f"{folder}: base and tuned answered different prompts. Run python -m eval.run with --base again."
        )
    missing = [name for name in suites if name not in {suite for suite, _ in rows["tuned"]}]
    if missing:
        raise UserError(f"{folder} holds no answers to suite {missing[0]!r}. Run python -m eval.run with it first.")
    return [
        Pair(*key, row["language"], row["prompt"], rows["base"][key]["response"], row["response"])
        for key, row in sorted(rows["tuned"].items())
    ]


def _first_answers(path: Path, suites: Sequence[str]) -> dict[tuple[str, str], dict[str, Any]]:
    if not is_whole(path.parent):
        raise UserError(
            f"{path.parent} holds no finished answers; a judge compares two models. Run python -m eval.run with --base first."
        )
    rows = [row for row in read_rows(path) if row["suite"] in suites and row.get("sample", 0) == 0]
    return {(row["suite"], row["id"]): row for row in rows}


def _key(judge: Endpoint, max_new_tokens: int, pair: Pair, first: str) -> str:
    """Hash of all that decides a reply: who is asked, what, and how the reply is decoded (greedily, seed 0)."""
    request = [*judge, {"max_tokens": max_new_tokens, "temperature": 0, "seed": 0}, judge_prompt(pair, first)]
    return hashlib.sha256(json.dumps(request, ensure_ascii=False).encode()).hexdigest()


def _asked(
    engine: EndpointEngine, questions: Sequence[Question], concurrency: int, max_new_tokens: int
) -> Iterator[dict[str, Any]]:
    """The rows to keep: what the endpoint says of itself, then a reply each."""
    yield {"identity": engine.identity()}
    conversations = [[{"role": "user", "content": judge_prompt(pair, first)}] for pair, first, _ in questions]
    answers = engine.generate(conversations, max_new_tokens=max_new_tokens, batch_size=concurrency)
    try:
        for answer in tqdm(answers, desc="judge", total=len(questions), unit="reply"):
            pair, first, key = questions[answer.index]
            asked = {"key": key, "suite": pair.suite, "id": pair.id, "a": first}
            said = {"reply": answer.text, "finish_reason": answer.finish_reason, "tokens": answer.tokens}
            yield {**asked, **said, "served": answer.served}
    except RequestError as error:
        pair = questions[error.index][0]
        raise UserError(f"judging {pair.suite} {pair.id}: {error.reason}") from None


def _record(
    folder: Path, judge: Endpoint, questions: Sequence[Question], rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    replies = {row["key"]: row for row in rows if "key" in row}
    judged = [
        Judged(base_first[0], tuple(_verdict(replies[question[2]]) for question in (base_first, tuned_first)))
        for base_first, tuned_first in zip(questions[::2], questions[1::2], strict=True)
    ]
    suites = list(dict.fromkeys(one.pair.suite for one in judged))
    return {
        "judge": _identity(judge, rows, [replies[key] for *_, key in questions]),
        "prompt": {"version": VERSION, "sha256": prompt_sha256()},
        "answers": _answers_sha256(folder),
        "truncated": {side: _truncated(folder / side / GENERATIONS, suites) for side in SIDES},
        "all": summary(judged),
        "suites": {name: summary([one for one in judged if one.pair.suite == name]) for name in suites},
        "items": [
            {"suite": one.pair.suite, "id": one.pair.id, "outcome": one.outcome, "verdicts": list(one.verdicts)}
            for one in judged
        ],
    }


def _verdict(row: dict[str, Any]) -> str | None:
    return read_verdict(row["reply"], row["finish_reason"])


def _identity(judge: Endpoint, rows: Sequence[dict[str, Any]], replies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Who judged. More than one entry in `reported` or `served`: the endpoint has changed between the replies."""
    told = [row["identity"] for row in rows if "identity" in row]
    reported = [one["reported"] for one in told if one["endpoint"] == "#".join(judge)]
    return {
        "model": judge.model,
        "name": judge.model,
        "kind": "endpoint",
        "endpoint": "#".join(judge),
        "reported": [one for place, one in enumerate(reported) if one not in reported[:place]],
        "served": sorted({row["served"] for row in replies if row["served"]}),
        "note": UNVERIFIED,
    }


def _answers_sha256(folder: Path) -> dict[str, str]:
    return {side: file_sha256(path) for side, path in _answers(folder).items()}


def _answers(folder: Path) -> dict[str, Path]:
    return {side: folder / side / GENERATIONS for side in SIDES}


def _truncated(path: Path, suites: Sequence[str]) -> int:
    """How many of the judged answers the token limit cut."""
    return sum(row["finish_reason"] == "length" for row in _first_answers(path, suites).values())


def groups_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The numbers by suite, and over all of them where there are several."""
    return record["suites"] if len(record["suites"]) == 1 else {**record["suites"], "all": record["all"]}


def judgement_text(record: dict[str, Any]) -> str:
    """The numbers for a terminal, a paragraph per suite."""
    cut = record["truncated"]
    head = f"Judge {record['judge']['endpoint']} ({UNVERIFIED}); "
    head += f"prompt version {record['prompt']['version']}; cut by the token limit: base {cut['base']}, tuned {cut['tuned']}"
    return "\n".join([head, *(_group_text(name, group) for name, group in groups_of(record).items())])


def _group_text(name: str, group: dict[str, Any]) -> str:
    counts = ", ".join(f"{word.replace('_', ' ')} {group[word]}" for word in ("tuned_wins", "base_wins", "ties"))
    apart = f"inconsistent {group['inconsistent']}, unparsed {group['unparsed']}"
    return "\n  ".join(
        [
            f"{name}: n {group['n']}: {counts}; {apart}",
            f"win rate {measure_text(group['win_rate'])}",
            f"first answer chosen {measure_text(group['position_bias'])} (0.5: no bias)",
            f"length correlation {measure_text(group['length_correlation'])}. {group['length_controlled']['remark']}",
        ]
    )


def measure_text(measure: dict[str, Any]) -> str:
    """Value, interval and n, or why there is none."""
    if measure["value"] is None:
        return f"not measured ({measure['reason']})"
    interval = f" [{measure['low']:.2f}, {measure['high']:.2f}]" if "low" in measure else ""
    return f"{measure['value']:.2f}{interval}, n {measure['n']}"


def main(argv: list[str] | None = None) -> int:
    """Judge, write, print the numbers."""
    options = build_parser().parse_args(argv)
    url, model = parse_endpoint(options.judge)
    suites = list(dict.fromkeys(options.suite or DEFAULT_SUITES))
    limits = (options.concurrency, options.key_variable, options.max_new_tokens)
    record = judge_folder(options.dir, url, model, suites, *limits)
    print(judgement_text(record))
    return 0


if __name__ == "__main__":
    run_command(main)
