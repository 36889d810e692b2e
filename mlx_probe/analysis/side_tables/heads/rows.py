"""What each attention head reads and writes: spectra of its QK and OV products.

A head's scores are x_i W_q^T W_k x_j, and what it moves into the residual stream is W_o W_v x_j
(matrices as stored, cut to the head: W_q, W_k, W_v have head_dim rows, W_o head_dim columns).
The two products are all that the model can see of the four matrices (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"): each is d_model x d_model and of rank
head_dim at most. With QR factorizations W_q^T = Q_1 R_1 and W_k^T = Q_2 R_2 the product is
Q_1 (R_1 R_2^T) Q_2^T, and its singular values are those of R_1 R_2^T, of order head_dim: the
product itself is never formed. They are min(head_dim, d_model) values; all others are 0 by
construction, and no column counts them (`condition_number` is that of the head_dim x head_dim
core, `spectral_entropy` is relative to ln head_dim).

Grouped queries: query head h belongs to key and value head h // (heads / kv_heads), as in
transformers, llama.cpp and the layouts of fused matrices here.

Left out:

- Biases of queries, keys and values, the norm before attention and its gain, the scale
  1 / sqrt(head_dim), soft capping, ALiBi; gates between the heads and W_o. Where queries and gate
  are one matrix (Qwen3-Next), its shape contradicts the head counts and QK is skipped.
- Rotary embeddings: they rotate queries and keys by their position, so that the scores of two
  tokens at a distance t are x_i W_q^T P_t W_k x_j; the product here is that at distance 0.
  Files of llama.cpp store the rows of q and k in another order within each head (halves
  interleaved). It depends on head_dim alone and is the same for both, a permutation P with
  (P W_q)^T (P W_k) = W_q^T W_k: singular values do not change. Were only one of them permuted,
  they would.
- Norms of queries and keys ("qk-norm" of Qwen 3, OLMo 2, Gemma 3): they divide by a number that
  depends on the token, and multiply by a gain. Rows of such layers have ``qk_norm`` set: there
  the QK product is not the model's bilinear form.

Accuracy: Householder QR and the product are float64 and normwise backward stable, so that every
singular value is off by at most about (d_1 + d_2 + head_dim) eps |W_q|_F |W_k|_F, d the inputs
of the two; `spectrum_error` is that over sigma_1. It grows where the two factors hardly meet.
`rank` counts what is above rank_tol sigma_1, and is null where the bound exceeds a tenth of
rank_tol.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.side_tables.elements import place_of, read_bytes, read_into, values_dtype
from mlx_probe.checkpoint import Architecture, Weight
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.compute.spectrum import zero_spectrum
from mlx_probe.compute.spectrum.bounds import EPS
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import Column, Moments, Spectrum
from mlx_probe.core.units import format_size
from mlx_probe.metrics import METRICS, Measurement

__all__ = ["HEAD_COLUMNS", "head_bytes", "head_rows"]

_METRIC_NAMES = (
    *("rank", "spectral_norm", "frobenius_norm", "nuclear_norm", "sigma_min"),
    *("condition_number", "stable_rank", "effective_rank", "spectral_entropy"),
    *("participation_ratio", "energy_rank_90", "energy_rank_95", "energy_rank_99"),
    *("top1_energy", "top10_energy"),
)
_METRICS = tuple(metric for metric in METRICS if metric.name in _METRIC_NAMES)

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
        "its bilinear form. Always false for ov.",
    ),
    Column("status", "string", "run", "ok, nonfinite, skipped or failed.", required=True),
    Column("status_reason", "string", "run", "Why the status is not ok; null if it is."),
    Column(
        "spectrum_method",
        "string",
        "spectrum",
        "Algorithm: qr_product_f64 (SVD of a product of triangular factors), zero_matrix.",
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
        for metric in _METRICS
    ),
)

# Elements that are factorized at a time: 32 MiB in float64.
_BATCH = 1 << 22

# A product has no elements to take moments of: it is never formed.
_NO_MOMENTS = Moments(
    *(0, 0, 0, 0, 0),
    *(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan),
    quantiles=(),
    value_dtype=None,
    rounding_variance=None,
)

# Encoders of other kinds: their heads are not those that the configuration's own keys tell.
_TOWERS = ("vision", "audio", "projector")
_COMPONENTS = ("attention", "cross_attention", "mtp", *_TOWERS)
_FACTORS = ("q_proj", "k_proj", "v_proj", "o_proj")
# The block types of a product's left and right factor.
_CIRCUITS = {"qk": ("q_proj", "k_proj"), "ov": ("o_proj", "v_proj")}
# What has queries, keys and values in another form, and why there is no product then.
_LATENT = "multi-head latent attention: keys and values come out of one low-rank projection"
_FUSED = "is fused, and nothing tells how to take it apart"
_OTHER_FORMS = {
    **dict.fromkeys(("q_a_proj", "q_b_proj", "kv_a_proj", "kv_b_proj"), _LATENT),
    **dict.fromkeys(("k_b_proj", "v_b_proj", "o_a_proj", "o_b_proj"), _LATENT),
    **dict.fromkeys(("qkv_proj", "kv_proj", "qk_proj", "gate_qkv_proj", "q_gate_proj"), _FUSED),
}
# Norms between the matrices and the scores; `q_a_layernorm` and the like stand before them.
_NORMS = re.compile(
    r"(?:^|\.)(?:(?:attn_)?(?:q|k|qk|query|key)_(?:norm|layer_?norm|ln)|ln_[qk])(?:\.|\Z)"
)

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class _Attention:
    """One layer's attention.

    Attributes:
        layer_index: Number of the block.
        component: As in the table.
        matrices: Block type to the matrices of that type.
        qk_norm: Whether queries or keys are normed.
    """

    layer_index: int | None
    component: str
    matrices: Mapping[str, Sequence[Weight]]
    qk_norm: bool

    def common_problem(self, architecture: Architecture) -> str | None:
        """Why neither product can be made; None if nothing stands against both."""
        if self.component in _TOWERS:
            return f"head counts are read for the language model, not for {self.component}"
        split = {w.name for kind in _FACTORS for w in self.matrices.get(kind, ()) if w.part}
        for kind, reason in _OTHER_FORMS.items():
            whole = [w.name for w in self.matrices.get(kind, ()) if w.name not in split]
            if whole:
                return reason if reason == _LATENT else f"{kind} {reason}"
        heads, kv_heads = architecture.heads, architecture.kv_heads
        if heads is None or kv_heads is None:
            return "nothing tells one number of heads for all layers"
        if heads % kv_heads:
            return f"{heads} query heads cannot share {kv_heads} key and value heads"
        return None

    def skipped(self, reason: str) -> dict[str, Any]:
        """The row of a layer that has no others."""
        place = {"layer_index": self.layer_index, "component": self.component}
        return {**place, "status": "skipped", "status_reason": reason}


@dataclass(frozen=True)
class _Factor:
    """One matrix, to be cut into heads.

    Attributes:
        weight: The matrix.
        axis: 0 if heads are runs of its rows, 1 if of its columns.
        count: Heads.
    """

    weight: Weight
    axis: int
    count: int

    @property
    def lines(self) -> int:
        """Rows or columns of all heads together."""
        return self.weight.shape[self.axis]

    @property
    def width(self) -> int:
        """Rows or columns of a head."""
        return self.lines // self.count

    @property
    def outside(self) -> int:
        """Extent of the other side: d_model, as a rule."""
        return self.weight.shape[1 - self.axis]


@dataclass(frozen=True)
class _Triangles:
    """Triangular factors of a matrix's heads.

    Attributes:
        values: R of W_head^T = Q R over `sizes`, float64, shape (heads, min(d, width), width).
        sizes: Frobenius norms, shape (heads,).
        finite: Whether a head has neither NaN nor Inf, shape (heads,).
    """

    values: Matrix
    sizes: Matrix
    finite: NDArray[np.bool_]


def head_rows(
    weights: Sequence[Weight],
    architecture: Architecture,
    rank_tol: float,
    workers: int = 1,
    memory_budget: int = 0,
) -> Iterator[dict[str, Any]]:
    """Spectra of the QK and the OV product of every attention head.

    Args:
        weights: The model's weights, parts of fused ones included.
        architecture: Head counts.
        rank_tol: `rank` counts singular values above ``rank_tol`` times the largest.
        workers: Layers at the same time; rows do not depend on it.
        memory_budget: Bytes that layers side by side may take (`head_bytes`), with one matrix
            of each in memory; a layer that takes more alone is skipped. 0 for one after the
            other, whatever they take.

    Yields:
        A row for each query head and circuit, by the names of `HEAD_COLUMNS`, in the order of
        the layers; absent is null. A layer or circuit that cannot be computed is one row of
        status skipped or failed.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
    """
    attentions = _attentions(weights)

    def work(number: int) -> tuple[int, list[dict[str, Any]]]:
        attention = attentions[number]
        if 0 < memory_budget < tasks[number][1]:
            reason = f"takes {format_size(tasks[number][1])}; the memory limit leaves "
            return number, [attention.skipped(f"{reason}{format_size(memory_budget)}")]
        return number, list(_layer_rows(attention, architecture, rank_tol))

    tasks = [(i, _layer_bytes(attention, architecture)) for i, attention in enumerate(attentions)]
    finished: dict[int, list[dict[str, Any]]] = {}
    following = 0
    # Heads are too small for more than one thread each.
    with threadpool_limits(1, user_api="blas"):
        for number, rows in run_within_budget(work, tasks, workers, memory_budget):
            finished[number] = rows
            while following in finished:
                yield from finished.pop(following)
                following += 1


def _layer_rows(
    attention: _Attention, architecture: Architecture, rank_tol: float
) -> Iterator[dict[str, Any]]:
    """Rows of one layer's heads."""
    shared = {"layer_index": attention.layer_index, "component": attention.component}
    problem = attention.common_problem(architecture)
    if problem is not None:
        yield attention.skipped(problem)
        return
    for circuit, (left, right) in _CIRCUITS.items():
        normed = circuit == "qk" and attention.qk_norm
        for row in _circuit_rows(attention, left, right, architecture, rank_tol):
            yield {**shared, "circuit": circuit, "qk_norm": normed, **row}


