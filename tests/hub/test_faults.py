"""Each fault fires where and as often as it was told, alone and together with others, and what it leaves is whole."""

import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, errors

from tests.hub import Fault, Hub

LOST = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def api(hub, monkeypatch) -> HfApi:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    api = HfApi(endpoint=hub.url, token="hf_alice")
    api.create_repo("alice/m")
    return api


def commit(api: HfApi, data: bytes = b"x", path: str = "a.txt"):
    return api.create_commit("alice/m", [CommitOperationAdd(path, data)], commit_message="Add")


@pytest.mark.parametrize("status", [401, 403, 404, 409, 412, 429, 500, 502, 503])
def test_a_status_in_place_of_the_work_leaves_the_old_commit(hub, api, status):
    before = hub.snapshot("alice/m")
    fault = hub.fault(Fault("POST", r"/commit/", status=status, headers={"Retry-After": "7"}))
    with pytest.raises(errors.HfHubHTTPError) as refused:
        commit(api)
    assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (status, "7")
    assert hub.snapshot("alice/m") == before and fault.fired == 1
    commit(api)
    assert "a.txt" in hub.snapshot("alice/m") and fault.fired == 1, "times=1: the second commit goes well"


@pytest.mark.parametrize("fault", [Fault(status=502), Fault(drop=True)], ids=["502", "dropped"])
def test_after_the_work_the_commit_has_landed(hub, api, fault):
    fault.path, fault.after = r"/commit/", True
    hub.fault(fault)
    with pytest.raises((errors.HfHubHTTPError, *LOST)):
        commit(api)
    assert "a.txt" in hub.snapshot("alice/m") and fault.fired == 1
    assert hub.requests[-1].status == fault.status


def test_a_connection_dropped_before_the_work(hub, api):
    hub.fault(Fault(path=r"/commit/", drop=True))
    with pytest.raises(LOST):
        commit(api)
    assert list(hub.snapshot("alice/m")) == [".gitattributes"] and hub.requests[-1].status is None


def test_skip_and_times_count_matches(hub):
    fault = hub.fault(Fault("GET", r"whoami", skip=1, times=2, status=503))
    hub.fault(Fault("GET", r"nothing like it", status=500, times=None))
    headers = {"Authorization": "Bearer hf_alice"}
    seen = [httpx2.get(f"{hub.url}/api/whoami-v2", headers=headers).status_code for _ in range(5)]
    assert seen == [200, 503, 503, 200, 200] and (fault.seen, fault.fired) == (5, 2)
    hub.fault(Fault(path="whoami", status=500, times=None))
    assert httpx2.get(f"{hub.url}/api/whoami-v2", headers=headers).status_code == 500
    hub.clear_faults()
    assert httpx2.get(f"{hub.url}/api/whoami-v2", headers=headers).status_code == 200


def test_a_stall_outlasts_a_client_that_does_not_wait(hub, api):
    hub.fault(Fault(path="whoami", stall=30.0))
    headers, start = {"Authorization": "Bearer hf_alice"}, time.perf_counter()
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{hub.url}/api/whoami-v2", headers=headers, timeout=0.3)
    assert time.perf_counter() - start < 5
    hub.fault(Fault(path="whoami", stall=0.4))
    start = time.perf_counter()
    assert httpx2.get(f"{hub.url}/api/whoami-v2", headers=headers).status_code == 200
    assert time.perf_counter() - start >= 0.4


def test_a_slow_link_in_both_directions(hub, api):
    data = bytes(200_000)
    up = hub.fault(Fault("PUT", origin="cdn", rate=400_000))
    start = time.perf_counter()
    commit(api, data, "a.bin")
    assert up.fired == 1 and time.perf_counter() - start >= 0.5
    down = hub.fault(Fault("GET", origin="cdn", rate=400_000))
    start = time.perf_counter()
    assert httpx2.get(f"{hub.url}/alice/m/resolve/main/a.bin", follow_redirects=True).content == data
    assert down.fired == 1 and time.perf_counter() - start >= 0.5


