"""Answers of BFCL's prompting mode, read as the leaderboard reads them; nothing is run."""

import time

import pytest
from bfcl_cases import READ

from mlx_probe.lab.evaluate.bfcl import decode_prompted


@pytest.mark.parametrize(("text", "calls"), READ)
def test_reading(text, calls):
    if calls is None:
        with pytest.raises(ValueError, match=r"."):
            decode_prompted(text)
    else:
        assert decode_prompted(text) == calls


@pytest.mark.parametrize(
    "value",
    [
        "9**9**9**9",
        "1 << 10**9",
        "'x' * 10**12",
        "10**12 * ['x']",
        "'%999999999d' % 3",
        "'%*d' % (10**9, 3)",
        "max(1, 2) + 1",
        "__import__('os').getcwd() + ''",
        "(" * 5000 + ")" * 5000,
        "-" * 5000 + "1",
    ],
)
def test_nothing_runs_and_nothing_grows(value):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"."):
        decode_prompted(f"[f(a={value})]")
    assert time.perf_counter() - start < 5
