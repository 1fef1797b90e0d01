"""The command before a server runs: what is chosen, what is refused, the command lines."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from command import UserError
from inference import serve
from inference.loading import Source, resolve
from inference.rules import GREEDY, Rules, Sampling
from inference.serving import llama_server, programs, watch
from inference.serving.programs import Wanted
from tests.conftest import ROOT, cpu_seconds, hub_environment
from tests.inference.gguf_models import changed

PLAIN = Wanted("127.0.0.1", 8000, None, None, None)
DRAWN = Sampling(0.6, 0.9, 40, 0.05, 1.1)
RULES = Rules("{{ messages }}", (2,), ("<|im_end|>",), DRAWN, 512)
HUB = Source("org/name@v1", "hub", None, "org/name", "v1", "name", None)
GGUF = Source("m.gguf", "gguf", Path("m.gguf"), None, None, "m", None)


@pytest.fixture
def gguf_file(tmp_path) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    return path


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(programs, "_find", lambda name: None)
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: None)


def test_no_torch_is_imported_before_it_is_needed():
    code = "import sys, inference.serve; sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["./no/such"], "no such folder"),
        (["FOLDER", "--port", "0"], "--port 0"),
        (["FOLDER", "--port", "65536"], "--port 65536"),
        (["FOLDER", "--port", "BUSY"], "Give another --port"),
        (["FOLDER", "--host", "192.0.2.1"], "Give an address of this machine"),
        (["FOLDER", "--host", "no.such.invalid"], "--host no.such.invalid"),
        (["FOLDER", "--context", "0"], "--context 0"),
        (["FOLDER", "--with", "transformers", "--context", "99"], "takes no option for it"),
        (["FOLDER", "--with", "transformers", "--model-name", "x"], "by its folder or Hub id"),
        (["FOLDER", "--with", "llama.cpp"], "inference.export_gguf"),
        (["GGUF", "--dtype", "float32"], "--dtype float32"),
        (["GGUF", "--with", "vllm"], "is a GGUF file"),
        (["EMPTY"], "no config.json"),
        (["ADAPTER"], "is an adapter"),
    ],
)
def test_a_mistake_is_told_within_two_seconds(command, words, reason, tiny_folder, gguf_file, tmp_path):
    for name in ("empty", "adapter"):
        (tmp_path / name).mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        places = {
            "FOLDER": tiny_folder,
            "GGUF": gguf_file,
            "EMPTY": tmp_path / "empty",
            "ADAPTER": tmp_path / "adapter",
        }
        places["BUSY"] = busy.getsockname()[1]
        began = cpu_seconds()
        done = command("inference.serve", *(places.get(word, word) for word in words))
    assert cpu_seconds() - began < 2
    assert done.returncode == 2 and reason in done.stderr and "Traceback" not in done.stderr and not done.stdout


@pytest.mark.parametrize(
    ("program", "fix"),
    [
        ("transformers", "pip install 'transformers[serving]=="),
        ("vllm", "pip install vllm"),
        ("llama.cpp", "pip install xllamacpp"),
    ],
)
def test_a_missing_program_is_told_with_its_command(program, fix, nothing_installed):
    with pytest.raises(UserError) as told:
        programs.check_installed(program)
    assert fix in str(told.value)


def test_vllm_is_the_default_where_it_and_a_gpu_are(monkeypatch):
    for found, cuda, program in (
        (None, True, "transformers"),
        ("/vllm", False, "transformers"),
        ("/vllm", True, "vllm"),
    ):
        monkeypatch.setattr(programs, "_find", lambda name, found=found: found)
        monkeypatch.setattr(programs, "_has_cuda", lambda cuda=cuda: cuda)
        assert programs.choose(HUB, None) == program
    assert programs.choose(HUB, "transformers") == "transformers" and programs.choose(GGUF, None) == "llama.cpp"


def test_the_command_lines(monkeypatch):
    monkeypatch.setattr(programs, "_find", lambda name: f"/bin/{name}")
    monkeypatch.setattr(programs, "_has_xllamacpp", lambda: False)
    monkeypatch.setattr(programs, "default_dtype", lambda: "float32")
    server = programs.make_server("transformers", HUB, Path("/cache/x"), RULES, PLAIN)
    assert server.line() == (
        "HF_HUB_OFFLINE=1 HF_HUB_DISABLE_UPDATE_CHECK=1 "
        "/bin/transformers serve org/name@v1 --host 127.0.0.1 --port 8000 --dtype float32"
    )
    wanted = Wanted("0.0.0.0", 9000, "bfloat16", 256, "mine")
    words = shlex.split(programs.make_server("vllm", HUB, Path("/cache/x"), RULES, wanted).line())
    assert words[:5] == ["/bin/vllm", "serve", "/cache/x", "--served-model-name", "mine"]
    told = {"temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1}
    assert json.loads(words[words.index("--override-generation-config") + 1]) == told
    assert words[-4:] == ["--dtype", "bfloat16", "--max-model-len", "256"]
    words = programs.make_server("llama.cpp", GGUF, Path("m.gguf"), RULES, PLAIN).command
    pairs = dict(pairwise(words))
    assert words[0] == "/bin/llama-server" and pairs["--alias"] == "m" and pairs["--ctx-size"] == "2048"
    assert (pairs["--parallel"], pairs["--threads"]) == ("4", os.environ["OMP_NUM_THREADS"])
    monkeypatch.delenv("OMP_NUM_THREADS")
    words = programs.make_server("llama.cpp", GGUF, Path("m.gguf"), RULES, PLAIN).command
    assert int(words[words.index("--threads") + 1]) == len(os.sched_getaffinity(0))
    sampling = ("--temp", "--top-k", "--top-p", "--min-p", "--repeat-penalty")
    assert [pairs[name] for name in sampling] == ["0.6", "40", "0.9", "0.05", "1.1"]


def test_our_llama_server_takes_the_line_that_is_written_for_the_program(monkeypatch):
    """Each word that llama-server gets is a word of the one that runs without it, and the other way round."""
    monkeypatch.setattr(programs, "_find", lambda name: f"/bin/{name}")
    monkeypatch.setattr(programs, "_has_xllamacpp", lambda: False)
    words = programs.make_server("llama.cpp", GGUF, Path("m.gguf"), RULES, PLAIN).command[1:]
    monkeypatch.setattr(
        programs, "_has_xllamacpp", lambda: True
    )  # whose version is tested, so it goes before the program
    ours = programs.make_server("llama.cpp", GGUF, Path("m.gguf"), RULES, PLAIN).command
    assert ours == [sys.executable, "-m", "inference.serving.llama_server", *words]
    options = vars(llama_server.build_parser().parse_args(words))
    assert options["samplers"] == programs.SAMPLERS and options["jinja"]
    assert {f"--{name.replace('_', '-')}" for name in options} == {word for word in words if word.startswith("--")}


def test_what_a_server_does_not_keep_is_told(monkeypatch):
    greedy = Rules("{{ messages }}", (2,), ("<|im_end|>",), GREEDY, 512)
    limits = programs.make_server("transformers", HUB, Path("x"), greedy, PLAIN).limits
    assert any("greedy" in limit for limit in limits)
    assert not any(
        "greedy" in limit for limit in programs.make_server("transformers", HUB, Path("x"), RULES, PLAIN).limits
    )
    assert programs.unknown_stops(RULES, {"eos_token_id": [0, 2]}, {}) == []
    assert programs.unknown_stops(RULES, {}, {"eos_token_id": 2}) == []
    assert programs.unknown_stops(RULES, {"eos_token_id": 0}, {"eos_token_id": 2}) == ["<|im_end|>"]


@pytest.mark.parametrize(
    ("context", "slots"), [(None, "1"), (512, "4"), (8192, "4"), (8193, "3"), (32_768, "1"), (131_072, "1")]
)
def test_each_conversation_has_a_context_of_its_own_as_long_as_they_are_small(context, slots):
    rules = Rules("{{ messages }}", (2,), ("<|im_end|>",), DRAWN, context)
    words = programs.make_server("llama.cpp", GGUF, Path("m.gguf"), rules, PLAIN).command
    pairs = dict(pairwise(words))
    assert pairs["--parallel"] == slots and int(pairs["--ctx-size"]) == int(slots) * (context or 0)


def test_a_server_for_the_network_says_so(monkeypatch):
    open_to_all = Wanted("0.0.0.0", 8000, None, None, None)
    monkeypatch.delenv("LLAMA_API_KEY", raising=False)
    for program, source in (("transformers", HUB), ("vllm", HUB), ("llama.cpp", GGUF)):
        assert (
            "all who reach 0.0.0.0" in programs.make_server(program, source, Path("x"), RULES, open_to_all).limits[-1]
        )
        assert "all who" not in programs.make_server(program, source, Path("x"), RULES, PLAIN).limits[-1]
    monkeypatch.setenv("LLAMA_API_KEY", "secret")
    assert "all who" not in programs.make_server("llama.cpp", GGUF, Path("x"), RULES, open_to_all).limits[-1]


def test_the_python_that_is_printed_has_the_servers_key(monkeypatch):
    servers = {"llama.cpp": "LLAMA_API_KEY", "vllm": "VLLM_API_KEY", "transformers": None}
    for program, variable in servers.items():
        server = programs.Server(program, [], {}, "m", [])
        for name in programs.KEYS.values():
            monkeypatch.delenv(name, raising=False)
        assert 'api_key="none"' in serve.told_when_ready(program, server, "http://h")
        for name in programs.KEYS.values():
            monkeypatch.setenv(name, "secret")
        told = serve.told_when_ready(program, server, "http://h")
        assert (f'api_key=os.environ["{variable}"]' if variable else 'api_key="none"') in told and "secret" not in told
        compile(told.partition("\n\n")[2], "told", "exec")


def test_what_cannot_be_served_rightly_is_refused(tiny_folder, tmp_path):
    with pytest.raises(UserError, match="the model's own is 512"):
        programs.make_server("llama.cpp", GGUF, Path("m.gguf"), RULES, Wanted("127.0.0.1", 1, None, 513, None))
    odd = shutil.copytree(tiny_folder, tmp_path / "a@b")
    with pytest.raises(UserError, match="Rename the folder"):
        programs.make_server("transformers", resolve(str(odd)), odd, RULES, PLAIN)
    bare = shutil.copytree(tiny_folder, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        serve.chat_rules(resolve(str(bare)))


def test_print_prints_the_line_and_starts_nothing(tiny_folder, tmp_path, capsys, monkeypatch, nothing_installed):
    monkeypatch.setattr(serve, "become_watch", lambda *_: pytest.fail("a server was started"))
    odd = changed(
        tiny_folder, tmp_path / "other", "generation_config.json", lambda record: record.update(eos_token_id=0)
    )
    assert serve.main([str(odd), "--with", "vllm", "--print"]) == 0
    assert capsys.readouterr().out.startswith(f"vllm serve {odd} --served-model-name other")


def test_the_command_that_merges_an_adapter_merges_it(tiny, tiny_folder, tmp_path, monkeypatch):
    """Outside of a run; of a run it is training.merge_adapter, which has its own tests."""
    from peft import LoraConfig, get_peft_model

    from inference.loading import load_model

    adapter = tmp_path / "adapter"
    model = get_peft_model(load_model(resolve(str(tiny_folder))), LoraConfig(target_modules=["q_proj"]))
    model.peft_config["default"].base_model_name_or_path = str(tiny_folder)
    model.save_pretrained(adapter)
    tiny[1].save_pretrained(adapter)
    with pytest.raises(UserError) as told:
        serve.refuse_adapter(resolve(str(adapter)), adapter)
    words = shlex.split(str(told.value).split("serve that: ")[1])
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert resolve(str(tmp_path / "adapter-merged")).kind == "folder"
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(UserError, match=f"training.merge_adapter {tmp_path}"):
        serve.refuse_adapter(resolve(str(adapter)), adapter)


def test_a_server_that_ends_by_itself_is_told_of(capfd):
    job = {"title": "a server", "environment": {"WHY": "no luck"}, "url": "http://127.0.0.1:9", "told": "ready"}
    job["command"] = [sys.executable, "-c", "import os, sys; print(os.environ['WHY']); sys.exit(3)"]
    with pytest.raises(watch.WorkError, match="a server ended before it was ready, with status 3"):
        watch.main([json.dumps(job)])
    told = capfd.readouterr()
    assert "no luck" in told.err and not told.out


WATCH = """
import json, os, signal, subprocess, sys
from command import run_command
from inference.serving import watch

