"""From times to the values of a result, against their definitions."""

import math

import numpy as np
import pytest

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.load_test.answer import Answer
from mlx_probe.lab.load_test.arrivals import arrival_times
from mlx_probe.lab.load_test.config import (
    LoadTestConfig,
    SweepConfig,
    parse_goodput,
    parse_headers,
    parse_object,
    parse_percentiles,
)
from mlx_probe.lab.load_test.prompts import Prompt
from mlx_probe.lab.load_test.session import Request, Session
from mlx_probe.lab.load_test.statistics import good_share, measure, statistics
from mlx_probe.lab.load_test.sweep import find_highest_rate


def answered(start, times, end, counts=(3, 4), error=""):
    answer = Answer()
    answer.times, answer.end = times, end
    if counts:
        answer.usage = {"prompt_tokens": counts[0], "completion_tokens": counts[1]}
    return Request(Prompt("x", None, 9, {}), start, start, answer, error)


def values(requests, duration=10.0, **settings):
    measured = [measure(request, None) for request in requests]
    config = LoadTestConfig(**settings)
    return measured, statistics(Session(requests, duration), measured, config)


REQUESTS = [
    answered(0.0, [1.0, 1.5, 3.0], 3.0, (10, 5)),
    answered(1.0, [1.5], 2.0, (20, 1)),
    answered(2.0, [4.0, 4.25], 4.5, (30, 6)),
    answered(2.5, [2.75], 0.0, None, "broken"),
]


def test_values_are_those_of_their_definitions():
    measured, found = values(REQUESTS, metric_percentiles=(50, 99.9))
    assert [one.ttft for one in measured] == [1.0, 0.5, 2.0, 0.25]
    assert [one.itl for one in measured] == [(0.5, 1.5), (), (0.25,), ()]
    assert [one.e2el for one in measured] == [3.0, 1.0, 2.5, None]
    assert [one.tpot for one in measured] == [2.0 / 4, None, 0.5 / 5, None]
    assert found["completed"] == 3
    assert found["failed"] == 1
    assert found["total_input_tokens"] == 60
    assert found["total_output_tokens"] == 12
    assert found["request_throughput"] == 0.3
    assert found["output_throughput"] == 1.2
    assert found["total_token_throughput"] == 7.2
    assert found["request_goodput"] is None
    assert found["max_concurrent_requests"] == 2
    # Second 1: two of three chunks of five tokens, and the only token of the next.
    assert found["max_output_tokens_per_s"] == pytest.approx(6.0)
    for name, numbers in (
        ("ttft", [1000, 500, 2000]),
        ("tpot", [500, 100]),
        ("itl", [500, 1500, 250]),
        ("e2el", [3000, 1000, 2500]),
    ):
        assert found[f"mean_{name}_ms"] == pytest.approx(np.mean(numbers))
        assert found[f"median_{name}_ms"] == found[f"p50_{name}_ms"] == np.median(numbers)
        assert found[f"std_{name}_ms"] == pytest.approx(np.std(numbers))
        assert found[f"p99.9_{name}_ms"] == pytest.approx(np.percentile(numbers, 99.9))


def test_unknown_tokens_are_unknown():
    measured, found = values([*REQUESTS, answered(0.0, [1.0], 2.0, None)])
    for key in ("total_output_tokens", "output_throughput", "max_output_tokens_per_s"):
        assert found[key] is None
    assert measured[-1].tpot is None
    assert measured[-1].is_good({"tpot": 1.0}) is None
    assert measured[-1].is_good({"ttft": 1000.0}) is True
    assert good_share(measured, {"tpot": 1.0}) is None


@pytest.mark.parametrize(
    ("goodput", "good"),
    [
        ({"ttft": 1000}, 2),
        ({"ttft": 999.9}, 1),
        ({"ttft": 1000, "e2el": 2000}, 1),
        ({"tpot": 100}, 2),
        ({"e2el": 3000}, 3),
    ],
)
def test_goodput_counts_requests_within_all_limits(goodput, good):
    measured, found = values(REQUESTS, goodput=goodput)
    assert found["request_goodput"] == good / 10
    assert good_share(measured, goodput) == good / 4


def test_no_request_was_completed():
    _, found = values([REQUESTS[-1]])
    assert found["mean_ttft_ms"] is None
    assert found["total_output_tokens"] == 0
    assert found["max_concurrent_requests"] == 0


@pytest.mark.parametrize("burstiness", [0.2, 1.0, 5.0, math.inf])
def test_arrivals(burstiness):
    times = np.array(arrival_times(20_000, 4.0, burstiness, 3))
    assert times[-1] == pytest.approx(5_000)
    gaps = np.diff(times)
    assert (gaps >= 0).all()
    # The variation of a gamma distribution with this shape.
    spread = 0 if math.isinf(burstiness) else burstiness**-0.5
    assert gaps.std() / gaps.mean() == pytest.approx(spread, rel=0.05, abs=1e-9)
    assert arrival_times(20_000, 4.0, burstiness, 3) == times.tolist()
    if spread:
        assert arrival_times(20_000, 4.0, burstiness, 4) != times.tolist()


def test_arrivals_at_once():
    assert arrival_times(3, math.inf, 1.0, 0) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("limit", [0.3, 1.0, 6.7, 40.0])
def test_a_sweep_finds_the_limit(limit):
    tried = []

    def try_rate(rate):
        tried.append(rate)
        return 1.0 if rate <= limit else 0.5, 1.0

    found = find_highest_rate(try_rate, 1.0, SweepConfig())
    assert found.highest <= limit < found.lowest_failing
    assert found.lowest_failing <= 1.1 * found.highest
    assert [step.rate for step in found.steps] == tried
    assert len(tried) <= 12


def test_a_sweep_without_a_limit_ends():
    found = find_highest_rate(lambda rate: (1.0, 9.0), 1.0, SweepConfig(max_steps=5))
    assert (found.highest, found.lowest_failing) == (16.0, None)
    found = find_highest_rate(lambda rate: (0.0, 9.0), 1.0, SweepConfig(max_steps=5))
    assert (found.highest, found.lowest_failing) == (None, 1 / 16)
    # An idle server is no faster at a lower rate.
    found = find_highest_rate(lambda rate: (0.0, rate), 1.0, SweepConfig())
    assert (found.highest, found.lowest_failing) == (None, 1 / 8)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_prompts": 0},
        {"request_rate": 0.0},
        {"request_rate": math.nan},
        {"burstiness": -1.0},
        {"backend": "vllm"},
        {"percentile_metrics": ("ttfx",)},
        {"metric_percentiles": (101.0,)},
        {"goodput": {"itl": 5.0}},
        {"goodput": {"ttft": 0.0}},
        {"temperature": -1.0},
        {"num_prompts": "many"},
    ],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        LoadTestConfig(**settings)


def test_what_options_are_read_as():
    assert parse_goodput(["ttft:500 tpot:50", "e2el:1e3"]) == {
        "ttft": 500,
        "tpot": 50,
        "e2el": 1000,
    }
    assert parse_percentiles("50, 99.9") == (50, 99.9)
    assert parse_headers(["X-A=b=c"]) == {"X-A": "b=c"}
    assert parse_object('{"top_k": 5}') == {"top_k": 5}
    for read, text in (
        (parse_goodput, ["ttft"]),
        (parse_percentiles, "x"),
        (parse_headers, ["no"]),
        (parse_headers, ["a=b\r\nc: d"]),
        (parse_object, "[]"),
        (parse_object, "{"),
    ):
        with pytest.raises(ConfigError):
            read(text)
