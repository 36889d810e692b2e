"""Wilson's interval and the exact test of McNemar against formulas of their own."""

import math

import pytest

from mlx_probe.lab.evaluate.intervals import mean_record, share_record, wilson
from mlx_probe.lab.evaluate.paired import mcnemar, paired_record


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # statsmodels.stats.proportion.proportion_confint(method="wilson").
    [
        (0, 10, 0.0, 0.277532799862889),
        (10, 10, 0.722467200137111, 1.0),
        (5, 10, 0.236593090511845, 0.763406909488155),
        (81, 263, 0.2552759, 0.3662120),
        (1, 1, 0.206549314377945, 1.0),
    ],
)
def test_wilson(count, total, low, high):
    assert wilson(count, total) == pytest.approx((low, high), abs=2e-4)


def test_wilson_by_its_equation():
    """Its ends are the shares at which the count is just as far off as allowed."""
    for count, total in ((3, 17), (40, 100), (99, 100)):
        for end in wilson(count, total):
            distance = abs(count / total - end) / math.sqrt(end * (1 - end) / total)
            assert distance == pytest.approx(1.959963984540054)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (0, 5, 0.0625),
        (5, 0, 0.0625),
        (3, 3, 1.0),
        (1, 9, 22 / 1024),
        (0, 5000, 0.0),
        (4900, 5100, 0.0466),
    ],
)
def test_mcnemar(first, second, p):
    assert mcnemar(first, second) == pytest.approx(p, abs=1e-4)


def test_records():
    assert share_record([True, False, True, True])["value"] == 0.75
    assert share_record([]) == {
        "value": None, "interval": None, "count": 0, "items": 0, "method": "wilson"
    }  # fmt: skip
    mean = mean_record([0.0, 0.5, 1.0], seed=3)
    assert mean["value"] == 0.5
    assert mean == mean_record([0.0, 0.5, 1.0], seed=3)
    assert mean["interval"][0] < 0.5 < mean["interval"][1]
    assert mean_record([], seed=3)["value"] is None


def test_paired():
    first, second = [1, 1, 0, 0, 0, 0], [1, 0, 1, 1, 1, 1]
    record = paired_record(first, second, is_share=True, seed=0)
    assert (record["only_first"], record["only_second"]) == (1, 4)
    assert record["p"] == mcnemar(1, 4)
    assert record["difference"] == pytest.approx(0.5)
    same = paired_record([0.5, 0.2], [0.5, 0.2], is_share=False, seed=0)
    assert (same["difference"], same["interval"], same["p"]) == (0, [0, 0], None)
    assert paired_record([], [], is_share=True, seed=0)["items"] == 0