def head_bytes(weights: Sequence[Weight], architecture: Architecture) -> int:
    """Bytes that `head_rows` takes at most with one worker, in its largest layer.

    Args:
        weights: As for `head_rows`.
        architecture: As for `head_rows`.
    """
    layers = [_layer_bytes(attention, architecture) for attention in _attentions(weights)]
    return max(layers, default=0)


def _layer_bytes(attention: _Attention, architecture: Architecture) -> int:
    """Bytes that one layer takes at most: its two circuits come one after the other."""
    if attention.common_problem(architecture) is not None:
        return 0
    both = [_factors(attention, *kinds, architecture)[0] for kinds in _CIRCUITS.values()]
    return max((_circuit_bytes(*factors) for factors in both if factors), default=0)


def _circuit_bytes(one: _Factor, two: _Factor) -> int:
    """One matrix as its values, a batch of its heads in float64; triangles, products."""
    reading = []
    for factor in (one, two):
        weight, (rows, cols) = factor.weight, factor.weight.shape
        head = factor.width * factor.outside
        # The batch, the copy that LAPACK works on, and what is finite in it.
        batch = 24 * min(max(head, _BATCH), head * factor.count)
        values = values_dtype(weight).itemsize * weight.numel
        reading.append(values + batch + read_bytes(rows, cols))
    triangles = 8 * one.width**2 * (one.count + two.count)
    return max(reading) + 6 * triangles


