"""Predicted errors and tensors, against MLX's own rounding and LAPACK."""

import json

import mlx.core as mx
import numpy as np
import pytest
from budgets import chosen, float32, norm, weights, written_error
from mlx.utils import tree_flatten
from tiny_mixtures import SHAPE, mixture

from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import Goal, Way
from mlx_probe.lab.budget.tensors import packed_specs
from mlx_probe.lab.export import EXPORTS

EASY = Goal(error=0.5)


@pytest.mark.parametrize("model", ["plain", "half"])
@pytest.mark.parametrize("kinds", [("bits",), ("rank",), ("bits", "rank")])
def test_predicted_errors_are_those_of_what_is_written(model, kinds, request):
    folder = request.getfixturevalue(model)
    with mx.stream(mx.cpu):
        goal = Goal(energy=0.9) if kinds == ("rank",) else Goal(error=0.06)
        plan = plan_budget(str(folder), goal, kinds=kinds, modes=("affine", "mxfp4", "nvfp4"))
        arrays = weights(folder)
        squared = 0.0
        for each in plan.chosen:
            if each.status != "ok":
                continue
            error = written_error(arrays[each.matrix.name], each.choice)
            squared += error
            assert each.energy == pytest.approx(norm(float32(arrays[each.matrix.name])))
            tolerance = 0.01 if each.choice.kind == "rank" else 1e-6
            assert each.squared_error == pytest.approx(error, rel=tolerance, abs=1e-9)
    assert {each.choice.kind for each in plan.chosen} >= set(kinds[:1])
    assert plan.squared_error == pytest.approx(squared, rel=0.01)
    assert plan.error == pytest.approx(np.sqrt(squared / plan.energy), rel=0.005)


@pytest.mark.parametrize("model", ["plain", "half"])
def test_every_way_has_the_error_of_mlx(model, request):
    """Also where numpy rounds in MLX's place."""
    from mlx_probe.lab.budget.rounding import rounded, squared_errors
    from mlx_probe.lab.budget.ways import BITS, GROUPS, MODES, ways_of

    dtype = mx.float32 if model == "plain" else mx.bfloat16
    drawn = np.random.default_rng(3).standard_t(4, (40, 256)).astype(np.float32)
    drawn[3], drawn[4, :100] = 0, 1.5
    with mx.stream(mx.cpu):
        source = mx.array(drawn).astype(dtype)
        values = source.astype(mx.float32)
        exact = np.array(values).astype(np.float64)
        ways = ways_of(MODES, BITS, GROUPS)
        errors = squared_errors(source, values, exact, ways)
        assert errors.keys() == set(ways)
        for way in ways:
            expected = norm(np.array(rounded(source, way)) - exact)
            assert errors[way] == pytest.approx(expected, rel=1e-6), way


def test_packed_tensors_are_those_of_mlx(half):
    with mx.stream(mx.cpu):
        plan = plan_budget(str(half), EASY, kinds=("bits",))
        matrix = next(
            each.matrix for each in plan.chosen if each.matrix.name.endswith("up_proj.weight")
        )
        array = weights(half)[matrix.name]
        for way in (Way("affine", 3, 32), Way("affine", 8, 64), Way("mxfp4", 4, 32)):
            made = mx.quantize(array, **way.settings())
            assert [s.shape for s in packed_specs(matrix, way)] == [a.shape for a in made]
            assert [s.nbytes for s in packed_specs(matrix, way)] == [a.nbytes for a in made]


def test_packed_weights_are_measured_unpacked(tmp_path, half):
    with mx.stream(mx.cpu):
        EXPORTS["mlx"](str(half), tmp_path / "packed", "8bit")
        plan = plan_budget(
            str(tmp_path / "packed"), Goal(error=0.2), kinds=("bits",), bits=(3, 8), groups=(64,)
        )
        before, arrays = weights(half), weights(tmp_path / "packed")
        for each in plan.chosen:
            if each.status != "ok":
                continue
            path = each.matrix.path
            assert each.matrix.packed == Way("affine", 8, 64)
            assert each.matrix.shape == before[each.matrix.name].shape
            parts = [arrays[f"{path}.{name}"] for name in ("weight", "scales", "biases")]
            assert each.before == sum(part.nbytes for part in parts)
            values = mx.dequantize(
                parts[0], *(part.astype(mx.float32) for part in parts[1:]), 64, 8
            )
            assert each.energy == pytest.approx(norm(values))
            assert each.choice.way == Way("affine", 3, 64)
            made = mx.quantize(values.astype(mx.bfloat16), 64, 3)
            again = mx.dequantize(made[0], *(part.astype(mx.float32) for part in made[1:]), 64, 3)
            assert each.squared_error == pytest.approx(norm(np.array(again - values)), rel=1e-6)


def test_another_type_costs_its_rounding(plain):
    with mx.stream(mx.cpu):
        plan = plan_budget(str(plain), Goal(size=10**9), kinds=("bits",), dtype="bfloat16")
        arrays = weights(plain)
        for each in chosen(plan, "keep"):
            array = arrays[each.matrix.name]
            assert each.matrix.dtype == "BF16"
            assert each.after * 2 == each.before == array.nbytes
            if each.status == "ok":
                lost = norm(float32(array.astype(mx.bfloat16)) - np.array(array))
                assert each.squared_error == pytest.approx(lost)
    assert 0.001 < plan.error < 0.003


def test_experts_are_one_stack_and_rules_of_the_family_hold(tmp_path):
    model = mixture("qwen3_moe", hidden_size=64, moe_intermediate_size=64)
    arrays = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(tmp_path / "model.safetensors"), arrays)
    shape = {**SHAPE, "hidden_size": 64, "moe_intermediate_size": 64}
    (tmp_path / "config.json").write_text(json.dumps({**shape, "model_type": "qwen3_moe"}))
    with mx.stream(mx.cpu):
        plan = plan_budget(str(tmp_path), Goal(error=0.3))
    stacks = [each for each in plan.chosen if each.matrix.kind == "experts"]
    assert len(stacks) == 6
    for each in stacks:
        assert each.choice.kind == "bits"
        assert each.rank_needed is None
        array = arrays[each.matrix.name]
        with mx.stream(mx.cpu):
            assert each.squared_error == pytest.approx(
                written_error(array.reshape(-1, 64), each.choice), rel=1e-6
            )
    gates = [each for each in plan.chosen if each.matrix.path.endswith("mlp.gate")]
    # mlx-lm wants 8 bits for them.
    assert len(gates) == 2
    assert {way.bits for each in gates for way in each.matrix.ways} == {8}
