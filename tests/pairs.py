"""Two small models for tests of comparisons, and what dense float64 says of a pair."""

import json

import numpy as np
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.compare.config import CompareConfig

LAYER = "model.layers.{}.{}"
UP = "model.layers.0.mlp.up_proj.weight"
DOWN = "model.layers.0.mlp.down_proj.weight"
NORM = "model.layers.0.input_layernorm.weight"
SHAPES = {
    "self_attn.q_proj.weight": (48, 40),
    "self_attn.k_proj.weight": (24, 40),
    "mlp.up_proj.weight": (64, 40),
    "mlp.down_proj.weight": (40, 64),
    "input_layernorm.weight": (40,),
}


def base_model(rng, layers=2, scale=0.2):
    """float32 matrices of a spectrum that falls, so that leading directions are well defined."""
    arrays = {"model.embed_tokens.weight": rng.standard_normal((90, 40)).astype(np.float32)}
    for layer in range(layers):
        for name, shape in SHAPES.items():
            x = rng.standard_normal(shape) * scale
            if len(shape) == 2:
                u, s, v = np.linalg.svd(x, full_matrices=False)
                x = (u * s[0] * 0.9 ** np.arange(len(s))) @ v
            arrays[LAYER.format(layer, name)] = x.astype(np.float32)
    return arrays


def saved(folder, arrays, config=None, name="model.safetensors", config_name="config.json"):
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / name, arrays)
    (folder / config_name).write_text(json.dumps(config or {"model_type": "llama"}))
    return folder


def saved_float64(folder, arrays):
    return saved(folder, {name: (x.astype("<f8"), "F64") for name, x in arrays.items()})


def adapter(folder, arrays, config):
    return saved(folder, arrays, config, "adapter_model.safetensors", "adapter_config.json")


def rows_of(a, b, out, **settings):
    """The comparison's table by name (A's, or else B's), validated."""
    run = compare(a, b, out=out, formats=["parquet"], config=CompareConfig(**settings))
    assert run.passed, run.failures
    frame = mlx_probe.load_run(run.meta_path)
    frame["name"] = frame.param_name.fillna(frame.other_name)
    return frame.set_index("name")


def dense(a, b, k=16, searched=10, epsilon=0.5, rank_tol=1e-6):
    """The same numbers by numpy.linalg.svd in float64, from the definitions."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    d = b - a
    sigma = np.linalg.svd(d, compute_uv=False)
    ua, _, va = np.linalg.svd(a, full_matrices=False)
    ub, _, vb = np.linalg.svd(b, full_matrices=False)
    k = min(k, *a.shape)
    p = sigma / sigma.sum()
    p = p[p > 0]
    energy = np.cumsum(sigma**2) / np.sum(sigma**2)
    left, right = np.abs(ua.T @ ub[:, :searched]), np.abs(va @ vb[:searched].T)
    return {
        "relative_change": np.linalg.norm(d) / np.linalg.norm(a),
        "cosine": np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b),
        "change_norm": np.linalg.norm(d),
        "norm": np.linalg.norm(a),
        "other_norm": np.linalg.norm(b),
        "delta_rank": np.count_nonzero(sigma > rank_tol * sigma[0]),
        "delta_spectral_norm": sigma[0],
        "delta_stable_rank": np.sum(sigma**2) / sigma[0] ** 2,
        "delta_effective_rank": np.exp(-np.sum(p * np.log(p))),
        "delta_energy_rank_90": np.searchsorted(energy, 0.9) + 1,
        "left_overlap": np.linalg.norm(ua[:, :k].T @ ub[:, :k]) ** 2 / k,
        "right_overlap": np.linalg.norm(va[:k] @ vb[:k].T) ** 2 / k,
        "overlap_directions": k,
        "intruder_count": np.count_nonzero(left.max(axis=0) < epsilon),
        "right_intruder_count": np.count_nonzero(right.max(axis=0) < epsilon),
    }


def agrees(row, expected, rtol=1e-9):
    for column, value in expected.items():
        np.testing.assert_allclose(row[column], value, rtol=rtol, atol=1e-12, err_msg=column)
