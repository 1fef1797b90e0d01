"""Xet: tokens from the Hub, and a content-addressed store (CAS) on an origin of its own, over HTTP.

What it speaks is https://huggingface.co/docs/xet: a client cuts files into chunks, packs chunks into xorbs, uploads these, and
then a shard that says of which chunks of which xorbs each file is made. This store keeps xorbs as they come, puts every file
together once and checks its SHA-256, so that what hf_xet sent is proved by code that is not hf_xet's.
"""

import re
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.hub.web import Answer, Call, FileSlice, HubError, Router, parse_range

if TYPE_CHECKING:
    from tests.hub.objects import Objects

LIFETIME = 3600  # seconds that a CAS token is good for
RECORD = 48  # bytes of a header or entry in a shard
BOOKEND = b"\xff" * 32  # in place of a file's hash: there are no more files
HAS_VERIFICATION, HAS_METADATA = 1 << 31, 1 << 30  # flags of a file in a shard
PLAIN, LZ4, GROUPED_LZ4 = 0, 1, 2  # how a chunk is compressed

router = Router()  # of the Hub
cas = Router()  # of the CAS


@dataclass(frozen=True)
class Segment:
    """Chunks `first` to `last` (exclusive) of a xorb; `size` bytes when unpacked."""

    xorb: str
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class ShardFile:
    """A file that a shard describes. sha256 is what its client said, or None."""

    hash: str
    sha256: str | None
    segments: list[Segment]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(segment.size for segment in self.segments)


class Xet:
    """The store: xorbs in a folder, and what each file is made of."""

    def __init__(self, folder: Path, sign: Any):
        self.folder, self._sign = folder, sign
        self.offsets: dict[str, list[int]] = {}  # of each xorb: where its chunks start, and where the last one ends
        self.files: dict[str, ShardFile] = {}  # by Xet hash
        self.hashes: dict[str, str] = {}  # SHA-256 -> Xet hash
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def token(self, scope: str) -> tuple[str, int]:
        """A token for "read" or "write", and when it expires (seconds since 1970)."""
        expiry = int(time.time()) + LIFETIME
        return f"{scope}-{expiry}-{self._sign(f'{scope}-{expiry}')}", expiry

    def scope(self, authorization: str | None) -> str:
        """What a token allows. HubError 401 if it is not one of ours or has expired."""
        match = re.fullmatch(r"Bearer ((read|write)-(\d+))-(\w+)", authorization or "")
        if not match or self._sign(match[1]) != match[4] or int(match[3]) < time.time():
            raise HubError(401, "this is not a token of the CAS, or it has expired")
        return match[2]

    def add_xorb(self, name: str, data: bytes) -> bool:
        """Keep a xorb. False if it was here. HubError 400 if its chunks do not add up."""
        offsets = chunk_offsets(data)
        with self.lock:
            if name in self.offsets:
                return False
            (self.folder / name).write_bytes(data)
            self.offsets[name] = offsets
            return True

    def add_file(self, file: ShardFile, objects: "Objects") -> None:
        """Put a file together and keep it as an object. HubError 400 if a chunk is missing or the SHA-256 is another."""
        for segment in file.segments:
            if segment.last >= len(self.offsets.get(segment.xorb, [])):
                raise HubError(
                    400, f"file {file.hash}: xorb {segment.xorb} is not here or has no chunk {segment.last - 1}"
                )
        sha256 = objects.put(file.sha256, self.unpack(file))
        with self.lock:
            self.files[file.hash] = file
            self.hashes[sha256] = file.hash

    def unpack(self, file: ShardFile) -> Iterator[bytes]:
        """The bytes of a file, a chunk at a time."""
        for segment in file.segments:
            offsets = self.offsets[segment.xorb]
            start = offsets[segment.first]
            with (self.folder / segment.xorb).open("rb") as xorb:
                xorb.seek(start)
                data = xorb.read(offsets[segment.last] - start)
            for number in range(segment.first, segment.last):
                yield unpack_chunk(data[offsets[number] - start : offsets[number + 1] - start])


