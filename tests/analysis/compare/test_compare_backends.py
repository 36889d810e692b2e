"""The same table on every backend, alone or in batches, and each byte read once."""

import numpy as np
import pandas as pd
import pytest
from matrices import store
from pairs import UP, base_model, rows_of, saved

from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.compute.backends.mlx import backend as mlx_backend
from mlx_probe.compute.backends.mlx.backend import MlxBackend

# Counts and text have to be equal; of the rest, what sums of float32 change.
EXACT = {"max_change": 1e-7, "relative_change": 1e-7, "change_norm": 1e-7}
OVERLAPS = ("left_overlap", "right_overlap")


def agree(frame, other):
    pd.testing.assert_index_equal(frame.index, other.index)
    for column in frame.columns.drop("compute_seconds"):
        x, y = frame[column], other[column]
        if column.endswith("spectrum_error") or not pd.api.types.is_float_dtype(x):
            continue
        np.testing.assert_allclose(
            x.astype(float), y.astype(float), rtol=EXACT.get(column, 1e-6), atol=1e-8,
            err_msg=column,
        )  # fmt: skip
    counts = [c for c in frame if pd.api.types.is_integer_dtype(frame[c]) or c.endswith("rank")]
    pd.testing.assert_frame_equal(frame[[*counts, "status"]], other[[*counts, "status"]])


@pytest.fixture
def tuned(arrays, tmp_path, rng):
    new = {n: x + 0.05 * rng.standard_normal(x.shape).astype("f4") for n, x in arrays.items()}
    new[UP] = arrays[UP]
    return saved(tmp_path / "tuned", new)


def test_mlx_has_the_rows_of_numpy(base, tuned, tmp_path):
    frames = [rows_of(base, tuned, tmp_path / name, backend=name) for name in ("numpy", "mlx")]
    agree(*frames)
    assert set(frames[0].status) == {"ok", "identical"}


@pytest.mark.parametrize("dtypes", [("BF16", "BF16"), ("F16", "F32"), ("F64", "BF16")])
def test_mlx_has_the_rows_of_numpy_for_other_types(arrays, tmp_path, rng, dtypes):
    """Also of types that need float64, which stay on the host, and where both sides differ."""
    tuned = {n: x + 0.05 * rng.standard_normal(x.shape) for n, x in arrays.items()}
    folders = [
        saved(tmp_path / side, {n: (store(x, dtype)[0], dtype) for n, x in values.items()})
        for side, values, dtype in zip("ab", (arrays, tuned), dtypes, strict=True)
    ]
    agree(*(rows_of(*folders, tmp_path / name, backend=name) for name in ("numpy", "mlx")))


def test_batches_change_no_row(tmp_path, rng, monkeypatch):
    """Equal small matrices in one batch of products, or each by itself: the same bits."""
    sizes = []
    make = MlxBackend.pair_gram_batch
    monkeypatch.setattr(
        MlxBackend,
        "pair_gram_batch",
        lambda self, pairs, *rest: sizes.append(len(pairs)) or make(self, pairs, *rest),
    )
    arrays = base_model(rng, layers=5)
    tuned = {n: x + 0.05 * rng.standard_normal(x.shape).astype("f4") for n, x in arrays.items()}
    same, damaged = "model.layers.1.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"
    tuned[same], tuned[damaged] = arrays[same], tuned[damaged].copy()
    tuned[damaged][3, 4] = np.nan
    folders = saved(tmp_path / "a", arrays), saved(tmp_path / "b", tuned)
    together = rows_of(*folders, tmp_path / "together", backend="mlx", workers=2)
    # Of five equal matrices one has not changed, and one is damaged.
    assert {3, 5} <= set(sizes)
    assert (together.loc[same].status, together.loc[damaged].status) == ("identical", "nonfinite")
    monkeypatch.setattr(mlx_backend, "BATCH_MATRICES", 1)
    count = len(sizes)
    alone = rows_of(*folders, tmp_path / "alone", backend="mlx", workers=1)
    assert len(sizes) == count
    pd.testing.assert_frame_equal(
        together.drop(columns="compute_seconds"), alone.drop(columns="compute_seconds")
    )


def test_equal_bytes_of_one_file_are_read_once(base, tmp_path):
    """Also where the second model has a link to the first one's file."""
    stored = (base / "model.safetensors").stat().st_size
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "model.safetensors").symlink_to(base / "model.safetensors")
    (linked / "config.json").write_text((base / "config.json").read_text())
    run = compare(base, linked, out=tmp_path / "out")
    assert run.passed
    assert run.meta["rows_by_status"] == {"identical": 11}
    assert run.meta["bytes_read"] <= stored
    other = tmp_path / "copied"
    other.mkdir()
    for name in ("model.safetensors", "config.json"):
        (other / name).write_bytes((base / name).read_bytes())
    run = compare(base, other, out=tmp_path / "both")
    assert stored < run.meta["bytes_read"] <= 2 * stored


@pytest.mark.parametrize("backend", ["numpy", "mlx"])
def test_the_metadata_name_backend_and_device(base, tuned, tmp_path, backend):
    config = CompareConfig(backend=backend, device="cpu")
    meta = compare(base, tuned, out=tmp_path / "out", config=config).meta
    assert (meta["backend"], meta["device"]) == (backend, "cpu")
    assert f"{backend} on cpu" in meta["backend_reason"]
    assert meta["configuration"]["backend"] == backend
