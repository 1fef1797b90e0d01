"""validate-yaml: what the Hub says about a card's metadata, as far as its answers are publicly known.

The licence list and the wording of its message are those of an answer of the Hub from July 2026 (ModelCard.validate with a
licence that does not exist); the Spaces' colours and lengths are from its configuration reference. Where the Hub's own rule
is not known, this one refuses rather than lets through.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.hub.web import Answer, Call, Router

router = Router()

LICENCE_WORDS = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0
artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0
cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0
epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research
intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0 openmdw-1.1 openrail++ osl-3.0
postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license fair-noncommercial-research-license llama2 llama3
llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma unknown other
"""
TASK_WORDS = """
any-to-any audio-classification audio-text-to-text audio-to-audio automatic-speech-recognition depth-estimation
document-question-answering feature-extraction fill-mask graph-ml image-classification image-feature-extraction
image-segmentation image-text-to-image image-text-to-text image-text-to-video image-to-3d image-to-image image-to-text
image-to-video keypoint-detection mask-generation multiple-choice object-detection other question-answering
reinforcement-learning robotics sentence-similarity summarization table-question-answering table-to-text tabular-classification
tabular-regression tabular-to-text text-classification text-generation text-ranking text-retrieval text-to-3d text-to-audio
text-to-image text-to-speech text-to-video text2text-generation time-series-forecasting token-classification translation
unconditional-image-generation video-classification video-text-to-text video-to-video visual-document-retrieval
visual-question-answering voice-activity-detection zero-shot-classification zero-shot-image-classification
zero-shot-object-detection
"""
LICENCES, TASKS = tuple(LICENCE_WORDS.split()), tuple(TASK_WORDS.split())
RELATIONS = ("finetune", "adapter", "merge", "quantized")
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
SDKS = ("gradio", "streamlit", "docker", "static")  # huggingface_hub.constants.SPACES_SDK_TYPES
LONGEST_DESCRIPTION = 60  # characters of a Space's short_description
REPO_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}")
SPECIAL_LANGUAGES = ("code", "multilingual")


def front_matter(card: str) -> str | None:
    """The YAML between the first two lines of three dashes, None without any."""
    match = re.match(r"\ufeff?\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", card, re.DOTALL)
    return match[1] if match else None


def validate_card(card: str, kind: str) -> tuple[list[str], list[str]]:
    """Errors and warnings for a README.md of a repository of `kind` ("models", "datasets" or "spaces")."""
    text = front_matter(card)
    if text is None or not text.strip():
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return [f"bad YAML: {error}"], []
    if not isinstance(data, dict):
        return ["the metadata must be a mapping"], []
    errors = [*licence_errors(data), *language_errors(data), *type_errors(data)]
    if kind == "models":
        errors += [*base_model_errors(data), *model_index_errors(data)]
    if kind == "spaces":
        errors += space_errors(data)
    return errors, list(warnings(data, kind))


def as_list(value: Any) -> list[Any]:
    """A value as a list of one; nothing for None."""
    return value if isinstance(value, list) else [] if value is None else [value]


def licence_errors(data: dict[str, Any]) -> Iterator[str]:
    """`license` is an identifier or a list of them; `other` needs a name."""
    if any(licence not in LICENCES for licence in as_list(data.get("license"))) or data.get("license", "mit") is None:
        yield f'"license" must be one of [{", ".join(LICENCES)}, array]'
    name = data.get("license_name")
    if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", str(name)):
        yield f'"license_name" with value {name!r} must hold only lower-case letters, digits, dots and hyphens'


def language_errors(data: dict[str, Any]) -> Iterator[str]:
    """`language` holds ISO 639 codes; `no` without quotes is False in YAML, and so an error here as on the Hub."""
    for language in as_list(data.get("language")):
        if not isinstance(language, str):
            yield f'"language" must be a string, not {language!r}'
        elif language != language.lower():
            yield '"language" must only contain lowercase characters'
        elif not re.fullmatch(r"[a-z]{2,3}", language) and language not in SPECIAL_LANGUAGES:
            yield (
                f'"language" with value "{language}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code '
                'or a special value like "code" or "multilingual"'
            )


def type_errors(data: dict[str, Any]) -> Iterator[str]:
    """Fields whose type is fixed."""
    for key in ("tags", "widget", "model-index"):
        if key in data and not isinstance(data[key], list):
            yield f'"{key}" must be an array'
    for key in ("library_name", "pipeline_tag", "license_link", "new_version", "base_model_relation"):
        if key in data and not isinstance(data[key], str):
            yield f'"{key}" must be a string'
    for key in ("tags", "datasets", "metrics"):
        if any(not isinstance(value, str) for value in as_list(data.get(key))):
            yield f'"{key}" must be a string or an array of strings'


