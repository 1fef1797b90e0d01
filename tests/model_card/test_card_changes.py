"""What a card says of an earlier version: from both versions' records, and only where the numbers compare."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command import UserError
from model_card import build
from model_card.changes import compare_metrics, read_previous
from model_card.records import read_run
from tests.conftest import ROOT, hub_environment
from tests.made_run import make_run
from tests.model_card.reading import cards_of, numbers, shape, spaced

TITLES = {"README.md": "Changes since the last version", "README_zh.md": "与上一版的不同"}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "smollm2-demo")


@pytest.fixture
def before(run_dir, tmp_path) -> Path:
    """The same run as an earlier release would have it, for a test to change."""
    return Path(shutil.copytree(run_dir, tmp_path / "demo-v0"))


def rewrite(path: Path, change) -> None:
    """Change a record in place."""
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def sections(run_dir: Path, before: Path, **changes: Any) -> dict[str, str]:
    """The section on changes of both cards."""
    cards = cards_of(run_dir, {"previous": read_previous(str(before))}, **changes)
    assert numbers(cards["README.md"]) == numbers(cards["README_zh.md"])
    assert shape(cards["README.md"]) == shape(cards["README_zh.md"])
    return {file: card.split(f"## {TITLES[file]}\n")[1].split("\n## ")[0] for file, card in cards.items()}


def test_without_an_earlier_version_no_change_is_claimed(run_dir):
    cards = cards_of(run_dir)
    assert "This page was made without the records of an earlier version" in cards["README.md"]
    assert "生成本页时没有用到更早版本的记录" in cards["README_zh.md"]


def test_the_same_run_has_no_changes_but_its_metrics_side_by_side(run_dir, before):
    en, zh = sections(run_dir, before).values()
    assert (
        "No setting or package differs, and the code is of the same commit." in en
        and "The training data are the same." in en
    )
    assert "设置和软件包相同，代码的提交也相同。" in zh and "训练数据相同。" in zh
    assert "| `math` | `accuracy` ↑ | 21.9 % [10.9, 32.9] | 21.9 % [10.9, 32.9] |" in spaced(en)
    assert "Not comparable" not in en and "`demo-v0`" in en


def test_settings_data_and_metrics_that_differ_are_told_then_and_now(run_dir, before):
    def older(training):
        training["recipe"] |= {"beta": 0.1, "gone": "x"}
        training["git"]["commit"] = "fedc" * 10
        training["data"]["pairs"] = 17

    rewrite(before / "training.json", older)
    rewrite(before / "data_report.json", lambda report: report["languages"].update(zh=11))
    rewrite(before / "eval" / "comparison.json", lambda c: c["metrics"][0]["tuned"].update(value=0.61))
    en, zh = sections(run_dir, before).values()
    for section in (en, zh):
        for row in (
            "`beta` | `0.1` | `0.05`",
            "`gone` | `x` | –",
            "`pairs` | `17` | `21`",
            "`languages.zh` | `11` | `15`",
        ):
            assert f"| {row} |" in section
        assert "| `chinese_rate` ↑ | 61.0 % [72.0, 94.0] | 83.0 % [72.0, 94.0] |" in spaced(section)
        assert f"| `git.commit` | `{'fedc' * 10}` |" in section and "`max_length`" not in section


@pytest.mark.parametrize(
    ("change", "suite", "reason"),
    [
        (
            lambda c: c["settings"]["suites"]["math"].update(version=1),
            "math",
            "the suite or its token limit has changed",
        ),
        (
            lambda c: c["settings"]["suites"]["math"].update(sha256="0"),
            "math",
            "the suite or its token limit has changed",
        ),
        (lambda c: c["settings"].pop("suites"), "math", "the suite or its token limit has changed"),
        (lambda c: c["settings"].update(decoding={"samples": 4}), "math", "the answers were generated in another way"),
        (lambda c: c["settings"].update(limit=4), "language", "the answers were generated in another way"),
        (lambda c: c["scorers"].update(math=3), "language", "the scorers have changed"),
        (lambda c: c.pop("scorers"), "language", "the scorers have changed"),
        (lambda c: c.update(metrics=c["metrics"][:1]), "math", "only one version was scored on it"),
    ],
)
def test_numbers_that_were_measured_otherwise_are_not_set_side_by_side(run_dir, before, change, suite, reason):
    rewrite(before / "eval" / "comparison.json", change)
    en = sections(run_dir, before)["README.md"]
    assert f"- Not comparable: `{suite}` ({reason})." in en and f"| `{suite}` |" not in en


def test_content_that_differs_by_its_digest_alone_is_told(run_dir, before):
    def older(training):
        training["data"]["sha256"] = training["template_sha256"] = "0" * 64

    rewrite(before / "training.json", older)
    en, zh = sections(run_dir, before).values()
    assert "Not the same content by its SHA-256: `chat_template, data`." in en and "`chat_template, data`" in zh
    assert "training data are the same" not in en and "训练数据相同" not in zh


def test_a_version_that_was_not_evaluated_is_said_to_be_so(run_dir, before):
    (before / "eval" / "comparison.json").unlink()
    assert "the earlier version was not evaluated" in sections(run_dir, before)["README.md"]
    assert compare_metrics(None, read_run(run_dir).comparison) == {"metrics": [], "apart": []}
    nothing = sections(run_dir, before, comparison=None, results={}, examples=[])
    assert "neither version was evaluated" in nothing["README.md"] and "两个版本都没有评测" in nothing["README_zh.md"]


def test_no_path_of_the_earlier_machine_reaches_the_card(run_dir, before):
    rewrite(before / "training.json", lambda t: t["recipe"].update(model="/home/bob/models/base"))
    section = sections(run_dir, before)["README.md"]
    assert "/home/bob" not in section and "| `model` | `base` |" in section


@pytest.mark.parametrize("given", ["nowhere", "alice/demo", "no such/thing@v1", "nowhere@"])
def test_what_is_neither_a_folder_nor_a_pinned_repository_is_refused(given):
    with pytest.raises(UserError, match=r"ORG/NAME@REVISION"):
        read_previous(given)


def test_a_folder_without_a_training_record_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no training\.json"):
        read_previous(str(tmp_path))


@pytest.mark.parametrize("address", ["garbage", "http://127.0.0.1:99999", "http://[x", "ftp://hub"])
def test_an_address_that_is_none_is_named(monkeypatch, address):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    with pytest.raises(UserError, match=r"HF_ENDPOINT .* is no address"):
        read_previous("alice/demo@v1")


PUBLISH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("alice/changes-v1")
api.upload_folder(repo_id="alice/changes-v1", folder_path=sys.argv[1])
api.create_tag("alice/changes-v1", tag="v1")
"""