# --- formats


def hash_text(data: bytes) -> str:
    """32 bytes as Xet writes a hash: four little-endian 64-bit numbers in hexadecimal."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", data))


def chunk_header(data: bytes, at: int = 0) -> tuple[int, int, int]:
    """Packed size, scheme and unpacked size of the chunk whose 8-byte header stands at `at`."""
    packed, scheme, unpacked = data[at + 1 : at + 4], data[at + 4], data[at + 5 : at + 8]
    return int.from_bytes(packed, "little"), scheme, int.from_bytes(unpacked, "little")


def chunk_offsets(xorb: bytes) -> list[int]:
    """Where the chunks of a xorb start, and where the last one ends; a footer that begins with XETBLOB may follow."""
    at, offsets = 0, [0]
    while at + 8 <= len(xorb) and xorb[at] == 0:  # version 0 of the header; a footer begins with X
        at += 8 + chunk_header(xorb, at)[0]
        offsets.append(at)
    if at > len(xorb) or len(offsets) == 1:
        raise HubError(400, "the xorb is cut off or holds no chunk")
    return offsets


def unpack_chunk(data: bytes) -> bytes:
    """The content of a chunk. HubError 400 for a scheme that Xet does not have."""
    import pyarrow

    packed, scheme, size = chunk_header(data)
    content = data[8 : 8 + packed]
    if scheme == PLAIN:
        return content
    if scheme not in (LZ4, GROUPED_LZ4):
        raise HubError(400, f"compression scheme {scheme} is unknown")
    content = pyarrow.decompress(content, decompressed_size=size, codec="lz4", asbytes=True)
    return ungroup(content) if scheme == GROUPED_LZ4 else content


def ungroup(grouped: bytes) -> bytes:
    """b"aaabbbccddd…" with each fourth byte together, put in order: fp32 weights compress better that way."""
    content, at = bytearray(len(grouped)), 0
    for remainder in range(4):
        count = len(range(remainder, len(grouped), 4))
        content[remainder::4] = grouped[at : at + count]
        at += count
    return bytes(content)


def read_shard(data: bytes) -> Iterator[ShardFile]:
    """The files of a shard: a header, then for each file its record, segments, verification and metadata, RECORD bytes each."""
    at = RECORD
    while data[at : at + 32] != BOOKEND:
        name = hash_text(data[at : at + 32])
        flags, count = struct.unpack_from("<II", data, at + 32)
        at += RECORD
        segments = [read_segment(data, at + RECORD * number) for number in range(count)]
        at += RECORD * count * (2 if flags & HAS_VERIFICATION else 1)
        sha256 = None
        if flags & HAS_METADATA:
            sha256 = hash_text(data[at : at + 32])
            at += RECORD
        yield ShardFile(name, sha256, segments)


def read_segment(data: bytes, at: int) -> Segment:
    """One record: xorb hash, flags, unpacked bytes, first chunk, end chunk."""
    _, size, first, last = struct.unpack_from("<4I", data, at + 32)
    return Segment(hash_text(data[at : at + 32]), size, first, last)


# --- the Hub's part


def token_headers(call: Call, scope: str) -> dict[str, str]:
    """utils._xet.parse_xet_connection_info_from_headers."""
    token, expiry = call.hub.xet.token(scope)
    return {"X-Xet-Cas-Url": call.hub.cas_url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expiry)}


@router.route("GET", "/api/{repo}/xet-(?P<scope>read|write)-token/{revision}")
def xet_token(call: Call) -> Answer:
    """utils._xet.fetch_xet_connection_info_from_repo_info: a token of the CAS, in headers and body."""
    if call.hub.xet is None:
        raise HubError(404, "Xet is not enabled on this Hub")
    repository = call.repository
    if call["scope"] == "write":
        call.hub.accounts.writer(call, repository.namespace)
    else:
        repository.check_gate(call.hub.accounts.asking(call), repository.resolve(call["revision"]))
    headers = token_headers(call, call["scope"])
    body = {"casUrl": headers["X-Xet-Cas-Url"], "accessToken": headers["X-Xet-Access-Token"]}
    return Answer(body | {"exp": int(headers["X-Xet-Token-Expiration"])}, headers=headers)


# --- the CAS


def check_scope(call: Call, scope: str) -> None:
    """HubError 401 or 403 for a token that does not allow this."""
    if call.hub.xet.scope(call.headers.get("Authorization")) not in (scope, "write"):
        raise HubError(403, f"this token is not for {scope}")


@cas.route("POST", "/v1/xorbs/default/{hash}")
def put_xorb(call: Call) -> dict[str, Any]:
    """https://huggingface.co/docs/xet/api: upload xorb."""
    check_scope(call, "write")
    return {"was_inserted": call.hub.xet.add_xorb(call["hash"], call.body())}


