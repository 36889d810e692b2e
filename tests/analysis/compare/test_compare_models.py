"""Two whole models: every column against dense float64 SVD, every status, the same anywhere."""

import json

import mlx.core as mx
import numpy as np
import pandas as pd
import pytest
from matrices import orthonormal, store
from pairs import agrees, dense, rows_of, saved

import mlx_probe
from mlx_probe.analysis.compare.checks import validate_comparison
from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.measure import PairMeasurer
from mlx_probe.analysis.compare.pairing import pair_checkpoints
from mlx_probe.analysis.compare.scope import scope_of
from mlx_probe.analysis.stages import STAGES
from mlx_probe.core.errors import ConfigError, Interrupted, ResultError
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.runs.outputs import verify_hashes
from mlx_probe.runs.table import WRITERS

UP = "model.layers.0.mlp.up_proj.weight"
DOWN = "model.layers.0.mlp.down_proj.weight"
NORM = "model.layers.0.input_layernorm.weight"


def test_against_itself_all_differences_are_exactly_zero(base, tmp_path):
    rows = rows_of(base, base, tmp_path)
    assert set(rows.status) == {"identical"}
    assert set(rows.matched_by) == {"name"}
    for column in ("relative_change", "change_norm", "max_change", "changed_share"):
        assert set(rows[column]) == {0.0}, column
    assert set(rows.cosine) == {1.0}
    matrices = rows[rows.rows.notna()]
    assert set(matrices.delta_rank) == {0}
    assert set(matrices.delta_spectrum_method) == {"zero_matrix"}
    assert set(matrices.left_overlap) == set(matrices.right_overlap) == {1.0}
    assert set(matrices.intruder_count) == {0}
    assert rows[rows.rows.isna()].delta_rank.isna().all()


@pytest.mark.parametrize("size", [1e-6, 0.01, 0.5, 5.0])
def test_every_number_is_that_of_dense_svd(arrays, base, tmp_path, rng, size):
    tuned = {
        name: x + (size * rng.standard_normal(x.shape)).astype(np.float32)
        for name, x in arrays.items()
    }
    rows = rows_of(base, saved(tmp_path / "tuned", tuned), tmp_path / "out")
    for name, x in arrays.items():
        row = rows.loc[name]
        assert row.status == "ok"
        if x.ndim == 2:
            agrees(row, dense(x, tuned[name]))
            assert row.delta_rank_above_rounding <= 40
        else:
            difference = tuned[name].astype(float) - x
            np.testing.assert_allclose(row.change_norm, np.linalg.norm(difference), rtol=1e-12)
            assert pd.isna(row.delta_rank)
            assert pd.isna(row.left_overlap)


@pytest.mark.parametrize(("directions", "searched", "epsilon"), [(1, 1, 0.9), (5, 20, 0.7)])
def test_options_of_subspaces(arrays, base, tmp_path, rng, directions, searched, epsilon):
    tuned = {n: x + 0.3 * rng.standard_normal(x.shape).astype("f4") for n, x in arrays.items()}
    rows = rows_of(
        base,
        saved(tmp_path / "tuned", tuned),
        tmp_path / "out",
        directions=directions,
        intruder_directions=searched,
        intruder_epsilon=epsilon,
    )
    for name in (UP, DOWN):
        agrees(rows.loc[name], dense(arrays[name], tuned[name], directions, searched, epsilon))
        assert rows.loc[name].intruder_directions == searched


def test_no_directions_no_vectors(arrays, base, tmp_path):
    tuned = {**arrays, UP: arrays[UP] * np.float32(1.5)}
    rows = rows_of(base, saved(tmp_path / "tuned", tuned), tmp_path / "out", directions=0)
    assert rows.left_overlap.isna().all()
    assert rows.loc[UP].delta_rank == 40
    assert rows.missing_reason.isna().all()


