"""What huggingface_hub's failures mean, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.source.transfer.http_range import LostError, RefusedError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

__all__ = ["DATA", "UnreachableError", "explained"]

# `ModelRef.source` of a data set on the Hub.
DATA = "hub-data"


class UnreachableError(SourceError):
    """The Hub does not answer, or answers that it cannot serve now.

    Args:
        ref: The model that was asked for.
        error: The failure.

    Attributes:
        reason: The failure in a line.
    """

    def __init__(self, ref: ModelRef, error: BaseException) -> None:
        self.reason = _reason(error)
        super().__init__(
            f"the Hub does not answer for {ref.text}: {self.reason}",
            "Check the connection, HF_ENDPOINT and HF_HUB_OFFLINE, then run the same command again",
        )


@contextmanager
def explained(ref: ModelRef) -> Iterator[None]:
    """Turn what huggingface_hub raises for a model into errors with a remedy.

    Raises:
        UnreachableError: No connection, no answer in time, too many requests, or a server
            that fails.
        SourceError: Repository or revision missing, access denied, or anything else.
    """
    # HTTPError is the base class of whichever HTTP library this huggingface_hub uses.
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    try:
        yield
    except LostError as error:
        raise UnreachableError(ref, error) from error
    except RefusedError as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _refused(ref, error.__cause__) from error
        raise SourceError(
            f"cannot read {ref.text}: {error}", "Check HF_ENDPOINT, then run the same command again"
        ) from error
    except HfHubHTTPError as error:
        if error.response.status_code < 500 and error.response.status_code != 429:
            raise _refused(ref, error) from error
        raise UnreachableError(ref, error) from error
    except (HTTPError, ConnectionError, TimeoutError, LocalEntryNotFoundError) as error:
        raise UnreachableError(ref, error) from error
    # hf_xet, the Hub's own transfer library, raises RuntimeError for most failures.
    except (OSError, RuntimeError) as error:
        raise SourceError(
            f"cannot download {ref.text}: {_reason(error)}",
            "Check the connection and the disk of the cache (HF_HOME), then run the same "
            "command again: what is complete is kept",
        ) from error
    except ValueError as error:
        # A name that the Hub does not allow, or an answer of something that is not the Hub.
        raise SourceError(
            f"cannot download {ref.text}: {_reason(error)}",
            "Check the spelling of the model and HF_ENDPOINT",
        ) from error


def _refused(ref: ModelRef, error: HfHubHTTPError) -> SourceError:
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # Gated first: it is a subclass of repository not found.
    if isinstance(error, GatedRepoError):
        return SourceError(
            f"{ref.name} is gated: the Hub gives it only to accounts that accepted its terms",
            "Accept them on the model's page, then log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, RepositoryNotFoundError) and ref.source == DATA:
        return SourceError(
            f"the Hub has no data set {ref.name}, or it is private",
            "Check the spelling; for a private one log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, RepositoryNotFoundError):
        return SourceError(
            f"the Hub has no model {ref.name}, or it is private",
            "Check the spelling; for a private model log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, RevisionNotFoundError):
        return SourceError(
            f"{ref.name} has no revision {ref.revision!r}",
            "Give a branch, tag or full commit hash of the repository",
        )
    return SourceError(
        f"the Hub answers {error.response.status_code} for {ref.text}",
        "Check the reference, your token (HF_TOKEN) and HF_ENDPOINT",
    )


def _reason(error: BaseException) -> str:
    # The error about a file that is not in the cache has the failure of the Hub as its cause.
    error = error.__cause__ or error if isinstance(error, FileNotFoundError) else error
    if isinstance(error, LostError):
        return str(error)  # our own message
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    # The query of a storage host's address is a key to the file.
    return f"{type(error).__name__}: {re.sub(r'[?][^ ]*=[^ ]*', '', lines[0])}"
