"""How runs are shared, and with whom."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.listening import is_loopback

__all__ = ["ShareConfig"]

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True)
class ShareConfig:
    """Settings of a server for guests.

    Attributes:
        host: Name or number of the address to listen at.
        port: TCP port; 0 for any that is free.
        tokens: Whether every guest needs a token; on an address that other machines reach they
            do in any case.
        allowed_hosts: Names of this machine by which guests may ask for it, beside numbers and
            localhost.
        rate: Requests of a guest, or of an address without a token, in a minute.
        connections: At a time, of all.
        connections_of_one: At a time, of one address.
        head_timeout: Seconds in which a request has to be complete.
        write_timeout: Seconds in which a client has to take each 64 KiB of an answer.
        longest_head: Bytes of a request.
        longest_target: Characters of what it asks for.

    Raises:
        ConfigError: A value has no meaning.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tokens: bool = False
    allowed_hosts: tuple[str, ...] = ()
    rate: int = 120
    connections: int = 64
    connections_of_one: int = 16
    head_timeout: float = 10.0
    write_timeout: float = 20.0
    longest_head: int = 16384
    longest_target: int = 4096

    def __post_init__(self) -> None:
        for name in self.allowed_hosts:
            if _HOST_NAME.fullmatch(name.lower()) is None:
                raise ConfigError(
                    f"{name!r} is no name of a host",
                    "Give a name such as studio.tail1234.ts.net, without scheme, port or *",
                )

    @property
    def needs_tokens(self) -> bool:
        """Whether nobody may look without a token.

        A name for --allow-host means that something in front of the loopback address lets
        others in, such as `tailscale serve`.
        """
        return self.tokens or bool(self.allowed_hosts) or not is_loopback(self.host)
