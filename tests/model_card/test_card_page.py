"""Parts of the page that depend on what a release holds and on what the publisher says."""

import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from markupsafe import Markup

from command import UserError
from model_card import build, context, release
from model_card.citation import cite_release
from model_card.records import read_run
from model_card.reproduction import unpublished
from run_folder import file_sha256
from tests.conftest import ROOT
from tests.made_run import make_run
from tests.model_card.reading import cards_of, numbers, shape

FIGURES = {"figures/results.png", "figures/training.png"}
SCRIPTS = {"scripts/SOURCE.json", "scripts/reproduce.sh"}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "smollm2-demo")


@pytest.fixture
def fresh(run_dir, tmp_path) -> Path:
    return Path(shutil.copytree(run_dir, tmp_path / "smollm2-demo"))


def checked(run_dir: Path, told: dict, **changes) -> tuple[str, str]:
    """Both cards, which must hold the same numbers in the same shape."""
    en, zh = cards_of(run_dir, told, **changes).values()
    assert numbers(en) == numbers(zh) and shape(en) == shape(zh)
    return en, zh


def test_a_figure_is_shown_where_the_release_has_it_with_words_for_those_who_cannot_see_it(run_dir):
    none, *_ = checked(run_dir, {})
    assert "](figures/" not in none
    for figure in FIGURES:
        for card in checked(run_dir, {"files": {figure}}):
            assert re.findall(r"!\[([^\]]{8,})\]\((figures/\w+\.png)\)\n\n\*.{8,}\*\n", card)[0][1] == figure
            assert card.count("](figures/") == 1


def test_the_card_is_the_same_to_the_byte_in_every_process(run_dir, tmp_path):
    """Made from the records again, under other hash seeds, as Python orders sets by them."""
    made = []
    for seed in ("1", "2"):
        run = Path(shutil.copytree(run_dir, tmp_path / seed / "smollm2-demo"))
        command = [sys.executable, "-m", "model_card.build", run, "--repo-id", "alice/demo", "--previous", run_dir]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True)
        made.append([file_sha256(run / "release" / name) for name in ("README.md", "README_zh.md", "SHA256SUMS")])
    assert made[0] == made[1]


def test_a_run_with_records_that_lack_everything_optional_has_a_card(run_dir):
    training = dict(read_run(run_dir).training)
    for key in ("energy", "validation", "tokens", "seconds", "peak_memory_bytes", "parameters", "finished", "started"):
        training.pop(key, None)
    training |= {"git": {"commit": None, "dirty": None}, "energy": None}
    nothing = {"data_report": None, "comparison": None, "results": {}, "examples": [], "generation_config": {}}
    en, zh = checked(run_dir, {}, training=training, **nothing)
    assert "| Energy | not measured |" in en and "| 耗电 | 未测量 |" in zh
    assert "Report on the data: not measured." in en and "**未测量。**" in zh
    assert "The commit of the code was not recorded." in en and "git checkout" not in en
    assert "model-index" not in en and "widget" not in en and "data_report.json" not in en
    assert "does not set it, so pass it yourself" in en and "year" not in en.split("@misc")[1]


def test_who_has_only_the_hub_repository_is_told_one_command_where_the_scripts_are_there(run_dir):
    block = "hf download alice/smollm2-demo --local-dir smollm2-demo\ncd smollm2-demo/scripts\nbash reproduce.sh ../recipe.yaml\n"
    assert all(block in card for card in checked(run_dir, {"files": SCRIPTS}))
    assert all("hf download" not in card for card in checked(run_dir, {}))


def test_data_that_nobody_else_has_are_named(run_dir):
    en, zh = checked(run_dir, {})
    assert (
        "| `pairs.jsonl` | – | – (not published) | 6 | 5 |" in en
        and "| `pairs.jsonl` | – | –（未公开） | 6 | 5 |" in zh
    )
    assert "Not all of the training data are public" in en and "训练数据没有全部公开" in zh
    assert "/home/alice" not in en + zh

    def of(path: str, files: set[str]) -> list[int]:
        return unpublished({"data": {"sources": [{"path": path}]}}, files)

    demo = "training/data/demo_pairs.jsonl"
    assert of(demo, {*SCRIPTS, f"scripts/{demo}"}) == [] and of(demo, set()) == []
    assert of("mine/pairs.jsonl", SCRIPTS) == [0] and of(r"C:\data\pairs.json", set()) == [0]
    assert of("hiyouga/DPO-En-Zh-20k", SCRIPTS) == []


def test_uncommitted_changes_are_confessed(run_dir):
    training = read_run(run_dir).training
    en, zh = checked(run_dir, {}, training={**training, "git": {**training["git"], "dirty": True}})
    assert "files of it had been changed and not committed" in en and "当时有文件改过而没有提交" in zh


