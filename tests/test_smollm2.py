"""A real language model, from reference to table, through the installed command."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from project import DATA, SMOLLM2
from repetitions import times
from threadpoolctl import threadpool_limits

import mlx_probe
from mlx_probe.core.dtypes import decode

pytestmark = pytest.mark.slow

REFERENCE = DATA / "weightwatcher_smollm2_135m.csv"

GGUF_NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}


@pytest.fixture(scope="module")
def rows(smollm2):
    return mlx_probe.load_run(smollm2).set_index("param_name")


def gguf_name(longname):
    if longname == "model.embed_tokens":
        return "token_embd.weight"
    _, _, layer, _, name = longname.split(".")
    return f"blk.{layer}.{GGUF_NAMES[name]}.weight"


@pytest.mark.skipif(sys.platform != "linux", reason="the figures are those of Linux")
def test_the_plan_predicts_the_peak_of_memory(smollm2):
    plan = json.loads((smollm2 / "plan.json").read_text())
    meta = json.loads((smollm2 / "run_meta.json").read_text())
    assert plan["memory"]["peak"] == pytest.approx(meta["peak_process_memory"], rel=0.15)


def test_every_tensor_has_its_row(rows):
    assert len(rows) == 272
    assert set(rows.status) == {"ok"}
    assert "other" not in set(rows.block_type) | set(rows.component)
    assert set(rows.layer_index.dropna()) == set(range(30))
    assert rows["rank"].notna().sum() == 211
    assert rows.spectrum_method.notna().sum() == 211
    assert rows.numel.sum() == 134_515_008


def test_run_is_valid_and_small(smollm2):
    meta = mlx_probe.load_run(smollm2).attrs["meta"]
    assert meta["validation"]["passed"]
    assert meta["peak_process_memory"] < 700e6
    assert {path.name for path in smollm2.glob("params.*")} == {"params.csv", "params.parquet"}


def test_both_formats_hold_the_same(smollm2):
    csv, parquet = (mlx_probe.load_run(smollm2 / f"params.{kind}") for kind in ("csv", "parquet"))
    pd.testing.assert_frame_equal(csv, parquet)


def test_weightwatcher_agrees(rows):
    # WeightWatcher's norm is the sum of lambda, its spectral_norm is lambda_1.
    theirs = pd.read_csv(REFERENCE)
    ours = rows.loc[[gguf_name(name) for name in theirs.longname]].reset_index()
    assert len(theirs) == 71
    np.testing.assert_allclose(ours.frobenius_norm**2, theirs.norm, rtol=1e-4)
    np.testing.assert_allclose(ours.spectral_norm**2, theirs.spectral_norm, rtol=1e-4)
    np.testing.assert_allclose(ours.stable_rank, theirs.stable_rank, rtol=1e-4)
    np.testing.assert_array_equal(ours["rank"], theirs.matrix_rank)
    for column in ("alpha", "D", "xmin"):
        own = {"alpha": "ww_alpha", "D": "ww_alpha_D", "xmin": "ww_alpha_xmin"}[column]
        np.testing.assert_allclose(ours[own], theirs[column], rtol=1e-4)


def test_spectra_are_kept(smollm2, rows):
    kept = mlx_probe.load_spectra(smollm2).set_index("param_name")
    assert list(kept.index) == list(rows.index[rows.spectral_norm.notna()])
    assert sum(map(len, kept.singular_values)) == 576 * 151 + 192 * 60
    for name, values in kept.singular_values.items():
        assert values.sum() == rows.nuclear_norm[name]


def test_ranks_and_spectra_are_those_of_float64_svd(rows):
    def check(weight):
        tall = weight.rows >= weight.cols
        slabs = [decode(np.array(slab), weight.chunk_dtype) for slab in weight.chunks()]
        matrix = np.concatenate(slabs, axis=0 if tall else 1).astype(np.float64)
        sigma = np.linalg.svd(matrix, compute_uv=False)
        row = rows.loc[weight.name]
        assert row["rank"] == np.count_nonzero(sigma > 1e-6 * sigma[0]), weight.name
        assert abs(row.spectral_norm - sigma[0]) <= 1e-9 * sigma[0], weight.name
        assert abs(row.sigma_min - sigma[-1]) <= row.spectrum_error * sigma[0], weight.name
        assert abs(row.nuclear_norm - sigma.sum()) <= 1e-9 * sigma.sum(), weight.name
        return 1

    with (
        mlx_probe.open_checkpoint(SMOLLM2) as checkpoint,
        ThreadPoolExecutor(2) as pool,
        threadpool_limits(1, user_api="blas"),
    ):
        matrices = [weight for weight in checkpoint.weights() if weight.rows]
        assert len(matrices) == 211
        # A quarter of them, of every kind; all with `--long`.
        chosen = matrices[:: times(4, 1)]
        assert sum(pool.map(check, chosen)) == len(chosen)
