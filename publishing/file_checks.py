"""Checks of a release as files: which they are, their digests, and what must stand in none of them.

Each check returns its findings as sentences that name the file, the fault and the fix; none raises for what it finds.

No scanner is used. picklescan 1.0.5 chooses files by their suffix (a pickle called merges.txt passed) and weighs what a pickle
does; here any pickle is refused. detect-secrets 1.5.0 has no rule for Hub tokens, and reported 452 secrets in a good release:
its digests and commits.
"""

import getpass
import importlib.util
import json
import pickletools
import re
import struct
import zlib
from pathlib import Path
from typing import Any

from run_folder import RELEASE_FILES, UNLISTED, gigabytes, is_release_file

REPOSITORY = Path(__file__).resolve().parents[1]
# Pickle protocols 2 to 5, zip (torch.save wraps its pickle in one), 7-zip, gzip.
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"7z\xbc\xaf", b"\x1f\x8b")
# Protocols 0 and 1 have no mark at their start; by these opcodes they find what they call.
PICKLE_FINDS = {"GLOBAL", "INST"}
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LARGEST_FILE = 50 * 10**9  # bytes; https://huggingface.co/docs/hub/storage-limits
# What every manual has for an example (AWS's key, jwt.io's token, user:password@) is none: a model that quotes it leaks nothing.
SECRETS = {
    "a Hub token": r"hf_[A-Za-z0-9]{34}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\n|[\s>])*[A-Za-z0-9+/=:, -]{20}",  # its head alone is a word on keys
    "an AWS key": r"A(?:KIA|SIA)(?!\w*EXAMPLE)[0-9A-Z]{16}\b",
    "a GitHub token": r"gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,}",
    "a GitLab token": r"glpat-[A-Za-z0-9_-]{20}",
    "a PyPI token": r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}",
    "an API key": r"sk-(?<=\bsk-)(?!x{9})[A-Za-z0-9_-]{32,}",
    "a Weights & Biases key": r"(?:wandb|WANDB)[\w.-]{0,20}[\s\"':=]{1,6}[0-9a-f]{40}\b",
    "a Google key": r"AIza[0-9A-Za-z_-]{35}",
    "a Slack token": r"xox[baprs]-[0-9A-Za-z-]{10,}",
    "a JSON web token": r"eyJ[A-Za-z0-9_-]{10,}\.(?!eyJzdWIiOiIxMjM0NTY3ODkw)eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "a password in a URL": r"https?://[^/\s:@\"'{}<]+:(?!(?:your_?)?(?:pass(?:word|wd)?|pwd|secret|token|\*+|x+)@)[^/\s:@\"'{}<]+@",
}
HOME_PATH = r"/(?:home|Users)/[\w.-]+|[A-Za-z]:\\{1,2}Users\\{1,2}[\w.-]+|/(?:root)/\w"
VOCABULARY = ("tokenizer.json", "vocab.json", "merges.txt")
# Model answers stand in these: the home folder of nobody in particular is no leak there, this machine's own paths are, unless
# everybody's machine has them: models write of the homes of `root` and `user`, and containers run there.
QUOTES_ANSWERS = ("README.md", "README_zh.md", "eval/base/results.json", "eval/tuned/results.json")
NOBODY = {"root", "user", "username", "ubuntu", "debian", "admin", "app", "runner", "jovyan", "ec2-user", "vagrant"}
WEIGHTS = (".safetensors", ".gguf")

Files = dict[str, Path]


def check_names(
    files: Files, must_have: tuple[str, ...], weights: str, allowed: tuple[str, ...] = RELEASE_FILES
) -> list[str]:
    """Only files that a release may hold, all that it must, a file of weights (by suffix), no links, no pipes."""
    found = [
        f"{path} is not a file that a release may hold; remove it"
        for path in files
        if not is_release_file(path, allowed)
    ]
    found += [f"{path} is a symbolic link; a release holds real files" for path, p in files.items() if p.is_symlink()]
    found += [
        f"{path} is no file but a named pipe, a socket or a device; remove it and build the release again"
        for path, p in files.items()
        if not p.is_file() and not p.is_symlink()
    ]
    found += [f"{path} is missing; build the release again" for path in must_have if path not in files]
    if not any(path.endswith(weights) for path in files):
        found.append(f"there is no {weights} file; build the release again")
    return found