@pytest.mark.parametrize("shape", [(64, 40), (40, 64), (48, 48)])
def test_a_planted_intruder_is_counted_on_its_side(tmp_path, rng, shape):
    """A new direction that outweighs all others, and is spread over all directions of the base."""
    m, n = shape
    k = min(shape)
    u, v = orthonormal(rng, m, k), orthonormal(rng, n, k)
    a = (u * np.linspace(2, 1, k)) @ v.T
    spread = np.full(k, k**-0.5)
    planted = 30 * np.outer(u @ spread, v @ spread)
    rows = rows_of(
        _f64(tmp_path / "a", {UP: a}),
        _f64(tmp_path / "b", {UP: a + planted}),
        tmp_path / "out",
    )
    row = rows.loc[UP]
    assert (row.intruder_count, row.right_intruder_count) == (1, 1)
    assert row.delta_rank == 1
    agrees(row, dense(a, a + planted), rtol=1e-8)


def _f64(folder, arrays):
    return saved(folder, {name: (x.astype("<f8"), "F64") for name, x in arrays.items()})


@pytest.mark.parametrize("rank", [1, 3, 12])
def test_a_merged_lora_has_its_rank_and_the_rest_none(arrays, base, tmp_path, rng, rank):
    """float64 keeps what rounding to float32 would add to the difference."""
    tuned = {name: x.astype(np.float64) for name, x in arrays.items()}
    for name in (UP, DOWN):
        rows, cols = tuned[name].shape
        left, right = rng.standard_normal((rows, rank)), rng.standard_normal((rank, cols))
        tuned[name] = tuned[name] + 0.05 * left @ right
    rows = rows_of(base, _f64(tmp_path / "tuned", tuned), tmp_path / "out")
    changed = rows[rows.status == "ok"]
    assert set(changed.index) == {UP, DOWN}
    assert set(changed.delta_rank) == {rank}
    assert set(rows[rows.status == "identical"].delta_rank.dropna()) == {0}
    assert set(rows.other_dtype) == {"F64"}


def test_rounding_after_a_merge_is_seen_at_its_own_size(arrays, base, tmp_path, rng):
    """To float32 rounding adds a part in 2**24 of the weights; a looser tolerance is above it."""
    x = arrays[UP].astype(np.float64)
    delta = 1e-4 * rng.standard_normal((64, 8)) @ rng.standard_normal((8, 40))
    tuned = {**arrays, UP: (x + delta).astype(np.float32)}
    folder = saved(tmp_path / "tuned", tuned)
    strict = rows_of(base, folder, tmp_path / "strict").loc[UP]
    loose = rows_of(base, folder, tmp_path / "loose", rank_tol=1e-4).loc[UP]
    assert strict.delta_rank == 40
    assert loose.delta_rank == 8
    assert strict.delta_rank_above_rounding == loose.delta_rank_above_rounding == 8


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("shape", [(96, 64), (64, 96)])
def test_rank_above_rounding_is_that_of_what_was_merged(tmp_path, rng, dtype, shape):
    """Also where rows are of very different sizes, and with them their rounding errors."""
    a = rng.standard_normal(shape) * np.logspace(0, -2, shape[0])[:, None]
    words, a = store(a, dtype)
    left = rng.standard_normal((shape[0], 3)) / np.sqrt(shape[0])
    update = left @ rng.standard_normal((3, shape[1])) / np.sqrt(shape[1]) * 4
    merged, _ = store(a + update, dtype)
    only_rounded, _ = store(a * (1 + 1e-9), dtype)
    first = saved(tmp_path / "a", {UP: (words, dtype)})
    second = saved(tmp_path / "b", {UP: (merged, dtype)})
    row = rows_of(first, second, tmp_path / "out", rank_tol=1e-9).loc[UP]
    assert row.delta_rank_above_rounding == 3
    assert row.delta_rank > 3
    same = rows_of(first, saved(tmp_path / "c", {UP: (only_rounded, dtype)}), tmp_path / "same")
    assert same.loc[UP].status == "identical"
    assert same.loc[UP].delta_rank_above_rounding == 0


