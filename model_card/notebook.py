"""notebook.ipynb of a release: the model loaded, asked, streamed and talked to, in plain transformers, cell by cell.

The Hub shows a notebook on its own page and offers a repository's notebook.ipynb to Colab and Kaggle. It names the model as the
card does and holds no output: what it shows is what the reader's machine answers. tests/model_card/test_notebook.py runs it.
"""

import hashlib
import json
from typing import Any

HEAD = """# {name}

This notebook loads [{repo_id}](https://huggingface.co/{repo_id}) and asks it, with `transformers` alone. Prompt format, stop
tokens and sampling come with the model, so nothing here sets them. What the model is good and bad at, as measured, stands on its
[page](https://huggingface.co/{repo_id}).

这个笔记本只用 `transformers` 加载并使用 [{repo_id}](https://huggingface.co/{repo_id})。提示词格式、停止标记和采样参数都随模型提供，
无需另行设置。模型擅长什么、不擅长什么，实测结果见[模型页面](https://huggingface.co/{repo_id})。{built_with}"""

INSTALL = """%pip install --quiet "transformers>={transformers}" torch accelerate"""

LOAD = """import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TextStreamer, set_seed

model_id = {repo_id}
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForCausalLM.from_pretrained(model_id, dtype="auto")
model.to("cuda" if torch.cuda.is_available() else "cpu")
print(f"{{model.num_parameters():,}} parameters, {{model.dtype}}, on {{model.device}}")"""

ASK = """def ask(messages, seed=0, streamer=None, **options):
    \"\"\"The model's answer to a conversation. The same seed gives the same answer on the same machine.\"\"\"
    set_seed(seed)
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    output = model.generate(**inputs, streamer=streamer, **{{"max_new_tokens": {max_new_tokens}, **options}})
    return tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


answer = ask([{{"role": "user", "content": "请用三句话介绍一下长城。"}}])
print(answer)"""

STREAM = """streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
answer = ask([{"role": "user", "content": "写一首关于春天的短诗。"}], seed=1, streamer=streamer)"""

TALK = """messages = [{"role": "system", "content": "你是一位耐心的老师，回答简短。"}]
for question in ("什么是光合作用？", "请再举一个例子。"):
    messages.append({"role": "user", "content": question})
    messages.append({"role": "assistant", "content": ask(messages, seed=2)})
for message in messages:
    print(f"{message['role']}: {message['content']}\\n")"""

GREEDY = """answer = ask([{"role": "user", "content": "鸡兔同笼，共 10 个头、28 只脚，鸡和兔各有几只？"}], do_sample=False)
print(answer)"""


def notebook(name: str, repo_id: str, transformers: str, max_new_tokens: int, built_with: str | None) -> bytes:
    """The notebook in nbformat 4.5. `transformers`: the version that trained the model; `built_with`: a line that a licence asks for."""
    told = {"name": name, "repo_id": repo_id, "built_with": f"\n\n{built_with}." if built_with else ""}
    cells = [
        ("markdown", HEAD.format(**told)),
        ("code", INSTALL.format(transformers=".".join(transformers.split(".")[:2]))),
        ("markdown", "## Load · 加载"),
        ("code", LOAD.format(repo_id=json.dumps(repo_id))),
        ("markdown", "## Ask · 提问"),
        ("code", ASK.format(max_new_tokens=max_new_tokens)),
        ("markdown", "## As it is written · 流式输出"),
        ("code", STREAM),
        ("markdown", "## A conversation · 多轮对话"),
        ("code", TALK),
        ("markdown", "## Greedy: always the likeliest token · 贪心解码"),
        ("code", GREEDY),
    ]
    record = {
        "cells": [cell(number, kind, text) for number, (kind, text) in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()


def cell(number: int, kind: str, text: str) -> dict[str, Any]:
    """One cell; its id follows from its place and text, so that the same release has the same bytes."""
    digest = hashlib.sha256(f"{number} {text}".encode()).hexdigest()[:8]
    made = {"cell_type": kind, "id": digest, "metadata": {}, "source": text.splitlines(keepends=True)}
    return made | {"execution_count": None, "outputs": []} if kind == "code" else made
