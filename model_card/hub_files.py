"""Single files of a repository on the Hub, at a pinned revision: a licence's text, an earlier version's records."""

from pathlib import Path
from urllib.parse import urlsplit

from command import UserError, WorkError


class Unreachable(WorkError):
    """The Hub did not answer, so nobody knows whether the file exists."""


def fetch_file(repo_id: str, filename: str, revision: str) -> Path | None:
    """The file in the local cache, downloaded if it is not there; None where the repository has no such file.

    Unreachable: no network. UserError: no such repository or revision, its terms are not accepted, or HF_ENDPOINT is no address.
    """
    check_endpoint()
    from huggingface_hub import errors, hf_hub_download

    where = f"{repo_id} at {revision}"
    try:
        return Path(hf_hub_download(repo_id, filename, revision=revision))
    except errors.RemoteEntryNotFoundError:
        return None
    except errors.GatedRepoError:
        raise UserError(
            f"{where}: the repository is gated. Accept its terms on its page, then `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{where}: there is no such revision. Give a tag or a commit of {repo_id}.") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{where}: there is no such repository. If it is private: `hf auth login`.") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise Unreachable(f"{where}: the Hub cannot be reached, and {filename} is not in the local cache.") from None
    except errors.HfHubHTTPError as error:
        raise Unreachable(f"{where}: the Hub refused {filename} ({str(error).strip().splitlines()[0]}).") from None


def check_endpoint() -> None:
    """UserError where the variable HF_ENDPOINT holds no address that could be asked."""
    from huggingface_hub.constants import ENDPOINT

    try:
        parts = urlsplit(ENDPOINT)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0  # .port: ValueError
    except ValueError:
        sound = False
    if not sound:
        raise UserError(
            f"HF_ENDPOINT {ENDPOINT!r} is no address. Unset it, or give one such as https://huggingface.co."
        )
