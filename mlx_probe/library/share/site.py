"""What a server has: resources by their exact addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mlx_probe.core.errors import ResultError
from mlx_probe.library.share.held import HeldFolder

__all__ = ["BARE", "Resource", "Site"]

# Policy of what is no page: it may load and run nothing, and is in a place of its own.
BARE = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


@dataclass(frozen=True)
class Resource:
    """One thing that can be looked at.

    Attributes:
        media: Media type.
        body: Its bytes; None for a file.
        folder: The folder of the file.
        parts: The names down to the file in that folder.
        policy: The Content-Security-Policy.
        save_as: Name under which a browser saves it; "" to show it.
        page: Makes a page of the file's bytes; None to send them as they are.
    """

    media: str
    body: bytes | None = None
    folder: HeldFolder | None = None
    parts: tuple[str, ...] = ()
    policy: str = BARE
    save_as: str = ""
    page: Callable[[bytes], bytes] | None = None


@dataclass
class Site:
    """All resources, and the open folders behind them.

    Attributes:
        resources: By path of the address, exactly as a browser sends it.
        folders: What `close` lets go.
    """

    resources: Mapping[str, Resource]
    folders: Iterable[HeldFolder] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if "/" not in self.resources:
            raise ResultError("there is nothing to share", "Name a run")

    def close(self) -> None:
        """Let go of the folders."""
        for folder in self.folders:
            folder.close()
