"""Checks that a release is used as it was trained: its stop tokens, its chat template, and the token ids of fixed conversations.

Everything is loaded from the release folder alone.
"""

import hashlib
from pathlib import Path
from typing import Any

from command import UserError
from inference.chat_format import encode_chat, harmless
from inference.rules import sampling_of, turn_terminator
from publishing.file_checks import json_of, loading_errors

# Llama 3 ends a turn with the one and a text with the other; an answer that ends with either has ended.
LLAMA3_STOPS = ("<|eot_id|>", "<|end_of_text|>")


def check_encoding(release: Path) -> list[str]:
    """Tokenizer and template load, are those of training, and generation_config.json stops where they do."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(release, local_files_only=True)
    except loading_errors() as error:
        return [f"the tokenizer does not load ({' '.join(str(error).split())[:200]}); build the release again"]
    training = json_of(release / "training.json")
    found = check_template(release, tokenizer, training)
    if not tokenizer.chat_template:
        return found
    try:
        told = [*check_stops(release, tokenizer), *check_sampling(release)]
        return [*found, *told, *check_examples(tokenizer, training)]
    except loading_errors() as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return [f"chat_template.jinja cannot be rendered ({said}); restore it in model/ and build again", *found]


def check_template(release: Path, tokenizer: Any, training: dict[str, Any]) -> list[str]:
    """chat_template.jinja is there, no other template contradicts it, and it is the one of training."""
    path = release / "chat_template.jinja"
    if not path.is_file():
        return ["chat_template.jinja is missing; train again, or restore it in model/ and build the release again"]
    text = path.read_text(encoding="utf-8")
    found = []
    inside = json_of(release / "tokenizer_config.json").get("chat_template")
    if inside is not None and inside != text:
        found.append("tokenizer_config.json holds another chat_template than chat_template.jinja; remove it there")
    if tokenizer.chat_template != text:
        found.append("the tokenizer does not load the template of chat_template.jinja; build the release again")
    recorded = training.get("template_sha256")
    if recorded and hashlib.sha256(text.encode()).hexdigest() != recorded:
        found.append("chat_template.jinja is not the template of training (training.json); restore it and build again")
    return found


def check_stops(release: Path, tokenizer: Any) -> list[str]:
    """generation_config.json names every token that ends an answer."""
    config = json_of(release / "generation_config.json")
    if not config:
        return ["generation_config.json is missing or broken; without it answers do not end. Train again"]
    stops = config.get("eos_token_id")
    stops = set(stops if isinstance(stops, list) else [stops])
    special = {token.content: number for number, token in tokenizer.added_tokens_decoder.items()}
    wanted = {
        "the end of a turn in the chat template": turn_terminator(tokenizer),
        "the tokenizer's eos": tokenizer.eos_token_id,
    }
    if all(token in special for token in LLAMA3_STOPS):
        wanted |= {token: special[token] for token in LLAMA3_STOPS}
    found = [
        f"generation_config.json does not stop at {what} (token {number}); add it to eos_token_id in model/ and build again"
        for what, number in wanted.items()
        if number is not None and number not in stops
    ]
    beyond = sorted(number for number in stops - {None} if not 0 <= number < len(tokenizer))
    return found + [
        f"generation_config.json stops at token {number}, which the tokenizer does not have" for number in beyond
    ]


def check_sampling(release: Path) -> list[str]:
    """generation_config.json says how to sample, whole and so that every program can keep it.

    transformers has top-k 50 for a file that is silent and vLLM none; without `do_sample` transformers is greedy and vLLM samples.
    """
    config = json_of(release / "generation_config.json")
    wanted = ["do_sample", *(("temperature", "top_p", "top_k") if config.get("do_sample") else ())]
    silent = [key for key in wanted if config.get(key) is None]
    try:
        sampling_of(config)
    except UserError as error:
        return [f"generation_config.json: {error} Correct it in model/ and build the release again"]
    if not config or not silent:
        return []  # a file that is missing is told already
    return [
        f"generation_config.json leaves {', '.join(silent)} open, which programs fill in differently (transformers: top-k 50); "
        "write it there (top_k 0 is none) in model/ and build the release again"
    ]


def check_examples(tokenizer: Any, training: dict[str, Any]) -> list[str]:
    """The fixed conversations of training.json come out as the same token ids, through our encoder and transformers' own."""
    again = "tokenizer or template have changed since training: restore them in model/ and build the release again"
    examples, response = training.get("encoded_examples"), training.get("encoded_response")
    if not examples or not response:
        return [
            "training.json holds no encoded_examples, so nothing shows that the tokenizer is training's; train again"
        ]
    found = []
    for number, example in enumerate(examples, 1):
        if not agrees(tokenizer, example["messages"], example["ids"]):
            found.append(f"training.json: conversation {number} of encoded_examples is encoded otherwise now; {again}")
    ids = [*tokenizer(response["text"], add_special_tokens=False)["input_ids"], turn_terminator(tokenizer)]
    return (
        found
        if ids == response["ids"]
        else [*found, f"training.json: encoded_response is encoded otherwise now; {again}"]
    )


def agrees(tokenizer: Any, messages: list[dict[str, str]], ids: list[int] | None) -> bool:
    """Whether a conversation is encoded as in training.

    Where training refused it (no `ids`), it is still refused without the control token that was typed, or that stays text,
    which `encode_chat` sees to.
    """
    ours = encoded(tokenizer, messages)
    if ids is None:
        return ours is not None or encoded(tokenizer, harmless(messages)) is None
    theirs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    return ours == ids and theirs == ids


def encoded(tokenizer: Any, messages: list[dict[str, str]]) -> list[int] | None:
    """Token ids; None where they are refused."""
    try:
        return encode_chat(tokenizer, messages)
    except UserError:
        return None
