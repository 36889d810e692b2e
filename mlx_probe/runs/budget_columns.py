"""The columns of the table that a run of `budget` leaves."""

from __future__ import annotations

from mlx_probe.core.records import Column

__all__ = ["COLUMNS"]

_NAME = (
    Column("name", "string", "identity", "Name of the weight in mlx-lm's model.", required=True),
    Column("path", "string", "identity", "Its module: the key of its settings in config.json."),
    Column("layer_index", "int64", "identity", "Number of the block, counted from 0.", lower=0),
    Column("block_type", "string", "identity", "What it is: q_proj, down_proj, embedding ..."),
    Column("component", "string", "identity", "Place in the network."),
    Column("shape", "list<int64>", "identity", "Shape, unpacked."),
    Column("dtype", "string", "identity", "Type of its elements, and of scales and factors."),
    Column("stored_as", "string", "identity", "How it is packed now; null if it is not."),
)
_CHOICE = (
    Column("choice", "string", "choice", "keep, bits or rank.", required=True),
    Column("bits", "int64", "choice", "Bits of an element, for the choice bits.", lower=2, upper=8),
    Column("group", "int64", "choice", "Elements that share a scale.", lower=16, upper=128),
    Column("mode", "string", "choice", "MLX's mode: affine, mxfp4, mxfp8 or nvfp4."),
    Column("rank", "int64", "choice", "Rank of the two factors, for the choice rank.", lower=1),
)
_COST = (
    Column("bytes_before", "int64", "cost", "Bytes as it is stored.", lower=0, required=True),
    Column("bytes_after", "int64", "cost", "Bytes then.", lower=0, required=True),
    Column("energy", "float64", "cost", "Squared Frobenius norm; null if not measured.", lower=0),
    Column(
        "error",
        "float64",
        "cost",
        "Predicted Frobenius error relative to the norm; null if not measured.",
        lower=0,
    ),
    Column(
        "rank_needed",
        "int64",
        "cost",
        "The least rank whose factors have at most the error that the goal leaves each matrix; "
        "null if no rank has, or the spectrum was not measured.",
        lower=0,
    ),
    Column(
        "rank_saving",
        "int64",
        "cost",
        "The largest rank whose factors take fewer bytes than the matrix; 0 for none.",
        lower=0,
    ),
)
_STATUS = (
    Column("status", "string", "status", "ok, kept or nonfinite.", required=True),
    Column("status_reason", "string", "status", "Why it is kept; null if it is not."),
)

COLUMNS = (*_NAME, *_CHOICE, *_COST, *_STATUS)
