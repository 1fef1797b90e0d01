"""A chat page, base beside tuned with the same seed: python -m inference.demo MODEL [--base BASE] [--port 7860]

Only this machine can open the page unless --host says otherwise; no telemetry, nothing is loaded from other servers.
A Space runs this very module (publishing/space.py).
"""

import argparse
import errno
import importlib.util
import os
import socket

from command import CommandParser, UserError, run_command
from inference.loading import Source, resolve
from inference.options import (
    MODEL_HELP,
    add_loading,
    add_sampling,
    check_sampling,
    chosen_max_new_tokens,
    chosen_sampling,
    loading_options,
)
from inference.rules import read_rules
from inference.runtime import open_engine

QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def build_parser() -> CommandParser:
    parser = CommandParser(prog="python -m inference.demo", description="Chat with one model, or two side by side.")
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--base", metavar="BASE", help="the model to show beside it, a MODEL too")
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on (default $GRADIO_SERVER_NAME or 127.0.0.1; 0.0.0.0 opens it to the network)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
        help="port to listen on (default $GRADIO_SERVER_PORT or 7860)",
    )
    add_sampling(parser)
    add_loading(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    check_sampling(options)
    check_gradio()
    tuned, base = resolve(options.model), resolve(options.base) if options.base else None
    check_address(options.host, options.port)
    os.environ.update(QUIET)  # read when the libraries are imported
    page = make_page(tuned, base, options)
    from inference.page.app import serve

    try:
        serve(page, options.host, options.port)
    except OSError as error:  # taken while the models were loading; gradio's own words name no way out
        check_address(options.host, options.port)
        raise error
    return 0


def make_page(tuned: Source, base: Source | None, options: argparse.Namespace):
    """The page with its models loaded. Sampling is the tuned model's own unless the options say otherwise."""
    from inference.page.app import Page, Settings
    from inference.page.sides import context_of, make_side

    models = {"base": base, "tuned": tuned}
    loading = loading_options(options)
    sides = [make_side(role, model, open_engine(model, **loading)) for role, model in models.items() if model]
    sampling = chosen_sampling(read_rules(tuned, sides[-1].engine.tokenizer).sampling, options)
    longest = chosen_max_new_tokens(options, context_of(sides))
    return Page(sides, Settings(sampling, longest, options.seed))


def check_gradio() -> None:
    """UserError with the command to install it, where gradio is missing."""
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the demo needs gradio. Install it: .venv/bin/pip install -r requirements-demo.txt")


def check_address(host: str, port: int) -> None:
    """UserError where nothing can listen there: told before a model is loaded."""
    if not 1 <= port <= 65535:
        raise UserError(f"--port {port} must be between 1 and 65535.")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"--port {port} is busy on {host}. Give another, such as --port {port % 65535 + 1}."
            ) from None
        raise UserError(f"--host {host} --port {port}: cannot listen there ({error.strerror}). Give another.") from None


if __name__ == "__main__":
    run_command(main)
