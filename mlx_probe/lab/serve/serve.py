"""Serving a model until it is stopped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

from mlx_probe.core.listening import cannot_listen, listening_address
from mlx_probe.lab.generate.folder import find_model_folder
from mlx_probe.lab.serve.config import ServeConfig
from mlx_probe.lab.serve.engine import Provider, new_generator
from mlx_probe.lab.serve.handler import Service, handler_class
from mlx_probe.lab.serve.metrics import Metrics

__all__ = ["ModelServer", "serve"]

# Seconds that answers in progress get when the server is stopped.
GRACE = 5.0


class ModelServer:
    """A server that listens.

    Attributes:
        url: What clients are given, such as "http://127.0.0.1:8080".
        service: What all its connections share.
    """

    def __init__(self, model: str, config: ServeConfig, device: str, on_request: Any) -> None:
        """Load the model, and listen.

        Raises:
            ConfigError: The address cannot be listened at, or mlx-lm is not installed.
            ProbeError: The model cannot be loaded; see `load_model`.
        """
        folder = find_model_folder(model)
        # Before the model, so that a port in use is said at once; nobody is let in yet.
        self._http = _bound(config)
        try:
            generator = new_generator(Provider(model, config, device), config)
        except BaseException:
            self._http.server_close()
            raise
        from mlx_lm.server import get_system_fingerprint

        names = (config.name or model, model, str(folder))
        self.service = Service(
            config=config,
            generator=generator,
            names=tuple(dict.fromkeys(names)),
            metrics=Metrics(),
            fingerprint=get_system_fingerprint(),
            on_request=on_request,
        )
        self._http.RequestHandlerClass = handler_class(self.service)
        self._http.server_activate()
        port = self._http.server_address[1]
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.url = f"http://{host}:{port}"

    def run(self) -> None:
        """Answer until `stop` is called, or Ctrl-C."""
        self._http.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """Stop `run`; from another thread."""
        self._http.shutdown()

    def close(self, grace: float = GRACE) -> None:
        """Let answers in progress end, for so many seconds, and free the model."""
        self._http.server_close()
        until = time.monotonic() + grace
        with suppress(KeyboardInterrupt):  # a second Ctrl-C
            while self.service.metrics.in_flight and time.monotonic() < until:
                time.sleep(0.05)
        self.service.generator.stop_and_join()


def serve(
    model: str | os.PathLike[str],
    config: ServeConfig | None = None,
    device: str = "auto",
    on_ready: Callable[[ModelServer], None] = lambda server: None,
    on_request: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve a model by OpenAI's interface, until Ctrl-C.

    Args:
        model: See `load_model`.
        config: Settings.
        device: "auto", "cpu" or "gpu".
        on_ready: Called when requests are answered.
        on_request: Called with a line about each request that has ended.

    Raises:
        ConfigError: The address cannot be listened at, or mlx-lm is not installed.
        ProbeError: The model cannot be loaded; see `load_model`.
    """
    server = ModelServer(os.fspath(model), config or ServeConfig(), device, on_request)
    try:
        on_ready(server)
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()


class _HTTP(ThreadingHTTPServer):
    """Threads that end with the process, and a queue for many clients at once."""

    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is no event; anything else is a bug of ours."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def _bound(config: ServeConfig) -> _HTTP:
    family, address = listening_address(config.host, config.port)
    kind = type("HTTP", (_HTTP,), {"address_family": family})
    server: _HTTP = kind(address[:2], None, bind_and_activate=False)
    try:
        server.server_bind()
    except OSError as error:
        server.server_close()
        raise cannot_listen(config.host, config.port, error) from error
    return server
