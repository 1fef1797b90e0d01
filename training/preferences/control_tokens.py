"""Control tokens of chat templates inside a text: whoever writes one writes a turn of its own into the prompt."""

import json
import re
from collections.abc import Iterable

from inference.loading import Source

# Of the templates in wide use (ChatML, Llama 2 to 4, Gemma, Phi, Qwen, Mistral, DeepSeek, GLM, Command R). Words that also
# stand in ordinary texts, such as HTML's <s>, are refused only where they are the recipe's own model's.
KNOWN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|endofprompt|begin_of_text|end_of_text|start_header_id|end_header_id|eot_id|eom_id"
    r"|eot|eom|header_start|header_end|python_tag|finetune_right_pad_id|reserved_special_token_\d+|system|user|assistant"
    r"|observation|end|START_OF_TURN_TOKEN|END_OF_TURN_TOKEN|CHATBOT_TOKEN|USER_TOKEN|SYSTEM_TOKEN)\|>"
    r"|<(?:start|end)_of_turn>|<<SYS>>|\[/?INST\]|<｜[\w▁]{1,60}｜>"
)


def control_pattern(own: Iterable[str] = ()) -> re.Pattern[str]:
    """One pattern that finds a control token, of KNOWN or of a model's `own`, in one pass however many there are."""
    words = sorted((word for word in own if word.strip()), key=len, reverse=True)
    return re.compile("|".join([KNOWN.pattern, *map(re.escape, words)]))


def control_tokens_of(source: Source) -> list[str]:
    """The special tokens of a model whose tokenizer.json is on this disk; [] for others, whose encoding looks for them later."""
    path = source.path / "tokenizer.json" if source.path is not None and source.path.is_dir() else None
    if path is None or not path.is_file():
        return []
    try:
        added = json.loads(path.read_text(encoding="utf-8")).get("added_tokens") or []
        return [token["content"] for token in added if token.get("special") and isinstance(token["content"], str)]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return []  # whoever loads the tokenizer says what is wrong with it