def check_sums(release: Path, digests: dict[str, str]) -> list[str]:
    """SHA256SUMS names every file, and every digest is right."""
    path = release / "SHA256SUMS"
    if not path.is_file() or not path.stat().st_size:
        return []  # others say so
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    strange = next((n for n, line in enumerate(lines, 1) if not re.fullmatch(r"[0-9a-f]{64}  .+", line)), None)
    if strange:
        return [f"SHA256SUMS:{strange} is not `SHA-256  name`; build the release again"]
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    present = {name: digest for name, digest in digests.items() if name not in UNLISTED}
    found = [
        f"{n} has changed since the release was built (SHA256SUMS); build it again"
        for n in present
        if listed.get(n, present[n]) != present[n]
    ]
    found += [f"{name} is not in SHA256SUMS; build the release again" for name in present if name not in listed]
    return found + [
        f"{name} is in SHA256SUMS but not in the folder; build it again" for name in listed if name not in present
    ]


def check_contents(files: Files) -> list[str]:
    """No pickle under any name (loading one runs code), no empty file, no Git LFS pointer, none that the Hub would refuse."""
    found = []
    for path, p in files.items():
        if not p.is_file():
            continue
        size = p.stat().st_size
        with p.open("rb") as stream:
            start = stream.read(64)
        if start.startswith(PICKLE_STARTS) or is_old_pickle(p, size):
            found.append(f"{path} is a pickle or an archive; loading it could run code, so it is never pushed")
        if start.startswith(LFS_POINTER):
            found.append(f"{path} is a Git LFS pointer, not the file itself; fetch it (git lfs pull) and build again")
        if size == 0 and not path.endswith("__init__.py"):
            found.append(f"{path} is empty; build the release again")
        if size > LARGEST_FILE:
            found.append(
                f"{path} has {gigabytes(size)}; the Hub takes {gigabytes(LARGEST_FILE)} a file: save it in shards"
            )
    return found


def is_old_pickle(path: Path, size: int) -> bool:
    """Whether a file reads to its end as a pickle of protocol 0 or 1 that names something to call."""
    if path.suffix in WEIGHTS or size > 10**7:
        return False
    try:
        return any(code.name in PICKLE_FINDS for code, _, _ in list(pickletools.genops(path.read_bytes())))
    except ValueError:  # no pickle
        return False


def check_texts(run_dir: Path, files: Files) -> list[str]:
    """No secrets and no personal paths in texts, nor in the notes of weights and pictures. A secret itself is never shown."""
    found = []
    for path, p in files.items():
        if not p.is_file():
            continue
        text = text_of(p)
        patterns = dict(SECRETS)
        if path not in VOCABULARY:
            patterns["a path of a home folder or of this machine"] = paths_not_to_show(run_dir, path in QUOTES_ANSWERS)
        for what, pattern in patterns.items():
            if match := re.search(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path}:{line} holds {what}; remove it and build again")
    return found


def paths_not_to_show(run_dir: Path, answers: bool) -> str:
    """An expression for the paths of this machine and user, and of any home; of those in `answers`, not everybody's."""
    user, places = getpass.getuser(), {run_dir.resolve(), REPOSITORY}
    found = [] if answers else [HOME_PATH]
    if not answers or user not in NOBODY:
        places.add(Path.home())
        found.append(rf"/(?:home|Users)/{re.escape(user)}\b")
    least = 2 if answers else 1  # parts, the root among them: /app and /work are words of many answers
    found += [re.escape(str(place)) + r"(?=[/\\\"'\s,]|$)" for place in places if len(place.parts) > least]
    return "|".join(found) or r"(?!)"


