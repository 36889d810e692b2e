"""A tiny model that is served in this process."""

import threading
from contextlib import contextmanager

import pytest
from lab import mlx_lm

from mlx_probe.lab.serve.config import ServeConfig


@pytest.fixture(scope="session")
def serving(tiny):
    """Serve a model between ``with`` and its end."""
    mlx_lm("server")
    from mlx_probe.lab.serve.serve import ModelServer

    @contextmanager
    def serving(model=tiny.model, lines=None, **settings):
        config = ServeConfig(**{"port": 0, "idle_timeout": 5.0, **settings})
        on_request = (lines if lines is not None else []).append
        server = ModelServer(str(model), config, "cpu", on_request)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()
            server.close(grace=1.0)

    return serving
