"""Suite code: every row can be solved, is solved by its reference, and tells plausible mistakes from right answers."""

import json
import re
from pathlib import Path

import pytest

from eval.scorers import Answer, code, cpp_driver
from eval.scorers.typed_values import decode, encode
from eval.suites import FOLDER, Item
from tests.conftest import ROOT
from tests.eval.needs_sandbox import needs_sandbox
from training.preferences import Pair, load_preferences
from training.preferences.overlap import NEAR, held_out
from training.preferences.text import ngrams, split_tokens

REFERENCES = Path(__file__).parent / "code_references"
ENDINGS = {"python": "py", "cpp": "cpp"}
ROWS = [json.loads(line) for line in (FOLDER / "code.jsonl").read_text(encoding="utf-8").splitlines()]
ITEMS = {
    row["check"]["function"]: Item(row["id"], row["language"], row["prompt"], "code", row["check"]) for row in ROWS
}


def reference(name):
    return (REFERENCES / f"{name}.{ENDINGS[ITEMS[name].check['language']]}").read_text(encoding="utf-8")


def solve(name, text):
    item = ITEMS[name]
    return code.score(item, Answer(f"好的,代码如下:\n\n```{item.check['language']}\n{text}```\n\n希望对你有帮助。"))


def test_size_and_languages():
    languages = [item.check["language"] for item in ITEMS.values()]
    assert len(ITEMS) == len(ROWS) == len({row["id"] for row in ROWS}) == 32
    assert languages.count("python") == 20 and languages.count("cpp") == 12
    assert sum(item.language == "zh" for item in ITEMS.values()) == 27
    assert sum(item.check["comments"] == "zh" for item in ITEMS.values()) == 28
    assert {path.name for path in REFERENCES.iterdir() if path.is_file()} == {
        f"{name}.{ENDINGS[item.check['language']]}" for name, item in ITEMS.items()
    }


@pytest.mark.parametrize("name", ITEMS)
def test_rows_are_whole(name):
    item, check = ITEMS[name], ITEMS[name].check
    assert item.id.startswith(f"code-{item.language}-{ENDINGS[check['language']]}-") and name in item.prompt
    assert (check["comments"] == "zh") == ("中文" in item.prompt or "in Chinese" in item.prompt)
    assert ("comment" in item.prompt.lower()) == (check["comments"] is not None) or item.language == "zh"
    assert len(check["cases"]) >= 6 and len({json.dumps(args) for args, _ in check["cases"]}) == len(check["cases"])
    for args, expected in check["cases"]:
        decode(args)
        if "$raises" not in str(expected):
            encode(decode(expected))
    if check["language"] == "cpp":
        cpp_driver.program("", "candidate.cpp", check)  # ValueError where an argument does not fit its type
        if "returns" in check["signature"] and check["signature"]["returns"] != "void":
            for _, expected in check["cases"]:
                cpp_driver.literal(cpp_driver.parse_type(check["signature"]["returns"]), expected)


def test_prompts_are_apart_from_each_other_the_other_suites_and_the_training_pairs():
    others = [row.get("prompt") or row["text"] for path in FOLDER.glob("*.jsonl") if path.name != "code.jsonl" for row in map(json.loads, path.open(encoding="utf-8"))]  # fmt: skip
    copied = Pair(({"role": "user", "content": ROWS[0]["prompt"]},), "a", "b", "")
    assert held_out(FOLDER).overlap(copied), "the check itself works"
    pairs = load_preferences([{"path": str(ROOT / "training" / "data" / "demo_pairs.jsonl")}])
    assert "overlaps an eval suite" not in pairs.dropped
    prompts = [frozenset(ngrams(split_tokens(row["prompt"]), 2)) for row in ROWS]
    for i, prompt in enumerate(prompts):
        rest = prompts[:i] + prompts[i + 1 :] + [frozenset(ngrams(split_tokens(text), 2)) for text in others]
        assert max(len(prompt & other) / len(prompt | other) for other in rest) < NEAR / 1.5, ROWS[i]["id"]


@needs_sandbox
@pytest.mark.parametrize("name", ITEMS)
def test_the_reference_passes(name):
    result = solve(name, reference(name))
    assert result.score == 1.0 and result.values["runs"] == 1.0, result.reason
    assert result.values.get("comments_in_chinese", 1.0) == 1.0


