"""Who asks: tokens, their roles, users and organisations, and what each may do with a repository."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from tests.hub.web import Call, HubError


@dataclass(frozen=True)
class Account:
    """A user as one of his tokens shows him: `role` is "write" or "read"."""

    user: str
    role: str = "write"
    organisations: tuple[str, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where he may own repositories."""
        return (self.user, *self.organisations)


TOKENS = {
    "hf_alice": Account("alice", "write", ("acme",)),
    "hf_alice_read": Account("alice", "read", ("acme",)),
    "hf_bob": Account("bob"),
}
EXPIRED = "hf_expired"
NO_LOGIN = {"WWW-Authenticate": 'Basic realm="Hugging Face"'}  # git asks for a password only after this


class Accounts:
    """The tokens of this Hub."""

    def __init__(self) -> None:
        self.tokens = dict(TOKENS)

    @staticmethod
    def token(headers: Mapping[str, str]) -> str | None:
        """The token of a request: a bearer's, or the password that git sends."""
        scheme, _, value = headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            return base64.b64decode(value).decode().partition(":")[2] or None
        return value or None

    def leaked(self, target: str, headers: Mapping[str, str]) -> str | None:
        """The token of an account that stands anywhere in a request's address or headers."""
        said = "\n".join([target, self.token(headers) or "", *headers.values()])
        return next((token for token in sorted([*self.tokens, EXPIRED], key=len, reverse=True) if token in said), None)

    def asking(self, call: Call) -> Account | None:
        """Who asks, None without a token. HubError 401 for a token that is wrong or has expired."""
        token = self.token(call.headers)
        if token is None:
            return None
        if token not in self.tokens:
            # This very message keeps hf_raise_for_status from calling it a repository that is not there.
            raise HubError(401, "Invalid credentials in Authorization header", headers=NO_LOGIN)
        return self.tokens[token]

    def logged_in(self, call: Call) -> Account:
        """Who asks. HubError 401 if nobody did."""
        account = self.asking(call)
        if account is None:
            raise HubError(401, "Invalid username or password.", headers=NO_LOGIN)
        return account

    def writer(self, call: Call, namespace: str) -> Account:
        """Who asks, if he may write to a namespace. HubError 401 or 403 if not."""
        account = self.logged_in(call)
        if account.role != "write":
            raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")
        if namespace not in account.namespaces:
            raise HubError(403, f"Forbidden: you do not have the rights to write under the namespace {namespace!r}.")
        return account
