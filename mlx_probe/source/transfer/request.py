"""What is asked for, and of which addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mlx_probe.core.errors import SourceError
from mlx_probe.source.transfer.digest import PublishedFile

__all__ = ["Address", "FileRequest", "explain_unsafe", "is_safe_url", "shown_address"]


@dataclass(frozen=True)
class Address:
    """An address of a file.

    Attributes:
        url: The address.
        headers: Headers of every request. Those that authorize are not passed on to another
            host that the server redirects to.
        commit: The revision that its bytes must be of; None if servers do not name one.
        validator: ETag that the answers must have; None if any is accepted.
        loopback_or_https: Whether no answer may come over plain http from another machine.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    commit: str | None = None
    validator: str | None = None
    loopback_or_https: bool = False

    @property
    def shown(self) -> str:
        """The address as messages have it."""
        return shown_address(self.url)


@dataclass(frozen=True)
class FileRequest:
    """A file to fetch.

    Attributes:
        file: What the publisher says of it.
        addresses: Servers that have it, in the order in which they are asked.
        key: Name of the unfinished file; made from its content.
        again: Whether the file on this disk is known to be wrong, even if its length is right.
    """

    file: PublishedFile
    addresses: Sequence[Address] = field(repr=False)
    key: str
    again: bool = False


def shown_address(url: str) -> str:
    """An address without what may be secret: user, password, query, fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what was given"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_safe_url(url: str) -> bool:
    """Whether nobody on the way can read along: https, or this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def explain_unsafe(url: str) -> SourceError:
    """The refusal of an address that is not `is_safe_url`."""
    return SourceError(
        f"{shown_address(url)} is no https address",
        "Give one that begins with https://; plain http is for this machine only",
    )
