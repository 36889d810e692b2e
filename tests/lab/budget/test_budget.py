"""Choices and their predicted costs, against MLX's own rounding, LAPACK and written files."""

import dataclasses
import json
import shutil
from itertools import product

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from mlx.utils import tree_flatten
from tiny_llm import make_model, make_tokenizer
from tiny_mixtures import SHAPE, mixture

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.lab.budget.measures import MEASURES
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import Choice, Goal, Way
from mlx_probe.lab.budget.run import run_budget
from mlx_probe.lab.budget.tensors import files_bytes, packed_specs, tensors
from mlx_probe.lab.export import EXPORTS
from mlx_probe.lab.tensor_stream import StoredTensor, write_shards

pytestmark = pytest.mark.usefixtures("on_cpu")
EASY = Goal(error=0.5)


@pytest.fixture
def on_cpu():
    mlx_lm("utils")


def lm(folder, dtype="float32", **shape):
    with mx.stream(mx.cpu):
        return make_model(
            folder / "model", make_tokenizer(folder / "tokenizer"), dim=64, hidden=128, dtype=dtype,
            **shape,
        )  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    mlx_lm("utils")
    return lm(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    mlx_lm("utils")
    return lm(tmp_path_factory.mktemp("half"), "bfloat16")


def weights(folder):
    return mx.load(str(folder / "model.safetensors"))


def norm(x):
    return float(np.sum(np.asarray(x, np.float64) ** 2))


def float32(array):
    return np.array(array.astype(mx.float32))


def chosen(plan, kind):
    return [each for each in plan.chosen if each.choice.kind == kind]


def written_error(array, choice):
    """The squared error of what a file would hold."""
    exact = float32(array).astype(np.float64)
    if choice.way is not None:
        words, scales, *biases = mx.quantize(array, **choice.way.settings())
        if choice.way.mode == "affine":
            scales, biases = scales.astype(mx.float32), [biases[0].astype(mx.float32)]
        found = mx.dequantize(words, scales, *biases, **choice.way.settings(), dtype=mx.float32)
        return norm(np.array(found) - exact)
    if choice.rank is None:
        return 0.0
    u, s, v = np.linalg.svd(exact, full_matrices=False)
    root = np.sqrt(s[: choice.rank])
    left = float32(mx.array((u[:, : choice.rank] * root).astype(np.float32)).astype(array.dtype))
    right = float32(mx.array((root[:, None] * v[: choice.rank]).astype("f4")).astype(array.dtype))
    return norm(left.astype(np.float64) @ right - exact)


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


@pytest.mark.parametrize("kinds", [("bits",), ("rank",), ("bits", "rank")])
def test_the_size_is_that_of_the_files(tmp_path, half, kinds):
    goal = Goal(energy=0.8) if kinds == ("rank",) else Goal(size=90_000)
    with mx.stream(mx.cpu):
        plan = plan_budget(str(half), goal, kinds=kinds)
    specs = [spec for each in plan.chosen for spec in tensors(each.matrix, each.choice)]
    stored = [
        StoredTensor(s.name, s.dtype, s.shape, s.nbytes, lambda s=s: [memoryview(bytes(s.nbytes))])
        for s in specs
    ]
    files = write_shards(tmp_path, stored, "mlx")
    assert plan.after == sum(path.stat().st_size for path in files)
    assert plan.before == (half / "model.safetensors").stat().st_size
    if goal.size:
        assert 0.98 * goal.size < plan.after <= goal.size


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


def test_the_choice_is_the_best_of_all_combinations(tmp_path):
    folder = lm(tmp_path, "bfloat16", layers=1)
    settings = {"kinds": ("bits",), "bits": (4, 8), "groups": (64,)}
    with mx.stream(mx.cpu):
        plan = plan_budget(str(folder), Goal(size=60_000), **settings)
        arrays = weights(folder)
        free = [each.matrix for each in plan.chosen if each.status == "ok"]
        costs = {
            matrix.name: [
                (
                    choice,
                    written_error(arrays[matrix.name], choice),
                    sum(spec.nbytes for spec in tensors(matrix, choice)),
                )
                for choice in (Choice(), *(Choice("bits", way=way) for way in matrix.ways))
            ]
            for matrix in free
        }
    fixed = [(each.matrix, Choice()) for each in plan.chosen if each.status != "ok"]
    least = sum(spec.nbytes for matrix, choice in fixed for spec in tensors(matrix, choice))
    best = np.inf
    for picks in product(*costs.values()):
        squared = sum(error for _, error, _ in picks)
        # Without headers first: most are too large, or not better.
        if squared < best and least + sum(nbytes for *_, nbytes in picks) < 60_000:
            pairs = [(matrix, pick[0]) for matrix, pick in zip(free, picks, strict=True)]
            if files_bytes([*fixed, *pairs]) <= 60_000:
                best = squared
    assert len(free) == 8
    assert plan.bound == 0
    assert plan.squared_error == pytest.approx(best, rel=1e-9)


def test_energy_bounds_every_matrix(plain):
    with mx.stream(mx.cpu):
        plan = plan_budget(str(plain), Goal(energy=0.97))
    done = [each for each in plan.chosen if each.status == "ok"]
    assert done
    for each in done:
        assert each.squared_error <= 0.03 * each.energy * (1 + 1e-9), each
        # Less would have been enough for none.
        assert each.after < each.before
    assert plan.bound == plan.gap == 0


def test_a_goal_for_the_error_takes_the_fewest_bytes(plain):
    with mx.stream(mx.cpu):
        small, large = (plan_budget(str(plain), Goal(error=error)) for error in (0.02, 0.1))
        again = plan_budget(str(plain), Goal(size=large.after))
    assert small.error <= 0.02
    assert large.error <= 0.1
    assert large.after < small.after < small.before
    # The size that an error needs has at most that error.
    assert again.squared_error <= large.squared_error
    assert again.after <= large.after


def test_low_rank_matrices_are_cut_and_flat_ones_say_why(tmp_path):
    folder = lm(tmp_path)
    arrays = dict(weights(folder))
    name = "model.layers.0.mlp.up_proj.weight"
    drawn = np.random.default_rng(0)
    arrays[name] = mx.array(
        (drawn.standard_normal((128, 5)) @ drawn.standard_normal((5, 64))).astype(np.float32)
    )
    mx.save_safetensors(str(folder / "model.safetensors"), arrays)
    with mx.stream(mx.cpu):
        plan = plan_budget(str(folder), Goal(energy=0.9999), kinds=("rank",))
    by_name = {each.matrix.name: each for each in plan.chosen}
    cut = by_name[name]
    assert cut.choice == Choice("rank", rank=5)
    assert cut.rank_needed == 5
    assert cut.squared_error < 1e-9 * cut.energy
    flat = by_name["model.layers.1.mlp.up_proj.weight"]
    assert flat.choice == Choice()
    assert flat.rank_needed > flat.rank_saving
    assert flat.reason == (
        f"it needs rank {flat.rank_needed}, and only ranks up to {flat.rank_saving} save bytes"
    )
    # 128 x 64: factors of rank 42 have 8,064 elements, of rank 43 as many as 8,256 of 8,192; their
    # names in the header take a few more bytes than one name.
    assert flat.rank_saving == 42
    norms = by_name["model.norm.weight"]
    assert (norms.status, norms.reason) == ("kept", "a vector")


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


def test_nan_is_kept_and_named(tmp_path):
    folder = lm(tmp_path)
    arrays = dict(weights(folder))
    name = "model.layers.1.self_attn.q_proj.weight"
    broken = np.array(arrays[name])
    broken[3, 4] = np.nan
    mx.save_safetensors(str(folder / "model.safetensors"), {**arrays, name: mx.array(broken)})
    with mx.stream(mx.cpu):
        plan = plan_budget(str(folder), EASY)
    (bad,) = [each for each in plan.chosen if each.status == "nonfinite"]
    assert bad.matrix.name == name
    assert (bad.choice, bad.reason, bad.error) == (Choice(), "it holds NaN or Inf", None)
    assert np.isfinite(plan.error)


def test_what_is_refused(plain, tmp_path):
    with mx.stream(mx.cpu):
        for goal, words in (
            (Goal(), "0 goals"),
            (Goal(size=5, error=0.5), "2 goals"),
            (Goal(error=1.5), "between 0 and 1"),
        ):
            with pytest.raises(ConfigError, match=words):
                plan_budget(str(plain), goal)
        with pytest.raises(ConfigError, match=r"the smallest choice takes \d"):
            plan_budget(str(plain), Goal(size=1000))
        with pytest.raises(ConfigError, match=r"the least is 0\.001"):
            plan_budget(str(plain), Goal(error=1e-4), dtype="bfloat16")
        with pytest.raises(ConfigError, match="no 7 bits"):
            plan_budget(str(plain), EASY, bits=(7,))
        with pytest.raises(ConfigError, match="no mode mxfp5"):
            plan_budget(str(plain), EASY, modes=("mxfp5",))
        with pytest.raises(ConfigError, match="no mode of nvfp4 has 8 bits"):
            plan_budget(str(plain), EASY, modes=("nvfp4",), bits=(8,))
        (tmp_path / "mine.txt").write_text("x")
        with pytest.raises(ResultError, match="is not empty"):
            run_budget(str(plain), EASY, tmp_path)


def test_another_goal_begins_with_what_was_measured(tmp_path, plain, monkeypatch):
    from mlx_probe.lab.budget import plan as module

    out, measured = tmp_path / "out", []
    measure = module.measure

    def counted(matrix, *more):
        measured.append(matrix.name)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(matrix, *more)

    with mx.stream(mx.cpu):
        monkeypatch.setattr(module, "measure", counted)
        with pytest.raises(KeyboardInterrupt):
            run_budget(str(plain), EASY, out)
        assert not (out / "run_meta.json").exists()
        measured.append("")
        first = run_budget(str(plain), EASY, out, formats=("csv", "jsonl"))
        # Three were on the disk.
        assert len(measured) == 5 + sum(each.status == "ok" for each in first.chosen) - 3
        count = len(measured)
        second = run_budget(str(plain), Goal(error=0.01), out)
        assert len(measured) == count
        fresh = plan_budget(str(plain), Goal(error=0.01))
    assert dataclasses.asdict(second) == dataclasses.asdict(fresh)
    assert second.after > first.after
    assert sorted(path.name for path in out.iterdir()) == [
        "choices.csv", MEASURES, "run_meta.json"
    ]  # fmt: skip
    meta = json.loads((out / "run_meta.json").read_text())
    assert meta["kind"] == "budget"
    assert meta["metrics"]["bytes_after"] == second.after
    assert meta["configuration"]["goal"]["error"] == 0.01


def test_singular_values_of_a_run(tmp_path, plain, monkeypatch):
    from mlx_probe.analysis.analyze import analyze
    from mlx_probe.lab.budget import measure as module

    run = analyze(str(plain), out=tmp_path / "run", config=AnalyzeConfig(save_spectra=True))
    goal, kinds = Goal(energy=0.8), ("rank",)
    with mx.stream(mx.cpu):
        fresh = plan_budget(str(plain), goal, kinds=kinds)
        arrays = dict(weights(plain))
        name = "model.layers.0.mlp.down_proj.weight"
        other = tmp_path / "other"
        shutil.copytree(plain, other)
        mx.save_safetensors(str(other / "model.safetensors"), {**arrays, name: arrays[name] ** 3})
        unlike = plan_budget(str(other), goal, kinds=kinds)
        computed = []
        tails = module._Gram.tails
        monkeypatch.setattr(module._Gram, "tails", lambda gram: computed.append(1) or tails(gram))
        taken = plan_budget(str(plain), goal, kinds=kinds, run=str(run.folder))
        assert not computed
        # Of the matrix that is another one they are computed.
        guarded = plan_budget(str(other), goal, kinds=kinds, run=str(run.folder))
        assert len(computed) == 1
    assert [each.choice for each in taken.chosen] == [each.choice for each in fresh.chosen]
    assert [each.choice for each in guarded.chosen] == [each.choice for each in unlike.chosen]
    assert taken.squared_error == pytest.approx(fresh.squared_error)
    without = analyze(str(plain), out=tmp_path / "none", config=AnalyzeConfig(metrics="basic"))
    with pytest.raises(ConfigError, match="singular values of no matrix"):
        plan_budget(str(plain), goal, run=str(without.folder))
