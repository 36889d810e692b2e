import numpy as np
import pytest
from weightfiles import write_safetensors

from mlx_probe.analysis.bench.workload import (
    SYNTHETIC_DTYPES,
    matrix_of,
    synthetic_model,
    workload_of,
)
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import ConfigError


def test_finite_matrices_of_a_model(model):
    with open_checkpoint(model) as checkpoint:
        workload = workload_of(checkpoint)
    assert [weight.label for weight in workload.weights] == [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.mlp.gate_proj.weight",
        *(f"model.layers.0.mlp.experts.down_proj[{i}]" for i in range(3)),
        "model.layers.11.self_attn.k_proj.weight",
        "model.layers.11.self_attn.v_proj.weight",
        "model.layers.11.conv1d.weight",
        "lm_head.weight",
    ]


def test_globs_select(model):
    with open_checkpoint(model) as checkpoint:
        workload = workload_of(checkpoint, ["*k_proj*", "*norm*"])
        assert [weight.name for weight in workload.weights] == [
            "model.layers.11.self_attn.k_proj.weight"
        ]
        assert workload.include == ("*k_proj*", "*norm*")
        with pytest.raises(ConfigError, match="none of 3 selected tensors is a matrix of finite"):
            workload_of(checkpoint, ["*norm*", "*up_proj*"])


def test_copies_are_left_out(tmp_path, rng):
    words = rng.standard_normal((8, 4)).astype(np.float32)
    arrays = dict.fromkeys(("a.weight", "b.weight"), (words, "F32"))
    write_safetensors(tmp_path / "model.safetensors", arrays)
    with open_checkpoint(tmp_path) as checkpoint:
        assert [weight.name for weight in workload_of(checkpoint).weights] == ["a.weight"]


@pytest.mark.parametrize("dtype", SYNTHETIC_DTYPES)
def test_gaussian_matrices(dtype):
    shapes = [(60, 40), (40, 60), (1, 3), (60, 40)]
    with synthetic_model(shapes, dtype) as checkpoint:
        folder = checkpoint.files.path.parent
        weights = workload_of(checkpoint).weights
        matrices = [matrix_of(weight, np.float64) for weight in weights]
    assert not folder.exists()
    assert [weight.dtype for weight in weights] == [dtype] * 4
    assert [matrix.shape for matrix in matrices] == shapes
    assert not np.array_equal(matrices[0], matrices[3])
    expected = np.random.default_rng(0).standard_normal((60, 40), np.float32)
    # Rounded to bfloat16 towards zero.
    bits = {"BF16": 7, "F16": 10, "F32": 23, "F64": 23}[dtype]
    np.testing.assert_allclose(matrices[0], expected, rtol=2.0**-bits, atol=1e-7)
    assert weights[0].nbytes == 2400 * DTYPES[dtype].itemsize


def test_tall_and_wide_matrices_come_whole():
    with synthetic_model([(3000, 2), (2, 3000)], "F32") as checkpoint:
        tall, wide = (matrix_of(weight, np.float32) for weight in checkpoint.weights())
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(tall, rng.standard_normal((3000, 2), np.float32))
    np.testing.assert_array_equal(wide, rng.standard_normal((2, 3000), np.float32))
