"""What the plan says a pair takes is not less than what it takes."""

import tracemalloc

import numpy as np
import pytest
from matrices import store
from pairs import UP, saved

from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.source import resolve


@pytest.mark.parametrize(
    ("dtypes", "directions"), [(("BF16", "F32"), 16), (("F64", "BF16"), 16), (("F32", "F32"), 0)]
)
@pytest.mark.parametrize("shape", [(300, 2000), (500, 500), (30_000, 160)])
def test_the_account_of_two_weights_holds(tmp_path, rng, shape, dtypes, directions):
    x = rng.standard_normal(shape)
    y = x + 0.1 * rng.standard_normal(shape)
    folders = [
        saved(tmp_path / side, {UP: (store(values, dtype)[0], dtype)})
        for side, values, dtype in zip("ab", (x, y), dtypes, strict=True)
    ]
    with (
        open_checkpoint(resolve(str(folders[0]))) as a,
        open_checkpoint(resolve(str(folders[1]))) as b,
        UsageMeter(STAGES) as meter,
    ):
        config = CompareConfig(directions=directions, workers=1, memory_limit=4 << 30)
        plan = make_plan(a, b, config)
        (pair,), (scope,) = plan.pairs, plan.scopes
        measurer = PairMeasurer(plan.config, meter, plan.backend)
        tracemalloc.start()
        try:
            row = measurer.measure(pair, scope)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert row["status"] == "ok"
    assert peak <= scope.nbytes
    # Not so far above that large matrices would wait for memory that is free.
    assert scope.nbytes <= 2 * peak + 64_000_000
    assert (row.get("left_overlap") is None) == (directions == 0)
    assert np.isfinite(row["delta_spectral_norm"])
