"""Addresses that a server listens at, and who reaches them."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from mlx_probe.core.errors import ConfigError

__all__ = ["cannot_listen", "is_loopback", "listening_address"]


def listening_address(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Family and address to bind.

    Raises:
        ConfigError: There is no such address.
    """
    return _resolved(host, port)[0]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    Raises:
        ConfigError: There is no such address.
    """
    found = _resolved(host, 0)
    return all(ipaddress.ip_address(str(address[0])).is_loopback for _, address in found)


def cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    """The error for an address that the system refuses."""
    return ConfigError(
        f"cannot listen at {host} port {port}: {error.strerror}",
        "Choose another port with --port; 0 takes one that is free",
    )


def _resolved(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name that cannot be encoded for a lookup is a UnicodeError.
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no name of a host"
        raise ConfigError(
            f"there is no address {host!r}: {reason}", "Give an address of this machine"
        ) from error
    return [(family, address) for family, _, _, _, address in found]
