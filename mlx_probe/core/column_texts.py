"""Texts that many columns share: sources, and what a typical range is measured in."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "HERE",
    "IN_STD",
    "MEASURED",
    "OF_HEAD_DIM",
    "OF_SHORT_SIDE",
    "SCALES",
    "TEXTBOOK",
    "THE_FILE",
    "TRUE_SHARE",
]

HERE = "defined here"
TEXTBOOK = "textbook definition"
THE_FILE = "the file, as its format defines it"

# `Column.typical` of a measured column; `benchmarks/typical.py` measures what the field holds.
MEASURED = "{measured}."
OF_SHORT_SIDE = "As a share of the short side: {measured}."
OF_HEAD_DIM = "As a share of head_dim: {measured}."
IN_STD = "In units of std: {measured}."
TRUE_SHARE = "As a share of true values: {measured}."

# What a value is divided by before it is compared with the typical range; MEASURED and other
# texts take it as it is.
SCALES: Mapping[str, str] = {
    OF_SHORT_SIDE: "short_side",
    OF_HEAD_DIM: "head_dim",
    IN_STD: "std",
    TRUE_SHARE: "",
}