def test_statuses(arrays, base, tmp_path):
    tuned = dict(arrays)
    del tuned["model.layers.1.mlp.up_proj.weight"]
    tuned["extra.weight"] = np.ones((3, 3), np.float32)
    tuned["model.embed_tokens.weight"] = np.ones((92, 40), np.float32)
    tuned[UP] = arrays[UP].copy()
    tuned[UP][0, 0] = np.nan
    tuned[DOWN] = arrays[DOWN] * 0
    tuned[NORM] = (np.zeros(40, np.uint8), "F4")
    rows = rows_of(base, saved(tmp_path / "tuned", tuned), tmp_path / "out")
    status = rows.status.to_dict()
    assert status["model.layers.1.mlp.up_proj.weight"] == "only_a"
    assert status["extra.weight"] == "only_b"
    assert status["model.embed_tokens.weight"] == "reshaped"
    assert status[UP] == "nonfinite"
    assert "1 in B" in rows.loc[UP].status_reason
    assert status[NORM] == "skipped"
    assert rows.loc["extra.weight"].isna()[["param_name", "shape", "dtype"]].all()
    for name in ("extra.weight", "model.embed_tokens.weight", UP, NORM):
        assert rows.loc[name].isna()[["relative_change", "cosine", "delta_rank"]].all(), name
    zeroed = rows.loc[DOWN]
    assert (zeroed.status, zeroed.relative_change, zeroed.delta_rank) == ("ok", 1.0, 40)
    assert pd.isna(zeroed.cosine)
    assert pd.isna(zeroed.left_overlap)
    assert zeroed.missing_reason


def test_a_base_of_zeros_changes_by_infinity(tmp_path):
    a = saved(tmp_path / "a", {UP: np.zeros((4, 4), np.float32)})
    b = saved(tmp_path / "b", {UP: np.eye(4, dtype=np.float32)})
    row = rows_of(a, b, tmp_path / "out").loc[UP]
    assert np.isinf(row.relative_change)
    assert (row.change_norm, row.delta_rank) == (2.0, 4)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_squares_out_of_range_are_no_numbers(tmp_path, rng, size):
    x = rng.standard_normal((12, 8)) * size
    rows = rows_of(
        _f64(tmp_path / "a", {UP: x}), _f64(tmp_path / "b", {UP: 1.5 * x}), tmp_path / "out"
    )
    row = rows.loc[UP]
    assert row.status == "ok"
    assert row[["relative_change", "change_norm", "cosine", "left_overlap"]].isna().all()
    assert "squares" in row.missing_reason
    sigma = np.linalg.svd(0.5 * x, compute_uv=False)
    np.testing.assert_allclose(row.delta_spectral_norm, sigma[0], rtol=1e-12)
    assert row.delta_rank == 8


def test_special_shapes(tmp_path):
    arrays = {
        "scalar": np.float32(1).reshape(()),
        "empty": np.zeros((0, 4), np.float32),
        "model.layers.0.conv1d.weight": np.ones((8, 1, 4), np.float32),
        "model.layers.0.mlp.experts.down_proj": np.ones((3, 8, 4), np.float32),
        "position_ids": (np.arange(8), "I64"),
    }
    other = dict(arrays)
    other["model.layers.0.mlp.experts.down_proj"] = np.ones((3, 8, 4), np.float32)
    other["model.layers.0.mlp.experts.down_proj"][1] = 2
    other["position_ids"] = (np.arange(1, 9), "I64")
    rows = rows_of(saved(tmp_path / "a", arrays), saved(tmp_path / "b", other), tmp_path / "out")
    assert rows.loc["scalar"].status == "scalar"
    assert rows.loc["empty"].status == "empty"
    experts = rows.loc["model.layers.0.mlp.experts.down_proj"]
    assert list(experts.expert_index) == [0, 1, 2]
    assert list(experts.status) == ["identical", "ok", "identical"]
    assert list(experts.delta_rank) == [0, 1, 0]
    ids = rows.loc["position_ids"]
    assert (ids.status, ids.max_change) == ("ok", 1.0)
    assert pd.isna(ids.delta_rank)


