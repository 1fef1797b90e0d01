"""One commit on a known parent: as a pull request that is merged once it was verified, or straight to a branch.

People see the whole old release or the whole new one. What an earlier, interrupted run left is found and continued, and no
commit is sent again before the Hub has said that the last one did not land.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import WorkError
from publishing.difference import Difference, Target, branch_head, compare, remote_files, size_of
from publishing.hub import Held, asked, explain, hub_errors, once
from publishing.progress import Meter, measured_operation, xet_progress

BIG = 10 * 2**20  # bytes; smaller texts travel inside the commit, other small binaries all together just before it
BINARY = (".safetensors", ".gguf")
LOOKED_AT = 10  # pull requests, the newest
MARK = "Opened by upload.py, which merges it once it was read back and verified, or closes it once it is superseded."


@dataclass(frozen=True)
class PullRequest:
    """A pull request that holds exactly the target's files on top of main's head."""

    number: int
    commit: str


def upload_big(api: Any, target: Target, difference: Difference, branch: str | None, held: Held) -> list[Any]:
    """The commit's operations, their big files sent one at a time; `branch` is None for a pull request.

    The Hub takes only what it has not: LFS asks it by SHA-256, Xet by chunks. WorkError if a file cannot be sent.
    """
    paths = difference.added + difference.changed
    big = [path for path in paths if Path(path).suffix in BINARY or size_of(target.files[path]) >= BIG]
    meter = Meter({path: size_of(target.files[path]) for path in big})
    operations = [measured_operation(path, target.files[path], target.digests[path], meter) for path in paths]
    with xet_progress(meter):
        for operation in (o for o in operations if o.path_in_repo in big):
            meter.begin(operation.path_in_repo)
            try:
                api.preupload_lfs_files(
                    target.repo_id,
                    [operation],
                    repo_type=target.kind,
                    revision=branch,
                    create_pr=branch is None,
                    free_memory=False,
                )
            except (*hub_errors(), RuntimeError, ValueError, OSError) as error:  # hf_xet's and the LFS client's
                meter.stop()
                raise WorkError(
                    f"{held}: {operation.path_in_repo} could not be sent: {explain(error, target.repo_id)} "
                    "Run the same command again; what has arrived is not sent twice."
                ) from error
            meter.end()
    return operations


def operations_of(api: Any, target: Target, difference: Difference, branch: str | None, held: Held) -> list[Any]:
    """All that the commit does: what is added, changed and removed."""
    from huggingface_hub import CommitOperationDelete

    operations = upload_big(api, target, difference, branch, held)
    return operations + [CommitOperationDelete(path, is_folder=False) for path in difference.removed]


def open_pull_request(
    api: Any, target: Target, difference: Difference, message: tuple[str, str | None], me: str, held: Held
) -> PullRequest:
    """A pull request with the difference as its one commit on difference.head; found again if the answer was lost.

    message: its title and its text.
    """
    operations = operations_of(api, target, difference, None, held)

    def send() -> PullRequest:
        info = api.create_commit(
            target.repo_id,
            operations,
            repo_type=target.kind,
            commit_message=message[0],
            commit_description=message[1],
            parent_commit=difference.head,
            create_pr=True,
        )
        return PullRequest(int(info.pr_url.rsplit("/", 1)[1]), info.oid)

    found = once(send, lambda: find_pull_request(api, target, difference, me), held, "the pull request", target.repo_id)
    print(f"pull request {found.number}: {found.commit}", flush=True)
    return found


def find_pull_request(api: Any, target: Target, difference: Difference, me: str) -> PullRequest | None:
    """An open pull request of this user with exactly these files as one commit on difference.head; None if there is none."""
    refs = asked(lambda: api.list_repo_refs(target.repo_id, repo_type=target.kind, include_pull_requests=True))
    for ref in sorted(refs.pull_requests or [], key=lambda ref: int(ref.name), reverse=True)[:LOOKED_AT]:
        details = pull_request(api, target, int(ref.name))
        if details.status not in ("open", "draft") or details.author != me:
            continue
        history = api.list_repo_commits(target.repo_id, repo_type=target.kind, revision=ref.ref)
        if len(history) < 2 or history[1].commit_id != difference.head:
            continue
        if compare(api, target, ref.target_commit).empty:
            return PullRequest(int(ref.name), ref.target_commit)
    return None


def pull_request(api: Any, target: Target, number: int) -> Any:
    """Status, author and more of a pull request."""
    return asked(lambda: api.get_discussion_details(target.repo_id, number, repo_type=target.kind))


def merge(api: Any, target: Target, pull: PullRequest, difference: Difference, held: Held) -> str:
    """Merge a pull request on an unmoved main; the commit of main that then holds exactly the release.

    WorkError if main has moved, if somebody added to the pull request, or if main came out otherwise.
    """
    if pull_request(api, target, pull.number).status != "merged":  # by an earlier run whose answer came late
        refuse_if_moved(api, target, "main", difference.head, held)
        refuse_if_added_to(api, target, pull, held)
        send_merge(api, target, pull, held)
    held.now = f"pull request {pull.number} of {target.repo_id} is merged into main"
    return check_branch(api, target, "main", difference, held)


def refuse_if_added_to(api: Any, target: Target, pull: PullRequest, held: Held) -> None:
    """WorkError if the pull request is no longer the commit that was verified."""
    refs = asked(lambda: api.list_repo_refs(target.repo_id, repo_type=target.kind, include_pull_requests=True))
    now = next((ref.target_commit for ref in refs.pull_requests if int(ref.name) == pull.number), None)
    if now != pull.commit:
        raise WorkError(
            f"{held}: somebody changed the pull request {pull.number} to {now} after {pull.commit} was verified. "
            "It is not merged; look at it, close it, and run again."
        )


def send_merge(api: Any, target: Target, pull: PullRequest, held: Held) -> None:
    """Merge it; found merged if the answer was lost."""
    if pull_request(api, target, pull.number).status == "draft":
        asked(lambda: api.change_discussion_status(target.repo_id, pull.number, "open", repo_type=target.kind))

    def send() -> str:
        api.merge_pull_request(target.repo_id, pull.number, repo_type=target.kind)
        return "merged"

    def landed() -> str | None:
        return "merged" if pull_request(api, target, pull.number).status == "merged" else None

    once(send, landed, held, f"the merge of pull request {pull.number}", target.repo_id)


def check_branch(api: Any, target: Target, branch: str, difference: Difference, held: Held) -> str:
    """The branch's commit if it holds exactly the release beside the files that were kept. WorkError if not."""
    commit = branch_head(api, target, branch)
    after = compare(api, target, commit)
    if not after.empty or set(after.kept) != set(difference.kept):
        other = sorted({*after.added, *after.changed, *after.removed, *(set(after.kept) ^ set(difference.kept))})
        raise WorkError(
            f"{held}, but {branch} at {commit} is not the release: {', '.join(other[:5])} differ: somebody else "
            "changed it at the same moment. No tag was set. Look at the history and run again."
        )
    return commit


