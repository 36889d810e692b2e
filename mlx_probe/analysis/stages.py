"""The stages of an analysis or a comparison.

`STAGES` is the table. The cost account in the metadata, the limit that it names, the forecast of
the plan and the documentation follow from its lines.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlx_probe.runs.monitor import Stage

__all__ = ["STAGES"]

# In the order in which they happen.
STAGES: Mapping[str, Stage] = {
    "read": Stage("bring the bytes in and unpack them", "reading", in_lane=True),
    "moments": Stage("moments and other sums over the elements", "memory (moments)", in_lane=True),
    "change": Stage(
        "sums over the elements of two models (`compare`)", "memory (changes)", in_lane=True
    ),
    "gram": Stage("Gram matrices", "matrix products", in_lane=True),
    "solve": Stage("eigenvalues of Gram matrices, and counts of them", "eigen-solver"),
    "direct": Stage("QR and SVD, if a Gram matrix is not exact enough", "eigen-solver"),
    "vectors": Stage("leading singular vectors of two models (`compare`)", "eigen-solver"),
    "sketch": Stage("leading values (`--spectrum approx`)", "matrix products", in_lane=True),
    "metrics": Stage("columns that follow from moments and spectra, resampling", "metrics"),
    "check": Stage("a few weights recomputed by plain numpy, beside the last ones", "spot checks"),
    "sides": Stage("side tables, after the weights", "side tables"),
}