def test_quantized_by_mlx(arrays, tmp_path):
    """Four bits, groups of 32: the reference is MLX's own dequantization."""
    wide = {name: np.tile(x, 4) if x.ndim == 2 else x for name, x in arrays.items()}
    packed, values = {}, {}
    for name, x in wide.items():
        if x.ndim == 1:
            packed[name] = x
            continue
        with mx.stream(mx.cpu):
            parts = mx.quantize(mx.array(x), group_size=32, bits=4)
            values[name] = np.array(mx.dequantize(*parts, group_size=32, bits=4))
        stem = name.removesuffix("weight")
        packed[name] = np.array(parts[0]), "U32"
        packed[f"{stem}scales"], packed[f"{stem}biases"] = (np.array(p) for p in parts[1:])
    config = {"model_type": "llama", "quantization": {"group_size": 32, "bits": 4}}
    a, b = saved(tmp_path / "a", wide), saved(tmp_path / "b", packed, config)
    rows = rows_of(a, b, tmp_path / "out")
    assert len(rows) == len(wide)
    assert set(rows.other_packing) == {"plain", "mlx"}
    for name, x in values.items():
        # The tiled base has short spectra: only what does not need its small directions.
        expected = dense(wide[name], x)
        columns = ("relative_change", "cosine", "delta_rank", "delta_effective_rank")
        agrees(rows.loc[name], {column: expected[column] for column in columns}, rtol=1e-6)


def test_bfloat16_beside_float32(arrays, base, tmp_path):
    stored = {name: (store(x, "BF16")[0], "BF16") for name, x in arrays.items()}
    rows = rows_of(base, saved(tmp_path / "b", stored), tmp_path / "out")
    assert (rows.relative_change < 2**-8).all()
    for name, x in arrays.items():
        if x.ndim == 2:
            agrees(rows.loc[name], dense(x, store(x, "BF16")[1]))


def test_the_same_for_any_number_of_workers(arrays, base, tmp_path, rng):
    tuned = {n: x + 0.1 * rng.standard_normal(x.shape).astype("f4") for n, x in arrays.items()}
    folder = saved(tmp_path / "tuned", tuned)
    frames = [
        rows_of(base, folder, tmp_path / f"out{n}", workers=n).drop(columns="compute_seconds")
        for n in (1, 3)
    ]
    pd.testing.assert_frame_equal(*frames)


def test_a_memory_limit_costs_vectors_then_spectra(arrays, tmp_path, rng):
    tuned = {UP: arrays[UP] + rng.standard_normal(arrays[UP].shape).astype("f4")}
    a, b = saved(tmp_path / "a", {UP: arrays[UP]}), saved(tmp_path / "b", tuned)
    config = CompareConfig()
    with mlx_probe.open_checkpoint(a) as first, mlx_probe.open_checkpoint(b) as second:
        (pair,) = pair_checkpoints(first, second)
        full = scope_of(pair, config, 1 << 40)
        assert (full.spectrum, full.vectors, full.reason) == (True, True, None)
        less = scope_of(pair, config, full.nbytes - 1)
        assert (less.spectrum, less.vectors) == (True, False)
        assert less.nbytes < full.nbytes
        least = scope_of(pair, config, less.nbytes - 1)
        assert (least.spectrum, least.vectors) == (False, False)
        measurer = PairMeasurer(config, UsageMeter(STAGES))
        values = [measurer.measure(pair, scope) for scope in (full, less, least)]
    assert [v.get("left_overlap") is None for v in values] == [False, True, True]
    assert [v.get("delta_rank") is None for v in values] == [False, False, True]
    assert [v["missing_reason"] is None for v in values] == [True, False, False]
    assert len({v["relative_change"] for v in values}) == 1
    with pytest.raises(ConfigError, match="memory limit"):
        compare(a, b, out=tmp_path / "out", config=CompareConfig(memory_limit=1000))
    assert not (tmp_path / "out").exists()


