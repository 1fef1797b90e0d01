"""Preference data sets of the Hub, at a commit. Only data is read: no code of a repository runs."""

import os
import re
from collections.abc import Iterator
from typing import Any

from command import UserError
from run_folder import is_hub_data_set
from training.preferences.files import Rows
from training.preferences.findings import Finding
from training.preferences.forms import KEYS
from training.preferences.text import shown


def pin(source: dict[str, Any]) -> dict[str, Any]:
    """A Hub data set with its revision resolved to a commit, so that the record says what was read; files as they are."""
    is_commit = re.fullmatch(r"[0-9a-f]{40}", str(source.get("revision")))
    is_here = os.path.exists(source["path"])  # noqa: PTH110 - pathlib raises for names too long
    if is_here or is_commit or not is_hub_data_set(source["path"]):
        return source
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionNotFoundError

    what = f"data set {source['path']}"
    try:
        found = HfApi().dataset_info(source["path"], revision=source.get("revision"))
    except RevisionNotFoundError:
        revision = shown(str(source["revision"]))
        raise UserError(f"{what} has no revision {revision!r}. Give a branch, a tag or a commit.") from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise UserError(f"{what}: {shown(first_line(error))} Check the name; private: `hf auth login`.") from None
    except (OSError, httpx2.TransportError) as error:
        reason = shown(str(error))
        raise UserError(f"{what}: no such file here, and the Hub cannot be reached ({reason}).") from None
    return {**source, "revision": found.sha}


def read_hub(source: dict[str, Any]) -> Rows:
    """Rows of a Hub data set at its pinned revision: its `name` (config), its `split` (default train).

    `streaming` reads over the network as it goes, without a copy on this disk. UserError if it cannot be opened; a source
    that breaks off later ends with a fatal Finding.
    """
    name = f"{source['path']}/{source.get('name') or 'default'}"
    number = 0
    try:
        for row in opened(source):
            number += 1
            yield f"{name}[{number}]", row
    except failures() as error:
        if not number:
            reason = root_cause(error).rstrip(".")
            raise UserError(f"cannot load {name} from the Hub: {reason}. Check name, revision and network.") from None
        where = f"{name}[{number + 1}]"
        detail = f"{root_cause(error)}, after {number:,} row(s)"
        yield where, Finding(where, "cannot be read", detail, "Check the network and try again.", fatal=True)


def opened(source: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows as `datasets` has them, with the columns that a pair is read from alone if there are any."""
    from datasets import load_dataset

    streaming = bool(source.get("streaming"))
    rows = load_dataset(
        source["path"],
        source.get("name"),
        revision=source.get("revision"),
        split=source.get("split") or "train",
        streaming=streaming,
    )
    known = [column for column in rows.column_names or () if column in KEYS]
    return iter(rows.select_columns(known) if known else rows)


def failures() -> tuple[type[Exception], ...]:
    """What `datasets` raises for a repository, a file or a network that is not as it should be."""
    import httpx2
    import pyarrow
    from datasets.exceptions import DatasetsError

    return (DatasetsError, OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException, httpx2.TransportError)


def root_cause(error: BaseException) -> str:
    """The first line of what lies under an error: "an error occurred while generating the dataset" helps nobody."""
    while error.__cause__ is not None:
        error = error.__cause__
    return shown(first_line(error))


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
