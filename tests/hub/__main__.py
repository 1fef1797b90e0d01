"""python -m tests.hub ROOT [--port 8123] [--no-xet]: serve a Hub until interrupted; tokens hf_alice, hf_alice_read, hf_bob."""

import argparse
import threading
from pathlib import Path

from tests.hub import Hub

parser = argparse.ArgumentParser(prog="python -m tests.hub", description="A Hub on loopback.", allow_abbrev=False)
parser.add_argument("root", metavar="ROOT", type=Path, help="a new folder for repositories and objects")
parser.add_argument("--port", type=int, default=0, help="port of the Hub (default: a free one)")
parser.add_argument("--no-xet", action="store_true", help="LFS only")
arguments = parser.parse_args()
with Hub(arguments.root, xet=not arguments.no_xet, port=arguments.port) as hub:
    print(f"ready: HF_ENDPOINT={hub.url} HF_TOKEN=hf_alice", flush=True)
    threading.Event().wait()
