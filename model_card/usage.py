"""How a release is used: one runnable snippet a program, with the release's own stop tokens and sampling."""

import json
from dataclasses import dataclass

from markupsafe import Markup

from model_card.text import fenced_as

TRANSFORMERS = """import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model_id = "{repo_id}"
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForCausalLM.from_pretrained(model_id, dtype="auto")
model.to("cuda" if torch.cuda.is_available() else "cpu")

messages = [{{"role": "user", "content": "请用三句话介绍一下长城。"}}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
).to(model.device)
output = model.generate(
    **inputs,
    max_new_tokens={max_new_tokens},
    do_sample=True,
    temperature={temperature},
    top_p={top_p},{stop}
)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))"""


@dataclass(frozen=True)
class Release:
    """What a snippet needs to know of a release. `stop` are token ids, `stop_names` their spellings."""

    repo_id: str
    gguf_id: str | None
    stop: list[int]
    stop_names: list[str]
    temperature: float
    top_p: float
    max_new_tokens: int


def snippets(release: Release) -> dict[str, Markup]:
    """A fenced block for each program, by its key; both cards show the same blocks."""
    stop = (
        f"\n    eos_token_id={json.dumps(release.stop if len(release.stop) != 1 else release.stop[0])},"
        if release.stop
        else ""
    )
    values = {key: json.dumps(getattr(release, key)) for key in ("temperature", "top_p", "max_new_tokens")}
    return {"transformers": fenced_as("python", TRANSFORMERS.format(repo_id=release.repo_id, stop=stop, **values))}