def test_an_answer_that_breaks_off_is_resumed(hub, api, tmp_path):
    data = bytes(range(256)) * 1000
    commit(api, data, "a.bin")
    cut = hub.fault(Fault("GET", origin="cdn", cut=100_000))
    with pytest.raises(LOST):
        httpx2.get(f"{hub.url}/alice/m/resolve/main/a.bin", follow_redirects=True)
    hub.fault(Fault("GET", origin="cdn", cut=100_000))
    there = api.hf_hub_download("alice/m", "a.bin", cache_dir=tmp_path / "cache")
    assert Path(there).read_bytes() == data and cut.fired == 1
    assert [r.status for r in hub.requests if r.origin == "cdn" and r.method == "GET"] == [200] * 3, "once more"
    for path in ("resolve/main/a.bin", "resolve/main/.gitattributes"):
        whole = httpx2.get(f"{hub.url}/alice/m/{path}", follow_redirects=True).content
        part = httpx2.get(f"{hub.url}/alice/m/{path}", headers={"Range": "bytes=300-"}, follow_redirects=True)
        assert (part.status_code, part.content) == (206, whole[300:])


def test_faults_strike_one_origin_only(hub, api, tmp_path):
    at_cdn = hub.fault(Fault(origin="cdn", status=503, times=1))
    at_cas = hub.fault(Fault(origin="cas", drop=True, times=None))
    commit(api, bytes(1000), "a.bin")  # http_backoff tries the 503 again
    assert (at_cdn.fired, at_cas.fired) == (1, 0)
    assert [r.status for r in hub.requests if r.origin == "cdn"] == [503, 200]


def test_faults_together(hub, api):
    """A slow link, on which every second answer is lost: the stall and the loss come in one request, the 503 in the next."""
    hub.fault(Fault(path=r"/commit/", stall=0.3, after=True))
    hub.fault(Fault(path=r"/commit/", drop=True, after=True))
    hub.fault(Fault(path=r"/commit/", skip=1, status=503))
    start = time.perf_counter()
    with pytest.raises(LOST):
        commit(api)
    assert time.perf_counter() - start >= 0.3 and "a.txt" in hub.snapshot("alice/m")
    with pytest.raises(errors.HfHubHTTPError, match="503"):
        commit(api, b"y")
    commit(api, b"y")
    assert len(api.list_repo_commits("alice/m")) == 3, "the first commit, the one whose answer was lost, and the last"


def test_faults_of_the_cas_reach_the_xet_client(hub, api, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    refused = hub.fault(Fault("POST", r"/v1/xorbs/", origin="cas", status=503))
    lost = hub.fault(Fault("POST", r"/v1/shards", origin="cas", drop=True, after=True))
    api.upload_file(repo_id="alice/m", path_in_repo="a.bin", path_or_fileobj=bytes(range(256)) * 500)
    assert (refused.fired, lost.fired) == (1, 1), "hf_xet tried both again"
    assert "a.bin" in hub.snapshot("alice/m")


def test_a_token_at_the_objects_origin_is_a_leak(hub, api):
    commit(api, bytes(1000), "a.bin")
    assert hub.leaks == []
    location = httpx2.get(f"{hub.url}/alice/m/resolve/main/a.bin").headers["Location"]
    assert httpx2.get(location, headers={"Authorization": "Bearer hf_alice"}).status_code == 400
    assert httpx2.get(f"{location}&token=hf_expired").status_code == 200
    assert [r.method for r in hub.leaks] == ["GET", "GET"]
    assert httpx2.get(location.replace("signature=", "signature=0")).status_code == 403


def test_an_error_of_the_hub_itself_fails_the_test(tmp_path, monkeypatch):
    with pytest.raises(AssertionError, match="ZeroDivisionError"), Hub(tmp_path / "hub") as hub:
        monkeypatch.setattr(hub.accounts, "logged_in", lambda call: 1 / 0)
        assert httpx2.get(f"{hub.url}/api/whoami-v2").status_code == 500
