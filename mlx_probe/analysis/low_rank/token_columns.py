"""The columns of the table of tokens that a difference reads and writes."""

from __future__ import annotations

from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.core.column_texts import HERE
from mlx_probe.core.records import Column

__all__ = ["TOKENS"]

_BASE = {column.name: column for column in COLUMNS}
_FAMILY = "tokens"

TOKENS: tuple[Column, ...] = (
    *(
        _BASE[name]
        for name in ("param_name", "layer_index", "block_type", "component", "expert_index")
    ),
    Column(
        "token_side",
        "string",
        _FAMILY,
        "reads: along what the matrix takes from the residual stream; writes: along what it adds.",
        title="Reads or writes",
        plain="Whether the direction is at the entrance or at the exit of the matrix.",
        typical="reads for queries, keys, values, gates and up; writes for o and down.",
        caveat="Deep layers read a mixture of many tokens, not one embedding.",
        source=HERE,
    ),
    Column(
        "direction",
        "int64",
        _FAMILY,
        "Number of the singular direction of the change, from 1, the strongest.",
        lower=1,
        title="Direction",
        plain="Which of the change's main directions the token lies along.",
        typical="1 to 4.",
        caveat="Directions of nearly equal strength may be any mixture of each other.",
        source=HERE,
    ),
    Column(
        "direction_share",
        "float64",
        _FAMILY,
        "Share of the change's sum of squares that the direction has.",
        lower=0,
        upper=1,
        title="Share of the direction",
        plain="How much of the matrix's change lies along this direction.",
        typical="High for a change of few directions.",
        caveat="A direction of a small share says little of the change.",
        source=HERE,
        formula="sigma_k^2 / sum of all sigma^2",
    ),
    Column(
        "sign",
        "int64",
        _FAMILY,
        "1 or -1: the side of the direction that the token is on.",
        lower=-1,
        upper=1,
        title="Sign",
        plain="At which end of the direction the token lies.",
        typical="Both.",
        caveat="Which end is called 1 means nothing.",
        source=HERE,
    ),
    Column(
        "place",
        "int64",
        _FAMILY,
        "Place of the token among those of its direction and sign, from 1.",
        lower=1,
        title="Place",
        plain="1 is the token nearest to the direction.",
        typical="1 to 5.",
        caveat="The first place is always taken, even if nothing lies along the direction.",
        source=HERE,
    ),
    Column(
        "token_id",
        "int64",
        _FAMILY,
        "Number of the token: its row in the embeddings or in the output head.",
        lower=0,
        title="Number of the token",
        plain="The token as the model sees it.",
        typical="Any.",
        caveat="Rows beyond the tokenizer's vocabulary are padding.",
        source=HERE,
    ),
    Column(
        "token",
        "string",
        _FAMILY,
        "Text of the token by the tokenizer of A; null without one.",
        title="Token",
        plain="The token's text.",
        typical="A piece of a word.",
        caveat="Bytes that are no UTF-8 by themselves are written as in Python.",
        source="the tokenizer",
    ),
    Column(
        "token_cosine",
        "float64",
        _FAMILY,
        "Cosine of the direction with the token's row, taken through the norm.",
        lower=-1.0000001,
        upper=1.0000001,
        title="Cosine with the token",
        plain="How exactly the token lies along the direction.",
        typical="Near null_cosine for most directions.",
        caveat="Only values clearly above null_cosine mean something.",
        source=HERE,
        formula="cos(v, g * e_t) or cos(u, g * w_t)",
    ),
    Column(
        "null_cosine",
        "float64",
        _FAMILY,
        "Largest magnitude that the cosine reaches over the vocabulary with 40 random directions.",
        lower=0,
        upper=1.0000001,
        title="Largest cosine by chance",
        plain="How near some token comes to a direction that means nothing.",
        typical="0.2 at a width of 576, less in wider models.",
        caveat="With hundreds of directions one or two exceed it by chance.",
        source=HERE,
    ),
)
