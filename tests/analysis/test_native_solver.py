"""With the compiled eigen-solver and without it, a checkpoint has the same rows."""

import numpy as np
import pandas as pd
import pytest
from matrices import FAMILIES
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.compute import native
from mlx_probe.compute.native import eigen

EQUAL = ["rank", "rank_numpy", "noise_rank", "energy_rank_90", "energy_rank_99", "q50"]


@pytest.mark.skipif(not eigen.is_available(), reason="no compiled solver")
def test_rows_agree_with_and_without_the_compiled_solver(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {
        f"layers.{i}.up_proj.weight": FAMILIES[family](rng, *shape).astype(np.float32)
        for i, family in enumerate(FAMILIES)
        for shape in [((48, 80), (90, 40), (33, 33))[i % 3]]
    }
    path = write_safetensors(tmp_path / "model.safetensors", arrays)

    def rows(name):
        config = AnalyzeConfig(backend="numpy")
        return mlx_probe.analyze(path, out=tmp_path / name, config=config).load()

    with_kernels = rows("native")
    monkeypatch.setenv(native.VARIABLE, "0")
    without = rows("without")
    assert "gram_native_f64" in set(with_kernels.spectrum_method)
    assert "gram_native_f64" not in set(without.spectrum_method)
    pd.testing.assert_frame_equal(with_kernels[EQUAL], without[EQUAL])
    both = with_kernels.spectrum_error + without.spectrum_error
    for name in ("spectral_norm", "sigma_min"):
        off = (with_kernels[name] - without[name]).abs()
        assert (off <= both * with_kernels.spectral_norm).all()
    for name in ("frobenius_norm", "std"):
        np.testing.assert_allclose(with_kernels[name], without[name], rtol=1e-12)
