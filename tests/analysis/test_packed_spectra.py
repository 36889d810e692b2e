"""Rows of packed weights: the spectrum is that of the matrix the reference dequantizes to."""

import json

import mlx.core as mx
import numpy as np
import packers
import pytest
from weightfiles import write_gguf, write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.compute.backends import BACKENDS

GOLDEN = packers.golden()
MODES = [("affine", bits, 64) for bits in (2, 3, 4, 5, 6, 8)]
MODES += [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]


def row_of(folder, backend):
    config = AnalyzeConfig(backend=backend, device="cpu")
    run = mlx_probe.analyze(folder, out=folder / backend, config=config)
    assert run.passed, run.failures
    ((_, row),) = run.load().iterrows()
    return row


def compare(row, matrix, room=0.0):
    """``room``: how far apart the matrices may be, relative to each element."""
    sigma = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    # Weyl: no singular value moves further than the Frobenius norm of a difference.
    reach = room * np.linalg.norm(matrix) + 1e-9 * sigma[0]
    assert row.status == "ok"
    assert row["shape"] == matrix.shape
    assert abs(row.spectral_norm - sigma[0]) <= reach
    assert abs(row.frobenius_norm - np.linalg.norm(sigma)) <= reach
    assert abs(row.sigma_min - sigma[-1]) <= reach + row.spectrum_error * sigma[0]
    assert abs(row["mean"] - matrix.mean(dtype=np.float64)) <= reach
    if room == 0:
        assert row["rank"] == np.count_nonzero(sigma > 1e-6 * sigma[0])


@pytest.mark.slow
@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("case", GOLDEN)
def test_packings_of_the_hub(tmp_path, case, backend):
    tensors, config, values = GOLDEN[case]
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": config}))
    write_safetensors(tmp_path / "model.safetensors", tensors)
    # Some references round what they return to the type of the scales, bfloat16 at worst.
    compare(row_of(tmp_path, backend), values, room=2**-7)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize(("mode", "bits", "group"), MODES)
def test_modes_of_mlx(tmp_path, rng, mode, bits, group, backend):
    settings = {"mode": mode, "bits": bits, "group_size": group}
    with mx.stream(mx.cpu):
        pieces = mx.quantize(mx.array(rng.standard_normal((96, 128), np.float32)), **settings)
        values = np.array(mx.dequantize(*pieces, **settings, dtype=mx.float32))
    kinds = {mx.uint32: "U32", mx.uint8: "U8", mx.float32: "F32"}
    names = ("weight", "scales", "biases")
    arrays = {
        f"m.{name}": (np.array(piece), kinds[piece.dtype])
        for name, piece in zip(names, pieces, strict=False)
    }
    write_safetensors(tmp_path / "model.safetensors", arrays)
    (tmp_path / "config.json").write_text(json.dumps({"quantization": settings}))
    compare(row_of(tmp_path, backend), values, room=2**-22)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_blocks_of_ggml(tmp_path, rng, kind, backend):
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    number = GGMLQuantizationType[kind]
    stored = quantize(rng.standard_normal((96, 128), np.float32), number)
    write_gguf(tmp_path / "model.gguf", {"blk.0.ffn_up.weight": (stored, kind)})
    compare(row_of(tmp_path, backend), dequantize(stored, number))
