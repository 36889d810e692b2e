"""Every failure the user can cause or meet, as a fact and a remedy."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "BackendError",
    "CheckpointError",
    "ClusterError",
    "ConfigError",
    "IncompleteError",
    "Interrupted",
    "PackingError",
    "ProbeError",
    "ResultError",
    "SourceError",
    "SpectrumError",
    "Stopped",
    "damaged",
    "unreadable",
]

_DOWNLOAD_AGAIN = "Download the file again, or ask its publisher for a sound one"


class ProbeError(Exception):
    """A failure that the user can do something about.

    The command line prints ``fact`` and ``remedy`` as one message and exits with ``exit_code``.
    Any other exception is a bug and shows a traceback.

    Args:
        fact: What is wrong; names the file and, where there is one, the tensor.
        remedy: What to do next, as an imperative sentence without a full stop.
    """

    exit_code = 1

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(f"{fact}\n  {remedy}")
        self.fact = fact
        self.remedy = remedy


class ConfigError(ProbeError):
    """An option, environment variable or YAML key that makes no sense."""

    exit_code = 2


class SourceError(ProbeError):
    """A model reference that cannot be turned into verified local files."""


class CheckpointError(ProbeError):
    """A weight file that is damaged, hostile or not understood."""


class PackingError(CheckpointError):
    """A packed weight whose pieces do not fit together: its row is skipped, the run goes on.

    Args:
        fact: What is wrong; becomes the row's reason.
    """

    def __init__(self, fact: str) -> None:
        super().__init__(fact, "Ask the publisher of the checkpoint for a sound one")


class IncompleteError(CheckpointError):
    """A finished job with tensors that have no numbers: how they are stored is not understood."""

    exit_code = 3


class BackendError(ProbeError):
    """A backend or device that this machine does not have."""


class ClusterError(ProbeError):
    """A cluster that does not answer, or a worker that may not or cannot take part."""


class SpectrumError(ProbeError):
    """A matrix whose factorization did not converge."""


class Interrupted(ProbeError):  # noqa: N818  nothing failed
    """The user stopped the run."""

    exit_code = 130  # 128 + SIGINT, the shell's convention


class Stopped(ProbeError):  # noqa: N818  nothing failed
    """A rule that the user set ended the job; what was finished is saved."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later


class ResultError(ProbeError):
    """A run folder that cannot be written, read or trusted."""


def damaged(path: Path, fact: str, remedy: str = _DOWNLOAD_AGAIN) -> CheckpointError:
    """The error for a file that breaks its format's rules."""
    return CheckpointError(f"{path}: {fact}", remedy)


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """The error for a file that the system cannot or may not read."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return CheckpointError(
        f"cannot read {path}: {reason}", "Check that the file is there and readable"
    )
