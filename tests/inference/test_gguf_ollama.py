"""Ollama's template is the model's own: rendered by Go itself, from the files that an export writes."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from inference import export_gguf
from inference.gguf.ollama import PROBES, find_family, go_template, parameters
from inference.loading import load_tokenizer, resolve
from tests.inference.gguf_models import LLAMA3_TEMPLATE, make_llama3
from training.system_prompt import set_system_prompt

SMOLLM2_LIKE = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nYou are a test's own assistant."
    "<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MORE = [
    [{"role": "user", "content": "<|im_end|> {{ end }} `a` \u200b\u202e"}],
    [{"role": "system", "content": ""}, {"role": "user", "content": "空的系统消息"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 3
    + [{"role": "user", "content": "c\n\nd"}],
    [{"role": "tool", "content": "42"}],
]


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """Path of a program that renders a template as Ollama does."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed (Debian: apt-get install golang-go)")
    folder = tmp_path_factory.mktemp("go")
    source = Path(__file__).with_name("chat_template_probe.go")
    cache = {**os.environ, "GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", folder / "probe", source], check=True, env=cache)
    return folder / "probe"


def export(model, output, template, default_system=None):
    """Export with another template; its tokenizer and export.json."""
    tokenizer = load_tokenizer(resolve(str(model)))
    tokenizer.chat_template = template
    set_system_prompt(tokenizer, default_system)
    shutil.copytree(model, output / "model")
    tokenizer.save_pretrained(output / "model")
    export_gguf.main([str(output / "model"), "--output", str(output / "gguf"), "--types", "q4_0", "--name", "m"])
    return tokenizer, json.loads((output / "gguf" / "export.json").read_text(encoding="utf-8"))


def by_go(go, template: Path):
    """The probes by Go."""
    done = subprocess.run(
        [go, template], input=json.dumps(PROBES + MORE), capture_output=True, text=True, encoding="utf-8", check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("default_system", [None, "你是一个只说中文的助手。"])
@pytest.mark.parametrize("kind", ["plain", "smollm2", "llama3"])
def test_go_renders_what_jinja_renders(go, tiny_folder, tmp_path, kind, default_system):
    model = make_llama3(tmp_path / "llama3") if kind == "llama3" else tiny_folder
    plain = load_tokenizer(resolve(str(tiny_folder))).chat_template
    template = {"plain": plain, "smollm2": SMOLLM2_LIKE, "llama3": LLAMA3_TEMPLATE}[kind]
    tokenizer, record = export(model, tmp_path, template, default_system)
    texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in PROBES + MORE]
    begin = tokenizer.bos_token if kind == "llama3" else ""  # Ollama adds it itself, by the file's add_bos_token
    assert [begin + text for text in by_go(go, tmp_path / "gguf" / "template")] == texts
    assert record["special_tokens"]["add_bos"] is (kind == "llama3") is record["ollama"]["strips"]
    built_in = "You are a test's own assistant." if kind == "smollm2" else None
    assert record["ollama"]["default_system"] == (default_system or built_in)
    written = (tmp_path / "gguf" / "Modelfile").read_text(encoding="utf-8")
    assert f'TEMPLATE """{(tmp_path / "gguf" / "template").read_text(encoding="utf-8")}"""\n' in written


def test_modelfile_and_params(tmp_path):
    export_gguf.main([str(make_llama3(tmp_path / "m")), "--output", str(tmp_path / "out"), "--name", "m"])
    params = json.loads((tmp_path / "out" / "params").read_text())
    assert params.pop("stop") == ["<|end_of_text|>", "<|eot_id|>"]
    drawn = {"temperature": 0.6, "top_p": 0.9, "top_k": 50, "min_p": 0.0, "repeat_penalty": 1.0}
    assert params == drawn | {"repeat_last_n": 512, "num_ctx": 512, "num_predict": 512}
    lines = (tmp_path / "out" / "Modelfile").read_text().splitlines()
    assert lines[0] == "FROM ./m-q4_0.gguf"
    assert [line for line in lines if line.startswith("PARAMETER")] == [
        'PARAMETER stop "<|end_of_text|>"',
        'PARAMETER stop "<|eot_id|>"',
        "PARAMETER temperature 0.6",
        "PARAMETER top_p 0.9",
        "PARAMETER top_k 50",
        "PARAMETER min_p 0.0",
        "PARAMETER repeat_penalty 1.0",
        "PARAMETER repeat_last_n 512",
        "PARAMETER num_ctx 512",
        "PARAMETER num_predict 512",
    ]


def test_a_long_context_is_cut_to_what_small_machines_hold():
    assert parameters(["x"], {}, 131072) == {"stop": ["x"], "repeat_last_n": 8192, "num_ctx": 8192, "num_predict": 8192}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}", "of no family"),
        (SMOLLM2_LIKE.replace("m['content'] }}", "m['content'] | upper }}"), "like ChatML's but not equal"),
        (
            SMOLLM2_LIKE.replace("m['content'] }}", "m['content'] | replace('<b>', '') }}"),
            "like ChatML's but not equal",
        ),
        (SMOLLM2_LIKE.replace("a test's own", "{{ '{{ an }}' }}"), "holds marks"),
    ],
)
def test_a_template_of_no_family_gives_no_ollama_files(tiny_folder, tmp_path, capsys, template, said):
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "Modelfile").write_text("of an export before")
    _, record = export(tiny_folder, tmp_path, template)
    assert record["ollama"] is None and said in record["ollama_reason"]
    assert not [name for name in ("Modelfile", "template", "params") if (tmp_path / "gguf" / name).exists()]
    assert "no files for Ollama: " in capsys.readouterr().out


def test_a_beginning_that_ollama_would_write_twice_or_never(tmp_path):
    tokenizer = load_tokenizer(resolve(str(make_llama3(tmp_path / "m"))))
    assert go_template(find_family(tokenizer, add_bos=True)).count(tokenizer.bos_token) == 0
    family = find_family(tokenizer, add_bos=False)  # the model's template writes it and Ollama does not add it
    assert go_template(family).startswith(tokenizer.bos_token) and go_template(family).count(tokenizer.bos_token) == 1
    tokenizer.chat_template = LLAMA3_TEMPLATE.removeprefix("{{ bos_token }}")
    assert isinstance(find_family(tokenizer, add_bos=True), str)
