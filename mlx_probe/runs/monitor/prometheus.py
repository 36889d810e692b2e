"""A job's latest sample for Prometheus, on this machine's loopback only.

Every number of a sample is a gauge called ``mlx_probe_<column>``; texts are labels of
``mlx_probe_job``, and ``mlx_probe_alerts`` counts the rules that are broken.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.runs.monitor.columns import SAMPLE_COLUMNS
from mlx_probe.runs.monitor.jobs import JobRecord
from mlx_probe.runs.monitor.sample import Sample

__all__ = ["ADDRESS", "PREFIX", "metric_names", "serving"]

ADDRESS = "127.0.0.1"
PREFIX = "mlx_probe_"

_STATES = ("running", "paused", "stopping")


def metric_names() -> dict[str, str]:
    """Every metric that is served, with its description."""
    numbers = {
        PREFIX + column.name: f"{column.description} ({column.unit})"
        if column.unit
        else column.description
        for column in SAMPLE_COLUMNS
        if column.type in ("int64", "float64")
    }
    return {
        **numbers,
        PREFIX + "job": "1; what runs, as labels.",
        PREFIX + "state": "1 for the state that the job is in, 0 for the others.",
        PREFIX + "alerts": "Rules that are broken.",
        PREFIX + "copy_bandwidth": "What one core copies, from the calibration (bytes/s).",
    }


class _Collector:
    """Collects the metrics for prometheus-client on every request."""

    def __init__(self, client: Any, latest: Callable[[], Sample | None], job: JobRecord) -> None:
        self._client, self._latest, self._job = client, latest, job

    def collect(self) -> Iterator[Any]:
        sample, job, names = self._latest(), self._job, metric_names()

        def gauge(name: str, labels: tuple[str, ...] = ()) -> Any:
            name = PREFIX + name
            return self._client.GaugeMetricFamily(name, names[name], labels=labels)

        info = gauge("job", ("kind", "title", "folder", "pid"))
        info.add_metric([job.kind, job.title, job.folder, str(job.pid)], 1)
        yield info
        if job.copy_bandwidth is not None:
            copy = gauge("copy_bandwidth")
            copy.add_metric([], job.copy_bandwidth)
            yield copy
        if sample is None:
            return
        state = gauge("state", ("state",))
        for name in _STATES:
            state.add_metric([name], float(sample.state == name))
        yield state
        alerts = gauge("alerts")
        alerts.add_metric([], len(sample.alerts))
        yield alerts
        for name, value in sample.values().items():
            if PREFIX + name in names and isinstance(value, (int, float)):
                number = gauge(name)
                number.add_metric([], value)
                yield number


@contextmanager
def serving(port: int, latest: Callable[[], Sample | None], job: JobRecord) -> Iterator[None]:
    """Serve Prometheus between ``with`` and its end.

    Args:
        port: TCP port on `ADDRESS`.
        latest: Returns the latest sample; None before the first.
        job: What runs.

    Raises:
        ConfigError: prometheus-client is not installed, or the port is taken.
    """
    try:
        client = importlib.import_module("prometheus_client")
        core = importlib.import_module("prometheus_client.core")
    except ImportError as error:
        raise ConfigError(
            "--prometheus needs the package prometheus-client, which is not installed",
            "Install it with pip install 'mlx-probe[prometheus]'",
        ) from error
    registry = client.CollectorRegistry()
    registry.register(_Collector(core, latest, job))
    try:
        server, thread = client.start_http_server(port, addr=ADDRESS, registry=registry)
    except OSError as error:
        raise ConfigError(
            f"--prometheus cannot use port {port} of {ADDRESS}: {error.strerror}",
            "Choose another port, or 0 for none",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
