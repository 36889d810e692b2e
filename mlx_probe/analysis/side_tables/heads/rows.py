"""What each attention head reads and writes: spectra of its QK and OV products.

A head's scores are x_i W_q^T W_k x_j, and what it moves into the residual stream is W_o W_v x_j
(matrices as stored, cut to the head: W_q, W_k, W_v have head_dim rows, W_o head_dim columns).
The two products are all that the model can see of the four matrices (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"): each is d_model x d_model and of rank
head_dim at most. With factorizations W_q^T = Q_1 R_1 and W_k^T = Q_2 R_2 the product is
Q_1 (R_1 R_2^T) Q_2^T, and its singular values are those of R_1 R_2^T, of order head_dim. The
product itself is never formed. The triangles are Cholesky factors of Gram matrices, which the
backend multiplies in batches, or those of Householder QR (`triangles`). There are
min(head_dim, d_model) such values; all others are 0 by construction, and no column counts them
(`condition_number` is that of the head_dim x head_dim core, `spectral_entropy` is relative to
ln head_dim).

Grouped queries: query head h belongs to key and value head h // (heads / kv_heads), as in
transformers, llama.cpp and the layouts of fused matrices here.

Not included:

- Biases of queries, keys and values, the norm before attention and its gain, the scale
  1 / sqrt(head_dim), ALiBi and other terms that are added to the scores, attention sinks.
- Rotary embeddings: they rotate queries and keys by their position, so that the scores of two
  tokens at a distance t are x_i W_q^T P_t W_k x_j; the product here is that at distance 0.
  Files of llama.cpp store the rows of q and k in another order within each head (halves
  interleaved). This permutation P depends on head_dim alone and is the same for both, so that
  (P W_q)^T (P W_k) = W_q^T W_k and the singular values do not change. They would, if only one
  of the two were permuted.
- What `between` finds, and ``left_out`` names: norms of queries, keys and values, norms and
  gates between the heads and W_o, convolutions over tokens, caps and temperatures of scores. They
  depend on the token; where there is one, the product is not the model's own form. Rows of layers
  that norm queries or keys ("qk-norm" of Qwen 3, OLMo 2, Gemma 3) also have ``qk_norm`` set.
  A model type that `families` does not list is called unknown there.

Skipped with the reason: latent attention, linear attention, keys and values of another layer,
pairs of value heads (DiffLlama), fused matrices that are not split, queries and gate in one
matrix (Qwen3-Next: its shape contradicts the head counts).

Accuracy: Householder QR and the product are float64 and normwise backward stable. Every
singular value is off by at most about (d_1 + d_2 + head_dim) eps |W_q|_F |W_k|_F, where d_1 and
d_2 are the inputs of the two factors. `spectrum_error` is that bound over sigma_1; where a
triangle is that of a Gram matrix (``gram_product_f64``), also what this changes, at most 5e-10
of each singular value for each factor, and what the backend's digits left out. The bound is
large where the two factors are nearly orthogonal. `rank` counts singular values above
rank_tol sigma_1, and is null where the bound exceeds a tenth of rank_tol.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Semaphore
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.analysis.side_tables.elements import Matrix
from mlx_probe.analysis.side_tables.heads.between import between
from mlx_probe.analysis.side_tables.heads.circuits import (
    CIRCUITS,
    Attention,
    Factor,
    attention_layers,
    circuit_factors,
)
from mlx_probe.analysis.side_tables.heads.columns import HEAD_METRICS
from mlx_probe.analysis.side_tables.heads.spectra import circuit_bytes, head_spectra
from mlx_probe.analysis.side_tables.rows import rows_in_order
from mlx_probe.analysis.side_tables.side import SidePart, SideRow, of_layer
from mlx_probe.compute.spectrum import zero_spectrum
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import Moments, Spectrum
from mlx_probe.core.units import format_size
from mlx_probe.metrics import Measurement

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.checkpoint import Architecture, Weight
    from mlx_probe.compute.backends import Backend

__all__ = ["head_rows", "layer_bytes", "plan_parts"]

# Work for each element of a layer's matrices: reading, and Gram matrices of heads of 128.
_WORK = 300.0

# The product is never formed: it has no elements to take moments of.
_NO_MOMENTS = Moments(
    *(0, 0, 0, 0, 0),
    *(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan),
    quantiles=(),
    value_dtype=None,
    rounding_variance=None,
)


def head_rows(
    weights: Sequence[Weight],
    architecture: Architecture,
    backend: Backend,
    rank_tol: float,
    workers: int = 1,
    memory_budget: int = 0,
) -> Iterator[SideRow]:
    """Spectra of the QK and the OV product of every attention head.

    Args:
        weights: The model's weights, parts of fused ones included.
        architecture: Head counts.
        backend: Multiplies.
        rank_tol: `rank` counts singular values above ``rank_tol`` times the largest.
        workers: Layers at the same time; rows do not depend on it.
        memory_budget: Bytes that layers may take together (`layer_bytes`), each with one
            matrix in memory; a layer that takes more alone is skipped. 0 for one layer after
            the other without a limit.

    Yields:
        A row for each query head and circuit, by the names of `HEAD_COLUMNS`, in the order of
        the layers; an absent name is null. A layer or circuit that cannot be computed is one
        row of status skipped or failed.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
    """
    parts = _parts(weights, architecture, backend, rank_tol, workers, memory_budget)
    yield from rows_in_order(parts, False, workers, memory_budget)


def plan_parts(plan: Plan, budget: int) -> list[SidePart]:
    """A part for each layer; see `Side.parts`."""
    config = plan.config
    return _parts(
        plan.sampled,
        plan.checkpoint.architecture,
        plan.backend,
        config.rank_tol,
        config.workers,
        budget,
    )


def _parts(
    weights: Sequence[Weight],
    architecture: Architecture,
    backend: Backend,
    rank_tol: float,
    workers: int,
    budget: int,
) -> list[SidePart]:
    engine = _Engine(architecture, rank_tol, backend, Semaphore(backend.lanes or workers))
    return [_part(attention, engine, budget) for attention in attention_layers(weights)]


def _part(attention: Attention, engine: _Engine, budget: int) -> SidePart:
    size = layer_bytes(attention, engine.architecture, engine.backend)
    is_skipped = 0 < budget < size

    def rows(workers: int) -> list[dict[str, Any]]:
        if is_skipped:
            reason = f"takes {format_size(size)}; the memory limit leaves {format_size(budget)}"
            return [attention.outcome("skipped", reason)]
        return list(_layer_rows(attention, engine))

    matrices = [weight for same in attention.matrices.values() for weight in same]
    return SidePart(
        name=f"heads{of_layer(attention.layer_index)}",
        nbytes=0 if is_skipped else size,
        work=_WORK * sum(weight.numel for weight in matrices),
        rows=rows,
        failed=lambda reason: [attention.outcome("failed", reason)],
    )


def layer_bytes(attention: Attention, architecture: Architecture, backend: Backend) -> int:
    """Bytes that one layer takes at most: it computes its two circuits one after the other."""
    if attention.common_problem(architecture) is not None:
        return 0
    both = [circuit_factors(attention, *kinds, architecture)[0] for kinds in CIRCUITS.values()]
    return max((circuit_bytes(*factors, backend) for factors in both if factors), default=0)


@dataclass(frozen=True)
class _Engine:
    """What all layers are computed with.

    Attributes:
        architecture: Head counts.
        rank_tol: Tolerance of `rank`.
        backend: Multiplies.
        lane: Held while the backend works.
    """

    architecture: Architecture
    rank_tol: float
    backend: Backend
    lane: Semaphore


def _layer_rows(attention: Attention, engine: _Engine) -> Iterator[dict[str, Any]]:
    """Rows of one layer's heads."""
    shared = {"layer_index": attention.layer_index, "component": attention.component}
    architecture = engine.architecture
    problem = attention.common_problem(architecture)
    if problem is not None:
        yield attention.outcome("skipped", problem)
        return
    for circuit, kinds in CIRCUITS.items():
        found = between(circuit, attention.beside, attention.layer_index, architecture)
        known = {**shared, "circuit": circuit}
        if found.problem is not None:
            yield {**known, "status": "skipped", "status_reason": found.problem}
            continue
        known |= {"qk_norm": found.normed, "left_out": ", ".join(found.words) or None}
        factors, problem = circuit_factors(attention, *kinds, architecture)
        if factors is None:
            yield {**known, "status": "skipped", "status_reason": problem}
            continue
        for row in _circuit_rows(*factors, engine):
            yield {**known, **row}


