"""Calls of a function, made by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from mlx_probe.analysis.cluster.config import ClusterConfig
from mlx_probe.analysis.cluster.connection import connected
from mlx_probe.core.errors import ClusterError

__all__ = ["made_by_workers"]


def made_by_workers(
    config: ClusterConfig, function: Callable[..., Any], calls: Sequence[Sequence[Any]]
) -> Iterator[tuple[int, Any]]:
    """Let the workers call a function, each thread of them once at a time.

    Args:
        config: The cluster.
        function: Of a module that the workers have.
        calls: Its arguments, one sequence for each call.

    Yields:
        The number of a call and its result, or the exception that it ended with, in the order in
        which they end. Whoever stops before the end drops the other calls.

    Raises:
        ConfigError: Dask is not installed.
        ClusterError: The scheduler does not answer, or is lost.
    """
    with connected(config) as connection:
        from distributed import as_completed

        submit: Any = connection.client.submit
        futures = [submit(function, *arguments, pure=False) for arguments in calls]
        numbers = {future.key: number for number, future in enumerate(futures)}
        left = set(numbers)
        ended: Any = as_completed(futures, loop=connection.client.loop)
        try:
            for future in ended:
                left.discard(future.key)
                if future.status == "cancelled":
                    raise ClusterError(
                        f"the cluster at {config.address} is lost",
                        "Start it again, and run the same command",
                    )
                error = future.exception() if future.status == "error" else None
                yield numbers[future.key], error if error is not None else future.result()
        finally:
            with suppress(Exception):
                connection.client.cancel([each for each in futures if each.key in left])