def _attentions(weights: Sequence[Weight]) -> list[_Attention]:
    """The attention layers, in the order of their first matrices."""
    found: dict[tuple[str, int | None, str], dict[str, list[Weight]]] = {}
    normed = set()
    for weight in weights:
        place = place_of(weight)
        kind = weight.role.block_type
        if kind == "norm" and _NORMS.search(weight.name):
            normed.add(place)
        factor = kind in _FACTORS or kind in _OTHER_FORMS
        if weight.rows is None or not factor or weight.role.component not in _COMPONENTS:
            continue
        matrices = found.setdefault((*place, weight.role.component), defaultdict(list))
        matrices[kind].append(weight)
    return [
        _Attention(layer, component, matrices, (stack, layer) in normed)
        for (stack, layer, component), matrices in found.items()
    ]


def _circuit_rows(
    attention: _Attention, left: str, right: str, architecture: Architecture, rank_tol: float
) -> Iterator[dict[str, Any]]:
    """Rows of one circuit: one for each head, or one that says why there are none."""
    factors, problem = _factors(attention, left, right, architecture)
    shared: dict[str, Any] = {}
    if factors is not None:
        one, two = factors
        shared = {
            "left_param_name": one.weight.name,
            "right_param_name": two.weight.name,
            "rows": one.outside,
            "cols": two.outside,
            "head_dim": one.width,
        }
        try:
            pair = _triangles(one), _triangles(two)
            bound = EPS * (one.outside + two.outside + one.width)
            sigma, errors = _singular_values(*pair, bound)
        except PackingError as error:
            problem = error.fact
        except np.linalg.LinAlgError:
            yield {**shared, "status": "failed", "status_reason": "LAPACK gesdd did not converge"}
            return
    if factors is None or problem is not None:
        yield {**shared, "status": "skipped", "status_reason": problem}
        return
    group = one.count // two.count
    for head in range(one.count):
        finite = pair[0].finite[head] and pair[1].finite[head // group]
        row = {**shared, "head_index": head, "kv_head_index": head // group}
        if not finite:
            reason = "NaN or Inf in a factor"
            yield {**row, "status": "nonfinite", "status_reason": reason}
        elif not np.isfinite(errors[head]):
            reason = "the product's size is beyond float64"
            yield {**row, "status": "failed", "status_reason": reason}
        else:
            yield {**row, "status": "ok", **_columns(sigma[head], float(errors[head]), rank_tol)}


def _factors(
    attention: _Attention, left: str, right: str, architecture: Architecture
) -> tuple[tuple[_Factor, _Factor] | None, str | None]:
    """The two matrices of a circuit, or why they cannot be cut into heads."""
    heads, kv_heads = architecture.heads or 1, architecture.kv_heads or 1
    for kind in (left, right):
        matrices = attention.matrices.get(kind, ())
        if len(matrices) != 1:
            names = ", ".join(weight.label for weight in matrices[:3])
            return None, f"several {kind}: {names}" if matrices else f"no {kind}"
        (weight,) = matrices
        if not weight.has_spectrum or len(weight.shape) != 2:
            return None, f"{kind}: {weight.problem or 'not a matrix of floats'}"
    one, two = attention.matrices[left][0], attention.matrices[right][0]
    # GPT-2's Conv1D has its inputs as rows, which only the cut of the fused matrix shows.
    parts = [w.part for kind in _FACTORS for w in attention.matrices.get(kind, ()) if w.part]
    turned = any(part.axis == 1 for part in parts)
    inner = int(turned)
    factors = (
        _Factor(one, inner if left == "q_proj" else 1 - inner, heads),
        _Factor(two, inner, kv_heads),
    )
    for factor, kind in zip(factors, (left, right), strict=True):
        if factor.lines % factor.count:
            return None, f"{kind}: {factor.lines} lines are not {factor.count} heads"
    widths = factors[0].width, factors[1].width
    if widths[0] != widths[1]:
        told = f"{left} has heads of {widths[0]}, {right} of {widths[1]}"
        return None, f"head counts contradict the shapes: {told}"
    known = architecture.head_dim
    if left == "q_proj" and known is not None and widths[0] != known:
        told = f"heads of {widths[0]} by the shapes, of {known} by the configuration"
        return None, f"head counts contradict the shapes: {told}"
    return factors, None


def _triangles(factor: _Factor) -> _Triangles:
    """QR factorizations of all heads of a matrix."""
    weight = factor.weight
    matrix = np.empty(weight.shape, values_dtype(weight))
    read_into(weight, matrix)
    lines = matrix if factor.axis == 0 else matrix.T
    heads = lines.reshape(factor.count, factor.width, factor.outside)
    step = max(1, _BATCH // (factor.width * factor.outside))
    triangles, finite = [], []
    for first in range(0, factor.count, step):
        tall = heads[first : first + step].swapaxes(1, 2).astype(np.float64, order="C")
        fine = np.isfinite(tall).all(axis=(1, 2))
        tall[~fine] = 0.0
        finite.append(fine)
        triangles.append(np.linalg.qr(tall, mode="r"))
    values = np.concatenate(triangles)
    # In two steps, so that no square overflows or underflows.
    largest = np.abs(values).max(axis=(1, 2), initial=0.0)
    scale = np.where(largest > 0, largest, 1.0)
    values = values / scale[:, None, None]
    norms = np.sqrt(np.square(values).sum(axis=(1, 2)))
    values /= np.where(norms > 0, norms, 1.0)[:, None, None]
    with np.errstate(over="ignore"):
        sizes = scale * norms
    return _Triangles(values, sizes, np.concatenate(finite))


def _singular_values(one: _Triangles, two: _Triangles, bound: float) -> tuple[Matrix, Matrix]:
    """Singular values of every head's product, and their error bounds.

    Args:
        one: Left factors.
        two: Right factors, each shared by as many of the left ones in turn.
        bound: On the error of a singular value, for factors of Frobenius norm 1.

    Returns:
        float64 arrays of shape (heads, k), descending, and (heads,): the bound relative to the
        largest; Inf where the product's size is beyond float64.

    Raises:
        LinAlgError: The SVD did not converge.
    """
    group = len(one.values) // len(two.values)
    shared = np.repeat(np.arange(len(two.values)), group)
    core = one.values @ two.values[shared].swapaxes(1, 2)
    sigma = np.linalg.svd(core, compute_uv=False)
    with np.errstate(over="ignore", under="ignore"):
        sizes = one.sizes * two.sizes[shared]
    largest = sigma[:, 0]
    errors = np.divide(bound, largest, out=np.zeros_like(largest), where=largest > 0)
    both = (one.sizes > 0) & (two.sizes[shared] > 0)
    errors[both & ((sizes == 0) | ~np.isfinite(sizes))] = np.inf
    return sigma * np.where(np.isfinite(sizes), sizes, 0.0)[:, None], errors


def _columns(sigma: Matrix, error: float, rank_tol: float) -> dict[str, Any]:
    """The metrics of one head's singular values."""
    order = len(sigma)
    if sigma[0] == 0:
        spectrum = zero_spectrum(order, order)
    else:
        spectrum = Spectrum(sigma, order, order, "qr_product_f64", error)
    measurement = Measurement(_NO_MOMENTS, rank_tol, spectrum)
    values = {metric.name: metric.compute(measurement) for metric in _METRICS}
    if spectrum.error > rank_tol / 10:
        values["rank"] = None
    return {
        "spectrum_method": spectrum.method,
        "spectrum_error": spectrum.error,
        **values,
    }
