"""The choice for a goal, against all combinations and written files."""

from itertools import product

import mlx.core as mx
import numpy as np
import pytest
from budgets import lm, weights, written_error

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import Choice, Goal
from mlx_probe.lab.budget.run import run_budget
from mlx_probe.lab.budget.tensors import files_bytes, tensors
from mlx_probe.lab.tensor_stream import StoredTensor, write_shards

EASY = Goal(error=0.5)


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
    # The bound leaves room for the header of any choice: hundreds of the 60,000 bytes.
    assert plan.squared_error - plan.bound <= best * (1 + 1e-9)
    assert plan.squared_error == pytest.approx(best, rel=0.02)
    assert plan.squared_error >= best * (1 - 1e-9)


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
    # The size that an error needs has at most that error, but for the bound.
    assert again.squared_error - again.bound <= large.squared_error
    assert again.squared_error == pytest.approx(large.squared_error, rel=0.02)
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
    assert (norms.status, norms.reason) == ("kept", "it is a vector")


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
