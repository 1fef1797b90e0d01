"""The real chat with everything it can run: safetensors, an adapter, a GGUF file in llama.cpp and in transformers."""

import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference import chat, export_gguf
from inference.llama_cpp.engine import available
from inference.runtime import open_engine
from tests.conftest import tried_again
from tests.inference.terminal.pseudo_terminal import CTRL_C, CTRL_D, ENTER, PseudoTerminal

CONTEXT = 32_768
ROLES = ("user", "assistant")
KINDS = ("folder", "adapter", "transformers", "llama.cpp")


@pytest.fixture(scope="module")
def models(tiny_folder, tmp_path_factory) -> dict[str, list[str]]:
    """By kind: the MODEL and its options. They never stop by themselves, within a context that takes a while to fill."""
    import torch
    from peft import LoraConfig, get_peft_model

    from inference.loading import load_model, load_tokenizer, resolve

    root, source = tmp_path_factory.mktemp("chat"), resolve(str(tiny_folder))
    model, tokenizer = load_model(source), load_tokenizer(source)
    with torch.no_grad():
        model.lm_head.weight[: len(tokenizer.all_special_ids) + 1] = 0  # another token's logit is always above 0
    model.config.max_position_embeddings = CONTEXT
    for name in ("folder", "adapter"):
        tokenizer.save_pretrained(root / name)
    model.save_pretrained(root / "folder")
    torch.manual_seed(1)
    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(load_model(resolve(str(root / "folder"))), lora).save_pretrained(root / "adapter")
    export_gguf.main([str(root / "folder"), "--output", str(root / "gguf"), "--types", "f16", "--name", "tiny"])
    gguf = str(root / "gguf" / "tiny-f16.gguf")
    return {
        "folder": [str(root / "folder")],
        "adapter": [str(root / "adapter")],
        "transformers": [gguf, "--runtime", "transformers"],
        "llama.cpp": [gguf, "--runtime", "llama.cpp"],
    }


def skip_without_llama_cpp(kind: str) -> None:
    if kind == "llama.cpp" and not available():
        pytest.skip("llama.cpp is not installed: pip install xllamacpp")


@pytest.fixture(params=KINDS)
def model(request, models) -> list[str]:
    skip_without_llama_cpp(request.param)
    return models[request.param]


@dataclass
class Piped:
    """What a chat through a pipe wrote."""

    answers: str
    notes: str


@pytest.fixture(scope="module")
def engines():
    """The engines that were opened; a llama.cpp takes two seconds to start."""
    return {}


@pytest.fixture
def pipe(engines, monkeypatch, capsys):
    """Run lines through the chat of this process."""

    def opened(source, **loading):
        key = (source.spec, *loading.values())
        engines[key] = engines.get(key) or open_engine(source, **loading)
        return engines[key]

    def run(model: list[str], *lines: str, status: int = 0) -> Piped:
        monkeypatch.setattr(chat, "open_engine", opened)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
        assert chat.main(model) == status
        return Piped(*capsys.readouterr())

    return run


def saved(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["messages"]


def test_same_seed_same_conversation_and_regenerate_takes_the_next(pipe, model, tmp_path):
    asked = [*model, "--temperature", "1", "--top-k", "0", "--top-p", "1", "--max-new-tokens", "24", "--seed", "7"]
    script = ("你好", "Hi 🙂", f"/save! {tmp_path / 'a'}", "/regenerate", f"/save! {tmp_path / 'b'}")
    first, again = pipe(asked, *script), pipe(asked, *script)
    assert first.answers == again.answers and first.answers.strip()
    before, after = saved(tmp_path / "a"), saved(tmp_path / "b")
    assert before[:3] == after[:3] and [message.get("seed") for message in after] == [None, 7, None, 9]
    assert before[3]["seed"] == 8 and before[3]["content"] != after[3]["content"]
    assert pipe([*asked[:-1], "8"], *script).answers != first.answers


def test_turns_that_do_not_fit_are_left_out_and_a_message_that_does_not_is_refused(pipe, model, tmp_path):
    """What is answered is what is answered where the turns never were."""
    short, long = [("Hi", "a b c"), ("你好", "好好")], ("x" * CONTEXT, "a")
    for name, turns in (("short", short), ("long", [long, *short])):
        said = [{"role": role, "content": text} for turn in turns for role, text in zip(ROLES, turn, strict=True)]
        (tmp_path / name).write_text(json.dumps({"schema_version": 1, "messages": said}), encoding="utf-8")
    asked = [*model, "--temperature", "0", "--max-new-tokens", "16", "--load"]
    whole, cut = (
        pipe([*asked, str(tmp_path / "short")], "Hi"),
        pipe([*asked, str(tmp_path / "long")], "Hi", "x" * CONTEXT, status=1),
    )
    assert whole.answers == cut.answers and whole.answers.strip()
    assert "turn 1 no longer fits the context of 32,768 tokens and is not sent" in cut.notes
    assert "no longer fits" not in whole.notes and "leaves 32,752 beside an answer of max_new_tokens 16" in cut.notes
    assert "Token indices sequence length" not in cut.notes


@pytest.mark.parametrize("kind", ["folder", "adapter", "llama.cpp"])
@tried_again
def test_ctrl_c_stops_a_streaming_answer_and_the_chat_goes_on(kind, models, tmp_path):
    skip_without_llama_cpp(kind)
    command = [sys.executable, "-m", "inference.chat", *models[kind], "--temperature", "0", "--max-new-tokens", "30000"]
    with PseudoTerminal(command, XDG_STATE_HOME=str(tmp_path), NO_COLOR="1") as terminal:
        terminal.wait_for("loading …")
        terminal.send("Hi", ENTER)  # before the model is there
        loaded = rf"loaded {Path(models[kind][0]).stem} .*MB\)\s+\S"
        terminal.wait_until(lambda text: re.search(loaded, text) is not None, "an answer")
        terminal.send(CTRL_C)
        terminal.wait_for("(stopped; what was said is kept)")
        terminal.wait_for("1 turn ·")
        terminal.send("/params max_new_tokens 3", ENTER, "again", ENTER, CTRL_D)
        assert terminal.ended() == 0
        assert "(cut at max_new_tokens;" in terminal.text() and "Traceback" not in terminal.text()
