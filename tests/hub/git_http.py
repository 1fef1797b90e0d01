"""git over HTTP: clone, fetch and push through git's own http-backend."""

import os
import subprocess

from tests.hub.git import ENVIRONMENT
from tests.hub.web import Answer, Call, HubError, Router

router = Router()


@router.route("GET POST", r"/{files}(?:\.git)?(?P<service>/info/refs|/git-upload-pack|/git-receive-pack)")
def git_http(call: Call) -> Answer:
    """gitprotocol-http(5). A push needs a token that may write; a private repository one that may read."""
    repository = call.repository
    pushes = "git-receive-pack" in (call["service"].removeprefix("/"), call.query.get("service"))
    if pushes:
        call.hub.accounts.writer(call, repository.namespace)
    else:
        repository.check_gate(call.hub.accounts.asking(call), repository.resolve("main"))
    if pushes and call.method == "POST":
        with repository.lock:
            return backend(call, call.body())
    return backend(call, call.body())


def backend(call: Call, body: bytes) -> Answer:
    """What git-http-backend(1), a CGI program, answers."""
    variables = {
        "GIT_PROJECT_ROOT": str(call.repository.git.folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": call["service"],
        "QUERY_STRING": call.query_string,
        "REQUEST_METHOD": call.method,
        "REMOTE_USER": getattr(call.hub.accounts.asking(call), "user", ""),
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": call.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": call.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": call.headers.get("Git-Protocol", ""),
    }
    env = os.environ | ENVIRONMENT | variables
    done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=env, check=False)
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    if not headers:
        raise HubError(500, f"git http-backend: {done.stderr.decode(errors='replace')}")
    status = int(headers.pop("Status", "200").split()[0])
    return Answer(answer, status, headers)
