"""The connection to a cluster of Dask, and the workers of ``local:N``."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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

    @property
    def is_local(self) -> bool:
        """Whether the workers were started for this connection."""
        return self._cluster is not None

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
            if self._cluster is None:
                _greet(self._config.address, timeout)
            make: Any = distributed.Client  # it has no types
            return make(where, timeout=timeout, set_as_default=False, name="mlx-probe")
        except _FAILURES as error:
            reason, remedy = _explained(error, self._config.address)
            raise ClusterError(
                f"the cluster at {self._config.address} does not answer: {reason}", remedy
            ) from error


# A server of another kind gives nonsense: lengths for which there is no memory, texts that are no
# messages. A wrong setting of TLS is a ValueError, TypeError or RuntimeError.
_FAILURES = (OSError, asyncio.TimeoutError, ValueError, TypeError, RuntimeError, MemoryError)


def _greet(address: str, timeout: float) -> None:
    """Exchange greetings with a scheduler.

    Dask's client would wait for those of a server that says nothing, such as that of the
    dashboard, without an end.

    Raises:
        OSError, TimeoutError: Nothing answers.
        Exception: Others of `_FAILURES`, where something else answers.
    """
    from distributed.comm import connect
    from distributed.security import Security

    async def greet() -> None:
        settings: Any = Security  # it has no types
        options = settings().get_connection_args("client")
        try:
            comm: Any = await asyncio.wait_for(connect(address, timeout, **options), timeout + 0.5)
        except _FAILURES as error:
            _drop_locals(error)
            raise
        comm.abort()

    # In a thread of its own: a notebook's has a loop already.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, greet()).result()


def _drop_locals(error: BaseException | None) -> None:
    """Let go of what the functions that raised an error had.

    A connection whose greeting failed is closed when nobody has it any more, which has to be
    before its loop ends.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _explained(error: BaseException, address: str) -> tuple[str, str]:
    """Why there is no connection, and what to do about it."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "ssl_context" in text or "encryption required" in text:
        return (
            "Dask's settings of TLS do not fit the address",
            "Set distributed.comm.tls in ~/.config/dask: ca-file, client.cert and client.key, and "
            "write tls:// where the scheduler has it",
        )
    reason = text
    if isinstance(error, MemoryError):
        reason = "what answers there is no scheduler of Dask"
    elif isinstance(error, (OSError, asyncio.TimeoutError)):
        reason = _unconnected(address) or text
    return (
        reason,
        "Check that `dask scheduler` runs there, that the port is right, and that no firewall is "
        "between",
    )


def _unconnected(address: str) -> str:
    """Why Dask did not get through to an address, which says only that its time was over.

    "" where the system does not know either.
    """
    from distributed.comm import get_address_host_port

    host_and_port: Any = get_address_host_port(address)
    try:
        with socket.create_connection(host_and_port, timeout=1.0):
            return "it accepts a connection, but gives no greeting of Dask"
    except socket.gaierror:
        return "there is no host of that name"
    except ConnectionRefusedError:
        return "no program listens at that port"
    except OSError:
        return ""


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
            # No pages; a port of its own for what else it serves, as another run may have 8787.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
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
