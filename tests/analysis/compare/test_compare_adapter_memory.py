"""What an adapter's change takes is in the account that the memory limit is held against."""

import tracemalloc

import numpy as np
import pytest
from pairs import adapter, saved

from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import ConfigError
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.source import resolve

NAME = "model.layers.0.mlp.up_proj"


def pieces(kind, rows, cols, rng):
    def f(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    lora = {"lora_A.weight": f(8, cols), "lora_B.weight": f(rows, 8)}
    return {
        "LORA": lora,
        "LOHA": {
            **{"hada_w1_a": f(rows, 4), "hada_w1_b": f(4, cols)},
            **{"hada_w2_a": f(rows, 4), "hada_w2_b": f(4, cols)},
        },
        "OFT": {"oft_R.weight": 0.01 * f(cols // 32, 32 * 31 // 2)},
        "MISS": {"miss_block": f(rows // 32, 32, 32)},
    }[kind]


CASES = (
    ("LORA", {"r": 8, "lora_alpha": 8, "init_lora_weights": "pissa"}),
    ("LORA", {"r": 8, "lora_alpha": 8, "init_lora_weights": "olora"}),
    ("LOHA", {"r": 4, "alpha": 8}),
    ("OFT", {}),
    ("MISS", {"init_weights": "bat"}),
)


@pytest.mark.parametrize("shape", [(1024, 128), (128, 1024)], ids=["tall", "wide"])
@pytest.mark.parametrize(("kind", "config"), CASES)
def test_the_account_holds(tmp_path, rng, kind, config, shape):
    weight = rng.standard_normal(shape).astype(np.float32)
    base = saved(tmp_path / "base", {f"{NAME}.weight": weight})
    stored = {f"base_model.model.{NAME}.{k}": x for k, x in pieces(kind, *shape, rng).items()}
    tuned = adapter(tmp_path / "x", stored, {"peft_type": kind} | config)
    with (
        open_checkpoint(resolve(str(base))) as a,
        open_checkpoint(resolve(str(tuned))) as b,
        UsageMeter(STAGES) as meter,
    ):
        plan = make_plan(a, b, CompareConfig(directions=0, workers=1, memory_limit=4 << 30))
        (pair,), (scope,) = plan.pairs, plan.scopes
        tracemalloc.start()
        try:
            row = PairMeasurer(plan.config, meter, plan.backend).measure(pair, scope)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert row["status"] == "ok"
        assert peak <= scope.nbytes
        with pytest.raises(ConfigError, match="memory limit"):
            make_plan(a, b, CompareConfig(memory_limit=1 << 20))
