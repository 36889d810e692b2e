import math
from dataclasses import replace

import pytest

from mlx_probe.lab.train.config import TrainConfig
from mlx_probe.lab.train.schedule import rate_share

CONFIG = TrainConfig(steps=200, warmup=20, decay=0.25, final=0.1)


def shares(**changes):
    config = replace(CONFIG, **changes)
    return [rate_share(step, config) for step in range(1, config.steps + 1)]


def test_warmup_and_cosine_equal_their_closed_form():
    expected = [n / 20 for n in range(1, 21)]
    expected += [0.1 + 0.9 * (1 + math.cos(math.pi * (n - 20) / 180)) / 2 for n in range(21, 201)]
    assert shares() == pytest.approx(expected, abs=1e-12)


def test_linear_equals_its_closed_form():
    expected = [n / 20 for n in range(1, 21)] + [1 - 0.9 * (n - 20) / 180 for n in range(21, 201)]
    assert shares(schedule="linear") == pytest.approx(expected, abs=1e-12)


def test_warmup_stable_decay_equals_its_closed_form():
    expected = [n / 20 for n in range(1, 21)] + [1.0] * 130
    expected += [1 - 0.9 * n / 50 for n in range(1, 51)]
    assert shares(schedule="wsd") == pytest.approx(expected, abs=1e-12)


def test_constant_stays_at_the_peak():
    assert shares(schedule="constant")[19:] == [1.0] * 181


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
@pytest.mark.parametrize("warmup", [0, 1, 200])
def test_last_step_has_the_final_rate_unless_all_is_warmup(schedule, warmup):
    found = shares(schedule=schedule, warmup=warmup)
    assert all(0 < share <= 1 for share in found)
    assert found[-1] == pytest.approx(1.0 if warmup == 200 else 0.1)


def test_decay_of_wsd_leaves_the_warmup_alone():
    found = shares(schedule="wsd", decay=1.0)
    assert found[:20] == [n / 20 for n in range(1, 21)]
    assert found[-1] == pytest.approx(0.1)
