"""Reads a commit back as a stranger would: every file from an empty cache by SHA-256, the model by its logits.

Each reader is a process of its own with an empty HF_HOME in a folder that is removed; only what the Hub gives is in there.
For a public repository it gets no token: then the proof is that anybody can load the model.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import WorkError
from publishing.difference import Target
from publishing.hub import Held, clean
from publishing.progress import Meter
from publishing.repository import repository_info
from run_folder import file_sha256, require_space

READER = Path(__file__).with_name("reader.py")
MARGIN = 10**8  # bytes beside the files: logits and the reader's own
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class FreshHome:
    """An empty HF_HOME and the environment of the processes that use it."""

    folder: Path
    environment: dict[str, str]


@contextmanager
def fresh_home(api: Any, target: Target) -> Iterator[FreshHome]:
    """A FreshHome in the folder for temporary files, removed at the end; it holds a token only if the repository asks for one."""
    from huggingface_hub import get_token

    with tempfile.TemporaryDirectory(prefix="hub-check-", ignore_cleanup_errors=True) as folder:
        kept = ("HF_HUB_DISABLE_XET", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
        environment |= {k: os.environ[k] for k in kept if k in os.environ}
        environment |= {"HF_HOME": folder, "HF_ENDPOINT": api.endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        info = repository_info(api, target)
        if info and (info.private or getattr(info, "gated", False)):
            environment["HF_TOKEN"] = get_token() or ""
        yield FreshHome(Path(folder), environment)


def require_room(target: Target) -> None:
    """WorkError, before anything is pushed, if the folder for temporary files cannot hold what will be read back."""
    require_space(
        Path(tempfile.gettempdir()),
        target.size + MARGIN,
        f"reading {target.repo_id} back from the Hub",
        "set TMPDIR to a folder with room",
    )


def verify_files(target: Target, commit: str, home: FreshHome, held: Held) -> None:
    """Download every file of the commit; WorkError if one is missing or has other bytes than the file here."""
    meter = Meter({target.repo_id: target.size})
    meter.begin(target.repo_id)
    folder = Path(run_reader(["download", target.repo_id, target.kind, commit], home, held, target.repo_id, meter))
    wrong = [
        f"{path} is not there" if not (folder / path).is_file() else f"{path} comes back with other bytes"
        for path, digest in target.digests.items()
        if not (folder / path).is_file() or file_sha256(folder / path) != digest
    ]
    if wrong:
        raise WorkError(f"{held}, but {commit} is not as it should be:\n" + "\n".join(f"  - {w}" for w in wrong))
    print(f"verified: {len(target.digests)} files at {commit}, downloaded anew, have the SHA-256 of the files here")


def verify_load(target: Target, release: Path, revision: str, home: FreshHome, held: Held) -> None:
    """Load target.repo_id at a revision and compare its logits with those of the release folder, bit for bit in fp32."""
    from safetensors.numpy import load_file

    here, there = home.folder / "here.safetensors", home.folder / "there.safetensors"
    if not here.exists():
        run_reader(["logits", str(release.resolve()), "-", str(here)], home, held, target.repo_id)
    run_reader(["logits", target.repo_id, revision, str(there)], home, held, target.repo_id)
    ours, theirs = load_file(here), load_file(there)
    wrong = [
        name for name in ours if name not in theirs or ours[name].tobytes() != theirs[name].tobytes()
    ]  # bytes: NaN equals itself
    if wrong:
        raise WorkError(
            f"{held}, but from_pretrained({target.repo_id!r}, revision={revision!r}) gives another model than "
            f"{release}: {', '.join(wrong)} differ. Look at the repository's other files."
        )
    print(
        f"verified: from_pretrained({target.repo_id!r}, revision={revision!r}) gives the same logits, bit for bit",
        flush=True,
    )


def verify_gguf(target: Target, held: Held) -> None:
    """The header of every GGUF file, which the download was compared with, is read. WorkError if one cannot be."""
    from gguf import GGUFReader

    for path, content in target.files.items():
        if not path.endswith(".gguf"):
            continue
        try:
            tensors = len(GGUFReader(content).tensors)
        except (ValueError, IndexError, KeyError) as error:
            raise WorkError(f"{held}, but {path} is no whole GGUF file ({error}). Export it again.") from error
        print(f"verified: {path} is a GGUF file with {tensors} tensors")


def run_reader(arguments: list[str], home: FreshHome, held: Held, repo_id: str, meter: Meter | None = None) -> str:
    """The last line that reader.py prints; WorkError with the last line of its errors if it fails."""
    command = [sys.executable, "-I", str(READER), *arguments]
    with (home.folder / "said").open("w+") as said, (home.folder / "errors").open("w+") as errors:
        process = subprocess.Popen(command, cwd=home.folder, env=home.environment, stdout=said, stderr=errors)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                if meter:
                    meter.moved(downloaded(home.folder))
        finally:
            process.kill()
            process.wait()
        if meter:
            meter.stop()
        if process.returncode:
            errors.seek(0)
            lines = [line for line in clean(errors.read()).splitlines() if line.strip()] or ["no message"]
            raise WorkError(
                f"{held}, but {repo_id} could not be read back: {lines[-1][:300]} Run the same command again."
            )
        said.seek(0)
        return (said.read().splitlines() or [""])[-1]


def downloaded(folder: Path) -> int:
    """Bytes that lie in a Hub cache so far."""
    total = 0
    for path in folder.glob("hub/*/blobs/*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # just renamed
            continue
    return total
