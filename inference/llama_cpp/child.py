"""The process in which llama.cpp runs: what it does to itself (an abort on a broken file) happens there and not in ours.

Not a command. `inference/llama_cpp/process.py` starts it, writes one line of JSON to its standard input (the fields of
xllamacpp's CommonParams that it shall have, and the socket's path), waits for the line "ready", and holds the pipe:
when that ends, in whatever way the parent did, this process ends too.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Serve on a Unix socket, which is not reachable from the network, until standard input ends."""
    from xllamacpp import CommonParams, Server

    asked = json.loads(sys.stdin.readline())
    params = CommonParams()
    params.model.path, params.hostnames = asked["model"], [asked["socket"]]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
    for name, value in asked["params"].items():
        setattr(params, name, value)
    _server = Server(params)  # serves for as long as it is held
    print("ready", flush=True)
    sys.stdin.read()
    Path(asked["socket"]).unlink()
    os._exit(0)  # at once: the server's destructor would wait for what it is computing


if __name__ == "__main__":
    main()
