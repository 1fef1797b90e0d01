"""A Hugging Face Hub on loopback, for tests: `with Hub(folder) as hub: …`, or `python -m tests.hub ROOT --port 8123`."""

from tests.hub.faults import Fault
from tests.hub.server import Hub
from tests.hub.web import Request

__all__ = ["Fault", "Hub", "Request"]
