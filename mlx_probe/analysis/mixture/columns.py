"""Columns of the table of whole experts, and of the table of layers."""

from __future__ import annotations

from mlx_probe.analysis.mixture.combinations import SMALLEST_SHARE
from mlx_probe.analysis.mixture.copies import ALIKE, MERGED
from mlx_probe.analysis.mixture.layer import KINDS
from mlx_probe.analysis.mixture.router import PREFERRED
from mlx_probe.analysis.mixture.titles import EXPERT_TITLES, LAYER_TITLES, titled
from mlx_probe.analysis.side_tables.experts.columns import DEAD_SHARE
from mlx_probe.core.records import Column

__all__ = ["COLUMNS", "EXPERT_COLUMNS", "LAYER_COLUMNS"]

_NAMES = {
    "gate": "gate projection",
    "up": "up projection",
    "down": "down projection",
    "gate_up": "gate and up projection, where they cannot be told apart",
}
_PLACE = (
    Column("layer_index", "int64", "identity", "Number of the block, counted from 0.", lower=0),
    Column("component", "string", "identity", "Place in the network: moe or mtp."),
    Column("stack", "string", "identity", "Name of the stack of blocks that the layer is in."),
)
_STATUS = (
    Column("status", "string", "identity", "ok, nonfinite, skipped or failed.", required=True),
    Column("status_reason", "string", "identity", "Why the status is not ok; null if it is."),
)


def _spectral(name: str) -> tuple[Column, ...]:
    of = _NAMES[name]
    return (
        Column(f"{name}_norm", "float64", "spectra", f"Frobenius norm of the {of}.", lower=0),
        Column(
            f"{name}_spectral_norm",
            "float64",
            "spectra",
            f"Largest singular value of the {of}.",
            lower=0,
            formula="sigma_1",
        ),
        Column(
            f"{name}_stable_rank",
            "float64",
            "spectra",
            f"Stable rank of the {of}.",
            lower=0,
            formula="sum sigma^2 / sigma_1^2",
        ),
        Column(
            f"{name}_effective_rank",
            "float64",
            "spectra",
            f"Effective rank of the {of}.",
            lower=0,
            source="Roy and Vetterli 2007",
            formula="exp of the entropy of sigma / sum sigma",
        ),
    )


_OF_EXPERTS: tuple[Column, ...] = (
    *_PLACE,
    Column(
        "expert_index",
        "int64",
        "identity",
        "Number of the expert inside its block, counted from 0.",
        lower=0,
        required=True,
    ),
    *_STATUS,
    Column("width", "int64", "identity", "Hidden units of the expert.", lower=1),
    Column("parameters", "int64", "identity", "Numbers in its matrices.", lower=0),
    Column("norm", "float64", "norms", "Frobenius norm of all matrices of the expert.", lower=0),
    Column(
        "norm_ratio",
        "float64",
        "norms",
        "Norm over the median norm of the layer's experts.",
        lower=0,
    ),
    Column(
        "dead",
        "bool",
        "norms",
        f"Whether a matrix of the expert has the norm 0, or below {DEAD_SHARE:g} of the layer's "
        "median: what the expert adds is next to nothing.",
    ),
    Column("dead_matrix", "string", "norms", "The first such matrix; null for none."),
    *(column for name in KINDS.values() for column in _spectral(name)),
    Column(
        "copy_of",
        "int64",
        "copies",
        "First expert of the layer that this one copies, up to the order of hidden units and a "
        "factor for each matrix: all cosines above 1 - 1e-6.",
        lower=0,
    ),
    Column(
        "reordered",
        "bool",
        "copies",
        "Whether it is a copy only after its hidden units are put in another order; null for none.",
    ),
    Column(
        "merged_first",
        "int64",
        "copies",
        "First of the two experts that this one is merged from: a sum of both, whatever the order "
        f"of their hidden units, up to {MERGED:g} of its norm; null for none.",
        lower=0,
    ),
    Column("merged_second", "int64", "copies", "The second of them.", lower=0),
    Column(
        "merged_share",
        "float64",
        "copies",
        "Share of the first one in the sum.",
        lower=SMALLEST_SHARE,
        upper=1 - SMALLEST_SHARE,
        formula="a / (a + b) of c = a x + b y by least squares",
    ),
    Column(
        "merged_residual",
        "float64",
        "copies",
        "What is no sum of the two, as a share of the norm; the largest of a matrix.",
        lower=0,
        upper=MERGED,
        formula="|c - a x - b y| / |c|",
    ),
    Column(
        "nearest_expert",
        "int64",
        "similarity",
        "Expert with the largest cosine of all weights, in the stored order.",
        lower=0,
    ),
    Column(
        "nearest_cosine",
        "float64",
        "similarity",
        "Cosine with it; it depends on the order of hidden units, which is arbitrary.",
        lower=-1,
        upper=1,
        formula="<W_i, W_j> / (|W_i| |W_j|) over all matrices",
    ),
    Column(
        "mean_cosine",
        "float64",
        "similarity",
        "Mean of that cosine over all other experts.",
        lower=-1,
        upper=1,
    ),
    Column(
        "aligned_expert",
        "int64",
        "similarity",
        "Expert with the most similar sum of hidden units; null where that cosine is below "
        f"{ALIKE:g}.",
        lower=0,
    ),
    Column(
        "aligned_cosine",
        "float64",
        "similarity",
        "Cosine of all weights with it, with the hidden units of the two matched.",
        lower=-1,
        upper=1,
    ),
    Column(
        "nearest_overlap_expert",
        "int64",
        "subspaces",
        "Expert with the largest overlap of leading subspaces.",
        lower=0,
    ),
    Column(
        "nearest_overlap",
        "float64",
        "subspaces",
        "Mean squared cosine of the principal angles between the leading subspaces of the two, on "
        "the residual stream's side, averaged over the matrices; no order of hidden units "
        "changes it.",
        lower=0,
        upper=1,
        source="Björck and Golub 1973",
        formula="mean over matrices of |V_i^T V_j|_F^2 / dim",
    ),
    Column(
        "mean_overlap",
        "float64",
        "subspaces",
        "Mean overlap with all other experts.",
        lower=0,
        upper=1,
    ),
    Column(
        "chance_overlap",
        "float64",
        "subspaces",
        "Mean overlap of random subspaces.",
        lower=0,
        upper=1,
        formula="dim / width of the residual stream",
    ),
    Column("router_norm", "float64", "router", "Norm of the router's row of the expert.", lower=0),
    Column(
        "router_norm_ratio",
        "float64",
        "router",
        "Norm of the row over the median of the layer's rows.",
        lower=0,
    ),
    Column(
        "router_closest_expert",
        "int64",
        "router",
        "Expert whose row has the largest cosine with this one's.",
        lower=0,
    ),
    Column(
        "router_closest_cosine",
        "float64",
        "router",
        "Cosine of the two rows.",
        lower=-1,
        upper=1,
    ),
    Column(
        "router_mean_cosine",
        "float64",
        "router",
        "Mean cosine of the row with all others.",
        lower=-1,
        upper=1,
    ),
    Column(
        "always_chosen",
        "bool",
        "router",
        "Whether the router chooses the expert for every token, as far as its weights prove it; "
        "null where they can prove nothing.",
    ),
    Column(
        "never_chosen",
        "bool",
        "router",
        "Whether the router chooses the expert for no token, proven in the same way.",
    ),
)

