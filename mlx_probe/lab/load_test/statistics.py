"""Latencies, throughput and goodput of a test, with the keys of `vllm bench serve`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.lab.load_test.config import LoadTestConfig
from mlx_probe.lab.load_test.session import Request, Session
from mlx_probe.lab.load_test.tokens import SOURCES, Count, count_input, count_output

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = [
    "Measured",
    "finite",
    "good_share",
    "latency_keys",
    "measure",
    "sources",
    "statistics",
]


@dataclass(frozen=True)
class Measured:
    """What one request took; times in seconds.

    Attributes:
        request: The request.
        input: Tokens of the prompt.
        output: Tokens of the answer.
        ttft: From sending to the first chunk with text, reasoning or a tool call; None without.
        itl: Between one such chunk and the next.
        e2el: From sending to the end of the answer; None for a request that failed.
        tpot: After the first token, for each further one; None for one token or an unknown number.
    """

    request: Request
    input: Count
    output: Count
    ttft: float | None
    itl: tuple[float, ...]
    e2el: float | None
    tpot: float | None

    @property
    def completed(self) -> bool:
        """Whether the whole answer came."""
        return not self.request.error

    def is_good(self, goodput: Mapping[str, float]) -> bool | None:
        """Whether it stays within all limits (milliseconds); None if that is unknown."""
        if not self.completed:
            return False
        if "tpot" in goodput and self.output.tokens is None:
            return None
        # One token has no time for each further one.
        values = {"ttft": self.ttft or self.e2el, "tpot": self.tpot or 0.0, "e2el": self.e2el}
        return all((values[name] or 0.0) * 1000 <= limit for name, limit in goodput.items())


def measure(request: Request, tokenizer: Tokenizer | None) -> Measured:
    """What a request took."""
    answer, start = request.answer, request.start
    failed = bool(request.error)
    output = Count(0, "usage") if failed else _output(request, tokenizer)
    ttft = answer.times[0] - start if answer.times else None
    e2el = None if failed else answer.end - start
    tpot = None
    if e2el is not None and ttft is not None and output.tokens is not None and output.tokens > 1:
        tpot = (e2el - ttft) / (output.tokens - 1)
    return Measured(
        request=request,
        input=count_input(answer.usage, request.prompt, tokenizer),
        output=output,
        ttft=ttft,
        itl=tuple(float(gap) for gap in np.diff(answer.times)),
        e2el=e2el,
        tpot=tpot,
    )


def _output(request: Request, tokenizer: Tokenizer | None) -> Count:
    return count_output(request.answer.usage, request.answer.pieces, tokenizer)


def statistics(
    session: Session, measured: Sequence[Measured], config: LoadTestConfig
) -> dict[str, Any]:
    """The values of a test.

    Args:
        session: The test.
        measured: Its requests.
        config: Which latencies and percentiles, and what is good.
    """
    completed = [one for one in measured if one.completed]
    duration = session.duration
    inputs, outputs = (
        _total(one.input for one in completed),
        _total(one.output for one in completed),
    )
    goods = [one.is_good(config.goodput) for one in completed]
    judged = bool(config.goodput) and None not in goods
    both = None if inputs is None or outputs is None else inputs + outputs
    latencies: dict[str, list[float | None]] = {
        "ttft": [one.ttft for one in completed],
        "tpot": [one.tpot for one in completed],
        "itl": [gap for one in completed for gap in one.itl],
        "e2el": [one.e2el for one in completed],
    }
    values: dict[str, Any] = {
        "duration": duration,
        "completed": len(completed),
        "failed": len(measured) - len(completed),
        "total_input_tokens": inputs,
        "total_output_tokens": outputs,
        "request_throughput": len(completed) / duration,
        "request_goodput": sum(map(bool, goods)) / duration if judged else None,
        "output_throughput": None if outputs is None else outputs / duration,
        "total_token_throughput": None if both is None else both / duration,
        "max_output_tokens_per_s": _peak_rate(completed),
        "max_concurrent_requests": _peak_concurrency(completed),
    }
    for name in config.percentile_metrics:
        numbers = [1000 * value for value in latencies[name] if value is not None]
        values |= _described(name, numbers, config.metric_percentiles)
    return values


def good_share(measured: Sequence[Measured], goodput: Mapping[str, float]) -> float | None:
    """Share of all requests, failed ones included, that stay within the limits; None if unknown."""
    goods = [one.is_good(goodput) for one in measured]
    if None in goods or not goods:
        return None
    return sum(map(bool, goods)) / len(goods)


def latency_keys(name: str, percentiles: Iterable[float]) -> dict[str, str]:
    """Key of each value of a latency, by a short title: "mean", "median", "std", "p99"."""
    named = {f"p{number:g}": f"p{number:g}_{name}_ms" for number in percentiles}
    return {kind: f"{kind}_{name}_ms" for kind in ("mean", "median", "std")} | named


def sources(counts: Iterable[Count]) -> dict[str, int]:
    """How many numbers come from where."""
    found = Counter(count.source for count in counts)
    return {source: found[source] for source in SOURCES}


def _described(
    name: str, numbers: Sequence[float], percentiles: Sequence[float]
) -> dict[str, float | None]:
    keys = latency_keys(name, percentiles)
    if not numbers:
        return dict.fromkeys(keys.values())
    array = np.array(numbers)
    found = [float(array.mean()), float(np.median(array)), float(array.std())]
    found += [float(value) for value in np.percentile(array, percentiles)] if percentiles else []
    return dict(zip(keys.values(), found, strict=True))


def _total(counts: Iterable[Count]) -> int | None:
    """The sum; None if one of them is unknown."""
    numbers = [count.tokens for count in counts]
    return None if None in numbers else sum(number or 0 for number in numbers)


def _peak_rate(completed: Sequence[Measured]) -> float | None:
    """Most tokens in one second; those of a request are spread evenly over its chunks."""
    if not completed or any(one.output.tokens is None for one in completed):
        return None
    begin = min(one.request.start for one in completed)
    rates: dict[int, float] = {}
    for one in completed:
        times = one.request.answer.times
        for time in times:
            second = int(time - begin)
            rates[second] = rates.get(second, 0.0) + (one.output.tokens or 0) / len(times)
    return max(rates.values(), default=0.0)


def _peak_concurrency(completed: Sequence[Measured]) -> int:
    """Most requests in flight at one moment."""
    ends = [(one.request.start + (one.e2el or 0.0), -1) for one in completed]
    starts = [(one.request.start, 1) for one in completed]
    running = most = 0
    # At one moment those that end come before those that start.
    for _, change in sorted([*starts, *ends]):
        running += change
        most = max(most, running)
    return most


def finite(value: float) -> float | str:
    """A rate as JSON has it: "inf" for no waiting."""
    return "inf" if math.isinf(value) else value
