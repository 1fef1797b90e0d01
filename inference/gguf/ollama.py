"""A chat template in Ollama's language: Go's text/template, for the template families that can be said in it exactly.

A family is a rule: what stands before a turn's role, between role and text, and after the text. Whether a model's own
template follows it, and with which default system turn, is found by rendering conversations both ways; a template that
follows none gives no Ollama files, and the reason is told.

Sources: https://huggingface.co/docs/hub/ollama (`template` and `params` of a repository),
https://github.com/ollama/ollama/blob/main/docs/modelfile.mdx and docs/template.mdx.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

Conversation = list[dict[str, str]]
MOST_CONTEXT = 8192  # tokens; keys and values of Llama 3 8B then take 1 GiB in half precision

PROBES: list[Conversation] = [
    [{"role": "user", "content": "你好，世界 🌏"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "{{ .Role }} {% if %} \\n \"quoted\" 'x'"},
    ],
    [
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "三"},
        {"role": "user", "content": "<b>4</b> & `5`"},
    ],
    [
        {"role": "system", "content": "系统"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "system", "content": "c"},
        {"role": "user", "content": "d"},
    ],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
]
BLANKS: Conversation = [{"role": "user", "content": "\n  a \n"}]


@dataclass(frozen=True)
class Family:
    """A way to write turns. `default_system` opens a conversation without a system turn; `strips` cuts blanks around a text.

    `opens` is the token that begins a text, where the template itself has to write it.
    """

    name: str
    before: str
    between: str
    after: str
    default_system: str | None = None
    strips: bool = False
    opens: str = ""

    def turn(self, role: str, text: str) -> str:
        """One turn."""
        return f"{self.before}{role}{self.between}{text.strip() if self.strips else text}{self.after}"

    def render(self, conversation: Conversation) -> str:
        """The conversation and the header of the answer to come, without the token that begins a text."""
        turns = [self.turn(message["role"], message["content"]) for message in conversation]
        if self.default_system is not None and conversation[0]["role"] != "system":
            turns.insert(0, self.turn("system", self.default_system))
        return "".join(turns) + self.header

    @property
    def header(self) -> str:
        """What stands before an answer."""
        return f"{self.before}assistant{self.between}"


FAMILIES = (
    Family("ChatML", "<|im_start|>", "\n", "<|im_end|>\n"),
    Family("Llama 3", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
)


def find_family(tokenizer: Any, add_bos: bool) -> Family | str:
    """The family that the tokenizer's template follows in every probe, or a sentence why there is none.

    Ollama puts the beginning-of-text token before the prompt where the GGUF says `add_bos`, so the template must not; where
    it says no and the model's own template writes that token (early Llama 3 tokenizers), Ollama's has to write it, too.
    """
    for family in FAMILIES:
        shown, bos = rendered(tokenizer, PROBES[0]), tokenizer.bos_token or ""
        if not add_bos:
            bos = bos if shown.startswith(bos + family.before) else ""
            family = replace(family, opens=bos)
        tail = family.turn("user", PROBES[0][0]["content"]) + family.header
        if not (shown.startswith(bos + family.before) and shown.endswith(tail)):
            continue
        family = replace(family, default_system=_default_system(family, shown[len(bos) : len(shown) - len(tail)]))
        family = replace(
            family, strips=rendered(tokenizer, BLANKS) == bos + replace(family, strips=True).render(BLANKS)
        )
        if any(rendered(tokenizer, probe) != bos + family.render(probe) for probe in [*PROBES, BLANKS]):
            return f"the model's chat template is like {family.name}'s but not equal to it in every conversation tried"
        if any(mark in (family.default_system or "") for mark in ("{{", "}}", '"""')):
            return "the default system turn holds marks that Ollama's files give a meaning to"
        return family
    return "the model's chat template is of no family with a known Ollama template"


def rendered(tokenizer: Any, conversation: Conversation) -> str | None:
    """The conversation by the model's own template; None where the template refuses it."""
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    except TemplateError:
        return None


def _default_system(family: Family, opening: str) -> str | None:
    """The text of the system turn that a template adds by itself; None if `opening` is no such turn."""
    head = f"{family.before}system{family.between}"
    inside = opening.startswith(head) and opening.endswith(family.after)
    return opening[len(head) : len(opening) - len(family.after)] if inside else None


def go_template(family: Family) -> str:
    """The family in Go's text/template over Ollama's `.Messages`.

    Line breaks at the very end are written as `{{ "\\n" }}`, so that no program that trims a file takes them away.
    """
    end = family.between.rstrip("\n")
    breaks = len(family.between) - len(end)
    first = ""
    if family.default_system is not None:
        turn = family.turn("system", family.default_system)
        first = (
            f'{{{{ if .Messages }}}}{{{{ if ne (index .Messages 0).Role "system" }}}}{turn}{{{{ end }}}}{{{{ end }}}}'
        )
    turns = f"{{{{ range .Messages }}}}{family.before}{{{{ .Role }}}}{family.between}{{{{ .Content }}}}{family.after}{{{{ end }}}}"
    return f"{family.opens}{first}{turns}{family.before}assistant{end}" + '{{ "' + "\\n" * breaks + '" }}'


def parameters(stops: list[str], sampling: dict[str, float], context: int) -> dict[str, Any]:
    """Ollama's parameters: where an answer stops, how it is sampled, how much is remembered; each would have a default otherwise.

    num_ctx: Ollama gives small machines 4,096 tokens and drops the oldest silently; the model's own may need more memory than
    there is. num_predict: without it an answer that never stops goes on beyond the context. repeat_last_n: transformers
    penalises every token that was there, Ollama the last 64.
    """
    names = {"repetition_penalty": "repeat_penalty"}
    known = min(context, MOST_CONTEXT)
    lengths = {"repeat_last_n": known, "num_ctx": known, "num_predict": known}
    return {"stop": stops, **{names.get(name, name): value for name, value in sampling.items()}, **lengths}


def params_file(values: dict[str, Any]) -> str:
    """The Hub's `params`."""
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def modelfile(gguf_file: str, template: str, values: dict[str, Any]) -> str:
    """A Modelfile for `ollama create`, beside the GGUF file."""
    lines = [f"FROM ./{gguf_file}", f'TEMPLATE """{template}"""']
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"PARAMETER {name} {json.dumps(one, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
