"""A Hub, an old release on it, and a new one to be pushed: what a push among faults did, and whether it may be so.

The push is upload.main in this process, with short waits between attempts and without the checks of the release and the
loading of the model, which have tests of their own. What it says is caught at the file descriptors.
"""

import contextlib
import copy
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import upload
from command import run_command
from publishing import hub as client
from publishing import verification
from run_folder import file_sha256, write_json
from tests.hub import Hub
from tests.hub.repositories import Repository
from tests.made_run import BASE, make_model
from tests.publishing.faults_reader import LONGEST_SLEEP, REAL_SLEEP

TAG = "v2"
TOKEN = "hf_alice"
THEIRS = "theirs.txt"  # what somebody else commits
OPTIONS = ("--tag", TAG, "--verify", "checksums")
QUICK_SECONDS = 1.0  # when a stalled connection is given up, where a scenario stalls one
SECRETS = re.compile(rf"{TOKEN}|signature=[0-9a-f]|(?:read|write)-\d{{10}}-[0-9a-f]{{32}}")


@dataclass
class Case:
    """One repository and one new release; `before` is main's commit, None where there is no repository yet."""

    repo_id: str
    run: Path
    before: str | None
    new: dict[str, str]  # SHA-256 of each file
    changed: set[str] = field(default_factory=set)  # what somebody else changed meanwhile: not looked at


@dataclass(frozen=True)
class Said:
    """How a push ended: its exit status (None: killed) and all that it printed."""

    status: int | None
    output: str

    @property
    def message(self) -> str:
        """The last thing it said, in one line, without what differs from run to run."""
        parts = (
            re.split(r"(?m)^(?:error: |stopped\. )", self.output)
            if self.status
            else self.output.strip().splitlines()[-1:]
        )
        text = " ".join((parts or [""])[-1].split())
        text = re.sub(r"\b[0-9a-f]{40,64}\b|\b[0-9a-f]{8}\b", "COMMIT", re.sub(r"http://127[^\s'\"]*", "URL", text))
        return re.sub(r"alice/f-\d+", "alice/demo", text)[:300]


@dataclass(frozen=True)
class State:
    """What the Hub's own store holds."""

    main: str  # "none", "empty", "old", "new" or "other"
    commits: int  # on main since the beginning, of a release
    tag: str | None  # "new", or what else the tag's commit holds
    open: tuple[int, ...]  # pull requests
    held: tuple[int, ...]  # those of them that hold the new release


