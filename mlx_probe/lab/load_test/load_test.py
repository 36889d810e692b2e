"""A load test from address to document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.load_test.address import Address, parse_address
from mlx_probe.lab.load_test.config import LoadTestConfig, SweepConfig
from mlx_probe.lab.load_test.prompts import make_prompts
from mlx_probe.lab.load_test.session import OnProgress, Session, first_model, run_session
from mlx_probe.lab.load_test.statistics import (
    Measured,
    finite,
    good_share,
    measure,
    sources,
    statistics,
)
from mlx_probe.lab.load_test.sweep import find_highest_rate

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["DETAILS", "load_test", "sweep"]

# Keys with a value for each request.
DETAILS = (
    *("input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times"),
    *("generated_texts", "errors"),
)


def load_test(
    address: str,
    config: LoadTestConfig | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, Any]:
    """Load a server, and measure what its clients see.

    Args:
        address: Of an OpenAI-compatible server, such as "http://127.0.0.1:8080".
        config: Settings.
        on_progress: Called with requests that have ended, and all.

    Returns:
        The result with the keys of `vllm bench serve`, for JSON.

    Raises:
        ConfigError: The address or a setting makes no sense.
        SourceError: The server cannot be reached, or lists no model; the tokenizer cannot be had.
    """
    return _Tester(address, config or LoadTestConfig(), on_progress).test()


def sweep(
    address: str,
    config: LoadTestConfig,
    settings: SweepConfig | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, Any]:
    """Look for the highest rate at which enough requests stay within `config.goodput`.

    Args:
        address: See `load_test`.
        config: Settings; a finite `request_rate` is the first one to try, otherwise 1.
        settings: Target and precision.
        on_progress: Called at each rate with requests that have ended, and all.

    Returns:
        The result of the test at the highest rate that holds, with the key `sweep`: what was
        tried. Of the last test if none holds.

    Raises:
        ConfigError: There is no goodput, it cannot be judged without a count of tokens, or
            requests would be held back by a limit.
        SourceError: See `load_test`.
    """
    settings = settings or SweepConfig()
    if not config.goodput:
        raise ConfigError("a sweep needs a goodput", "Give for example --goodput ttft:500")
    if config.max_concurrency:
        # Held back by the client, requests would wait where no latency sees it.
        raise ConfigError("a sweep has no --max-concurrency", "Leave it out")
    tester = _Tester(address, config, on_progress)
    results: dict[float, dict[str, Any]] = {}

    def try_rate(rate: float) -> tuple[float, float]:
        results[rate] = tester.test(rate)
        share = good_share(tester.measured, config.goodput)
        if share is None:
            raise ConfigError(
                "the server does not say how many tokens it made, so that tpot is unknown",
                "Give the model's tokenizer with --tokenizer",
            )
        if tester.session.is_interrupted:
            raise KeyboardInterrupt
        taken = sum(one.e2el or 0.0 for one in tester.measured)
        return share, taken / tester.session.duration

    first = config.request_rate if config.request_rate < float("inf") else 1.0
    found = find_highest_rate(try_rate, first, settings)
    tried = [
        {
            "request_rate": step.rate,
            "good_share": step.share,
            "holds": step.holds,
            **{key: results[step.rate][key] for key in _OF_STEPS},
        }
        for step in found.steps
    ]
    best = results[found.highest if found.highest is not None else found.steps[-1].rate]
    return best | {
        "sweep": {
            "goodput": config.goodput,
            "target": settings.target,
            "highest_rate": found.highest,
            "lowest_failing_rate": found.lowest_failing,
            "steps": tried,
        }
    }


_OF_STEPS = ("completed", "failed", "request_throughput", "request_goodput", "output_throughput")


class _Tester:
    """Tests of one server with the same prompts.

    Attributes:
        session: The last test.
        measured: Its requests.
    """

    session: Session
    measured: Sequence[Measured]

    def __init__(self, address: str, config: LoadTestConfig, on_progress: OnProgress) -> None:
        self._address: Address = parse_address(address, config.backend)
        self._on_progress = on_progress
        self._tokenizer = _tokenizer(config.tokenizer)
        self._prompts = make_prompts(config, self._tokenizer)
        self._model = config.model or first_model(self._address, config)
        self._config = config

    def test(self, rate: float | None = None) -> dict[str, Any]:
        """Run one test."""
        config = self._config if rate is None else replace(self._config, request_rate=rate)
        began = datetime.now()
        self.session = run_session(
            self._address, self._model, self._prompts, config, self._on_progress
        )
        # After the test, so that it costs the answers no time.
        self.measured = [measure(one, self._tokenizer) for one in self.session.requests]
        values = statistics(self.session, self.measured, config)
        return self._settings(config, began) | values | self._details()

    def _settings(self, config: LoadTestConfig, began: datetime) -> dict[str, Any]:
        requests = self.session.requests
        return {
            "date": began.strftime("%Y%m%d-%H%M%S"),
            "endpoint_type": config.backend,
            "backend": config.backend,
            "label": None,
            "model_id": self._model,
            "tokenizer_id": config.tokenizer or None,
            "num_prompts": config.num_prompts,
            "request_rate": finite(config.request_rate),
            "burstiness": finite(config.burstiness),
            "max_concurrency": config.max_concurrency or None,
            "base_url": self._address.url,
            "seed": config.seed,
            "interrupted": self.session.is_interrupted,
            "empty": sum(one.completed and one.ttft is None for one in self.measured),
            "input_tokens_from": sources(one.input for one in self.measured if one.completed),
            "output_tokens_from": sources(one.output for one in self.measured if one.completed),
            "errors_by_count": dict(
                Counter(request.error for request in requests if request.error).most_common()
            ),
        }

    def _details(self) -> dict[str, Any]:
        requests = self.session.requests
        columns = (
            [one.input.tokens for one in self.measured],
            [one.output.tokens for one in self.measured],
            [one.ttft for one in self.measured],
            [list(one.itl) for one in self.measured],
            [one.e2el for one in self.measured],
            [request.start for request in requests],
            [request.start - request.due for request in requests],
            [request.answer.text for request in requests],
            [request.error for request in requests],
        )
        return dict(zip(DETAILS, columns, strict=True))


def _tokenizer(reference: str) -> Tokenizer | None:
    if not reference:
        return None
    # Not needed where the server counts.
    from mlx_probe.lab.data.tokenizer import load_tokenizer

    return load_tokenizer(reference)