_OF_LAYERS: tuple[Column, ...] = (
    *_PLACE,
    *_STATUS,
    Column("experts", "int64", "identity", "Experts of the layer.", lower=1, required=True),
    Column("active", "int64", "identity", "Experts that a token uses.", lower=1),
    Column("width", "int64", "identity", "Hidden units of an expert.", lower=1),
    Column("dead", "int64", "norms", "Dead experts.", lower=0),
    Column("copies", "int64", "copies", "Experts that copy an earlier one.", lower=0),
    Column("merged", "int64", "copies", "Experts that are merged from two others.", lower=0),
    Column(
        "order_reason",
        "string",
        "copies",
        "Why copies and merged experts were looked for in the stored order of hidden units only; "
        "null if in any order.",
    ),
    Column(
        "mean_cosine",
        "float64",
        "similarity",
        "Mean cosine of two experts, in the stored order.",
        lower=-1,
        upper=1,
    ),
    Column(
        "max_cosine",
        "float64",
        "similarity",
        "Largest cosine of two experts, in the stored order.",
        lower=-1,
        upper=1,
    ),
    Column(
        "mean_overlap",
        "float64",
        "subspaces",
        "Mean overlap of the leading subspaces of two experts.",
        lower=0,
        upper=1,
    ),
    Column(
        "max_overlap",
        "float64",
        "subspaces",
        "Largest overlap of two experts.",
        lower=0,
        upper=1,
    ),
    Column(
        "router_spectral_norm",
        "float64",
        "router",
        "Largest singular value of the router.",
        lower=0,
    ),
    Column("router_stable_rank", "float64", "router", "Stable rank of the router.", lower=0),
    Column(
        "router_effective_rank",
        "float64",
        "router",
        "Effective rank of the router; as many as experts if all rows go ways of their own.",
        lower=0,
    ),
    Column(
        "router_max_norm_ratio",
        "float64",
        "router",
        "Largest norm of a row over the median.",
        lower=0,
    ),
    Column(
        "router_mean_cosine",
        "float64",
        "router",
        "Mean cosine of two rows.",
        lower=-1,
        upper=1,
    ),
    Column(
        "router_max_cosine",
        "float64",
        "router",
        "Largest cosine of two rows.",
        lower=-1,
        upper=1,
    ),
    Column(
        "preferred_expert",
        "int64",
        "router",
        f"Expert whose row has more than {PREFERRED:g} times the median norm, the largest; null "
        "for none.",
        lower=0,
    ),
    Column("always_chosen", "int64", "router", "Experts that are always chosen.", lower=0),
    Column("never_chosen", "int64", "router", "Experts that are never chosen.", lower=0),
)

EXPERT_COLUMNS = titled(_OF_EXPERTS, EXPERT_TITLES)
LAYER_COLUMNS = titled(_OF_LAYERS, LAYER_TITLES)
# Of both tables.
COLUMNS = (EXPERT_COLUMNS, LAYER_COLUMNS)
