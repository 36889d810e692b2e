"""Counters, gauges and histograms of a server, in Prometheus' text format.

Version 0.0.4 of https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["CONTENT_TYPE", "PREFIX", "Metrics", "metric_names"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "mlx_probe_serve_"

# Upper ends in seconds: a token takes milliseconds, an answer minutes.
_TOKEN = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_ANSWER = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0)

_HISTOGRAMS: Mapping[str, tuple[str, Sequence[float]]] = {
    "queue_seconds": ("From a request until its prompt is accepted.", _ANSWER),
    "time_to_first_token_seconds": ("From a request until its first token.", _ANSWER),
    "time_per_output_token_seconds": ("Of each answer, for a token after the first.", _TOKEN),
    "request_seconds": ("From a request until its answer is whole.", _ANSWER),
}
_COUNTERS = {
    "prompt_tokens_total": "Tokens of prompts.",
    "cached_prompt_tokens_total": "Tokens of prompts that were computed before.",
    "generation_tokens_total": "Tokens of answers.",
}
_REQUESTS = "Requests by status; left: the client went away before the end."
_GAUGES = {
    "requests_waiting": "Requests without a first token yet.",
    "requests_running": "Requests whose tokens are being made.",
    "start_time_seconds": "When the server began, since 1970.",
}


def metric_names() -> dict[str, str]:
    """Every metric with its description."""
    described = {name: text for name, (text, _) in _HISTOGRAMS.items()}
    texts = {"requests_total": _REQUESTS, **_COUNTERS, **_GAUGES, **described}
    return {PREFIX + name: text for name, text in texts.items()}


@dataclass
class _Histogram:
    ends: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.ends) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.ends, value)] += 1
        self.total += value

    def lines(self, name: str) -> Iterator[str]:
        below = 0
        for end, count in zip(self.ends, self.counts, strict=False):
            below += count
            yield f'{name}_bucket{{le="{end:g}"}} {below}'
        yield f'{name}_bucket{{le="+Inf"}} {sum(self.counts)}'
        yield f"{name}_sum {self.total:.9g}"
        yield f"{name}_count {sum(self.counts)}"


class Metrics:
    """What a server has done since it began; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[str, int] = {}
        self._counters = dict.fromkeys(_COUNTERS, 0)
        self._gauges: dict[str, float] = dict.fromkeys(_GAUGES, 0)
        self._gauges["start_time_seconds"] = time.time()
        self._histograms = {name: _Histogram(ends) for name, (_, ends) in _HISTOGRAMS.items()}

    @property
    def in_flight(self) -> int:
        """Requests whose answers are not whole."""
        with self._lock:
            return int(self._gauges["requests_waiting"] + self._gauges["requests_running"])

    def count_request(self, status: str) -> None:
        """Count a request that has ended."""
        with self._lock:
            self._requests[status] = self._requests.get(status, 0) + 1

    def count(self, name: str, number: int) -> None:
        """Add to a counter."""
        with self._lock:
            self._counters[name] += number

    def change(self, name: str, by: int) -> None:
        """Raise or lower a gauge."""
        with self._lock:
            self._gauges[name] += by

    def observe(self, name: str, seconds: float) -> None:
        """Add a value to a histogram."""
        with self._lock:
            self._histograms[name].add(seconds)

    def text(self) -> str:
        """All of them."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _head("requests_total", _REQUESTS, "counter")
        for status, count in sorted(self._requests.items()):
            yield f'{PREFIX}requests_total{{status="{status}"}} {count}'
        for name, text in _COUNTERS.items():
            yield from _head(name, text, "counter")
            yield f"{PREFIX}{name} {self._counters[name]}"
        for name, text in _GAUGES.items():
            yield from _head(name, text, "gauge")
            yield f"{PREFIX}{name} {self._gauges[name]:.15g}"
        for name, (text, _) in _HISTOGRAMS.items():
            yield from _head(name, text, "histogram")
            yield from self._histograms[name].lines(PREFIX + name)


def _head(name: str, text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {text}"
    yield f"# TYPE {PREFIX}{name} {kind}"
