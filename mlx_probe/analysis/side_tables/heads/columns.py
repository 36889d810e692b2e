"""Columns of the table of attention heads."""

from __future__ import annotations

from dataclasses import replace

from mlx_probe.analysis.columns import BASE_COLUMNS
from mlx_probe.core.column_texts import HERE, OF_HEAD_DIM, OF_SHORT_SIDE, THE_FILE
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

_BASE = {column.name: column for column in BASE_COLUMNS}
_METRICS = {metric.name: metric.column for metric in METRICS}


def _of_product(column: Column) -> Column:
    """A metric's column for a product of two weights, of rank head_dim at most."""
    unit = "weight²" if column.unit == "weight" else column.unit
    typical = OF_HEAD_DIM if column.typical == OF_SHORT_SIDE else column.typical
    return replace(column, unit=unit, typical=typical)


HEAD_COLUMNS: tuple[Column, ...] = (
    replace(_BASE["layer_index"], description="Number of the block, counted from 0."),
    replace(
        _BASE["component"],
        description="Place in the network: attention, cross_attention, or the tower that it is in.",
    ),
    Column(
        "circuit",
        "string",
        "identity",
        "qk: W_q^T W_k; ov: W_o W_v. Null if neither is.",
        title="Circuit",
        plain="Which of a head's two jobs the row is about: choosing tokens (qk) or moving "
        "content (ov).",
        typical="qk and ov, one row each for every head.",
        caveat="The product leaves out rotation, scale and what `left_out` names.",
        source="Elhage et al. 2021",
    ),
    Column(
        "head_index",
        "int64",
        "identity",
        "Query head, from 0; null if skipped.",
        lower=0,
        title="Head",
        plain="Which attention head of the layer the row is about.",
        typical="0 to one less than the number of heads: 0 to 8 in SmolLM2-135M.",
        caveat="Head 3 of one layer has nothing to do with head 3 of the next.",
        source=HERE,
    ),
    Column(
        "kv_head_index",
        "int64",
        "identity",
        "Key and value head that the query head shares, from 0; null if skipped.",
        lower=0,
        title="Key and value head",
        plain="Which head's keys and values the query head uses.",
        typical="The head itself, or one of fewer: 0 to 2 in SmolLM2-135M, three query heads each.",
        caveat="Heads that share keys and values are not independent: do not count them as "
        "separate evidence.",
        source=HERE,
    ),
    Column(
        "left_param_name",
        "string",
        "identity",
        "Tensor of the left factor: W_q or W_o.",
        title="Left factor",
        plain="The tensor that stands on the left of the product.",
        typical="Names that end in q_proj.weight or o_proj.weight, or GGUF's.",
        caveat="Only the head's rows or columns of it are used.",
        source=THE_FILE,
    ),
    Column(
        "right_param_name",
        "string",
        "identity",
        "Tensor of the right factor: W_k or W_v.",
        title="Right factor",
        plain="The tensor that stands on the right of the product.",
        typical="Names that end in k_proj.weight or v_proj.weight, or GGUF's.",
        caveat="Only the head's rows of it are used.",
        source=THE_FILE,
    ),
    replace(_BASE["rows"], description="Rows of the product: d_model, as a rule.", lower=1),
    replace(_BASE["cols"], description="Columns of the product: d_model, as a rule.", lower=1),
    Column(
        "head_dim",
        "int64",
        "identity",
        "Width of the head: the product's rank, at most.",
        title="Head width",
        plain="How many numbers a head works with, and so how many directions its product can "
        "have.",
        typical="64 or 128 in most models; 64 in SmolLM2-135M, 32 in MiniLM-L6.",
        caveat="Ranks of heads of different width can only be compared as shares of it.",
        source=HERE,
    ),
    Column(
        "qk_norm",
        "bool",
        "identity",
        "Whether the model norms queries or keys in between: then the product of weights is not "
        "its bilinear form. Always false for ov; null if the model type is not listed and no norm "
        "is seen.",
        title="Normed queries or keys",
        plain="Whether the model rescales queries or keys before it compares them.",
        typical="False in most models, true in Qwen3, Gemma 3 and others.",
        caveat="Where it is true the product of weights is not what the model computes with.",
        source=HERE,
    ),
    Column(
        "left_out",
        "string",
        "identity",
        "What else the model does between the two factors, which their product leaves out: "
        "norms, gates, caps ..., comma separated. Null if nothing but rotation and scale.",
        title="Left out",
        plain="What the model does between the two matrices that the product cannot show.",
        typical="Null in most models; `norm of queries or keys` where these are normed.",
        caveat="`unknown` means that the model type is not listed: anything may be left out.",
        source=HERE,
    ),
    replace(_BASE["status"], description="ok, nonfinite, skipped or failed."),
    replace(_BASE["status_reason"], description="Why the status is not ok; null if it is."),
    replace(
        _METRICS["spectrum_method"],
        description="Algorithm: SVD of a product of triangular factors, from Gram matrices "
        "(gram_product_f64) or by QR (qr_product_f64); zero_matrix.",
        typical="`gram_product_f64`; `qr_product_f64` for heads that need more digits.",
    ),
    replace(_METRICS["spectrum_error"], description="Bound on |sigma_i - exact| / sigma_1."),
    *(_of_product(metric.column) for metric in HEAD_METRICS),
)
