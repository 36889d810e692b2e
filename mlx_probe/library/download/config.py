"""Settings of a download."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mlx_probe.core.errors import ConfigError
from mlx_probe.source.transfer.request import is_safe_url, shown_address
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["DownloadConfig", "check_endpoints"]


@dataclass(frozen=True)
class DownloadConfig:
    """Settings of one download.

    Attributes:
        local_dir: Folder for the files; None for the source's own cache.
        endpoints: The Hub and its mirrors, in the order in which they are asked; none for
            HF_ENDPOINT or the Hub.
        include: Globs on names of wanted files; none for `COMPANIONS` and the weights.
        exclude: Globs on names of files to leave out.
        workers: Files at a time.
        retry: When to give up on a server.
    """

    local_dir: Path | None = None
    endpoints: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    workers: int = 4
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        check_endpoints(self.endpoints)
        if self.local_dir is not None and self.local_dir.exists() and not self.local_dir.is_dir():
            raise ConfigError(f"{self.local_dir} is a file", "Name a folder with --local-dir")


def check_endpoints(endpoints: tuple[str, ...]) -> None:
    """Refuse mirrors that a token must not be sent to.

    Raises:
        ConfigError: One is no https address, or carries a password.
    """
    for endpoint in endpoints:
        if not is_safe_url(endpoint) or "@" in urlsplit(endpoint).netloc:
            # Not shown if any part of it may be a secret.
            shown = shown_address(endpoint) if "://" in endpoint and "@" not in endpoint else "it"
            raise ConfigError(
                f"--endpoint {shown} is no address such as https://host, without user and password",
                "Give an https:// address; plain http is for this machine only",
            )