def test_the_earlier_version_may_lie_on_the_hub(run_dir, before, hub_url, tmp_path):
    """Built as a user would, from a release on a Hub; a revision or record that is not there is told apart from no network."""
    build.main([str(before)])
    environment = hub_environment(hub_url, tmp_path / "home")

    def run(*command: Any) -> subprocess.CompletedProcess:
        words = [sys.executable, *map(str, command)]
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert run("-c", PUBLISH, before / "release").returncode == 0
    made = run("-m", "model_card.build", run_dir, "--previous", "alice/changes-v1@v1")
    assert made.returncode == 0, made.stderr
    card = (run_dir / "release" / "README.md").read_text(encoding="utf-8")
    assert "Compared with `alice/changes-v1@v1`" in card and "| `math` | `accuracy` ↑ | 21.9 %" in spaced(card)
    wrong = run("-m", "model_card.build", run_dir, "--previous", "alice/changes-v1@v9")
    assert wrong.returncode == 2 and "there is no such revision" in wrong.stderr
    gone = run("-m", "model_card.build", run_dir, "--previous", "alice/no-such-model@v1")
    assert gone.returncode == 2 and "there is no such repository" in gone.stderr
    environment["HF_HUB_OFFLINE"] = "1"
    offline = run("-m", "model_card.build", run_dir, "--previous", "alice/other@v1")
    assert (
        offline.returncode == 1 and "the Hub cannot be reached" in offline.stderr and "Traceback" not in offline.stderr
    )
