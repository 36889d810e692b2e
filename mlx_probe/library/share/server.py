"""The server for guests: connections in threads, until it is stopped."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from mlx_probe.core.listening import cannot_listen, listening_address
from mlx_probe.library.share.answer import Door
from mlx_probe.library.share.audit import AuditError, AuditLog
from mlx_probe.library.share.config import ShareConfig
from mlx_probe.library.share.connection import converse, note_refused
from mlx_probe.library.share.guests import Guests, refuse_nobody
from mlx_probe.library.share.limits import Connections, network
from mlx_probe.library.share.site import Site

__all__ = ["GuestServer"]

# Seconds: between looks whether to stop, and for answers in progress when stopping.
_LOOK, _GRACE = 0.2, 3.0
_BACKLOG = 128


class GuestServer:
    """A server that listens.

    Args:
        site: What it serves; its folders stay open until the server is closed.
        config: Settings.
        folder: `share_folder`, with secret and guests.
        audit: Path of the audit log.
        only: Names of the guests who may look; None for all with a good token.
        shared: Paths of what is shared, for the audit log.

    Attributes:
        url: Where it listens, with a slash at the end.
        port: The port.

    Raises:
        ConfigError: The address cannot be listened at, or nobody could look.
        ResultError: Secret, guests or audit log cannot be used.
    """

    def __init__(
        self,
        site: Site,
        config: ShareConfig,
        folder: Path,
        audit: Path,
        only: Collection[str] | None = None,
        shared: Collection[str] = (),
    ) -> None:
        self._config = config
        guests = Guests(folder, only)
        if config.needs_tokens:
            refuse_nobody(folder, only)
        family, address = listening_address(config.host, config.port)
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self._listener.listen(_BACKLOG)
            self._listener.settimeout(_LOOK)
        except OSError as error:
            self._listener.close()
            raise cannot_listen(config.host, config.port, error) from error
        try:
            self._audit = AuditLog(audit)
            self.port: int = self._listener.getsockname()[1]
            name = _reachable(config.host)
            host = f"[{name}]" if ":" in name else name
            self.url = f"http://{host}:{self.port}/"
            self._audit.append("start", url=self.url, shared=list(shared))
        except BaseException:
            self._listener.close()
            raise
        self._door = Door(site, config, guests, self.port)
        self._limit = Connections(config.connections, config.connections_of_one)
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        self._failure: AuditError | None = None
        self._clients: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()

    def run(self) -> None:
        """Answer until `stop` is called, or Ctrl-C.

        Raises:
            AuditError: The audit log cannot be written.
        """
        while not self._stopped.is_set():
            try:
                client, address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                # A client that left at once, or no descriptors for a moment.
                self._stopped.wait(_LOOK)
                continue
            self._admit(client, (str(address[0]), int(address[1])))
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop `run`; from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """End all connections, and close the audit log."""
        self._stopped.set()
        self._listener.close()
        # Those that have not asked yet are ended, those that are answered have some time.
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):
            for client in list(self._clients):
                with suppress(OSError):
                    client.shutdown(how)
            until = time.monotonic() + _GRACE
            for thread in list(self._threads):
                thread.join(max(0.0, until - time.monotonic()))
        with suppress(AuditError):
            self._audit.append("stop")
        self._audit.close()

    def _admit(self, client: socket.socket, address: tuple[str, int]) -> None:
        number, key = next(self._numbers), network(address[0])
        if not self._limit.enter(key):
            try:
                note_refused(client, address, number, self._audit)
            except AuditError as error:
                self._fail(error)
            return
        thread = threading.Thread(
            target=self._serve, args=(client, address, number, key), daemon=True
        )
        self._clients.add(client)
        self._threads.add(thread)
        thread.start()

    def _serve(
        self, client: socket.socket, address: tuple[str, int], number: int, key: str
    ) -> None:
        try:
            converse(client, address, number, self._door, self._audit, self._config)
        except AuditError as error:
            self._fail(error)
        finally:
            self._clients.discard(client)
            self._threads.discard(threading.current_thread())
            self._limit.leave(key)

    def _fail(self, error: AuditError) -> None:
        self._failure = self._failure or error
        self._stopped.set()


def _reachable(host: str) -> str:
    """A host that guests can ask for: of all addresses (0.0.0.0, ::) the one of this machine."""
    if host not in ("0.0.0.0", "::"):
        return host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Sends nothing: it only chooses the way. The numbers are those of examples.
        probe.connect(("2001:db8::1" if ":" in host else "192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return host
