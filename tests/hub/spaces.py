"""What only Spaces have: a runtime."""

from typing import Any

from tests.hub.repositories import Repository
from tests.hub.web import Call, HubError, Router

router = Router()


def runtime(repository: Repository) -> dict[str, Any]:
    """_space_api.SpaceRuntime. Nothing is run here: a Space with an app is for ever being built."""
    hardware = {"current": None, "requested": "cpu-basic"}
    files = {entry.path for entry in repository.git.entries(repository.resolve("main"))}
    stage = "BUILDING" if "README.md" in files else "NO_APP_FILE"
    return {"stage": stage, "hardware": hardware, "storage": None, "gcTimeout": 172800}


@router.route("GET", "/api/{repo}/runtime")
def space_runtime(call: Call) -> dict[str, Any]:
    """hf_api.HfApi.get_space_runtime."""
    if call.repository.kind != "spaces":
        raise HubError(404, "only Spaces have a runtime")
    return runtime(call.repository)
