"""The machine and port that are meant."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError

__all__ = ["SSH", "Target", "read_target"]

# Where nothing else is said: what `ssh` connects to.
SSH = 22
_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[^\s/@?#:\[\]%]+")


@dataclass(frozen=True)
class Target:
    """A host and a port.

    Attributes:
        host: Name or number, without brackets.
        port: TCP port.
    """

    host: str
    port: int

    @property
    def is_number(self) -> bool:
        """Whether there is no name to look up."""
        try:
            ipaddress.ip_address(self.host.partition("%")[0])
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_target(text: str) -> Target:
    """A target as people write it: host, host:port, 192.168.1.5:80, [::1]:80, ::1.

    Raises:
        ConfigError: It is none of these.
    """
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?", text)
    bare = Target(text, SSH)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
        known = ":" in host and Target(host, SSH).is_number
    elif bare.is_number:
        return bare
    else:
        host, _, port = text.partition(":")
        known = _NAME.fullmatch(host) is not None and (bool(port) or ":" not in text)
    number = int(port or SSH) if (port or "0").isascii() and (port or "0").isdigit() else 0
    if not known or not 0 < number < 1 << 16:
        raise ConfigError(
            f"{text!r} is no HOST or HOST:PORT",
            "Give a name or a number, such as studio.local, 192.168.1.5:8321 or [fd7a::1]:8321, "
            "without a scheme or a path",
        )
    return Target(host, number)