MISTAKES = [  # (function, what the reference has, what it would have with the mistake)
    ("longest_run", "best = run = 0", "best = run = 1"),  # wrong on empty
    ("longest_run", "best = max(best, run)", "best = run"),
    ("compress_ranges", "numbers[j] + 1", "numbers[j] + 2"),
    ("compress_ranges", "while j + 1 <", "while j + 2 <"),  # off by one
    ("group_by_length", ".append(word)", ".insert(0, word)"),
    ("rotate_left", "if not items", "if items is None"),  # wrong on empty
    ("rotate_left", "items[k:] + items[:k]", "items[-k:] + items[:-k]"),
    ("flatten", "flatten(item)", "item"),
    ("rotate_left", "return items[k:] + items[:k]", "items[:] = items[k:] + items[:k]\n    return list(items)"),
    ("median", "if len(ordered) % 2:", "if True:"),
    ("median", 'raise ValueError("列表不能为空")', "return 0.0"),
    ("merge_intervals", "start <= merged", "start < merged"),
    ("merge_intervals", "max(merged[-1][1], end)", "end"),
    ("merge_intervals", "merged.append((start, end))", "merged.append([start, end])"),  # not a tuple
    ("to_hanzi", '"" if tens == 1 else', '"" if False else'),
    ("to_hanzi", "<= 99", "<= 100"),  # off by one
    ("max_depth", "return deepest if depth == 0 else -1", "return deepest"),
    ("max_depth", "if depth < 0:", "if depth < -9:"),
    ("MovingAverage", "/ len(self.window)", "/ self.window.maxlen"),
    ("Stock", "self.left(name) < count", "self.left(name) <= count"),  # off by one
    ("to_base", "abs(n)", "n % base**9"),
    ("to_base", 'return "0"', 'return ""'),
    ("diagonal_sums", "return main, other", "return [main, other]"),
    ("diagonal_sums", "size - 1 - i", "size - 2 - i"),
    ("parse_settings", 'part.split("=", 1)', '(part + "=").split("=")[:2]'),
    ("common_letters", "if not words:\n        return set()", "if not words:\n        return {}"),  # {} is a dict
    ("xor_checksum", "^= byte", "+= byte"),
    ("count_in_range", "bisect_right(numbers, high)", "bisect_left(numbers, high)"),  # high left out
    ("push_zeros", "place = 0", "numbers = sorted(numbers, key=lambda x: x == 0)\n    place = 0"),  # a new list
    ("top_words", "text.lower()", "text"),
    ("top_words", "(-pair[1], pair[0])", "-pair[1]"),
    ("second_largest", "if number in (first, second):", "if False:"),
    ("countWords", "while (stream >> word) count++;", "while (std::getline(stream, word, ' ')) count++;"),
    ("runningMax", "result.empty() ? value", "result.empty() ? max(value, 0)"),
    ("shiftLetters", "(k % 26 + 26) % 26", "k % 26"),
    ("pascalRow", "i <= n", "i < n"),  # off by one
    ("pascalRow", "j > 0; j--) row[j]", "j > 0; j--) row[j] = (int)row[j], row[j]"),  # an int overflows
    ("reverseDigits", "while (n != 0)", "while (n > 0)"),
    ("extremes", "if (values.empty()) return {0, 0};", ""),  # reads before the first element
    ("extremes", "int low = values[0], high = values[0];", "int low = 0, high = 0;"),
    ("isMountain", "if (i == 0 || i + 1 >= n)", "if (i == 0)"),
    ("isMountain", "heights[i] > heights[i + 1]", "heights[i] >= heights[i + 1]"),
    ("dedupe", "std::vector<int>& numbers", "std::vector<int> numbers"),  # a copy
    ("trimmedMean", "if (scores.size() < 3) return 0;", ""),
    ("trimmedMean", "(scores.size() - 2)", "scores.size()"),
    ("ScoreBoard", "if (!any || points > most)", "if (points > most)"),
    ("ScoreBoard", "points > most)", "points >= most)"),
    ("splitFields", "fields(1)", "fields"),
    ("quarterTurn", "turned[c][rows - 1 - r]", "turned[c][r]"),
]


@needs_sandbox
@pytest.mark.parametrize(("name", "right", "wrong"), MISTAKES)
def test_plausible_mistakes_fail(name, right, wrong):
    text = reference(name)
    assert right in text
    result = solve(name, text.replace(right, wrong))
    assert result.score == result.values["pass"] == 0.0 and result.values["runs"] == 1.0, result.reason
    assert "case " in result.reason


FORBIDDEN = {
    "median": "import statistics\n\ndef median(values):\n    # 注释\n    if not values:\n        raise ValueError\n    return statistics.median(values)\n",
    "to_base": "def to_base(n, base):\n    # 注释\n    if base == 16:\n        return hex(n)[2:]\n",
    "second_largest": "def second_largest(numbers):\n    # 注释\n    ordered = sorted(set(numbers))\n    return ordered[-2] if len(ordered) > 1 else None\n",
    "dedupe": "#include <set>\nvoid dedupe(std::vector<int>& numbers) {\n    // 注释\n    std::set<int> kept(numbers.begin(), numbers.end());\n    numbers.assign(kept.begin(), kept.end());\n}\n",
}


@needs_sandbox
@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_a_prompt_forbids_fails(name):
    text = FORBIDDEN[name]
    if name == "to_base":
        text += "".join("    " + line + "\n" for line in reference(name).splitlines()) + "    return to_base(n, base)\n"
    result = solve(name, text)
    assert result.values["pass"] == 0.0 and "cases right, but it uses" in result.reason, result.reason


def test_what_a_prompt_asks_beside_the_result_has_a_check():
    assert set(FORBIDDEN) == {name for name, item in ITEMS.items() if item.check.get("forbidden")}
    for name, item in ITEMS.items():
        asked = re.search("不要用|不要调用|不能|要求|递归|遍历|Don't|without", item.prompt)
        assert bool(asked) == ("forbidden" in item.check), name
        assert ("不改动" in item.prompt) == item.check.get("unchanged", False), name
        void = item.check.get("signature", {}).get("returns") == "void"
        assert bool(re.search("原地|in place", item.prompt)) == (void or item.check.get("in_place", False)), name


def test_every_row_has_a_mistake_that_it_tells():
    assert {name for name, _, _ in MISTAKES} == set(ITEMS)


@needs_sandbox
@pytest.mark.parametrize("name", [name for name, item in ITEMS.items() if item.check["language"] == "python"])
def test_an_answer_that_does_nothing_or_one_thing_fails(name):
    for body in ("pass", "return args[0] if args else None", "return 0", "return []"):
        assert solve(name, f"def {name}(*args):\n    # 注释\n    {body}\n").score == 0.0
