"""Which cluster an analysis is spread over, and where its workers have the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError

__all__ = ["ClusterConfig", "cluster_config", "place_for"]

_LOCAL = re.compile(r"local:([1-9]\d*)\Z")
# Not local:0 or local:two: a slip in `_LOCAL` is no host of that name.
_ADDRESS = re.compile(r"(?:tcp|tls|ws|wss|ucx)://\S+\Z|(?!local:)[^\s:/=]+:\d+\Z")


@dataclass(frozen=True)
class ClusterConfig:
    """A cluster of Dask.

    Attributes:
        address: The scheduler's address, such as tcp://host:8786; or local:N for N workers of
            one thread on this machine, which end with the run.
        model_paths: Where the workers have the model, or A of a comparison: a path or a reference
            for all, HOST=PATH for one host or worker name. Empty for the path of this machine
            or, where a worker has no such path, the model's published name.
        full_hash: Whether workers hash their whole copies, and not only headers and samples.
        timeout: Seconds to wait for a scheduler or for workers that went away.
        other_model_paths: The same as ``model_paths``, of B of a comparison.
    """

    address: str
    model_paths: tuple[str, ...] = ()
    full_hash: bool = False
    timeout: float = 300.0
    other_model_paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (_LOCAL.match(self.address) or _ADDRESS.match(self.address)):
            raise ConfigError(
                f"{self.address!r} is no address of a cluster",
                "Name its scheduler, such as tcp://host:8786, or local:2 for two workers here",
            )

    @property
    def local_workers(self) -> int | None:
        """Workers to start on this machine; None for a cluster that runs already."""
        local = _LOCAL.match(self.address)
        return int(local[1]) if local else None


def cluster_config(cluster: str | ClusterConfig) -> ClusterConfig:
    """What a caller named, an address or all settings, as a configuration.

    Raises:
        ConfigError: It is no address.
    """
    return ClusterConfig(cluster) if isinstance(cluster, str) else cluster


def place_for(paths: Sequence[str], *names: str) -> str | None:
    """Where a worker has the model, of `ClusterConfig.model_paths`.

    Args:
        paths: The entries; one that begins with a name and "=" is for that worker alone.
        names: The worker's host and name.

    Returns:
        A path or reference; None if no entry is for this worker.
    """
    for path in paths:
        name, equals, place = path.partition("=")
        if equals and name in names:
            return place
    # A path may have "=" in it, but not before its first slash.
    general = [path for path in paths if "=" not in path.partition("/")[0]]
    return general[0] if general else None
