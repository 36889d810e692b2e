"""The steps that keep their weights: evenly spaced on a logarithmic axis."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.train.config import SnapshotConfig
from mlx_probe.lab.train.watch.snapshots import snapshot_steps

TOTALS = st.integers(1, 10**7)


def test_the_steps_of_a_run():
    steps = snapshot_steps(SnapshotConfig(per_decade=4, at=(5,)), 600)
    assert sorted(steps) == [0, 1, 2, 3, 5, 6, 10, 18, 32, 56, 100, 178, 316, 562, 600]


@given(TOTALS, st.integers(1, 20))
def test_first_last_and_no_gap_wider_than_one_interval(total, per_decade):
    steps = sorted(snapshot_steps(SnapshotConfig(per_decade=per_decade), total))
    assert steps[:2] == [0, 1]
    assert steps[-1] == total
    # Rounding moves a step by half of one.
    widest = 10 ** (1 / per_decade)
    pairs = pairwise(steps[1:])
    assert all(later <= math.ceil((step + 0.5) * widest + 0.5) for step, later in pairs)
    assert len(steps) <= 3 + per_decade * math.log10(total) + 1e-9


@given(TOTALS, st.integers(1, 20))
def test_a_longer_run_keeps_the_same_steps(total, per_decade):
    config = SnapshotConfig(per_decade=per_decade)
    assert snapshot_steps(config, total) - {total} <= snapshot_steps(config, 2 * total)


@given(TOTALS, st.integers(0, 20), st.data())
def test_named_steps_are_among_them(total, per_decade, data):
    named = tuple(data.draw(st.lists(st.integers(0, total), max_size=5)))
    with_them = snapshot_steps(SnapshotConfig(per_decade, named), total)
    assert with_them == snapshot_steps(SnapshotConfig(per_decade), total) | set(named)


def test_none():
    assert snapshot_steps(SnapshotConfig(per_decade=0), 100) == frozenset()


def test_a_step_after_the_last_is_refused():
    with pytest.raises(ConfigError, match=r"snapshots.at cannot be 9: the run has 8 steps"):
        snapshot_steps(SnapshotConfig(at=(3, 9)), 8)
