"""Finished runs without a model: a table and its metadata, as `analyze` would have left them."""

import numpy as np
from tables import make_values

from mlx_probe.analysis.columns import table_columns
from mlx_probe.core.records import Row
from mlx_probe.metrics import METRICS
from mlx_probe.runs.folder import resolve_output
from mlx_probe.runs.meta import columns_to_meta, write_meta
from mlx_probe.runs.outputs import finalize
from mlx_probe.runs.table.schema import rows_to_table

COLUMNS = table_columns([metric.column for metric in METRICS])
CONFIGURATION = {
    "metrics": "standard",
    "spectrum": "exact",
    "include": [],
    "exclude": [],
    "rank_tol": 1e-6,
    "zero_epsilon": 1e-8,
    "seed": 0,
}


def matrix(layer, block="q_proj", component="attention", name=None, **values):
    """A row about a matrix of a layer; ``layer`` None is outside the layers."""
    prefix = "model" if layer is None else f"model.layers.{layer}"
    name = name or f"{prefix}.{block}.weight"
    place = {"block_type": block, "component": component, "layer_index": layer}
    return make_values(name, (8, 6), rows=8, cols=6, **place, **values)


def vector(layer, block="q_proj", component="attention", **values):
    """A row about a bias."""
    place = {"block_type": block, "component": component, "layer_index": layer}
    return make_values(f"model.layers.{layer}.{block}.bias", (8,), **place, **values)


def layers(count, seed=0, **values):
    """Rows of a model of so many layers, with a stable rank and a standard deviation each."""
    rng = np.random.default_rng(seed)
    places = (("q_proj", "attention"), ("k_proj", "attention"), ("up_proj", "mlp"))
    return [
        matrix(layer, *place, stable_rank=float(rank), std=float(std), **values)
        for layer in range(count)
        for place, rank, std in zip(places, rng.uniform(1, 6, 3), rng.uniform(0, 1, 3), strict=True)
    ]


def store(folder, rows, model="owner/tiny", form="parquet", architecture=None, **meta):
    """A finished run of these rows; ``meta`` replaces keys of its metadata."""
    paths = resolve_output(folder, [form], "m")
    paths.folder.mkdir(parents=True)
    table = rows_to_table([Row(index, values) for index, values in enumerate(rows)], COLUMNS)
    described = {
        "kind": "analyze",
        "model": {"id": model, "revision": "local", "architecture": architecture or {}},
        "configuration": CONFIGURATION,
        "code_version": "0.1.0",
        "backend": "numpy",
        "created_at": "2026-01-31T08:00:00+00:00",
        "unread": None,
        "columns": columns_to_meta(COLUMNS),
        "outputs": finalize(paths, table),
    }
    write_meta(paths.meta, {**described, **meta})
    return paths.folder
