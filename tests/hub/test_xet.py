"""The CAS: formats by hand-made bytes, tokens, and refusal of what does not add up."""

import itertools
import os
import struct

import httpx2
import pyarrow
import pytest
from huggingface_hub import HfApi

from tests.hub import Hub
from tests.hub.objects import Objects
from tests.hub.web import HubError
from tests.hub.xet import Segment, ShardFile, Xet, chunk_offsets, hash_text, read_shard, ungroup, unpack_chunk


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path / "hub") as hub:
        HfApi(endpoint=hub.url, token="hf_alice").create_repo("alice/m")
        yield hub


def chunk(content: bytes, scheme: int) -> bytes:
    """A chunk as docs/xet/xorb says: version, packed size, scheme, unpacked size, data."""
    size = len(content).to_bytes(3, "little")
    if scheme == 2:
        content = b"".join(content[remainder::4] for remainder in range(4))
    packed = content if scheme == 0 else pyarrow.compress(content, codec="lz4", asbytes=True)
    return bytes([0]) + len(packed).to_bytes(3, "little") + bytes([scheme]) + size + packed


def test_a_hash_is_four_little_endian_numbers():
    """The example of docs/xet/api: bytes 0 to 31."""
    assert hash_text(bytes(range(32))) == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"


def test_grouped_bytes_go_back_to_their_places():
    """Eleven bytes 0…10 in groups by position modulo 4: (0, 4, 8), (1, 5, 9), (2, 6, 10), (3, 7)."""
    assert ungroup(bytes([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7])) == bytes(range(11))


@pytest.mark.parametrize("scheme", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 3, 4, 1001])
def test_each_compression_is_undone(scheme, size):
    content = bytes(n % 7 for n in range(size))
    assert unpack_chunk(chunk(content, scheme)) == content


def test_a_xorb_is_chunks_and_perhaps_a_footer():
    one, two = chunk(b"a" * 100, 0), chunk(b"b" * 50, 1)
    assert chunk_offsets(one + two) == chunk_offsets(one + two + b"XETBLOB...") == [0, len(one), len(one + two)]
    for broken in (b"", b"XETBLOB", (one + two)[:-1]):
        with pytest.raises(HubError, match="cut off or holds no chunk"):
            chunk_offsets(broken)


def test_a_shard_is_read():
    xorb, name, sha = bytes(range(32)), bytes([1] * 32), bytes([2] * 32)
    record = name + struct.pack("<IIQ", 1 << 30, 1, 0)
    segment = xorb + struct.pack("<4I", 0, 150, 0, 2)
    shard = bytes(48) + record + segment + sha + bytes(16) + b"\xff" * 32 + bytes(16)
    assert list(read_shard(shard)) == [
        ShardFile(hash_text(name), hash_text(sha), [Segment(hash_text(xorb), 150, 0, 2)])
    ]


def test_a_file_that_does_not_add_up_is_refused(tmp_path):
    store, objects = Xet(tmp_path / "xorbs", lambda text: "signed"), Objects(tmp_path / "objects")
    packed = chunk(b"hello ", 0) + chunk(b"world", 1)
    assert store.add_xorb("x", packed) and not store.add_xorb("x", packed)
    with pytest.raises(HubError, match="xorb y is not here"):
        store.add_file(ShardFile("f", None, [Segment("y", 5, 0, 1)]), objects)
    with pytest.raises(HubError, match="has no chunk 2"):
        store.add_file(ShardFile("f", None, [Segment("x", 11, 0, 3)]), objects)
    with pytest.raises(HubError, match="BadDigest"):
        store.add_file(ShardFile("f", "0" * 64, [Segment("x", 11, 0, 2)]), objects)
    assert not list(objects.folder.iterdir()) and not store.files
    store.add_file(ShardFile("f", None, [Segment("x", 11, 0, 2)]), objects)
    (stored,) = objects.folder.iterdir()
    assert stored.read_bytes() == b"hello world" and store.hashes == {stored.name: "f"}


def test_tokens_of_the_cas_are_its_own(hub):
    address = f"{hub.url}/api/models/alice/m/xet-"
    as_alice, as_bob = ({"Authorization": f"Bearer {token}"} for token in ("hf_alice", "hf_bob"))
    assert httpx2.get(f"{address}write-token/main", headers=as_bob).status_code == 403
    read = httpx2.get(f"{address}read-token/main", headers=as_bob).json()
    write = httpx2.get(f"{address}write-token/main", headers=as_alice).json()
    xorb = f"{hub.cas_url}/v1/xorbs/default/{'0' * 64}"
    for token, status in [
        (read["accessToken"], 403),
        (write["accessToken"], 200),
        ("hf_alice", 401),
        ("write-1-x", 401),
    ]:
        answer = httpx2.post(xorb, content=chunk(b"a", 0), headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
    assert [r.token for r in hub.leaks] == ["hf_alice"], "the account's own token has no business there"


def test_a_hub_without_xet_offers_none(tmp_path):
    with Hub(tmp_path / "hub", xet=False) as hub:
        HfApi(endpoint=hub.url, token="hf_alice").create_repo("alice/m")
        headers = {"Authorization": "Bearer hf_alice"}
        assert httpx2.get(f"{hub.url}/api/models/alice/m/xet-write-token/main", headers=headers).status_code == 404


def test_a_range_of_a_file_is_put_together_from_the_chunks_around_it(hub, monkeypatch):
    """What a partial Xet download asks: the terms start at a chunk, and the offset says what of it to leave out."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    data = os.urandom(400_000)
    HfApi(endpoint=hub.url, token="hf_alice").upload_file(repo_id="alice/m", path_in_repo="a.bin", path_or_fileobj=data)
    about = httpx2.head(f"{hub.url}/alice/m/resolve/main/a.bin").headers
    token = httpx2.get(f"{hub.url}/api/models/alice/m/xet-read-token/main").json()["accessToken"]
    headers = {"Authorization": f"Bearer {token}", "Range": "bytes=250000-250009"}
    plan = httpx2.get(f"{hub.cas_url}/v1/reconstructions/{about['X-Xet-Hash']}", headers=headers).json()
    (fetch,) = plan["fetch_info"][plan["terms"][0]["hash"]]
    part = f"bytes={fetch['url_range']['start']}-{fetch['url_range']['end']}"
    xorb = httpx2.get(fetch["url"], headers={"Range": part}).content
    offsets = chunk_offsets(xorb)
    content = b"".join(unpack_chunk(xorb[a:b]) for a, b in itertools.pairwise(offsets))
    start = plan["offset_into_first_range"]
    assert content[start : start + 10] == data[250_000:250_010]
    headers["Range"] = "bytes=400000-400001"
    assert httpx2.get(f"{hub.cas_url}/v1/reconstructions/{about['X-Xet-Hash']}", headers=headers).status_code == 416
