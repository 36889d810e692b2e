"""Small attention layers, their side table, and their products formed in full."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from lab import transformers
from weightfiles import model_files, write_safetensors

from mlx_probe.analysis.side_tables.heads.columns import HEAD_COLUMNS
from mlx_probe.analysis.side_tables.heads.rows import head_rows
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.records import Row
from mlx_probe.runs.table.schema import rows_to_table

TOL = 1e-6
NUMPY = BACKENDS["numpy"]("cpu")
NAMES = {kind: f"model.layers.0.self_attn.{kind}_proj.weight" for kind in ("q", "k", "v", "o")}
SPECTRAL = ("spectral_norm", "frobenius_norm", "nuclear_norm", "sigma_min", "effective_rank")


def config_of(heads, kv, dim, hidden, **more):
    return {
        "model_type": "llama", "num_attention_heads": heads, "num_key_value_heads": kv,
        "head_dim": dim, "hidden_size": hidden, **more,
    }  # fmt: skip


def rows_of(arrays, config, rank_tol=TOL, weights=lambda w: w, backend=NUMPY, dtype="F64"):
    """Rows of a model that is written, read and gone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        file = write_safetensors(folder / "model.safetensors", arrays, dtype)
        files = model_files(file, config=folder / "config.json")
        with open_checkpoint(files) as checkpoint:
            chosen = weights(checkpoint.weights())
            rows = list(head_rows(chosen, checkpoint.architecture, backend, rank_tol))
    table = rows_to_table([Row(i, row) for i, row in enumerate(rows)], HEAD_COLUMNS)
    for column in HEAD_COLUMNS:
        values = [v for v in table[column.name].to_pylist() if v is not None]
        assert not column.required or len(values) == len(rows)
        assert column.lower is None or all(v >= column.lower for v in values), column.name
        assert column.upper is None or all(v <= column.upper for v in values), column.name
    return rows


def attention(rng, heads, kv, dim, hidden):
    shapes = {"q": (heads * dim, hidden), "k": (kv * dim, hidden), "v": (kv * dim, hidden)}
    matrices = {kind: rng.standard_normal(shape) for kind, shape in shapes.items()}
    return {**matrices, "o": rng.standard_normal((hidden, heads * dim))}


def named(matrices):
    return {NAMES[kind]: matrix for kind, matrix in matrices.items()}


def products(matrices, heads, kv):
    """Every head's two products in full, its keys and values chosen by transformers."""
    hidden = matrices["q"].shape[1]
    repeat_kv = transformers(".models.llama.modeling_llama").repeat_kv

    def shared(matrix):
        states = torch.from_numpy(matrix.reshape(1, kv, -1, matrix.shape[1]))
        return repeat_kv(states, heads // kv)[0].numpy()

    q = matrices["q"].reshape(heads, -1, hidden)
    k, v = shared(matrices["k"]), shared(matrices["v"])
    o = matrices["o"].reshape(matrices["o"].shape[0], heads, -1).swapaxes(0, 1)
    for head in range(heads):
        yield head, "qk", q[head].T @ k[head]
        yield head, "ov", o[head] @ v[head]


def dense(matrix, rank):
    """Metrics of a product in full, from their definitions."""
    sigma = np.linalg.svd(matrix, compute_uv=False)[:rank]
    p = sigma / sigma.sum()
    return {
        "spectral_norm": sigma[0],
        "frobenius_norm": np.linalg.norm(matrix),
        "nuclear_norm": sigma.sum(),
        "sigma_min": sigma[-1],
        "stable_rank": (sigma**2).sum() / sigma[0] ** 2,
        "participation_ratio": (sigma**2).sum() ** 2 / (sigma**4).sum(),
        "effective_rank": np.exp(-(p * np.log(p)).sum()),
        "top1_energy": sigma[0] ** 2 / (sigma**2).sum(),
        "rank": np.count_nonzero(sigma > TOL * sigma[0]),
    }


def by_head(rows):
    assert {row["status"] for row in rows} == {"ok"}
    return {(row["head_index"], row["circuit"]): row for row in rows}


def agree(one, two, columns=SPECTRAL):
    assert one.keys() == two.keys()
    for key, row in one.items():
        assert row["rank"] == two[key]["rank"]
        for column in columns:
            assert row[column] == pytest.approx(two[key][column], rel=1e-9), (key, column)


GQA = config_of(4, 2, 8, 32)
