"""Whether a GGUF file is whole: what its header says of itself and of its tensors, against the file's size.

llama.cpp and transformers both read a file by the numbers in it. A file that was cut short is refused here, in one sentence, before
either of them meets it. There are no checksums in GGUF: a byte that was changed inside the weights is not noticed.
"""

import struct
from pathlib import Path
from typing import Any

from command import UserError

TOKENS, MERGES = "tokenizer.ggml.tokens", "tokenizer.ggml.merges"
MOST = 1 << 20  # metadata entries or tensors; a damaged count would be walked for hours (an 8B has 30 and 300)
REMEDY = "Copy, download or export the file again."


def check_gguf(path: Path) -> None:
    """UserError, naming what is wrong, unless the header can be read and every tensor that it tells of lies inside the file."""
    from transformers.integrations.gguf.reader import GgufHeader, read_gguf_metadata

    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(24)
    if len(start) < 24 or start[:4] != b"GGUF":
        raise UserError(f"{path}: not a whole GGUF file, its header is missing. {REMEDY}")
    _, tensors, entries = struct.unpack("<IQQ", start[4:])
    if max(tensors, entries) > MOST:
        raise UserError(
            f"{path}: broken, its header tells of {tensors} tensors and {entries} metadata entries. {REMEDY}"
        )
    try:
        header = GgufHeader.from_file(str(path))
        metadata, _ = read_gguf_metadata(str(path), (TOKENS, MERGES))
        stray = _stray_merge(metadata)
    except (struct.error, ValueError, LookupError, TypeError, ArithmeticError, MemoryError) as error:
        raise UserError(
            f"{path}: its header cannot be read ({type(error).__name__}: {error}), the file is cut short or broken. {REMEDY}"
        ) from None
    if stray is not None:
        raise UserError(f"{path}: broken, its tokenizer merges {stray!r} into a token that it does not have. {REMEDY}")
    for tensor in header.tensors:
        end = header.data_start + tensor.offset + tensor.nbytes
        if end > size:
            raise UserError(
                f"{path}: cut short, it has {size:,} bytes and the tensor {tensor.name} ends at {end:,}. {REMEDY}"
            )


def _stray_merge(metadata: dict[str, Any]) -> str | None:
    """The first merge of the tokenizer that is not of two of its tokens into a third; None if all are."""
    known = set(metadata.get(TOKENS, ()))
    for merge in metadata.get(MERGES, ()):
        left, space, right = merge.partition(" ")
        if not space or not known.issuperset((left, right, left + right)):
            return merge
    return None