def commit_directly(api: Any, target: Target, difference: Difference, branch: str, message: str, held: Held) -> str:
    """One commit straight to a branch whose head is difference.head; found again if the answer was lost."""
    operations = operations_of(api, target, difference, branch, held)

    def send() -> str:
        return api.create_commit(
            target.repo_id,
            operations,
            repo_type=target.kind,
            commit_message=message,
            parent_commit=difference.head,
            revision=branch,
        ).oid

    def landed() -> str | None:
        head = branch_head(api, target, branch)
        return head if head != difference.head and compare(api, target, head).empty else None

    refuse_if_moved(api, target, branch, difference.head, held)
    commit = once(send, landed, held, f"the commit to {branch}", target.repo_id)
    held.now = f"{branch} of {target.repo_id} holds the release at {commit}"
    print(f"committed {commit} to {branch}", flush=True)
    return commit


def refuse_if_moved(api: Any, target: Target, branch: str, head: str, held: Held) -> None:
    """WorkError, with who changed what, if a branch no longer stands at `head`."""
    if (now := branch_head(api, target, branch)) == head:
        return
    commits = api.list_repo_commits(target.repo_id, repo_type=target.kind, revision=now)
    new = commits[: next((i for i, c in enumerate(commits) if c.commit_id == head), len(commits))]
    said = "; ".join(f"{c.commit_id[:8]} by {', '.join(c.authors) or 'unknown'}: {c.title}" for c in new[:5])
    paths = changed_paths(api, target, head, now)
    raise WorkError(
        f"{held}: somebody changed {target.repo_id} meanwhile: {branch} went from {head[:8]} to {now[:8]} "
        f"({said}; {', '.join(paths[:5])}{' …' if len(paths) > 5 else ''}). "
        "Nothing was overwritten; look at the change and run again."
    )


def changed_paths(api: Any, target: Target, old: str, new: str) -> list[str]:
    """The paths that differ between two commits."""
    before, after = ({p: f.blob_id for p, f in remote_files(api, target, c).items()} for c in (old, new))
    return sorted(p for p in {*before, *after} if before.get(p) != after.get(p))
