"""Runs of `moe stats` and `moe signals` without a model: the files that they write, made up."""

import hashlib
import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from safetensors.numpy import save_file

from mlx_probe.analysis.mixture.columns import EXPERT_COLUMNS, LAYER_COLUMNS
from mlx_probe.runs.meta import columns_to_meta
from mlx_probe.runs.mixture import signals
from mlx_probe.runs.mixture.folder import EXPERTS, KIND, LAYERS, MAPS, ROUTING
from mlx_probe.runs.mixture.routing import ROUTED_EXPERT_COLUMNS, ROUTED_LAYER_COLUMNS
from mlx_probe.runs.table.schema import arrow_schema

TYPES = ["word", "number", "space"]
TEXT = [
    *("To", "be,", "or", "not", "to", "be:\nthat", "is", "the", "<script>alert(1)</script>"),
    *("question", "of", "42", "things.", ""),
]
# Expert 2 of layer 1 copies expert 0, and nothing goes to expert 3 of layer 0.
COPY, ORIGINAL, DEAD = (1, 2), 0, (0, 3)
_OF_EXPERTS = (*EXPERT_COLUMNS, *ROUTED_EXPERT_COLUMNS)
_OF_LAYERS = (*LAYER_COLUMNS, *ROUTED_LAYER_COLUMNS)

# What a graft says of itself.
LOSSES = {8: 3.2, 7: 3.4, 6: 3.9, 5: 4.4, 4: 5.2, 3: 6.0, 2: 7.5, 1: 9.0}
RECEIPT = {
    "mlx_probe": "0.1.0", "model": "a/<b>model", "stock": "mixtral", "form": "sum",
    "split": "cluster", "layers": 2, "experts": 8, "width": 12, "active": 8, "factor": 8,
    "exact": True, "seed": 0, "tensors": 20, "parameters": 12345, "bytes": 50000,
    "files": ["model.safetensors"], "notes": [], "renewed_share": None, "run": True,
    "data": "text.txt", "tokens": 64, "context": 64, "device": "cpu",
    "max_logit_difference": 2.5e-6, "loss_before": 3.19, "loss_after": 3.2,
    "damage": [{"active": active, "loss": loss} for active, loss in LOSSES.items()],
}  # fmt: skip


