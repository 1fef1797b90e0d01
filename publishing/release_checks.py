"""What is checked of a release folder before it is pushed, without the Hub: the page; the checks stand in *_checks.py.

Each check returns its findings as sentences that name the file, the fault and the fix; none raises for what it finds.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from publishing.card_checks import check_cards
from publishing.encoding_checks import check_encoding
from publishing.file_checks import check_contents, check_names, check_scripts, check_signature, check_sums, check_texts
from publishing.gguf_checks import check_gguf_release
from publishing.record_checks import check_records
from publishing.weight_checks import check_weights
from run_folder import RECORDS

__all__ = ["check_gguf_release", "check_release"]

MUST_HAVE = (
    "config.json", "generation_config.json", "chat_template.jinja", "README.md", "README_zh.md", "LICENSE",
    "recipe.yaml", "scripts/SOURCE.json", "SHA256SUMS",
)  # fmt: skip

Files = dict[str, Path]


def check_release(run_dir: Path, release: Path, files: Files, digests: dict[str, str], repo_id: str) -> list[str]:
    """All findings about a release folder; empty means that it may be pushed.

    `files` and `digests` (SHA-256, hex) go by the path in the release; no digest for what is no file.
    """
    names = check_names(files, MUST_HAVE, ".safetensors")
    if not all(path.is_file() for path in files.values()):
        return names  # reading a named pipe would never end
    broken = check_records(release, ("training.json",))
    follows = [] if broken else check_against_records(run_dir, release, files, digests, repo_id)
    return [
        *broken,
        *names,
        *check_sums(release, digests),
        *check_contents(files),
        *check_texts(run_dir, files),
        *check_signature(release, files),
        *check_weights(release),
        *follows,
    ]


def check_against_records(
    run_dir: Path, release: Path, files: Files, digests: dict[str, str], repo_id: str
) -> list[str]:
    """What is compared with the records, and says nothing where they cannot be read."""
    return [
        *check_scripts(release, files, digests),
        *check_cards(run_dir, release, repo_id),
        *check_results(run_dir, release),
        *check_encoding(release),
    ]


def check_results(run_dir: Path, release: Path) -> list[str]:
    """Every number of the released records is the one in the run folder now."""
    found = []
    for name in RECORDS:
        try:
            now, then = (
                json.loads(p.read_text(encoding="utf-8")) if p.is_file() else None
                for p in (run_dir / name, release / name)
            )
        except ValueError as error:
            found.append(f"{name} is not valid JSON ({error}); run the step that writes it again")
            continue
        if dict(figures(now)) != dict(figures(then)):
            found.append(
                f"{name} in the run folder is not the one that the card was built from; build the release again"
            )
    return found


def figures(record: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, figure) of every number, truth value and null in a JSON record; texts are left out: local paths in them are cut."""
    if isinstance(record, dict | list):
        for key, value in record.items() if isinstance(record, dict) else enumerate(record):
            yield from figures(value, f"{place}/{key}")
    elif not isinstance(record, str):
        yield place, record
