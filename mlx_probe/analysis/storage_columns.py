"""Columns that say how a weight is stored, as a part or a copy of another."""

from __future__ import annotations

from mlx_probe.core.column_texts import HERE, THE_FILE
from mlx_probe.core.records import Column

__all__ = ["STORAGE"]

STORAGE: tuple[Column, ...] = (
    Column(
        "part",
        "string",
        "identity",
        "Part of a fused matrix (q_proj, gate_proj ...) that the row is about; the fused "
        "matrix has a row too, so leave parts out of sums. Null for whole weights.",
        title="Part",
        plain="Which piece of a matrix that holds several the row is about.",
        typical="Null for most tensors; q_proj, k_proj, v_proj, gate_proj or up_proj for pieces "
        "of a fused matrix.",
        caveat="The whole matrix has a row as well: sums over all rows count its elements twice.",
        source=HERE,
    ),
    Column(
        "packing",
        "string",
        "storage",
        "How the elements are stored: plain, or the scheme that packs them.",
        required=True,
        title="Packing",
        plain="The scheme by which the file squeezes the numbers into few bits.",
        typical="plain in most models; ggml, mlx, gptq, awq and others in quantized ones.",
        caveat="A plain file may hold values that were rounded to 4 bits before: `value_dtype` "
        "shows some of these.",
        source=THE_FILE,
    ),
    Column(
        "packing_detail",
        "string",
        "storage",
        "Bits, group sizes and the like of the packing; null if plain.",
        title="Packing, detail",
        plain="The settings of the packing, such as bits and group size.",
        typical="Null if plain; a text like Q4_1, blocks of 32.",
        caveat="It is a text for people: its form differs between packings.",
        source=THE_FILE,
    ),
    Column(
        "bits_per_weight",
        "float64",
        "storage",
        "Stored bits for each logical element, scales and all.",
        unit="bits",
        lower=0,
        title="Bits per weight",
        plain="How many bits the file spends on each number, everything included.",
        typical="16 for bfloat16, 32 for float32, 4.5 to 5 for what is called 4 bits.",
        caveat="Scales and offsets count, so 4-bit files have more than 4.",
        source=HERE,
        formula="8 nbytes / numel",
    ),
    Column(
        "pieces",
        "list<string>",
        "storage",
        "Stored tensors that make up a packed weight; null if plain.",
        title="Stored pieces",
        plain="The stored tensors that are needed to rebuild a packed weight.",
        typical="Null if plain; the tensor itself in GGUF, otherwise names that end in qweight, "
        "scales and the like.",
        caveat="Scales and zeros among them have no rows of their own.",
        source=THE_FILE,
    ),
    Column(
        "alias_of",
        "string",
        "identity",
        "Earlier weight with the same bytes, tied or stored twice, whose numbers these are.",
        title="Copy of",
        plain="The earlier weight whose bytes this one shares.",
        typical="Null, except for an output head that is tied to the embedding and other shared "
        "weights.",
        caveat="The row repeats the numbers of the other: leave it out where weights should count "
        "once.",
        source=HERE,
    ),
)