def make_stats(folder, layers=3, experts=8, active=2, tokens=60, first_layer=0, run=True):
    """A finished run; without ``run`` that of weights alone."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    routed = routed_tokens(rng, layers, experts, active, tokens)
    counts = np.zeros((layers, experts), np.int64)
    for layer in range(layers):
        counts[layer] = np.bincount(routed[layer].ravel(), minlength=experts)
    rows = []
    for layer in range(layers):
        for expert in range(experts):
            row = {"layer_index": layer + first_layer, "expert_index": expert, "status": "ok"}
            row |= {"norm": 1 + rng.random(), "dead": False, "copy_of": None}
            row |= {"nearest_cosine": 0.1 * rng.random()}
            if (layer, expert) == COPY:
                row |= {"copy_of": ORIGINAL, "nearest_cosine": 1.0}
            used = run and counts[layer, expert]
            row |= {"assignments": int(counts[layer, expert]) if run else None}
            row |= {"load": counts[layer, expert] / counts[layer].sum() if run else None}
            row |= {"saliency": 5 * rng.random() if used else None}
            row |= {"type_divergence": expert / 16 if used else None}
            row |= {"liked_tokens": [" to", f"<b>{expert}"] if used else None}
            rows.append(row)
    per_layer = []
    for layer in range(layers):
        share = counts[layer] / counts[layer].sum()
        ordered = np.sort(share)
        gini = float(
            ((2 * np.arange(1, experts + 1) - experts - 1) * ordered).sum() / experts if run else 0
        )
        known = share[share > 0]
        per_layer.append(
            {
                "layer_index": layer + first_layer,
                "experts": experts,
                "active": active,
                "mean_active": float(active) if run else None,
                "load_gini": gini if run else None,
                "load_entropy": float(-(known * np.log(known)).sum()) if run else None,
                "status": "ok",
            }
        )
    write_table(folder / f"{EXPERTS}.parquet", rows, _OF_EXPERTS)
    write_table(folder / f"{EXPERTS}.{LAYERS}.parquet", per_layer, _OF_LAYERS)
    similarity = np.eye(experts, dtype=np.float32) + 0.05 * rng.random((layers, experts, experts))
    similarity = ((similarity + similarity.transpose(0, 2, 1)) / 2).astype(np.float32)
    maps = {"similarity": similarity}
    if run:
        chosen = np.zeros((layers, tokens, experts), np.float32)
        for layer in range(layers):
            np.put_along_axis(chosen[layer], routed[layer], 1, axis=1)
        maps["coactivation"] = np.einsum("lta,ltb->lab", chosen, chosen)
        maps["load_by_type"] = rng.random((layers, experts, len(TYPES)), np.float32)
        maps["load_by_position"] = rng.random((layers, experts, 4), np.float32)
        write_routing(folder / ROUTING, rng, routed, first_layer)
    save_file(maps, folder / MAPS)
    meta = {
        "kind": KIND,
        "model": {"id": "tiny/mixture", "revision": "local", "path": "/models/tiny"},
        "tokens": tokens if run else None,
        "bins": {"load_by_type": TYPES},
        "columns": columns_to_meta(_OF_EXPERTS),
        "tables": {LAYERS: {"columns": columns_to_meta(_OF_LAYERS)}},
    }
    return write_run(folder, meta, f"{EXPERTS}.run_meta.json")


def routed_tokens(rng, layers, experts, active, tokens):
    """Experts of each token, (layers, tokens, active): the first ones are liked most."""
    odds = 1 / np.arange(1, experts + 1)
    routed = np.empty((layers, tokens, active), np.int64)
    for layer in range(layers):
        own = odds.copy()
        if layer == DEAD[0]:
            own[DEAD[1]] = 0
        noise = np.log(own, where=own > 0, out=np.full(experts, -np.inf))
        noise = noise + rng.gumbel(size=(tokens, experts))
        routed[layer] = np.argsort(-noise, axis=1)[:, :active]
    return routed


def write_routing(path, rng, routed, first_layer):
    layers, tokens, active = routed.shape
    rows = []
    for token in range(tokens):
        for layer in range(layers):
            weights = np.sort(rng.dirichlet(np.ones(active)))[::-1]
            rows.append(
                {
                    "token": token,
                    "layer": layer + first_layer,
                    "text": f" {TEXT[token % len(TEXT)]}",
                    "experts": routed[layer, token].tolist(),
                    "weights": weights.tolist(),
                }
            )
    schema = pa.schema(
        [
            ("token", pa.int64()),
            ("layer", pa.int64()),
            ("text", pa.string()),
            ("experts", pa.list_(pa.int64())),
            ("weights", pa.list_(pa.float32())),
        ]
    )
    parquet.write_table(pa.Table.from_pylist(rows, schema), path)


def make_signals(folder, layers=3, experts=8, blocks=6, windows=12, tokens=40):
    """A finished run of `moe signals`."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True)
    of_windows = []
    for window in range(windows):
        loss, entropy, norm = 2 + rng.random(), 3 + rng.random(), 5 + rng.random()
        of_windows.append(
            {
                "window": window, "first_token": 20 * window, "tokens": 20, "loss": loss,
                "entropy": entropy, "grad_norm": norm, "error_ratio": loss / entropy,
                "integrity": float(np.exp(-0.5 * loss / entropy - 0.5 * norm)),
                "integrity_z": None if window < 4 else float(rng.random() * 2),
                "output_surprise": rng.random(), "input_surprise": rng.random(),
            }
        )  # fmt: skip
    of_experts = [
        {
            "layer": layer, "expert": expert, "tokens": 30, "weight": rng.random(),
            "output_surprise": rng.random(), "input_surprise": rng.random(),
            "least_weight": 3, "least_output": 3, "least_input": 2,
        }
        for layer in range(layers)
        for expert in range(experts)
    ]  # fmt: skip
    of_tokens = [
        {
            "window": token // 20, "token": token, "text": f" {TEXT[token % len(TEXT)]}",
            "loss": rng.random(), "entropy": rng.random(),
        }
        for token in range(tokens)
    ]  # fmt: skip
    write_table(folder / f"{signals.WINDOWS}.parquet", of_windows, signals.WINDOW_COLUMNS)
    write_table(folder / f"{signals.EXPERTS}.parquet", of_experts, signals.EXPERT_COLUMNS)
    write_table(folder / f"{signals.TOKENS}.parquet", of_tokens, signals.TOKEN_COLUMNS)
    each = rng.standard_normal((tokens, layers, blocks)).astype(np.float32)
    save_file({"sps": 3 * each.sum(0), "sps_tokens": each}, folder / signals.SPS)
    names = ["loss", "entropy", "grad_norm"]
    meta = {
        "kind": signals.KIND,
        "model": {"id": "tiny/mixture", "revision": "local", "path": "/models/tiny"},
        "data": "text.txt", "windows": windows, "window": 20, "tokens": 20 * windows,
        "mixtures": layers,
        "integrity": {
            "alpha": 1.0, "gamma": 0.5, "delta": 1.0, "decay": 0.99, "warm_up": 4,
            "mean": 0.01, "variance": 0.001, "integral": 0.00999,
        },
        "agreement": {
            "signals": names,
            "rank": [[1.0, 0.5, None], [0.5, 1.0, 0.2], [None, 0.2, 1.0]],
        },
        "layers": [
            {
                "layer": layer, "experts": experts, "active": 2, "tokens": 240, "chance": 0.5,
                "output": 1.0, "input": 0.4,
            }
            for layer in range(layers)
        ],
        "sps": {
            "block": 8, "width": 8 * blocks, "of": "residual stream", "layers": layers,
            "blocks": blocks, "tokens": tokens,
        },
    }  # fmt: skip
    return write_run(folder, meta)


def write_table(path, rows, columns):
    parquet.write_table(pa.Table.from_pylist(rows, arrow_schema(columns)), path)


def write_run(folder, meta, name="run_meta.json"):
    """The metadata, which completes a run."""
    outputs = {
        path.name: {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.iterdir())
    }
    described = {
        "code_version": "0.1.0",
        "created_at": "2026-01-31T08:00:00+00:00",
        "columns": [],
        **meta,
        "outputs": outputs,
    }
    (folder / name).write_text(json.dumps(described), "utf-8")
    return folder
