"""Factors read as the matrix that they stand for."""

import numpy as np
import pytest
from matrices import store
from weightfiles import model_files, whole, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.dtypes import decode

NAME = "model.layers.3.mlp.up_proj"


def opened(path, arrays):
    return open_checkpoint(model_files(write_safetensors(path / "model.safetensors", arrays)))


def factors(rng, dtype="BF16", rows=70, rank=5, cols=1300):
    left, right = (
        store(rng.standard_normal(shape), dtype)[0] for shape in ((rows, rank), (rank, cols))
    )
    return {f"{NAME}.lowrank_left": (left, dtype), f"{NAME}.lowrank_right": (right, dtype)}


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize(("rows", "cols"), [(70, 1300), (1300, 70), (1, 9)])
def test_the_product_in_float64(tmp_path, rng, dtype, rows, cols):
    arrays = factors(rng, dtype, rows, 5, cols)
    left, right = (decode(words, kind).astype(np.float64) for words, kind in arrays.values())
    with opened(tmp_path, arrays) as checkpoint:
        [weight] = checkpoint.weights()
        assert weight.name == f"{NAME}.weight"
        assert (weight.rows, weight.cols) == (rows, cols)
        assert weight.role.block_type == "up_proj"
        assert weight.role.layer_index == 3
        assert weight.parameter.packing == "lowrank"
        assert "rank 5" in weight.parameter.stored_as
        assert np.array_equal(whole(weight), (left @ right).astype(np.float32))


def test_a_bias_beside_the_factors_stays_a_vector(tmp_path, rng):
    bias = rng.standard_normal(70).astype(np.float32)
    with opened(tmp_path, factors(rng) | {f"{NAME}.bias": (bias, "F32")}) as checkpoint:
        names = {weight.name: weight.rows for weight in checkpoint.weights()}
    assert names == {f"{NAME}.weight": 70, f"{NAME}.bias": None}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({f"{NAME}.lowrank_right": None}, "lowrank_right is missing"),
        ({f"{NAME}.lowrank_left": None}, "lowrank_left is missing"),
        ({f"{NAME}.lowrank_right": (np.zeros((4, 9), np.float32), "F32")}, "is F32 instead of"),
        ({f"{NAME}.lowrank_right": (np.zeros((4, 9), np.uint16), "BF16")}, "has the shape [4, 9]"),
        ({f"{NAME}.lowrank_left": (np.zeros(5, np.uint16), "BF16")}, "no matrix"),
        ({f"{NAME}.lowrank_left": (np.zeros((9, 5), np.int8), "I8")}, "is I8 instead of"),
        ({f"{NAME}.lowrank_left": (np.zeros((9, 0), np.uint16), "BF16")}, "has no columns"),
    ],
)
def test_what_does_not_fit_is_no_matrix(tmp_path, rng, change, says):
    arrays = {key: value for key, value in (factors(rng) | change).items() if value is not None}
    with opened(tmp_path, arrays) as checkpoint:
        problems = {weight.name: weight.problem for weight in checkpoint.weights()}
    assert says in problems[f"{NAME}.weight"]