def _circuit_rows(one: Factor, two: Factor, engine: _Engine) -> Iterator[dict[str, Any]]:
    """Rows of one circuit: one for each head, or one that says why there are none."""
    shared = {
        "left_param_name": one.weight.name,
        "right_param_name": two.weight.name,
        "rows": one.outside,
        "cols": two.outside,
        "head_dim": one.width,
    }
    try:
        spectra = head_spectra(one, two, engine.backend, engine.lane)
    except PackingError as error:
        yield {**shared, "status": "skipped", "status_reason": error.fact}
        return
    except np.linalg.LinAlgError:
        yield {**shared, "status": "failed", "status_reason": "LAPACK gesdd did not converge"}
        return
    group = one.count // two.count
    for head in range(one.count):
        row = {**shared, "head_index": head, "kv_head_index": head // group}
        bound = float(spectra.errors[head])
        if not spectra.finite[head]:
            reason = "NaN or Inf in a factor"
            yield {**row, "status": "nonfinite", "status_reason": reason}
        elif not np.isfinite(bound):
            reason = "the product's size is beyond float64"
            yield {**row, "status": "failed", "status_reason": reason}
        else:
            method = "gram_product_f64" if spectra.by_gram[head] else "qr_product_f64"
            values = _metrics(spectra.values[head], bound, method, engine.rank_tol)
            yield {**row, "status": "ok", **values}


def _metrics(sigma: Matrix, error: float, method: str, rank_tol: float) -> dict[str, Any]:
    """The metrics of one head's singular values."""
    order = len(sigma)
    if sigma[0] == 0:
        spectrum = zero_spectrum(order, order)
    else:
        spectrum = Spectrum(sigma, order, order, method, error)
    measurement = Measurement(_NO_MOMENTS, rank_tol, spectrum)
    values = {metric.name: metric.compute(measurement) for metric in HEAD_METRICS}
    if spectrum.error > rank_tol / 10:
        values["rank"] = None
    return {
        "spectrum_method": spectrum.method,
        "spectrum_error": spectrum.error,
        **values,
    }
