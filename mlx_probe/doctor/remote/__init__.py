"""Can this machine reach another one? Name, port, time of a connection, TLS, Tailscale.

Everything is read and nothing is changed: no packet but those of lookups and connections is sent,
and Tailscale is asked for its status only. `REMOTE_CHECKS` is the table.
"""

from __future__ import annotations

from mlx_probe.doctor.remote.checks import REMOTE_CHECKS, examine_remote
from mlx_probe.doctor.remote.facts import RemoteFacts
from mlx_probe.doctor.remote.gathering import gather_remote
from mlx_probe.doctor.remote.target import Target, read_target

__all__ = [
    "REMOTE_CHECKS",
    "RemoteFacts",
    "Target",
    "examine_remote",
    "gather_remote",
    "read_target",
]
