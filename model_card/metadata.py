"""The front matter of README.md: what the Hub reads of a card, as a pure function of the card's context.

Fields: https://huggingface.co/docs/hub/model-cards#model-card-metadata and, of results,
https://github.com/huggingface/hub-docs/blob/main/modelcard.md. `datasets` takes ids alone: revisions stand on the card itself.
"""

from typing import Any

TAGS = ["orpo", "preference-optimization", "chinese", "conversational", "bilingual"]
CONFIDENCE = 0.95  # of every interval that eval/statistics.py computes
WIDGET_PROMPTS = 4
WIDGET_CHARACTERS = 200
NOT_FOR_THE_WIDGET = "safety"  # a button that asks for something harmful helps nobody


def front_matter(context: dict[str, Any]) -> str:
    """The metadata as YAML, without its `---` lines."""
    from huggingface_hub import ModelCardData

    base_id = context["base"].get("hub_id")
    sampling = context["sampling"]
    results = model_index(context)
    data = ModelCardData(
        language=["zh", "en"],
        base_model=base_id,
        base_model_relation="finetune" if base_id else None,
        new_version=context["new_version"],
        library_name="transformers",
        pipeline_tag="text-generation",
        datasets=sorted({source["path"] for source in context["datasets"]}) or None,
        tags=TAGS,
        model_name=context["name"] if results else None,
        eval_results=results or None,
        inference={"parameters": {key: sampling[key] for key in ("temperature", "top_p", "max_new_tokens")}},
        widget=widget(context["widget_prompts"]) or None,
        **context["licence"].metadata,
    )
    if not results:
        data.pop("model_name")
    return data.to_yaml()


def model_index(context: dict[str, Any]) -> list[Any]:
    """One EvalResult for each headline metric with a better direction, of a full evaluation only; [] else.

    The suites are this project's own, so `custom`; their version stands in the data set's arguments, the interval and what it
    rests on in the metric's.
    """
    evaluation = context["eval"]
    if not evaluation or evaluation["reduced"]:
        return []
    measured = [row for row in evaluation["headlines"] if row.get("better") and row["tuned"].get("value") is not None]
    return [result(row, evaluation["suites"].get(row["suite"]) or {}, context["repo_id"]) for row in measured]


def result(row: dict[str, Any], suite: dict[str, Any], repo_id: str) -> Any:
    """A row of the comparison as the Hub's EvalResult; `suite` is what the evaluation's settings say of its suite."""
    from huggingface_hub import EvalResult

    tuned = row["tuned"]
    return EvalResult(
        task_type="text-generation",
        dataset_type="custom",
        dataset_name=row["suite"],
        dataset_config=row["suite"],
        dataset_args={key: suite[key] for key in ("version", "sha256", "source") if suite.get(key) is not None} or None,
        metric_type=row["metric"],
        metric_name=f"{row['metric']} ({row['suite']})",
        metric_value=round(tuned["value"], 6),
        metric_args=interval(tuned) | {"n": tuned["n"], "unparsed": tuned["unparsed"], "better": row["better"]},
        source_name="eval/comparison.json",
        source_url=f"https://huggingface.co/{repo_id}/blob/main/eval/comparison.json",
    )


def interval(measured: dict[str, Any]) -> dict[str, Any]:
    """The interval of a measured value, {} where it has none."""
    low, high = measured.get("low"), measured.get("high")
    if low is None or high is None:
        return {}
    return {"confidence_level": CONFIDENCE, "confidence_interval": [round(low, 6), round(high, 6)]}


def widget(prompts: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Examples for the Hub's chat widget, from (category, prompt)."""
    shown = [
        (category, prompt)
        for category, prompt in prompts
        if category != NOT_FOR_THE_WIDGET and len(prompt) <= WIDGET_CHARACTERS
    ]
    return [
        {"example_title": category, "messages": [{"role": "user", "content": prompt}]}
        for category, prompt in shown[:WIDGET_PROMPTS]
    ]