def text_of(path: Path) -> str:
    """What of a file can be read as text: all of it, of weights their header, of a picture its notes."""
    if path.suffix == ".safetensors":
        return header_text(path)
    if path.suffix == ".gguf":
        return ""  # gguf_checks reads its fields
    if path.suffix == ".png":
        return png_text(path.read_bytes())
    return path.read_text(encoding="utf-8", errors="replace")


def header_text(path: Path) -> str:
    """The JSON header of a safetensors file; empty where its length cannot be (weight_checks says so)."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(path.stat().st_size, 10**8):
            return ""
        return stream.read(length).decode("utf-8", "replace")


def png_text(data: bytes) -> str:
    """The texts in a PNG's tEXt, zTXt, iTXt and eXIf chunks, a line each; compressed ones are opened.

    Chunk: length (4 bytes, big-endian), type, data, checksum. https://www.w3.org/TR/png-3/#11textinfo
    """
    texts, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            texts += [body, inflated(body)]
        place += 12 + length
    return b"\n".join(texts).decode("utf-8", "replace")


def inflated(body: bytes) -> bytes:
    """What a zlib stream inside a PNG text chunk holds; empty where there is none."""
    for place in (i for i in range(len(body)) if body[i] == 0x78):
        try:
            return zlib.decompress(body[place:])
        except zlib.error:
            continue  # 0x78 is also the letter x
    return b""


def check_scripts(release: Path, files: Files, digests: dict[str, str]) -> list[str]:
    """scripts/ holds exactly the files of its SOURCE.json, and is of the commit that training.json names."""
    source, training = json_of(release / "scripts" / "SOURCE.json"), json_of(release / "training.json")
    if not isinstance(source.get("sha256"), dict):
        return [
            "scripts/SOURCE.json is missing or broken; build the release in a git checkout, or in downloaded scripts/"
        ]
    here = {path.removeprefix("scripts/"): digests.get(path) for path in files if path.startswith("scripts/")}
    here.pop("SOURCE.json", None)
    found = [
        f"scripts/{path} is not as scripts/SOURCE.json says; build the release again"
        for path in sorted(here.keys() | source["sha256"].keys())
        if here.get(path) != source["sha256"].get(path)
    ]
    commit = (training.get("git") or {}).get("commit")
    if source.get("commit") != commit:
        found.append(
            f"scripts/ are of commit {source.get('commit')}, the model was trained at {commit}; build it again"
        )
    return found


def check_signature(release: Path, files: Files) -> list[str]:
    """model.sig, where there is one, is model.pub's over exactly these files. Whose key that is, nobody can tell from here."""
    if "model.sig" not in files:
        return ["model.pub is there without model.sig; remove it"] if "model.pub" in files else []
    again = "sign again: python -m model_card.build … --sign-key KEY"
    if "model.pub" not in files:
        return [f"model.sig is there without model.pub, the key that checks it; {again}"]
    if importlib.util.find_spec("model_signing") is None or importlib.util.find_spec("OpenSSL") is None:
        return ["model.sig was not checked: pip install -r requirements-signing.txt"]
    import model_signing
    from cryptography.exceptions import InvalidSignature

    try:
        config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=release / "model.pub")
        config.verify(release, release / "model.sig")
    except (ValueError, TypeError, KeyError, InvalidSignature) as error:
        return [f"model.sig is not a valid signature of these files ({' '.join(str(error).split())[:200]}); {again}"]
    return []


def loading_errors() -> tuple[type[Exception], ...]:
    """What a library raises that loads a broken file, or renders a broken template: it divides, indexes, calls and adds."""
    from huggingface_hub.errors import StrictDataclassError
    from jinja2 import TemplateError

    own = (StrictDataclassError, TemplateError)  # a field of config.json; chat_template.jinja
    return (OSError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, *own)


def json_of(path: Path) -> dict[str, Any]:
    """A JSON object, {} where the file is missing or is none: another check says so."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
