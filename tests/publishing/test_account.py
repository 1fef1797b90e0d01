"""Each fault of a token has its message, before anything is pushed, and the token itself is in none of them."""

import pytest
from huggingface_hub import HfApi

import upload
from command import WorkError
from publishing.account import check_account
from tests.publishing.conftest import push


def fine_grained(*scopes: dict) -> dict:
    return {"name": "alice", "auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"scoped": list(scopes)}}}}


def scope(name: str, *permissions: str) -> dict:
    return {"entity": {"name": name, "type": "user"}, "permissions": list(permissions)}


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "there is no Hub token. Log in"),
        ("hf_expired", r"it is wrong or has expired\. Log in again: hf auth login .*variable HF_TOKEN"),
        ("hf_alice_read", "the Hub token is read-only. Make one with write access"),
        ("hf_bob", "the token belongs to bob, not to alice. Choose one of these, or --create-pr"),
    ],
)
def test_each_fault_of_a_token_has_its_message(small_run, hub, log_in, token, said, capsys):
    log_in(hub.url, token)
    with pytest.raises(WorkError, match="nothing was pushed") as refused:
        push(small_run, hub)
    assert refused.match(said) and not hub.api.repo_exists(hub.id)
    assert (token or "hf_") not in str(refused.value) + "".join(capsys.readouterr())


def test_the_organisation_of_the_token_may_be_the_owner(hub, log_in):
    api = upload.hub_api()
    assert check_account(api, ["acme/demo", "alice/demo"], False) == ("alice", [])
    assert check_account(api, ["acme/demo", "other/demo"], False)[1] == [
        "the token belongs to alice, acme, not to other. Choose one of these, or --create-pr"
    ]
    assert check_account(api, ["other/demo"], True)[1] == [], "a pull request needs no ownership"


def test_a_reader_of_the_organisation_may_not_write(hub, monkeypatch):
    me = {"name": "alice", "orgs": [{"name": "acme", "roleInOrg": "read"}]}
    monkeypatch.setattr(HfApi, "whoami", lambda self: me)
    assert check_account(upload.hub_api(), ["acme/demo"], False)[1] == [
        "alice may only read in acme. Ask its admins for the role of a contributor, or --create-pr"
    ]


@pytest.mark.parametrize(
    ("me", "allowed"),
    [
        (fine_grained(scope("alice", "repo.content.read", "repo.write")), True),
        (fine_grained(scope("alice/demo", "repo.write")), True),
        (fine_grained(scope("alice", "repo.content.read")), False),
        (fine_grained(scope("alice/other", "repo.write")), False),
        (fine_grained(), False),
    ],
)
def test_a_fine_grained_token_needs_write_access(hub, monkeypatch, me, allowed):
    monkeypatch.setattr(HfApi, "whoami", lambda self: me)
    found = check_account(upload.hub_api(), ["alice/demo"], False)[1]
    assert found == [] if allowed else "fine-grained and has no write access to alice/demo" in found[0]


def test_a_token_that_may_not_write_after_all_is_explained(small_run, own_hub, monkeypatch):
    from tests.hub import Fault

    own_hub.server.fault(Fault("POST", r"/repos/create", status=403))
    with pytest.raises(WorkError, match="nothing was pushed: the token may not write to alice"):
        push(small_run, own_hub)