@cas.route("POST", "(?:/v1)?/shards")
def put_shard(call: Call) -> dict[str, Any]:
    """Upload shard: from here on its files can be committed."""
    check_scope(call, "write")
    for file in read_shard(call.body()):
        call.hub.xet.add_file(file, call.hub.objects)
    return {"result": 1}


@cas.route("GET", "/v1/reconstructions/{hash}")
def reconstruction(call: Call) -> dict[str, Any]:
    """How to put a file, or a range of it, together: terms in order, and where to fetch which chunks."""
    check_scope(call, "read")
    file = call.hub.xet.files.get(call["hash"])
    if file is None:
        raise HubError(404, f"there is no file {call['hash']}")
    start, end = parse_range(call.headers.get("Range"), file.size) or (0, file.size)
    position, wanted, offset = 0, [], 0
    for segment in file.segments:
        if position < end and position + segment.size > start:
            offset = offset if wanted else start - position
            wanted.append(segment)
        position += segment.size
    terms = [{"hash": s.xorb, "unpacked_length": s.size, "range": {"start": s.first, "end": s.last}} for s in wanted]
    return {"offset_into_first_range": offset, "terms": terms, "fetch_info": fetch_info(call, wanted)}


def fetch_info(call: Call, segments: list[Segment]) -> dict[str, list[dict[str, Any]]]:
    """Of each xorb the chunk ranges that are needed, joined where they touch, with signed addresses and (inclusive) bytes."""
    needed: dict[str, list[list[int]]] = {}
    for segment in sorted(segments, key=lambda s: (s.xorb, s.first)):
        ranges = needed.setdefault(segment.xorb, [])
        if ranges and segment.first <= ranges[-1][1]:
            ranges[-1][1] = max(ranges[-1][1], segment.last)
        else:
            ranges.append([segment.first, segment.last])
    return {xorb: [fetch_entry(call, xorb, first, last) for first, last in ranges] for xorb, ranges in needed.items()}


def fetch_entry(call: Call, xorb: str, first: int, last: int) -> dict[str, Any]:
    """Where chunks `first` to `last` of a xorb are."""
    offsets, path = call.hub.xet.offsets[xorb], f"/xorbs/{xorb}"
    return {
        "range": {"start": first, "end": last},
        "url": f"{call.hub.cas_url}{path}?signature={call.hub.sign(path)}",
        "url_range": {"start": offsets[first], "end": offsets[last] - 1},
    }


@cas.route("GET", "/xorbs/{hash}")
def get_xorb(call: Call) -> Answer:
    """Part of a xorb; the signature in the address stands for a token."""
    if call.query.get("signature") != call.hub.sign(call.path):
        raise HubError(403, "the signature of this address is not valid")
    path = call.hub.xet.folder / call["hash"]
    size = path.stat().st_size
    start, end = parse_range(call.headers.get("Range"), size) or (0, size)
    return Answer(FileSlice(path, start, end), 206, {"Content-Range": f"bytes {start}-{end - 1}/{size}"})
