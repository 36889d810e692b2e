"""The connection to a cluster of Dask, and the workers of ``local:N``."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.cluster.workers import MEMORY
from mlx_probe.core.errors import ClusterError, ConfigError
from mlx_probe.core.units import format_size

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.config import ClusterConfig

__all__ = ["Connection", "connected"]

# Seconds to reach a scheduler for the first time.
_REACHED = 10.0


class Connection:
    """A client of a scheduler, made anew when it was given up.

    Args:
        config: The cluster.
        cluster: What was started for it; None if it runs by itself.
    """

    def __init__(self, config: ClusterConfig, cluster: Any = None) -> None:
        self._config, self._cluster = config, cluster
        self.client: Any = self._connect(_REACHED)

    def reconnect(self, timeout: float) -> bool:
        """Whether there is a client again, after trying for some seconds."""
        if self.client.status == "running":
            return True
        with suppress(Exception):
            self.client.close(timeout=1)
        try:
            self.client = self._connect(timeout)
        except ClusterError:
            return False
        return True

    def close(self) -> None:
        """End the connection; tasks of this client are dropped."""
        with suppress(Exception):
            self.client.close(timeout=2)

    def _connect(self, timeout: float) -> Any:
        import distributed

        where = self._cluster or self._config.address
        try:
            make: Any = distributed.Client  # it has no types
            return make(where, timeout=timeout, set_as_default=False, name="mlx-probe")
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            # TimeoutError is an OSError; a wrong TLS setting is one of the others.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ClusterError(
                f"the cluster at {self._config.address} does not answer: {reason}",
                "Check that `dask scheduler` runs there, that the port is right, and that no "
                "firewall is between",
            ) from error


@contextmanager
def connected(config: ClusterConfig, memory: int = 0) -> Iterator[Connection]:
    """Connect to a cluster; one of ``local:N`` is started, and ends with the block.

    Args:
        config: The cluster.
        memory: Bytes for all workers of ``local:N`` together.

    Raises:
        ConfigError: Dask is not installed.
        ClusterError: The scheduler does not answer, or the workers cannot be started.
    """
    try:
        import dask
        import distributed  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"a cluster needs the package {error.name}",
            "Install it: pip install 'mlx-probe[cluster]'",
        ) from error
    # Its warnings are about its own tasks: what they mean for the analysis is said by name.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if config.local_workers is None:
        connection = Connection(config)
        try:
            yield connection
        finally:
            connection.close()
        return
    with (
        dask.config.set({"logging": {"distributed": "critical"}}),
        _local_cluster(config.local_workers, memory) as cluster,
    ):
        connection = Connection(config, cluster)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def _local_cluster(workers: int, memory: int) -> Iterator[Any]:
    import distributed

    share = memory // workers
    make: Any = distributed.LocalCluster  # it has no types
    # Ctrl-C reaches all processes of a terminal. It is for this one, which ends the workers: the
    # thread that starts them, and so they themselves, inherit that the signal is blocked.
    # What multiprocessing starts first would unblock it.
    resource_tracker.ensure_running()
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        cluster = make(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            # The analysis keeps to the memory itself; Dask would kill a worker that comes close.
            memory_limit=0,
            resources={MEMORY: share},
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError) as error:
        raise ClusterError(
            f"{workers} workers with {format_size(share)} each cannot be started: {error}",
            "Start fewer of them",
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    try:
        yield cluster
    finally:
        with suppress(Exception):
            cluster.close(timeout=5)
