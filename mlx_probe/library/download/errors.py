"""Failures of downloads as errors with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlx_probe.core.errors import Interrupted, SourceError
from mlx_probe.core.paths import cache_dir
from mlx_probe.core.records import ModelRef
from mlx_probe.library.download.config import DownloadConfig
from mlx_probe.source import SOURCES

__all__ = ["explained"]


@contextmanager
def explained(ref: ModelRef, config: DownloadConfig) -> Iterator[None]:
    """Turn failures of the disk and of servers, and Ctrl-C, into errors with a remedy.

    Raises:
        SourceError: The disk or a server failed.
        Interrupted: The user stopped.
    """
    try:
        with SOURCES[ref.source].explained(ref):
            yield
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; what is there is kept",
            "Run the same command again to go on from there",
        ) from None
    except SourceError as error:
        if config.local_dir is None:
            raise
        raise SourceError(
            error.fact, error.remedy.replace("the cache (HF_HOME)", "--local-dir")
        ) from error.__cause__
    except OSError as error:
        raise SourceError(
            f"cannot download to {config.local_dir or cache_dir()}: {error.strerror or error}",
            "Check that disk and its permissions, then run the same command again",
        ) from error
