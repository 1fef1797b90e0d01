"""validate-yaml: what the Hub says about a card's metadata."""

import re
from typing import Any

import yaml

from tests.hub.web import Answer, Call, Router

router = Router()


def front_matter(card: str) -> str | None:
    """The YAML between the first two lines of three dashes, None without any."""
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---\s*(?:\n|$)", card, re.DOTALL)
    return match[1] if match else None


def validate_card(card: str, kind: str) -> tuple[list[str], list[str]]:
    """Errors and warnings."""
    text = front_matter(card)
    if text is None:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error}"], []
    if not isinstance(data, dict):
        return ["metadata must be a mapping"], []
    return [], []


@router.route("POST", "/api/validate-yaml")
def validate_yaml(call: Call) -> Answer:
    """hf_api.HfApi._validate_yaml (before each commit of a README.md) and repocard.RepoCard.validate."""
    body: dict[str, Any] = call.json()
    errors, warnings = validate_card(body["content"], f"{body.get('repoType') or 'model'}s")
    said = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
    return Answer(said, 400 if errors else 200)