class World:
    """One Hub with an old release, from which each case takes a copy."""

    def __init__(self, folder: Path, xet: bool) -> None:
        self.folder, self.xet, self.count = folder, xet, 0
        self.hub = Hub(folder / "hub", xet=xet)
        self.run = make_small_run(folder / "run")
        self.old: dict[str, str] = {}

    def __enter__(self) -> "World":
        from huggingface_hub import constants

        self.hub.__enter__()
        self.patches = contextlib.ExitStack()
        environment = {"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "0" if self.xet else "1", "HF_HUB_ETAG_TIMEOUT": "10"}
        environment |= {"HF_HOME": str(self.folder / "home"), "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms"}
        environment |= {"HF_XET_CACHE": str(self.folder / "home" / "xet"), "HF_XET_CLIENT_READ_TIMEOUT": "2s"}
        self.patches.enter_context(mock.patch.dict(os.environ, environment))
        self.patches.enter_context(mock.patch.object(constants, "HF_HUB_DISABLE_XET", not self.xet))
        self.patches.enter_context(mock.patch.object(constants, "HF_XET_CACHE", environment["HF_XET_CACHE"]))
        self.patches.enter_context(mock.patch.object(constants, "HF_TOKEN_PATH", "/nonexistent"))
        self.template = self._push_the_old()
        return self

    def __exit__(self, *error: Any) -> None:
        self.patches.close()
        self.hub.__exit__(*error)

    def _push_the_old(self) -> Repository:
        case = Case("alice/template", self.run, None, digests(self.run))
        said = self.push(case, options=("--verify", "checksums"))
        assert said.status == 0, said.output
        self.old = digests(self.run)
        return self.hub.repositories.get("models", case.repo_id)

    def case(self, new_repository: bool = False) -> Case:
        """A repository with the old release (or only a name for one), and a release that no other case has."""
        self.count += 1
        repo_id, run = f"alice/f-{self.count}", self.folder / f"run-{self.count}"
        shutil.copytree(self.run, run)
        spoil(run / "release", self.count)
        if not new_repository:
            self._copy_template(repo_id)
        before = None if new_repository else self.hub.refs(repo_id)["refs/heads/main"]
        return Case(repo_id, run, before, digests(run))

    def _copy_template(self, repo_id: str) -> None:
        known = self.hub.repositories
        made = Repository(known.folder / "models" / f"{repo_id}.git", "models", repo_id)
        shutil.copytree(self.template.git.folder, made.git.folder)
        made.discussions = copy.deepcopy(self.template.discussions)
        known._all["models", repo_id] = made  # the Hub itself has no need to copy one

    def push(
        self, case: Case, options: tuple[str, ...] = OPTIONS, silent: float = 20.0, reader_process: bool = True
    ) -> Said:
        """Push in this process; `silent` is when a stalled connection is given up.

        The reader has a process of its own, as always, or where no fault strikes it reads in this one, which takes half the time.
        """
        from huggingface_hub import close_session

        close_session()
        api = client.hub_api()
        api.endpoint = self.hub.url
        arguments = [str(case.run), "--repo-id", case.repo_id, *options]
        patched = (
            mock.patch.object(upload, "hub_api", lambda: api),
            mock.patch.object(upload, "check_release", lambda *_: []),
            mock.patch.object(upload, "check_built", lambda *_: []),
            mock.patch.object(verification, "READER", Path(__file__).with_name("faults_reader.py")),
            mock.patch.object(client, "SILENT_SECONDS", silent),
            mock.patch.object(time, "sleep", lambda seconds: REAL_SLEEP(min(seconds, LONGEST_SLEEP))),
            mock.patch.dict(os.environ, {"HF_HUB_DOWNLOAD_TIMEOUT": str(int(silent))}),
        )
        if not reader_process:
            patched += (mock.patch.object(verification, "run_reader", read_here),)
        with contextlib.ExitStack() as stack:
            for patch in patched:
                stack.enter_context(patch)
            return caught(lambda: upload.main(arguments))

    def state(self, case: Case) -> State:
        """What the Hub holds now."""
        repository = self.hub.repositories.get("models", case.repo_id)
        if repository is None:
            return State("none", 0, None, (), ())
        refs = self.hub.refs(case.repo_id)
        since = [f"^{case.before}"] if case.before else []
        titles = repository.git.text("log", "--format=%s", "refs/heads/main", *since).splitlines()
        tag = self.holds(case, f"refs/tags/{TAG}") if f"refs/tags/{TAG}" in refs else None
        pulls = [d.number for d in repository.discussions if d.is_pull_request and d.status in ("open", "draft")]
        held = tuple(n for n in pulls if self.holds(case, f"refs/pr/{n}") == "new")
        commits = sum(title.startswith("Upload ") for title in titles)
        return State(self.holds(case, "refs/heads/main"), commits, tag, tuple(pulls), held)

    def holds(self, case: Case, revision: str) -> str:
        """Which release a revision holds, beside what is not ours."""
        aside = {".gitattributes", THEIRS, *case.changed}
        there, new, old = (
            {path: digest for path, digest in files.items() if path not in aside}
            for files in (self.hub.snapshot(case.repo_id, revision), case.new, self.old)
        )
        if not there:
            return "empty"
        return "new" if there == new else "old" if there == old and case.before else "other"

    def secrets(self, case: Case) -> list[str]:
        """Files of the run or of HF_HOME that hold a token."""
        folders = (case.run, self.folder / "home")
        files = (p for folder in folders for p in folder.rglob("*") if p.is_file())
        return [str(p.relative_to(self.folder)) for p in files if TOKEN.encode() in p.read_bytes()]

    def commit_of_somebody(self, case: Case, path: str) -> None:
        """Somebody else changes a file of main now."""
        repository = self.hub.repositories.get("models", case.repo_id)
        if repository is None:
            return
        case.changed.add(path)
        head = repository.resolve("main")
        tree = repository.git.write_tree(head, {path: f"not ours {head}\n".encode()})
        repository.git.move("refs/heads/main", repository.git.commit(tree, [head], "Mine", "bob"), head)


def read_here(arguments: list[str], home: verification.FreshHome, *_: Any) -> str:
    """What publishing/reader.py does for `download`, in this process: without a token unless the repository asks for one."""
    from huggingface_hub import snapshot_download

    _, repo_id, kind, commit = arguments
    environment = home.environment
    return snapshot_download(
        repo_id,
        repo_type=kind,
        revision=commit,
        cache_dir=home.folder / "hub",
        token=environment.get("HF_TOKEN", False),
        endpoint=environment["HF_ENDPOINT"],
    )


def make_small_run(folder: Path) -> Path:
    """A run whose release is a model, a card and little else."""
    make_model(folder / "release")
    (folder / "release" / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n- orpo\n---\n# A model\n")
    (folder / "release" / "LICENSE").write_text("Apache-2.0\n")
    (folder / "release" / "recipe.yaml").write_text("old: true\n")  # the new release has none
    write_json(folder / "release" / "training.json", {"base_model": BASE})
    return folder


def spoil(release: Path, number: int) -> None:
    """Make another release of it: weights, card and one more file differ, one file is gone."""
    weights = release / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + number.to_bytes(8, "little"))
    (release / "README.md").write_text(f"---\nlicense: apache-2.0\n---\n# Model {number}\n")
    (release / "NOTICE").write_text(f"{number}\n")
    (release / "recipe.yaml").unlink()


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of each file of a run's release."""
    files = (p for p in (run / "release").rglob("*") if p.is_file())
    return {p.relative_to(run / "release").as_posix(): file_sha256(p) for p in files}


def caught(main: Callable[[], int]) -> Said:
    """Run a command as its own process would end, and catch all that goes to stdout and stderr."""
    with tempfile.TemporaryFile("w+", errors="replace") as file, output_to(file):
        try:
            run_command(main)
        except SystemExit as end:
            status = int(end.code or 0)
        except Exception:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        file.seek(0)
        return Said(status, file.read())


@contextlib.contextmanager
def output_to(file: Any) -> Iterator[None]:
    """Let the descriptors 1 and 2, and Python's streams, write to a file."""
    saved = {number: os.dup(number) for number in (1, 2)}
    with (
        os.fdopen(os.dup(file.fileno()), "w", buffering=1) as stream,
        mock.patch.multiple(sys, stdout=stream, stderr=stream),
    ):
        for number in saved:
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            for number, old in saved.items():
                os.dup2(old, number)
                os.close(old)
