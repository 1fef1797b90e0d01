"""What the Hub reads of a card: fields, results with interval and source, and that the Hub's own client reads them back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from model_card import build
from model_card.records import read_run
from tests.conftest import ROOT, hub_environment
from tests.made_run import COMMIT, make_run
from tests.model_card.reading import cards_of


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "smollm2-demo")


def read_back(card: str) -> ModelCard:
    return ModelCard(card)


def test_every_suites_headline_metrics_come_back_with_interval_count_and_source(run_dir):
    data = read_back(cards_of(run_dir)["README.md"]).data
    found = {(result.dataset_config, result.metric_type): result for result in data.eval_results}
    rows = read_run(run_dir).comparison["metrics"]
    wanted = {(r["suite"], r["metric"]): r["tuned"] for r in rows if r["better"] and r["tuned"]["value"] is not None}
    assert found.keys() == wanted.keys() and len(found) == 3 and data.model_name == "smollm2-demo"
    for key, tuned in wanted.items():
        result, arguments = found[key], found[key].metric_args
        assert result.metric_value == tuned["value"] and result.task_type == "text-generation"
        assert arguments["confidence_interval"] == [tuned["low"], tuned["high"]]
        assert arguments["confidence_level"] == 0.95
        assert (arguments["n"], arguments["unparsed"]) == (tuned["n"], tuned["unparsed"])
        assert result.dataset_args["version"] == 2 and len(result.dataset_args["sha256"]) == 64
        assert result.source_name == "eval/comparison.json"
        assert result.source_url == "https://huggingface.co/alice/smollm2-demo/blob/main/eval/comparison.json"


def test_only_headlines_with_a_direction_are_stated(run_dir):
    comparison = read_run(run_dir).comparison
    rows = [{**row, "headline": row["suite"] == "math"} for row in comparison["metrics"]]
    data = read_back(cards_of(run_dir, comparison={**comparison, "metrics": rows})["README.md"]).data
    assert [(r.dataset_config, r.metric_type) for r in data.eval_results] == [("math", "accuracy")]


def test_a_result_without_interval_or_suite_settings_states_none(run_dir):
    comparison = read_run(run_dir).comparison
    row = comparison["metrics"][0]
    bare = {**row, "tuned": {**row["tuned"], "low": None, "high": None}}
    data = read_back(cards_of(run_dir, comparison={**comparison, "settings": {}, "metrics": [bare]})["README.md"]).data
    assert data.eval_results[0].dataset_args is None
    assert "confidence_interval" not in data.eval_results[0].metric_args


def test_the_fields_are_those_of_the_hub(run_dir):
    data = read_back(cards_of(run_dir)["README.md"]).data.to_dict()
    assert {
        key: data[key] for key in ("license", "language", "library_name", "pipeline_tag", "base_model_relation")
    } == {
        "license": "apache-2.0",
        "language": ["zh", "en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model_relation": "finetune",
    }
    assert data["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert data["datasets"] == ["hiyouga/DPO-En-Zh-20k"], "revisions stand on the card, the field takes ids alone"
    assert f"| `hiyouga/DPO-En-Zh-20k` | `zh` | `{COMMIT}` |" in cards_of(run_dir)["README.md"]
    assert data["inference"] == {"parameters": {"temperature": 0.6, "top_p": 0.9, "max_new_tokens": 512}}
    assert "new_version" not in data


def test_a_base_that_is_not_on_the_hub_is_not_named_as_if_it_were(run_dir):
    training = read_run(run_dir).training
    local = {**training, "base_model": {**training["base_model"], "hub_id": None}}
    data = read_back(cards_of(run_dir, training=local)["README.md"]).data.to_dict()
    assert "base_model" not in data and "base_model_relation" not in data


def test_the_widget_offers_the_articles_prompts_and_none_that_asks_for_harm(run_dir):
    widget = yaml.safe_load(cards_of(run_dir)["README.md"].split("---\n")[1])["widget"]
    assert [example["example_title"] for example in widget] == ["chat", "code", "writing", "math"]
    assert all(turn["role"] == "user" for example in widget for turn in example["messages"])
    assert "炸药" not in json.dumps(widget, ensure_ascii=False)


def test_an_older_release_names_its_successor_in_front_matter_and_text(run_dir):
    cards = cards_of(run_dir, {"new_version": "acme/smollm2-demo-v2"})
    assert read_back(cards["README.md"]).data.new_version == "acme/smollm2-demo-v2"
    assert (
        "**A newer version replaces this one:** [`acme/smollm2-demo-v2`](https://huggingface.co/acme/"
        in cards["README.md"]
    )
    assert "**已有新版本取代本模型：**[`acme/smollm2-demo-v2`](https://huggingface.co/acme/" in cards["README_zh.md"]


@pytest.mark.parametrize(("given", "message"), [("v2", "not of the form"), ("alice/demo", "is --repo-id itself")])
def test_a_new_version_that_cannot_be_one_is_refused(run_dir, given, message):
    command = [sys.executable, "-m", "model_card.build", run_dir, "--repo-id", "alice/demo", "--new-version", given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_a_servers_validator_accepts_the_card(run_dir, hub_url, tmp_path):
    build.main([str(run_dir), "--repo-id", "alice/smollm2-demo"])
    ask = "import sys; from huggingface_hub import ModelCard; ModelCard.load(sys.argv[1]).validate(repo_type='model')"
    command = [sys.executable, "-c", ask, str(run_dir / "release" / "README.md")]
    environment = {**os.environ, **hub_environment(hub_url, tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
