"""How a release is used: blocks to paste, a program each, with the release's own stop tokens and sampling.

tests/model_card/test_usage.py runs them. What a program takes from the repository by itself, and what its block has to say:

transformers             chat template and generation_config.json; the block spells stops and sampling out all the same
transformers serve, vLLM chat template; the sampling and every stop token of generation_config.json, which vLLM
                         reads unless it is told `--generation-config vllm`. Both refuse another model's name
llama.cpp                chat template, stop tokens and sampling from the GGUF file (`general.sampling.*`); its own top-k 40
                         and min-p 0.05 stay where the file is silent. Any model's name is accepted
Ollama                   the repository's files `template` (Go's language, not Jinja) and `params` (stops and sampling), which the
                         Hub puts into what it serves: https://huggingface.co/docs/hub/ollama

The three servers speak OpenAI's protocol on one port, so that one client block serves them all.
"""

import json
import shlex
from dataclasses import dataclass, fields

from markupsafe import Markup

from inference.rules import Sampling
from model_card.text import fenced_as

QUESTION = [{"role": "user", "content": "请用三句话介绍一下长城。"}]
PORT = 8000  # what transformers serve and vLLM listen on unless they are told otherwise
QUANTIZATION = "Q4_0"

TRANSFORMERS = """import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model_id = {repo_id}
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForCausalLM.from_pretrained(model_id, dtype="auto")
model.to("cuda" if torch.cuda.is_available() else "cpu")

messages = {messages}
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
).to(model.device)
output = model.generate(
    **inputs,
    max_new_tokens={max_new_tokens},
    do_sample=True,{sampling}{stop}
)
answer = output[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))"""

CLIENT = """from openai import OpenAI

client = OpenAI(base_url="http://localhost:{port}/v1", api_key="none")
answer = client.chat.completions.create(
    model={repo_id},
    messages={messages},
    max_tokens={max_new_tokens},
)
print(answer.choices[0].message.content)"""


@dataclass(frozen=True)
class Release:
    """What a snippet needs to know of a release. `stop` are token ids, `stop_names` their spellings.

    Of the sampling None is what the release's files leave open; a block does not name it either.
    """

    repo_id: str
    gguf_id: str | None
    stop: list[int]
    stop_names: list[str]
    temperature: float
    top_p: float
    max_new_tokens: int
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None


def snippets(release: Release) -> dict[str, Markup]:
    """The fenced blocks of each program, by its key; both cards show the same. llama.cpp and Ollama only where there is a GGUF."""
    repo = shlex.quote(release.repo_id)
    blocks = {
        "transformers": [("python", transformers(release))],
        "transformers_serve": [("bash", f"pip install 'transformers[serving]'\ntransformers serve {repo}")],
        "openai_client": [("python", client(release)), ("bash", curl(release))],
        "vllm": [("bash", f"pip install vllm\nvllm serve {repo}")],
    }
    if release.gguf_id:
        gguf = shlex.quote(f"{release.gguf_id}:{QUANTIZATION}")
        blocks["llama_cpp"] = [("bash", f"llama-server -hf {gguf} --port {PORT}"), ("bash", f"llama-cli -hf {gguf}")]
        blocks["ollama"] = [("bash", f"ollama run hf.co/{gguf}")]
    return {key: Markup("\n\n").join(fenced_as(*block) for block in parts) for key, parts in blocks.items()}


def transformers(release: Release) -> str:
    """Python that loads the model and answers one question."""
    stop = release.stop[0] if len(release.stop) == 1 else release.stop
    told = {field.name: getattr(release, field.name) for field in fields(Sampling)}
    lines = [f"\n    {name}={json.dumps(value)}," for name, value in told.items() if value is not None]
    return TRANSFORMERS.format(
        **python_values(release),
        sampling="".join(lines),
        stop=f"\n    eos_token_id={json.dumps(stop)}," if release.stop else "",
    )


def client(release: Release) -> str:
    """Python that asks a server; stops and sampling are the server's."""
    return CLIENT.format(**python_values(release), port=PORT)


def curl(release: Release) -> str:
    """The same request from a shell."""
    body = {"model": release.repo_id, "messages": QUESTION, "max_tokens": release.max_new_tokens}
    fields = ",\n  ".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in body.items())
    data = shlex.quote(f"{{\n  {fields}\n}}")
    return f"curl http://localhost:{PORT}/v1/chat/completions -H 'Content-Type: application/json' \\\n  -d {data}"


def python_values(release: Release) -> dict[str, str]:
    """The release's values as Python spells them."""
    names = {"repo_id": json.dumps(release.repo_id), "messages": json.dumps(QUESTION, ensure_ascii=False)}
    return {**names, "max_new_tokens": json.dumps(release.max_new_tokens)}
