"""Columns of the table of attention heads."""

from __future__ import annotations

from dataclasses import replace

from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS

__all__ = ["HEAD_COLUMNS", "HEAD_METRICS"]

_METRIC_NAMES = (
    *("rank", "spectral_norm", "frobenius_norm", "nuclear_norm", "sigma_min"),
    *("condition_number", "stable_rank", "effective_rank", "spectral_entropy"),
    *("participation_ratio", "energy_rank_90", "energy_rank_95", "energy_rank_99"),
    *("top1_energy", "top10_energy"),
)
HEAD_METRICS = tuple(metric for metric in METRICS if metric.name in _METRIC_NAMES)

HEAD_COLUMNS: tuple[Column, ...] = (
    Column("layer_index", "int64", "identity", "Number of the block, counted from 0.", lower=0),
    Column(
        "component",
        "string",
        "identity",
        "Place in the network: attention, cross_attention, or the tower that it is in.",
        required=True,
    ),
    Column("circuit", "string", "identity", "qk: W_q^T W_k; ov: W_o W_v. Null if neither is."),
    Column("head_index", "int64", "identity", "Query head, from 0; null if skipped.", lower=0),
    Column(
        "kv_head_index",
        "int64",
        "identity",
        "Key and value head that the query head shares, from 0; null if skipped.",
        lower=0,
    ),
    Column("left_param_name", "string", "identity", "Tensor of the left factor: W_q or W_o."),
    Column("right_param_name", "string", "identity", "Tensor of the right factor: W_k or W_v."),
    Column("rows", "int64", "identity", "Rows of the product: d_model, as a rule.", lower=1),
    Column("cols", "int64", "identity", "Columns of the product: d_model, as a rule.", lower=1),
    Column("head_dim", "int64", "identity", "Width of the head: the product's rank, at most."),
    Column(
        "qk_norm",
        "bool",
        "identity",
        "Whether the model norms queries or keys in between: then the product of weights is not "
        "its bilinear form. Always false for ov; null if the model type is not listed and no norm "
        "is seen.",
    ),
    Column(
        "left_out",
        "string",
        "identity",
        "What else the model does between the two factors, which their product leaves out: "
        "norms, gates, caps ..., comma separated. Null if nothing but rotation and scale.",
    ),
    Column("status", "string", "run", "ok, nonfinite, skipped or failed.", required=True),
    Column("status_reason", "string", "run", "Why the status is not ok; null if it is."),
    Column(
        "spectrum_method",
        "string",
        "spectrum",
        "Algorithm: SVD of a product of triangular factors, from Gram matrices (gram_product_f64) "
        "or by QR (qr_product_f64); zero_matrix.",
    ),
    Column(
        "spectrum_error",
        "float64",
        "spectrum",
        "Bound on |sigma_i - exact| / sigma_1.",
        lower=0,
    ),
    *(
        replace(metric.column, unit="weight²") if metric.unit == "weight" else metric.column
        for metric in HEAD_METRICS
    ),
)
