"""LFS: the batch API, and the objects on an origin of their own, where addresses are signed and no token belongs."""

import hashlib
import math
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.hub.web import CHUNK, Answer, Call, FileSlice, HubError, Router, parse_range
from tests.hub.xet import token_headers

LFS_JSON = {"Content-Type": "application/vnd.git-lfs+json"}

router = Router()  # of the Hub
cdn = Router()  # of the objects' own origin


class Objects:
    """Files by their SHA-256. Nothing is stored under a digest that it does not have."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where an object is, or would be."""
        return self.folder / sha256

    def size(self, sha256: str) -> int | None:
        """Its bytes, None if it is not here."""
        path = self.path(sha256)
        return path.stat().st_size if path.is_file() else None

    def put(self, sha256: str | None, chunks: Iterable[bytes]) -> str:
        """Store an object and return its SHA-256. HubError 400 if it is not the one that was said, as S3 answers."""
        digest, arriving = hashlib.sha256(), self.folder / f"arriving-{secrets.token_hex(8)}"
        try:
            with arriving.open("wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            if sha256 not in (None, digest.hexdigest()):
                raise HubError(400, f"BadDigest: these bytes have SHA-256 {digest.hexdigest()}, not {sha256}")
            arriving.rename(self.path(digest.hexdigest()))
        finally:
            arriving.unlink(missing_ok=True)
        return digest.hexdigest()

    def join(self, sha256: str, parts: list[Path]) -> None:
        """Store an object that came in parts."""
        self.put(sha256, (chunk for part in parts for chunk in iter_file(part)))
        for part in parts:
            part.unlink()


def iter_file(path: Path) -> Iterator[bytes]:
    """The bytes of a file in chunks."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


# --- the batch API


@router.route("POST", r"/{files}\.git/info/lfs/objects/batch")
def batch(call: Call) -> Answer:
    """lfs.post_lfs_batch_info and git-lfs: where to put or get each object (git-lfs/docs/api/batch.md)."""
    body = call.json()
    uploads = body.get("operation") == "upload"
    if uploads:
        call.hub.accounts.writer(call, call.repository.namespace)
    else:
        call.repository.check_gate(call.hub.accounts.asking(call), call.repository.resolve("main"))
    transfers = body.get("transfers") or ["basic"]
    if uploads and call.hub.xet and "xet" in transfers:
        return xet_batch(call, body["objects"])
    multipart = uploads and "multipart" in transfers
    objects = [upload_entry(call, o, multipart) if uploads else download_entry(call, o) for o in body["objects"]]
    chosen = "multipart" if multipart and any("chunk_size" in str(o.get("actions")) for o in objects) else "basic"
    return Answer({"transfer": chosen, "objects": objects, "hash_algo": "sha256"}, headers=LFS_JSON)


def xet_batch(call: Call, objects: list[dict[str, Any]]) -> Answer:
    """What npm @huggingface/hub asks for: the upload goes to the CAS, and this says where that is and with which token."""
    headers = token_headers(call, "write")
    url = f"{call.hub.url}/api/{call.repository.kind}/{call.repository.id}/xet-write-token/main"
    entries = []
    for wanted in objects:
        here = call.hub.objects.size(wanted["oid"]) is not None
        actions = {} if here else {"actions": {"upload": {"href": url, "header": headers}}}
        entries.append({"oid": wanted["oid"], "size": wanted["size"]} | actions)
    return Answer({"transfer": "xet", "objects": entries}, headers=LFS_JSON | headers)


def signed(call: Call, path: str) -> str:
    """An address on the objects' origin that works without a token."""
    return f"{call.hub.cdn_url}{path}?signature={call.hub.sign(path)}"


def upload_entry(call: Call, wanted: dict[str, Any], multipart: bool) -> dict[str, Any]:
    """How to upload an object; without actions if it is here."""
    oid, size = wanted["oid"], wanted["size"]
    entry = {"oid": oid, "size": size, "authenticated": True}
    if call.hub.objects.size(oid) is not None:
        return entry
    if multipart and size > call.hub.part_bytes:
        upload = multipart_action(call, oid, size)
    else:
        upload = {"href": signed(call, f"/objects/{oid}")}
    return entry | {"actions": {"upload": upload, "verify": {"href": verify_url(call, oid)}}}


def verify_url(call: Call, oid: str) -> str:
    """Where a client has the Hub look at what it uploaded; signed, because git-lfs sends no token there."""
    path = f"/api/lfs-verify/{oid}"
    return f"{call.hub.url}{path}?signature={call.hub.sign(path)}"


def multipart_action(call: Call, oid: str, size: int) -> dict[str, Any]:
    """lfs._upload_multi_part: one address per part, and one to finish at, all in this answer."""
    parts = {f"{n:05d}": signed(call, f"/parts/{oid}/{n}") for n in range(1, math.ceil(size / call.hub.part_bytes) + 1)}
    path = f"/api/complete_multipart/{oid}/{len(parts)}"
    href = f"{call.hub.url}{path}?signature={call.hub.sign(path)}"
    return {"href": href, "header": {"chunk_size": str(call.hub.part_bytes), **parts}}


def download_entry(call: Call, wanted: dict[str, Any]) -> dict[str, Any]:
    """Where an object is to be had."""
    entry = {"oid": wanted["oid"], "size": wanted["size"], "authenticated": True}
    if call.hub.objects.size(wanted["oid"]) is None:
        return entry | {"error": {"code": 404, "message": "Object does not exist"}}
    return entry | {"actions": {"download": {"href": signed(call, f"/objects/{wanted['oid']}")}}}


@router.route("POST", "/api/lfs-verify/{oid}")
def verify(call: Call) -> dict[str, Any]:
    """lfs.lfs_upload and git-lfs: whether an object arrived."""
    check_signature(call)
    size, said = call.hub.objects.size(call["oid"]), call.json()["size"]
    if size != said:
        raise HubError(404 if size is None else 400, f"object {call['oid']} has {size} bytes here, not {said}")
    return {}


@router.route("POST", r"/{files}\.git/info/lfs/locks/verify")
def locks(call: Call) -> Answer:
    """git-lfs asks before a push; the Hub has no locks."""
    raise HubError(404, "Not found")


@router.route("POST", r"/api/complete_multipart/{oid}/{number}")
def complete_multipart(call: Call) -> dict[str, Any]:
    """lfs._upload_multi_part, last step: the parts become the object. It sends no token; the address is signed."""
    check_signature(call)
    folder, body = call.hub.objects.folder, call.json()
    parts = [folder / f"part-{call['oid']}-{n}" for n in range(1, int(call["number"]) + 1)]
    tags = [part["etag"].strip('"') for part in sorted(body["parts"], key=lambda part: part["partNumber"])]
    if not all(p.is_file() for p in parts) or tags != [hashlib.md5(p.read_bytes()).hexdigest() for p in parts]:
        raise HubError(400, "InvalidPart: a part is missing or has another ETag")
    call.hub.objects.join(call["oid"], parts)
    return {}


# --- the objects' own origin


def check_signature(call: Call) -> None:
    """HubError 403 without a true signature; 400 with a token beside it away from the Hub, as S3 and CloudFront answer."""
    if call.origin != "api" and "Authorization" in call.headers:
        raise HubError(400, "Only one auth mechanism allowed")
    if call.query.get("signature") != call.hub.sign(call.path):
        raise HubError(403, "the signature of this address is not valid")


@cdn.route("PUT", "/objects/{oid}")
def put_object(call: Call) -> Answer:
    """lfs._upload_single_part."""
    check_signature(call)
    call.hub.objects.put(call["oid"], call.chunks())
    return Answer(headers={"ETag": f'"{call["oid"][:32]}"'})


@cdn.route("PUT", "/parts/{oid}/{number}")
def put_part(call: Call) -> Answer:
    """lfs._upload_parts_iteratively reads the ETag of each part."""
    check_signature(call)
    data = call.body()
    (call.hub.objects.folder / f"part-{call['oid']}-{call['number']}").write_bytes(data)
    return Answer(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})


@cdn.route("GET", "/objects/{oid}")
def get_object(call: Call) -> Answer:
    """file_download.http_get, which resumes with a Range."""
    check_signature(call)
    path = call.hub.objects.path(call["oid"])
    if not path.is_file():
        raise HubError(404, "NoSuchKey")
    size = path.stat().st_size
    headers = {"ETag": f'"{call["oid"]}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if "name" in call.query:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(call.query['name'])}"
    wanted = parse_range(call.headers.get("Range"), size)
    if wanted is None:
        return Answer(FileSlice(path, 0, size), headers=headers)
    start, end = wanted
    return Answer(FileSlice(path, start, end), 206, headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"})
