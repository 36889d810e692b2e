"""How a server is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside
from mlx_probe.core.errors import ConfigError

__all__ = [
    "ENDPOINTS",
    "GOALS",
    "LATENCIES",
    "Backend",
    "LoadTestConfig",
    "SweepConfig",
    "parse_goodput",
    "parse_headers",
    "parse_object",
    "parse_percentiles",
]

Backend = Literal["openai-chat", "openai"]
# The path of each kind of request.
ENDPOINTS: dict[str, str] = {"openai-chat": "/v1/chat/completions", "openai": "/v1/completions"}
# What a request's latency is measured by, in milliseconds.
LATENCIES = ("ttft", "tpot", "itl", "e2el")
# Latencies that a single request has one of.
GOALS = ("ttft", "tpot", "e2el")


@dataclass(frozen=True)
class LoadTestConfig:
    """Settings of a load test; names and meanings are those of `vllm bench serve`.

    Attributes:
        model: Name that the requests carry; "" asks the server for its first one.
        backend: Chat completions or text completions.
        num_prompts: Requests.
        request_rate: Requests a second, on average; infinity sends each as soon as it may.
        burstiness: Shape of the gamma distribution of the times between two requests: 1 is a
            Poisson process, less comes in bursts, more is more even.
        max_concurrency: Requests in flight, at most; 0 for no limit.
        num_warmups: Requests before the measurement that do not count.
        dataset_path: JSONL file with prompts; None makes random ones.
        random_input_len: Tokens of a random prompt; words without a tokenizer.
        output_len: Tokens to ask for.
        tokenizer: Tokenizer that counts what the server does not; "" for none.
        temperature: Of the sampling; None leaves it to the server.
        ignore_eos: Whether to ask for all tokens even if the model ends before.
        extra_body: More keys of each request.
        headers: More headers of each request.
        token: Sent as `Authorization: Bearer`; "" for none.
        timeout: Seconds for a whole request; 0 for no limit.
        stall_timeout: Seconds without a byte after which a request has failed; 0 for no limit.
        ready_check_timeout_sec: Seconds to wait for a server that is not up yet.
        percentile_metrics: Latencies to report.
        metric_percentiles: Percentiles of each.
        goodput: Milliseconds that a good request stays within, by latency.
        seed: Of prompts and arrivals.

    Raises:
        ConfigError: A value has no meaning.
    """

    model: str = ""
    backend: Backend = "openai-chat"
    num_prompts: int = 100
    request_rate: float = math.inf
    burstiness: float = 1.0
    max_concurrency: int = 0
    num_warmups: int = 0
    dataset_path: Path | None = None
    random_input_len: int = 128
    output_len: int = 128
    tokenizer: str = ""
    temperature: float | None = None
    ignore_eos: bool = False
    extra_body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    timeout: float = 600.0
    stall_timeout: float = 0.0
    ready_check_timeout_sec: float = 0.0
    percentile_metrics: tuple[str, ...] = LATENCIES
    metric_percentiles: tuple[float, ...] = (99.0,)
    goodput: dict[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        counts = ("max_concurrency", "num_warmups", "seed")
        seconds = ("timeout", "stall_timeout", "ready_check_timeout_sec")
        refuse_outside(
            self,
            (
                ("backend", self.backend in ENDPOINTS, ", ".join(ENDPOINTS)),
                *((name, getattr(self, name) >= 0, "0 or more") for name in (*counts, *seconds)),
                ("num_prompts", self.num_prompts >= 1, "1 or more"),
                ("request_rate", self.request_rate > 0, "above 0; inf for no waiting"),
                ("burstiness", self.burstiness > 0, "above 0"),
                ("random_input_len", self.random_input_len >= 1, "1 or more"),
                ("output_len", self.output_len >= 1, "1 or more"),
                (
                    "temperature",
                    self.temperature is None or 0 <= self.temperature < math.inf,
                    "0 or more",
                ),
                (
                    "percentile_metrics",
                    set(self.percentile_metrics) <= {*LATENCIES},
                    ", ".join(LATENCIES),
                ),
                (
                    "metric_percentiles",
                    all(0 <= number <= 100 for number in self.metric_percentiles),
                    "between 0 and 100",
                ),
                (
                    "goodput",
                    set(self.goodput) <= {*GOALS} and all(v > 0 for v in self.goodput.values()),
                    f"{', '.join(GOALS)}, each above 0 ms",
                ),
            ),
        )


@dataclass(frozen=True)
class SweepConfig:
    """How the highest rate within the goodput target is looked for.

    Attributes:
        target: Share of requests that have to be good.
        precision: The search ends when the lowest rate that fails is at most this many times the
            highest one that holds.
        max_steps: Rates to try, at most.

    Raises:
        ConfigError: A value has no meaning.
    """

    target: float = 0.9
    precision: float = 1.1
    max_steps: int = 16

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("target", 0 < self.target <= 1, "above 0, at most 1"),
                ("precision", 1 < self.precision < math.inf, "above 1"),
                ("max_steps", self.max_steps >= 1, "1 or more"),
            ),
        )


def parse_goodput(texts: Iterable[str]) -> dict[str, float]:
    """Milliseconds by latency, from texts such as "ttft:500" or "ttft:500 tpot:50".

    Raises:
        ConfigError: A text is no such pair.
    """
    pairs: dict[str, float] = {}
    for text in texts:
        for word in text.replace(",", " ").split():
            name, _, value = word.partition(":")
            try:
                pairs[name] = float(value)
            except ValueError as error:
                raise ConfigError(
                    f"{word!r} is no goodput", "Write for example ttft:500 (milliseconds)"
                ) from error
    return pairs


def parse_percentiles(text: str) -> tuple[float, ...]:
    """Percentiles from a text such as "50,90,99".

    Raises:
        ConfigError: It is none.
    """
    try:
        return tuple(float(word) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no list of percentiles", "Write for example 50,90,99"
        ) from error


def parse_object(text: str) -> dict[str, Any]:
    """A JSON object from text.

    Raises:
        ConfigError: It is none.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no JSON: {error}", "Write a JSON object") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{text!r} is no JSON object", "Write a JSON object")
    return value


def parse_headers(texts: Iterable[str]) -> dict[str, str]:
    """Headers from texts such as "X-Name=value".

    Raises:
        ConfigError: A text is no header.
    """
    headers: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or any(mark in text for mark in "\r\n"):
            raise ConfigError(f"{text!r} is no header", "Write NAME=VALUE on one line")
        headers[name.strip()] = value.strip()
    return headers
