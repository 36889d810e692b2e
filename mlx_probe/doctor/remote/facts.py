"""What was seen of another machine."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from mlx_probe.doctor.remote.target import Target

__all__ = ["Attempt", "Lookup", "RemoteFacts", "Tailscale", "Tls"]

# What Tailscale gives its machines.
_TAILNETS = (ipaddress.ip_network("100.64.0.0/10"), ipaddress.ip_network("fd7a:115c:a1e0::/48"))


@dataclass(frozen=True)
class Lookup:
    """The lookup of the name.

    Attributes:
        addresses: What it means, as numbers, in the system's order.
        outcome: "found", "unknown" (there is no such name), "no answer" (no server of names
            answers), or "failed".
        said: What the system said where it failed.
        seconds: What it took.
    """

    addresses: tuple[str, ...]
    outcome: str
    said: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """A connection to one address.

    Attributes:
        address: The number.
        outcome: "connected", "refused", "no answer", "no route" or "failed".
        said: What the system said where it failed.
        seconds: What each connection took, the first one first; empty if there was none.
    """

    address: str
    outcome: str
    said: str = ""
    seconds: tuple[float, ...] = ()

    @property
    def latency(self) -> float:
        """The median of the later connections, or the only one."""
        return median(self.seconds[1:] or self.seconds)


@dataclass(frozen=True)
class Tls:
    """A handshake.

    Attributes:
        version: Of TLS; "" where it failed.
        days: Days that the certificate is still good; None if unknown.
        problem: Why it failed; "" if it did not.
    """

    version: str
    days: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Tailscale:
    """What Tailscale on this machine says of itself and of the other one.

    Attributes:
        state: "Running", "Stopped", "NeedsLogin" and the like; "" if it does not say.
        peer: Name of the other machine in the tailnet; "" if it is not there.
        online: Whether that machine is; None if unknown.
        problem: Why the state is unknown; "" if it is known.
    """

    state: str
    peer: str = ""
    online: bool | None = None
    problem: str = ""


@dataclass(frozen=True)
class RemoteFacts:
    """All that was seen.

    Attributes:
        target: The machine and port.
        lookup: The lookup of its name; without one of a number.
        attempts: A connection to each of its addresses.
        tls: The handshake; None if it was not asked for, or nothing was connected.
        tailscale: Tailscale on this machine; None if it is not installed.
    """

    target: Target
    lookup: Lookup
    attempts: tuple[Attempt, ...] = ()
    tls: Tls | None = None
    tailscale: Tailscale | None = None

    @property
    def connected(self) -> Attempt | None:
        """The first connection that worked."""
        return next((each for each in self.attempts if each.outcome == "connected"), None)

    @property
    def is_in_tailnet(self) -> bool:
        """Whether the target is one of Tailscale's."""
        names = self.target.host.lower().rstrip(".")
        if names.endswith(".ts.net") or (self.tailscale is not None and self.tailscale.peer):
            return True
        for address in (self.target.host, *self.lookup.addresses):
            try:
                number = ipaddress.ip_address(address.partition("%")[0])
            except ValueError:
                continue
            if any(number in network for network in _TAILNETS if network.version == number.version):
                return True
        return False

    def describe(self) -> dict[str, Any]:
        """All facts, for JSON."""
        latency = self.connected.latency if self.connected else None
        return {**asdict(self), "latency_seconds": latency}