def test_the_release_can_be_cited(run_dir):
    entry = cite_release("smollm2_demo", "acme/smollm2_demo", {"finished": "2026-11-20T10:00:24+00:00"})
    assert entry == (
        "```bibtex\n@misc{smollm2demo2026,\n  title = {{smollm2\\_demo}},\n  author = {{acme}},\n  year = {2026},\n"
        "  publisher = {Hugging Face},\n  url = {https://huggingface.co/acme/smollm2_demo}\n}\n```"
    )
    assert all("  url = {https://huggingface.co/alice/smollm2-demo}\n" in card for card in checked(run_dir, {}))


def test_contact_is_the_community_tab_and_the_publishers_own_line_made_harmless(run_dir):
    tab = "(https://huggingface.co/alice/smollm2-demo/discussions)"
    assert all(tab in card for card in checked(run_dir, {}))
    for card in checked(run_dir, {"contact": "Alice <b>[x](javascript:1)</b> | alice"}):
        line = next(line for line in card.split("\n") if tab in line)
        assert "Alice &lt;b&gt;" in line and "](javascript" not in line and "<b>" not in line


def test_each_program_has_a_heading_a_word_and_its_block(run_dir, monkeypatch):
    """Whatever model_card.usage gives is shown, in its order; a program without words of ours by its name."""
    names = ("transformers", "transformers_serve", "vllm", "openai_client", "llama_cpp", "ollama", "other")
    monkeypatch.setattr(context, "snippets", lambda release: {name: Markup(f"```bash\n{name}\n```") for name in names})
    for card in checked(run_dir, {}):
        part = re.search(r"\n## (?:How to use|使用方法)\n(.*?)\n## ", card, re.DOTALL)[1]
        assert re.findall(r"```bash\n(\w+)\n```", part) == list(names)
        assert len(re.findall(r"^### .+\n\n.{4,}\n\n```", part, re.MULTILINE)) == len(names) - 1
        assert "\n### other\n" in part


def test_gguf_files_get_a_link_and_a_release_of_their_own(fresh, monkeypatch, capsys):
    """The plan is model_card.gguf_release's and the list run_folder's; here is seen that build asks for them and writes."""
    written = {}
    asked = types.SimpleNamespace(plan_gguf_release=lambda *given: {"README.md": b"x", "asked": given[1:3]})
    monkeypatch.setitem(sys.modules, "model_card.gguf_release", asked)
    monkeypatch.setattr("run_folder.GGUF_RELEASE_FILES", ("README.md",), raising=False)
    original = release.write_release

    def write(folder: Path, files: dict, **how) -> bool:
        if folder.name == "release":
            return original(folder, files, **how)
        written[folder.name] = (files, how)
        return True

    monkeypatch.setattr("model_card.release.write_release", write)
    build.main([str(fresh), "--repo-id", "alice/demo"])
    assert not written and "demo-GGUF" not in (fresh / "release" / "README.md").read_text(encoding="utf-8")
    (fresh / "gguf").mkdir()
    (fresh / "gguf" / "export.json").write_text(json.dumps({"schema_version": 1}), encoding="utf-8")
    build.main([str(fresh), "--repo-id", "alice/demo"])
    files, how = written["release-gguf"]
    assert files["asked"] == ("demo", "alice/demo") and how == {"allowed": ("README.md",)}
    assert "release-gguf: written" in capsys.readouterr().out
    for card in ("README.md", "README_zh.md"):
        text = (fresh / "release" / card).read_text(encoding="utf-8")
        assert "[`alice/demo-GGUF`](https://huggingface.co/alice/demo-GGUF)" in text


def test_a_key_signs_the_release_that_was_written(fresh, monkeypatch, capsys):
    seen = []

    def sign(folder: Path, key: Path) -> bool:
        seen.append((folder, key, (folder / "SHA256SUMS").is_file()))
        return True

    monkeypatch.setitem(
        sys.modules, "model_card.signature", types.SimpleNamespace(sign=sign, check_key=lambda key: None)
    )
    build.main([str(fresh), "--sign-key", "key.pem"])
    assert seen == [(fresh / "release", Path("key.pem"), True)] and "signed" in capsys.readouterr().out
    build.main([str(fresh)])
    assert len(seen) == 1