def test_what_a_run_leaves(base, tmp_path):
    run = compare(base, base, out=tmp_path, formats=list(WRITERS))
    (log,) = tmp_path.glob("compare_*Z.log")
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"compare.{kind}" for kind in WRITERS),
        log.name,
        "compare.monitor.parquet",
        "compare.plan.json",
        "compare.run_meta.json",
    }
    meta = json.loads(run.meta_path.read_text())
    assert meta["kind"] == "compare"
    assert meta["models"]["a"]["path"] == meta["models"]["b"]["path"] == str(base)
    assert meta["configuration"]["intruder_epsilon"] == 0.5
    assert meta["rows_by_status"] == {"identical": 11}
    assert all(check.passed for check in verify_hashes(tmp_path, meta))
    frames = [mlx_probe.load_run(tmp_path / f"compare.{kind}") for kind in WRITERS]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frames[0], frame)
    assert list(frames[0].columns) == [column.name for column in COLUMNS]


def test_a_named_file_keeps_its_name(base, tmp_path):
    run = compare(base, base, out=tmp_path / "params.jsonl")
    assert (run.meta_path.name, run.outputs[0].name) == ("run_meta.json", "params.jsonl")


def test_every_column_is_described():
    names = [column.name for column in COLUMNS]
    assert len(names) == len(set(names))
    assert all(column.description for column in COLUMNS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank_tol": 0.0},
        {"directions": -1},
        {"intruder_directions": 0},
        {"intruder_epsilon": float("nan")},
        {"workers": -1},
        {"memory_limit": -1},
        {"include": ("nothing*",)},
    ],
)
def test_nonsense_is_refused(base, tmp_path, wrong):
    with pytest.raises(ConfigError):
        compare(base, base, out=tmp_path / "out", config=CompareConfig(**wrong))
    assert not (tmp_path / "out").exists()


def test_an_interrupted_comparison_goes_on_where_it_stopped(base, tmp_path, arrays):
    other = saved(tmp_path / "other", {name: x * np.float32(1.5) for name, x in arrays.items()})
    seen = []

    def stop(done, total, label):
        seen.append(label)
        if done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(Interrupted, match="3 of 11 rows are saved in"):
        compare(base, other, out=out, on_row=stop)
    kept = sorted(path.name.split(".")[-2:] for path in out.glob("compare.*"))
    assert kept == [["partial", "jsonl"], ["plan", "json"], ["samples", "jsonl"]]
    (log,) = out.glob("compare_*.log")
    assert "interrupted after 3 of 11 rows" in log.read_text("utf-8")
    with pytest.raises(ResultError, match="Run the same command of mlx-probe again"):
        mlx_probe.load_run(out)
    again = []
    run = compare(base, other, out=out, on_row=lambda done, total, label: again.append(label))
    assert run.meta["resumed_rows"] == 3
    assert len(again) == len(arrays) - 3
    assert not set(again) & set(seen)
    assert not list(out.glob("*.partial.jsonl"))
    whole = compare(base, other, out=tmp_path / "whole")
    columns = ["param_name", "status", "relative_change", "cosine", "delta_rank", "left_overlap"]
    pd.testing.assert_frame_equal(run.load()[columns], whole.load()[columns])
    fresh = compare(base, other, out=out, resume=False)
    assert fresh.meta["resumed_rows"] == 0


def test_a_finished_comparison_is_validated(base, tmp_path):
    run = compare(base, base, out=tmp_path)
    assert all(check.passed for check in validate_comparison(run.folder))
    with (tmp_path / "compare.csv").open("a") as file:
        file.write(" ")
    with pytest.raises(ResultError):
        validate_comparison(run.folder)


def test_include_and_exclude(base, tmp_path):
    rows = rows_of(base, base, tmp_path, include=("*layers.1*",), exclude=("*norm*",))
    assert len(rows) == 4


def test_a_comparison_has_no_one_model_to_reopen(base, tmp_path):
    run = compare(base, base, out=tmp_path)
    with pytest.raises(ResultError, match="does not name the one model"):
        mlx_probe.reopen(run.folder)
