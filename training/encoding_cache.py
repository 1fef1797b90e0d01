"""Token ids of a data set, kept by fingerprint: a second run on the same pairs, tokenizer and length encodes nothing.

The files lie where the Hub's tools keep prepared data: $HF_DATASETS_CACHE, else $HF_HOME/datasets, in
orpo-token-ids/FINGERPRINT.safetensors. They can be removed at any time; a torn or foreign one is ignored and written anew. The
last KEPT that were used stay.
"""

import datetime
import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from run_folder import whole_file
from training.encoded_pairs import EncodedPairs
from training.encoding import Encoding, encode_pairs, terminator_of
from training.preferences import Preferences

ENCODING_VERSION = 3  # raised with every change of training/encoding.py that changes what comes of a pair
KEPT = 16  # encodings that stay; of 100,000 pairs of 1,000 tokens one takes 0.4 GB


def cached_encoding(data: Preferences, tokenizer: Any, max_length: int) -> tuple[Encoding, str]:
    """What `encode_pairs` makes of the pairs, from the cache if it is there; and a few words on where it came from.

    A cache that cannot be read or written costs the time to encode and never fails the run.
    """
    terminator_of(tokenizer)  # a template that cannot be trained on is refused first, also where ids were kept
    from safetensors import SafetensorError

    key = encoding_key(data.sha256, tokenizer, max_length)
    if key is None:
        return encode_pairs(data.pairs, tokenizer, max_length), "not kept: this kind of tokenizer has no fingerprint"
    path = cache_folder() / f"{key[:16]}.safetensors"  # the whole key is in the file
    with one_at_a_time(path):
        if (encoding := read_encoding(path, key)) is not None:
            with suppress(OSError):
                path.touch()
            return encoding, f"from {path}"
        encoding = encode_pairs(data.pairs, tokenizer, max_length)
        try:
            write_encoding(path, key, encoding)
            remove_oldest(path.parent)
        except (OSError, SafetensorError) as error:
            return encoding, f"not kept: {error}"
    return encoding, f"kept in {path}"


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Of several processes that want this encoding (DDP) one encodes while the others wait, and read what it kept.

    The lock dies with its holder. Where none can be had nobody waits, and each encodes for itself.
    """
    handle = None
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def cache_folder() -> Path:
    """$HF_DATASETS_CACHE/orpo-token-ids, or its default under $HF_HOME."""
    from huggingface_hub.constants import HF_HOME

    root = os.environ.get("HF_DATASETS_CACHE") or Path(HF_HOME) / "datasets"
    return Path(root).expanduser() / "orpo-token-ids"


def encoding_key(sha256: str, tokenizer: Any, max_length: int) -> str | None:
    """Hex digest of all that the ids depend on; None for a tokenizer that is not one of `tokenizers`.

    The system prompt is part of the chat template. A template that reads the clock is rendered anew each day.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        return None
    tokenizer("", add_special_tokens=False)  # as encode_pairs does: padding and truncation are part of to_str
    template = tokenizer.get_chat_template()
    parts = {
        "version": ENCODING_VERSION,
        "packages": [version("tokenizers"), version("transformers"), version("Jinja2")],
        "pairs": sha256,
        "tokenizer": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "special_tokens": tokenizer.special_tokens_map,
        "chat_template": template,
        "day": datetime.date.today().isoformat() if "strftime_now" in template else None,
        "max_length": max_length,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def write_encoding(path: Path, key: str, encoding: Encoding) -> None:
    """Write it whole: tensors `tokens` (all ids in a row), `lengths` (pairs, 3), `kept`, `whole_lengths`; the rest as JSON."""
    from safetensors.numpy import save_file

    tokens = encoding.pairs.tokens
    tensors = {
        "tokens": tokens if tokens.size else np.zeros(0, np.uint32),
        "lengths": np.ascontiguousarray(encoding.pairs.lengths),
        "kept": np.array(encoding.kept, np.int32),
        "whole_lengths": np.array(encoding.whole_lengths, np.int32),
    }
    account = json.dumps([encoding.left_out, encoding.cut, encoding.cut_tokens, encoding.lost_tokens])
    metadata = {"key": key, "account": account, "sha256": content_sha256(tensors, account)}
    with whole_file(path, "wb") as stream:
        save_file(tensors, stream.name, metadata)  # from where the arrays lie: nothing is copied


def read_encoding(path: Path, key: str) -> Encoding | None:
    """The encoding that was kept under this key; None where there is none, or it is torn, damaged or something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys() if name != "tokens"}  # noqa: SIM118  (no dict)
        tensors["tokens"] = mapped(path, "tokens")
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    account = metadata.get("account", "")
    if metadata.get("key") != key or metadata.get("sha256") != content_sha256(tensors, account):
        return None
    return unpack(tensors, account)


def mapped(path: Path, name: str) -> np.ndarray:
    """A tensor of uint32 of a safetensors file that has been found sound, left on the disk."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        begin, end = json.loads(stream.read(size))[name]["data_offsets"]
    if begin == end:
        return np.zeros(0, np.uint32)
    return np.memmap(path, np.uint32, "r", offset=8 + size + begin, shape=((end - begin) // 4,))


def unpack(tensors: dict[str, np.ndarray], account: str) -> Encoding:
    """The encoding from its tensors and the JSON beside them."""
    left_out, cut, cut_tokens, lost_tokens = json.loads(account)
    return Encoding(
        pairs=EncodedPairs(tensors["tokens"], tensors["lengths"]),
        kept=tensors["kept"].tolist(),
        left_out=[tuple(entry) for entry in left_out],
        cut=Counter(cut),
        cut_tokens=Counter(cut_tokens),
        whole_lengths=tensors["whole_lengths"].tolist(),
        lost_tokens=Counter(lost_tokens),
    )


def content_sha256(tensors: dict[str, np.ndarray], account: str) -> str:
    """Digest of everything the file says; of another program's file too."""
    digest = hashlib.sha256(account.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor))
    return digest.hexdigest()


def remove_oldest(folder: Path) -> None:
    """Remove what was used least lately beyond KEPT encodings; files of other names are not ours."""
    files = {}
    for file in folder.glob("*.safetensors"):
        with suppress(FileNotFoundError):  # another run has just removed it
            files[file] = file.stat().st_mtime
    for file in sorted(files, key=files.get, reverse=True)[KEPT:]:
        file.unlink(missing_ok=True)
        file.with_suffix(".lock").unlink(missing_ok=True)
