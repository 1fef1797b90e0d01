"""llama.cpp's own server out of the Python package xllamacpp, in place of the program llama-server.

It takes llama-server's words, but only those that inference.serve uses, and LLAMA_API_KEY. The server is the same C++ code.
"""

import os
import signal
import sys

from command import CommandParser

WORDS = {  # of llama-server → the field of CommonParams
    "host": ("hostnames", lambda text: [text]),
    "port": ("port", int),
    "alias": ("model_alias", lambda text: {text}),
    "ctx_size": ("n_ctx", int),
    "parallel": ("n_parallel", int),
    "cors_origins": ("cors_origins", str),
    "log_verbosity": ("verbosity", int),
}
SAMPLING_WORDS = {
    "samplers": ("samplers", str),
    "temp": ("temp", float),
    "top_k": ("top_k", int),
    "top_p": ("top_p", float),
    "min_p": ("min_p", float),
    "repeat_penalty": ("penalty_repeat", float),
    "repeat_last_n": ("penalty_last_n", int),
}
USERS = 2**31 - 1  # a bit for each of them: as by llama-server, they go before what the file says of itself


def build_parser() -> CommandParser:
    parser = CommandParser(prog="python -m inference.serving.llama_server", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, metavar="FILE", help="a GGUF file")
    for name, (_, kind) in {**WORDS, **SAMPLING_WORDS}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, required=True, help="as llama-server's")
    parser.add_argument("--threads", type=int, required=True, help="as llama-server's")
    parser.add_argument("--jinja", action="store_true", help="as llama-server's")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal comes."""
    options = build_parser().parse_args(argv)
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    for words, owner in ((WORDS, params), (SAMPLING_WORDS, params.sampling)):
        for name, (field, _) in words.items():
            setattr(owner, field, getattr(options, name))
    params.sampling.user_sampling_config = USERS
    params.use_jinja, params.cpuparams.n_threads = options.jinja, options.threads
    params.api_keys = [key for key in [os.environ.get("LLAMA_API_KEY")] if key]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # at once: its threads would end their answers first
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        print(f"error: {options.model}: {error}", file=sys.stderr)
        return 1
    while server.listening_address:
        signal.pause()
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