def started(*words, **options):
    process = subprocess.Popen.__new__(subprocess.Popen)
    process.__init__(*words, **options)
    print(process.pid, flush=True)
    {after}
    return process

plain, watch.subprocess = subprocess, type("subprocess", (), {{**vars(subprocess), "Popen": started}})
run_command(lambda: watch.main([sys.argv[1]]))
"""


@pytest.mark.parametrize("after", ["os.kill(os.getpid(), signal.SIGTERM)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_server_does_not_outlive_its_watch(after):
    """Stopped just when the server is there, before anything can hold it; killed with force (on Linux)."""
    if "KILL" in after and sys.platform != "linux":
        pytest.skip("only Linux tells a child")
    job = {"title": "a server", "environment": {}, "url": "http://127.0.0.1:9", "told": "ready"}
    job["command"] = [sys.executable, "-c", "import time; time.sleep(60)"]
    words = [sys.executable, "-c", WATCH.format(after=after), json.dumps(job)]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=50)
    assert done.returncode == (-9 if "KILL" in after else 130)
    server = int(done.stdout)
    deadline = time.monotonic() + 5
    while running(server):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(process: int) -> bool:
    """Whether there is such a process, one that has ended and whose parent has not asked for its status aside."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def test_where_a_client_finds_the_server():
    assert watch.base_url("0.0.0.0", 80) == "http://127.0.0.1:80" and watch.base_url("::1", 80) == "http://[::1]:80"


def test_a_hub_model_is_served_from_the_cache_under_its_id(tiny_folder, hub_url, tmp_path):
    """The weights come by our own download; the server itself is offline and loads them by the id."""
    environment = hub_environment(hub_url, tmp_path / "home")
    hf = Path(sys.executable).with_name("hf")
    subprocess.run(
        [hf, "upload", "alice/served", tiny_folder, "--quiet"], env=environment, check=True, capture_output=True
    )
    words = ["-m", "inference.serve", "alice/served@main", "--print"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "serve alice/served@main --host" in done.stdout, done.stderr
    code = "from transformers.cli.serving.model_manager import ModelManager as M; print(M(force_model='alice/served@main').loaded_models)"
    offline = {**environment, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True)
    assert done.returncode == 0 and "alice/served@main" in done.stdout, done.stderr