def test_check_finds_what_the_records_do_not_give_and_takes_the_options_of_the_build(fresh, capsys):
    told = ["--repo-id", "alice/demo", "--contact", "mail to alice", "--previous", os.path.relpath(fresh)]
    with pytest.raises(UserError, match=r"card\.json is missing"):
        build.main(["--check", str(fresh)])
    assert build.main([str(fresh), *told]) == 0
    before = {path: path.stat().st_mtime_ns for path in fresh.rglob("*")}
    assert build.main(["--check", str(fresh)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in fresh.rglob("*")}, "it writes nothing"
    card = fresh / "release" / "README_zh.md"
    card.write_text(card.read_text().replace("模型会自信地说错话", "模型从不说错话"))
    (fresh / "release" / "NOTICE").unlink()
    (fresh / "release" / "notes.txt").write_text("x")
    capsys.readouterr()
    assert build.main(["--check", str(fresh)]) == 1
    said = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()]
    assert said == ["NOTICE is missing", "notes.txt does not belong there", "README_zh.md differs"]
    assert build.main([str(fresh), *told]) == 0 and build.main(["--check", str(fresh)]) == 0
    assert build.main(["--check", str(fresh), "--contact", "mail to bob"]) == 1


def test_how_many_headlines_show_a_difference_is_counted_from_the_intervals(run_dir):
    """Of the made run one difference of three leaves out zero: a second that is worse is counted apart."""
    en, zh = checked(run_dir, {})
    assert "Of the 3 headline metrics that" in en and "better in 2 and worse in 0; in the other 1 the interval" in en
    assert "共 3 项：微调后较好的 2 项，较差的 0 项；其余 1 项" in zh
    record = read_run(run_dir).comparison
    rows = [{**row, "difference": {"value": -1, "low": -2, "high": -0.5}} for row in record["metrics"]]
    en, _ = checked(run_dir, {}, comparison={**record, "metrics": rows})
    assert "Of the 4 headline metrics that" in en and "better in 1 and worse in 3; in the other 0" in en


def test_a_failure_is_called_one_and_what_may_do_harm_is_cut(run_dir):
    long = "先取一份" + "然后再取" * 60
    run = read_run(run_dir)
    scored = {"safety": 0.0, "math": None, "chat": 1.0}
    examples = json.loads(json.dumps([row for row in run.examples if row["category"] in scored]))
    for row in examples:
        row["tuned"] = {
            "row": {**row["tuned"]["row"], "response": long},
            "item": {"score": scored[row["category"]], "reason": "x"},
        }
    for card, failed, none, full in zip(
        checked(run_dir, {}, examples=examples),
        ("Tuned (**failed**, score 0, `x`", "微调后（**失败**，得分 0，`x`"),
        ("Tuned (no score, `x`", "微调后（没有得分，`x`"),
        ("Tuned (score 1, `x`", "微调后（得分 1，`x`"),
        strict=True,
    ):
        assert all(words in card for words in (failed, none, full))
        shown = [
            text.replace("\n", "")
            for text in re.findall(r"^```text\n(先取一份.*?)\n```$", card, re.DOTALL | re.MULTILINE)
        ]
        assert sorted(shown, key=len) == [f"{long[:60]} […]", long, long]


def test_a_run_that_was_resumed_or_cut_short_or_trained_in_part_says_so(run_dir):
    training = read_run(run_dir).training
    plain = checked(run_dir, {})
    said = {
        "resumed": ({"resumed_from": "checkpoint-40"}, ("continued from `checkpoint-40`", "从 `checkpoint-40` 继续")),
        "reduced": (
            {"recipe": {**training["recipe"], "max_steps": 2}, "data": {**training["data"], "pairs": 99}},
            ("**A reduced run:**", "**缩减的运行：**"),
        ),
        "in part": (
            {"trainable_parameters": 460800},
            ("| Trained parameters | 460,800 |", "| 训练的参数量 | 460,800 |"),
        ),
        "unpinned base": (
            {"base_model": {**training["base_model"], "kind": "folder", "revision": None}},
            ("revision not recorded |", "版本没有记录 |"),
        ),
    }
    for changes, words in said.values():
        for before, card, word in zip(plain, checked(run_dir, {}, training=training | changes), words, strict=True):
            assert word in card and word not in before
    whole = {**training, "recipe": {**training["recipe"], "max_steps": 99}}
    assert "A reduced run" not in checked(run_dir, {}, training=whole)[0], "every pair was seen"


def test_data_that_the_release_carries_are_linked(run_dir):
    training = read_run(run_dir).training
    data = {**training["data"], "sources": [{"path": "training/data/demo pairs.jsonl", "rows": 25, "kept": 21}]}
    files = {"scripts/SOURCE.json", "scripts/training/data/demo pairs.jsonl"}
    for card in checked(run_dir, {"files": files}, training=training | {"data": data}):
        assert "| [`training/data/demo pairs.jsonl`](scripts/training/data/demo%20pairs.jsonl) | – |" in card