def base_model_errors(data: dict[str, Any]) -> Iterator[str]:
    """`base_model` and `new_version` name models; the relation is one of four and has something to relate to."""
    for key in ("base_model", "new_version"):
        for name in as_list(data.get(key)):
            if not isinstance(name, str) or not REPO_ID.fullmatch(name) or ".." in name or "--" in name:
                yield f'"{key}" with value "{name}" is not valid. Use a model id from https://hf.co/models.'
    relation = data.get("base_model_relation")
    if relation is not None and relation not in RELATIONS:
        yield f'"base_model_relation" must be one of [{", ".join(RELATIONS)}]'
    if relation is not None and not data.get("base_model"):
        yield '"base_model_relation" needs a "base_model"'


def model_index_errors(data: dict[str, Any]) -> Iterator[str]:
    """The shape of repocard_data.model_index_to_eval_results: what is required, at its place."""
    index = data.get("model-index")
    for i, model in enumerate(index if isinstance(index, list) else []):
        at = f"model-index[{i}]"
        if not isinstance(model, dict) or not isinstance(model.get("results"), list):
            yield f'"{at}.results" must be an array'
            continue
        yield from missing(model, at, ("name",))
        for j, result in enumerate(model["results"]):
            yield from result_errors(result, f"{at}.results[{j}]")


def result_errors(result: dict[str, Any], at: str) -> Iterator[str]:
    """One entry of the results: task, dataset, metrics and source."""
    yield from missing(result.get("task"), f"{at}.task", ("type",))
    yield from missing(result.get("dataset"), f"{at}.dataset", ("type", "name"))
    if not isinstance(result.get("metrics"), list) or not result["metrics"]:
        yield f'"{at}.metrics" must contain at least 1 item'
        return
    for number, metric in enumerate(result["metrics"]):
        yield from missing(metric, f"{at}.metrics[{number}]", ("type", "value"))
    if "source" in result:
        yield from missing(result["source"], f"{at}.source", ("url",))
        url = result["source"].get("url", "http://x") if isinstance(result["source"], dict) else ""
        if not re.match(r"https?://\S+$", str(url)):
            yield f'"{at}.source.url" must be a valid uri'


def missing(data: Any, at: str, keys: tuple[str, ...]) -> Iterator[str]:
    """A message for each key that a mapping lacks."""
    if not isinstance(data, dict):
        yield f'"{at}" is required'
        return
    yield from (f'"{at}.{key}" is required' for key in keys if data.get(key) is None)


def space_errors(data: dict[str, Any]) -> Iterator[str]:
    """What a Space's page and machine need (https://huggingface.co/docs/hub/spaces-config-reference)."""
    if data.get("sdk") not in SDKS:
        yield f'"sdk" must be one of [{", ".join(SDKS)}]'
    for key in ("colorFrom", "colorTo"):
        if data.get(key, "red") not in COLOURS:
            yield f'"{key}" must be one of [{", ".join(COLOURS)}]'
    if len(str(data.get("short_description", ""))) > LONGEST_DESCRIPTION:
        yield f'"short_description" length must be less than or equal to {LONGEST_DESCRIPTION} characters long'
    if "app_file" in data and not isinstance(data["app_file"], str):
        yield '"app_file" must be a string'
    if "sdk_version" in data and not isinstance(data["sdk_version"], str):
        yield '"sdk_version" must be a string'


def warnings(data: dict[str, Any], kind: str) -> Iterator[str]:
    """What the Hub shows but lets through."""
    tag = data.get("pipeline_tag")
    if tag is not None and tag not in TASKS:
        yield f'The pipeline tag "{tag}" is not in the official list: {", ".join(TASKS)}'
    if kind == "models" and data.get("license") == "other" and not data.get("license_name"):
        yield '"license_name" should be set where "license" is "other"'
    for name in as_list(data.get("datasets")):
        if isinstance(name, str) and not REPO_ID.fullmatch(name):
            yield f'"datasets" with value "{name}" is not valid. If possible, use a dataset id from https://hf.co/datasets.'


@router.route("POST", "/api/validate-yaml")
def validate_yaml(call: Call) -> Answer:
    """hf_api.HfApi._validate_yaml (before each commit of a README.md) and repocard.RepoCard.validate."""
    body: dict[str, Any] = call.json()
    errors, warned = validate_card(body["content"], f"{body.get('repoType') or 'model'}s")
    said = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warned]}
    return Answer(said, 400 if errors else 200)
