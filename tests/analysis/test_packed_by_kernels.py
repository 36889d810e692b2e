"""Rows of weights are the same whoever reads the elements: kernels, or numpy."""

import numpy as np
import pytest
from encoded_cases import CASES, GGML, encoded
from matrices import same_moments, store
from weightfiles import model_files, write_safetensors

from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.compute import native
from mlx_probe.compute.native import elements
from mlx_probe.metrics import compute_metrics
from mlx_probe.runs.monitor import UsageMeter

pytestmark = pytest.mark.skipif(not elements.is_available(), reason="no kernels here")


def measured(checkpoint, metrics="full"):
    """Outcomes of all weights."""
    plan = make_plan(checkpoint, AnalyzeConfig(backend="numpy", metrics=metrics))
    with UsageMeter(STAGES) as meter:
        measurer = Measurer(plan, meter)
        return [measurer.measure([weight])[0] for weight in plan.weights]


def same_outcomes(checkpoint, metrics="full"):
    """Both ways: equal counts and quantiles, sums and singular values to rounding."""
    outcomes = measured(checkpoint, metrics)
    with native.without():
        expected = measured(checkpoint, metrics)
    for one, other in zip(outcomes, expected, strict=True):
        assert (one.status, one.reason) == (other.status, other.reason)
        same_moments(one.measurement.moments, other.measurement.moments)
        if other.sigma is not None:
            np.testing.assert_allclose(
                one.sigma**2, other.sigma**2, rtol=0, atol=128 * 2.0**-52 * other.sigma[0] ** 2
            )
        row, reference = (compute_metrics(each.measurement, metrics) for each in (one, other))
        assert row.keys() == reference.keys()
        for name in ("rank_numerical", "rows", "cols"):
            assert row.get(name) == reference.get(name), name
    return outcomes


@pytest.mark.parametrize("case", [*GGML, *CASES])
def test_rows_of_a_packed_matrix(tmp_path, rng, case):
    (outcome,) = same_outcomes(encoded(tmp_path, rng, case, 96, 512, tame=True))
    assert outcome.status == "ok"


@pytest.mark.parametrize("case", ["Q4_1", "Q6_K", "mlx 8", "gptq ordered", "awq", "gpt-oss"])
@pytest.mark.parametrize("shape", [(1312, 256), (288, 2304)], ids=str)
def test_rows_of_several_chunks(tmp_path, rng, case, shape, small_chunks):
    (outcome,) = same_outcomes(encoded(tmp_path, rng, case, *shape, tame=True))
    assert outcome.status == "ok"


@pytest.mark.parametrize("case", ["Q8_0", "Q4_K", "mlx 4", "gptq 4", "awq", "fp8 blocks"])
def test_rows_of_a_stack(tmp_path, rng, case):
    assert len(same_outcomes(encoded(tmp_path, rng, case, 64, 256, tame=True, stack=3))) == 3


@pytest.mark.parametrize("case", ["mlx 4", "gptq 4", "awq", "fp8 rows"])
@pytest.mark.parametrize("model_type", ["phi3", "internlm2"])
def test_rows_of_the_parts_of_a_fused_matrix(tmp_path, rng, case, model_type):
    config = {
        **{"model_type": model_type, "num_attention_heads": 6, "num_key_value_heads": 2},
        **{"hidden_size": 192, "head_dim": 32},
    }
    module = "model.layers.0.self_attn.qkv_proj"
    checkpoint = encoded(tmp_path, rng, case, 320, 256, tame=True, config=config, module=module)
    assert len(same_outcomes(checkpoint)) == 4


@pytest.mark.parametrize("metrics", ["basic", "standard", "full"])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
def test_rows_of_plain_tensors(tmp_path, rng, dtype, metrics):
    tensors = {
        name: (store(100 * rng.standard_normal(shape), dtype)[0], dtype)
        for name, shape in {"a": (200, 64), "b": (64, 200), "c": (70, 70), "d": (500,)}.items()
    }
    tensors["e"] = store(np.where(rng.random((9, 9)) < 0.1, np.inf, 1), "F32")[0], "F32"
    file = write_safetensors(tmp_path / "model.safetensors", tensors)
    outcomes = same_outcomes(open_checkpoint(model_files(file)), metrics)
    assert [each.status for each in outcomes] == [*4 * ["ok"], "nonfinite"]
