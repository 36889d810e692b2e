"""Adapters that PEFT made and merged: the same change, on machines without PEFT."""

import numpy as np
import pytest
from adapter_fixtures import cases, projections, written

from mlx_probe.analysis.compare.adapted import adapted_reader
from mlx_probe.analysis.compare.blocks import WeightReader
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.source import resolve

CONFIG = CompareConfig(directions=0, workers=1, memory_limit=4 << 30)


@pytest.mark.parametrize("name", list(cases()))
def test_the_change_is_that_of_pefts_merge(tmp_path, name):
    folders = written(name, tmp_path)
    expected = dict(cases()[name]["changes"])
    with (
        open_checkpoint(resolve(str(folders[0]))) as base,
        open_checkpoint(resolve(str(folders[1]))) as tuned,
        UsageMeter(STAGES) as meter,
    ):
        plan = make_plan(base, tuned, CONFIG)
        measurer = PairMeasurer(plan.config, meter, plan.backend)
        for pair, scope in zip(plan.pairs, plan.scopes, strict=True):
            assert pair.a is not None, pair
            if pair.a.part is not None:
                continue
            status = measurer.measure(pair, scope)["status"]
            change = expected.pop(pair.a.name, None)
            assert status == ("identical" if change is None else "ok"), pair.a.name
            if change is not None:
                found = projections(pair.a.name, difference(pair, meter))
                rounding = 1e-5 * np.sqrt(pair.a.numel)
                np.testing.assert_allclose(found, change, rtol=1e-5, atol=rounding)
    assert not expected


def blocks(pair, meter):
    """Lines of both; a tensor that is stored whole in the adapter takes the weight's place."""
    if pair.adaption is not None:
        return adapted_reader(pair, meter).blocks()
    return zip(*(WeightReader(side, 0, meter).lines() for side in (pair.a, pair.b)), strict=True)


def difference(pair, meter):
    lines = np.concatenate([y - x for x, y in blocks(pair, meter)])
    return lines if pair.a.tall or pair.a.rows is None else lines.T
