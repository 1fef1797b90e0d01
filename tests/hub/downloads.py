"""resolve and raw: a file of a revision, with the headers from which clients build their caches."""

from tests.hub.git import Entry
from tests.hub.objects import signed
from tests.hub.web import Answer, Call, HubError, Router, parse_range

router = Router()


def find(call: Call) -> tuple[str, Entry]:
    """Commit and file of a path. HubError GatedRepo, RevisionNotFound or EntryNotFound."""
    repository = call.repository
    commit = repository.resolve(call["revision"])
    repository.check_gate(call.hub.accounts.asking(call), commit)
    for entry in repository.git.entries(commit):
        if entry.path == call["path"] and not entry.folder:
            return commit, entry
    raise HubError(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit})


@router.route("GET", "/{files}/resolve/{revision}/{path}")
def resolve(call: Call) -> Answer:
    """file_download.get_hf_file_metadata: ETag and X-Repo-Commit; an LFS object is a redirect to its signed address.

    X-Linked-ETag and X-Linked-Size are the object's own; X-Xet-Hash and the xet-auth link (utils._xet.parse_xet_file_data_
    from_response) are there only for a file that the CAS has.
    """
    commit, entry = find(call)
    if not entry.sha256:
        return regular(call, commit, entry)
    headers = {"X-Repo-Commit": commit, "ETag": f'"{entry.sha256}"', "Accept-Ranges": "bytes"}
    headers |= {"X-Linked-ETag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
    if xet_hash := call.hub.xet_hash(entry.sha256):
        token_url = f"{call.hub.url}/api/{call.repository.kind}/{call.repository.id}/xet-read-token/{commit}"
        headers |= {"X-Xet-Hash": xet_hash, "Link": f'<{token_url}>; rel="xet-auth"'}
    headers["Location"] = signed(call, f"/objects/{entry.sha256}")
    return Answer(b"", 302, headers)


@router.route("GET", "/{files}/raw/{revision}/{path}")
def raw(call: Call) -> Answer:
    """The file as git holds it: of an LFS object the pointer."""
    return regular(call, *find(call))


def regular(call: Call, commit: str, entry: Entry) -> Answer:
    """A file out of git itself."""
    data = call.repository.git.blob(entry.oid)
    headers = {"X-Repo-Commit": commit, "ETag": f'"{entry.oid}"', "Accept-Ranges": "bytes"}
    headers |= {"Content-Type": "text/plain; charset=utf-8", "Content-Disposition": "inline"}
    wanted = parse_range(call.headers.get("Range"), len(data))
    if wanted is None:
        return Answer(data, headers=headers)
    start, end = wanted
    return Answer(data[start:end], 206, headers | {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})
