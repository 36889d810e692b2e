"""How alike the experts of a mixture are: cosines, leading subspaces, the dead and the doubled.

All experts of a layer and matrix kind (gate_proj, up_proj, down_proj) are compared with one
another:

- Cosine of the flattened weights, <W_i, W_j> / (|W_i|_F |W_j|_F), from one float64 Gram matrix
  of all experts that is summed up over a few lines of all of them at a time.
- Overlap of leading subspaces, |V_i^T V_j|_F^2 / k in [0, 1], the mean squared cosine of the
  principal angles; V_i are the k = `SUBSPACE` leading singular vectors of W_i on the side of the
  residual stream (inputs of gate and up, outputs of down). There experts can be compared
  whatever the order of their hidden units, which is arbitrary and which the cosine of flattened
  weights does depend on: independently trained experts have cosines about 0 and may still read
  the same directions. Random subspaces overlap by k / d_model on average (`chance_overlap`).

The singular vectors come from a block Krylov space (`leading_vectors`) that begins with the same
random block for all experts. Where a spectrum is flat its leading vectors are no property of the
expert: overlaps are close to chance then.

An expert is dead if its norm is below `DEAD_SHARE` of the median of its group, and a duplicate of
an earlier one from a cosine of `DUPLICATE` on (a copy up to scale), or if both are zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.side_tables.elements import (
    band,
    place_of,
    read_bytes,
    read_into,
    values_dtype,
)
from mlx_probe.checkpoint import Architecture, Weight
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.compute.spectrum.leading import STARTING_VECTORS, leading_bytes, leading_vectors
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import Column
from mlx_probe.core.units import format_size

__all__ = [
    "DEAD_SHARE",
    "DUPLICATE",
    "EXPERT_COLUMNS",
    "SUBSPACE",
    "expert_rows",
]

# Leading singular vectors of an expert that are compared.
SUBSPACE = 8
# Norm, as a share of the group's median, below which an expert is dead.
DEAD_SHARE = 0.01
# Cosine from which two experts are one.
DUPLICATE = 1 - 1e-6

# Elements of all experts that are read at a time, at most: 256 MiB in float64.
_BLOCK_ELEMENTS = 1 << 25

Matrix = NDArray[np.float64]

_EXPERT = "Number of the other expert"
EXPERT_COLUMNS: tuple[Column, ...] = (
    Column("layer_index", "int64", "identity", "Number of the block, counted from 0.", lower=0),
    Column("component", "string", "identity", "Place in the network: moe or mtp.", required=True),
    Column(
        "block_type",
        "string",
        "identity",
        "Matrix kind: gate_proj, up_proj, down_proj, or gate_up_proj where nothing tells the "
        "two apart.",
        required=True,
    ),
    Column(
        "expert_index",
        "int64",
        "identity",
        "Number of the expert inside its block, counted from 0.",
        lower=0,
        required=True,
    ),
    Column("param_name", "string", "identity", "Name of the tensor in the file.", required=True),
    Column("part", "string", "identity", "Part of a fused matrix; null for whole weights."),
    Column("rows", "int64", "identity", "Rows of the expert's matrix.", lower=0),
    Column("cols", "int64", "identity", "Columns of the expert's matrix.", lower=0),
    Column("expert_count", "int64", "identity", "Experts that this one is compared with.", lower=0),
    Column("status", "string", "run", "ok, nonfinite or skipped.", required=True),
    Column("status_reason", "string", "run", "Why the status is not ok; null if it is."),
    Column("norm", "float64", "norms", "Frobenius norm.", unit="weight", lower=0),
    Column("norm_ratio", "float64", "norms", "Norm over the median norm of the group.", lower=0),
    Column(
        "dead",
        "bool",
        "norms",
        f"Whether the norm is 0, or below {DEAD_SHARE:g} of the group's median.",
    ),
    Column(
        "duplicate_of",
        "int64",
        "similarity",
        "First earlier expert that this one copies, up to scale: cosine above 1 - 1e-6, or both "
        "zero.",
        lower=0,
    ),
    Column("nearest_expert", "int64", "similarity", f"{_EXPERT} with the largest cosine.", lower=0),
    Column(
        "nearest_cosine",
        "float64",
        "similarity",
        "Cosine of the flattened weights with the nearest expert's.",
        lower=-1,
        upper=1,
    ),
    Column(
        "mean_cosine",
        "float64",
        "similarity",
        "Mean cosine with all other experts.",
        lower=-1,
        upper=1,
    ),
    Column(
        "subspace_dim",
        "int64",
        "subspaces",
        "Leading singular vectors, on the residual stream's side, that are compared; null where "
        "the memory budget cannot hold one expert.",
        lower=1,
    ),
    Column(
        "nearest_overlap_expert",
        "int64",
        "subspaces",
        f"{_EXPERT} with the largest overlap of leading subspaces.",
        lower=0,
    ),
    Column(
        "nearest_overlap",
        "float64",
        "subspaces",
        "Overlap with that expert: mean squared cosine of the principal angles.",
        lower=0,
        upper=1,
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
        "Mean overlap of random subspaces: subspace_dim over the width of the residual stream.",
        lower=0,
        upper=1,
    ),
    Column(
        "router_norm",
        "float64",
        "router",
        "Norm of the router's row for this expert; null without such a router.",
        unit="weight",
        lower=0,
    ),
    Column(
        "router_nearest_cosine",
        "float64",
        "router",
        "Cosine of the router's row with the row of `nearest_expert`.",
        lower=-1,
        upper=1,
    ),
    Column(
        "router_closest_expert",
        "int64",
        "router",
        f"{_EXPERT} whose row of the router has the largest cosine with this one's.",
        lower=0,
    ),
    Column(
        "router_closest_cosine",
        "float64",
        "router",
        "Cosine of the router's row with that expert's.",
        lower=-1,
        upper=1,
    ),
)


@dataclass(frozen=True)
class _Group:
    """All experts of a layer and matrix kind.

    Attributes:
        kind: Block type.
        members: One matrix for each expert, in the order of their numbers.
        router: The layer's router, if there is one with a line for each expert.
        axis: The side of the residual stream: 0 for rows, 1 for columns.
        problem: Why they cannot be compared.
    """

    kind: str
    members: tuple[Weight, ...]
    router: Weight | None
    axis: int
    problem: str | None


@dataclass(frozen=True)
class _Similarity:
    """How alike vectors are, pair by pair.

    Attributes:
        values: Shape (E, E); NaN where one of the two is none to compare with.
        norms: Of the vectors, shape (E,); NaN for those that are not finite.
    """

    values: Matrix
    norms: Matrix

    def at(self, i: int, other: int | None) -> float | None:
        """One pair's."""
        return None if other is None else _number_or_none(self.values[i, other])

    def nearest(self, i: int) -> int | None:
        """The other one with the largest similarity; None where none has one."""
        others = self.values[i].copy()
        others[i] = np.nan
        return None if np.isnan(others).all() else int(np.nanargmax(others))

    def mean(self, i: int) -> float | None:
        """The mean similarity with the others that have one."""
        others = np.delete(self.values[i], i)
        others = others[~np.isnan(others)]
        return float(others.mean()) if len(others) else None


def _number_or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def expert_rows(
    weights: Sequence[Weight],
    architecture: Architecture,
    memory_budget: int,
    seed: int = 0,
    workers: int = 1,
) -> Iterator[dict[str, Any]]:
    """Similarities of the experts of every mixture.

    Every expert is read once for the cosines and once for its leading subspace; where the
    budget cannot hold a line of every expert, more often.

    Args:
        weights: The model's weights, parts of fused ones included.
        architecture: Its hidden size tells which side of a matrix is the residual stream.
        memory_budget: Bytes of working memory, beside what is mapped of the files. Where it
            cannot hold an expert, the columns of subspaces are null; where it cannot hold a line
            of two experts, all rows of the group are skipped.
        seed: Of the random vectors of the Krylov spaces.
        workers: Experts whose subspaces are computed at the same time, where the budget holds as
            many; the result does not depend on it.

    Yields:
        A row for each expert and matrix kind, by the names of `EXPERT_COLUMNS`; absent is null.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
    """
    for group in _groups(weights, architecture):
        problem = group.problem or _no_room(group.members, memory_budget)
        columns: list[dict[str, Any]] = []
        if problem is None:
            try:
                columns = _compare(group, memory_budget, seed, workers)
            except PackingError as error:
                problem = error.fact
        for place, weight in enumerate(group.members):
            values = columns[place] if columns else {"status": "skipped", "status_reason": problem}
            yield {**_identity(group, weight), **values}


def _identity(group: _Group, weight: Weight) -> dict[str, Any]:
    return {
        "layer_index": weight.role.layer_index,
        "component": weight.role.component,
        "block_type": group.kind,
        "expert_index": weight.expert_index,
        "param_name": weight.name,
        "part": weight.part.name if weight.part else None,
        "rows": weight.rows,
        "cols": weight.cols,
    }


def _groups(weights: Sequence[Weight], architecture: Architecture) -> list[_Group]:
    """The groups in the order of their first matrices."""
    found: dict[tuple[str, int | None, str], list[Weight]] = {}
    routers: dict[tuple[str, int | None], list[Weight]] = {}
    split = {weight.name for weight in weights if weight.part is not None}
    for weight in weights:
        role, place = weight.role, place_of(weight)
        if weight.rows is None or role.component not in ("moe", "mtp"):
            continue
        if role.block_type == "router":
            routers.setdefault(place, []).append(weight)
        # A fused matrix is there by its parts; scales and adapters are no experts.
        elif (
            weight.expert_index is not None
            and role.block_type.endswith("_proj")
            and (weight.part or weight.name not in split)
        ):
            found.setdefault((*place, role.block_type), []).append(weight)
    # A fused matrix that is cut between its columns has its inputs as rows, and so have its
    # layer's other matrices.
    turned = {key[:2] for key, ws in found.items() if any(w.part and w.part.axis for w in ws)}
    groups = []
    for (stack, layer, kind), experts in found.items():
        members = tuple(sorted(experts, key=lambda weight: weight.expert_index or 0))
        axis = _residual_axis(kind, members[0], architecture, (stack, layer) in turned)
        router = _router(routers.get((stack, layer), ()), len(members))
        groups.append(_Group(kind, members, router, axis, _problem(members)))
    return groups


def _problem(members: Sequence[Weight]) -> str | None:
    """Why experts cannot be compared; None if they can."""
    for weight in members:
        if not weight.has_spectrum or len(weight.shape) != 2:
            return f"{weight.label}: {weight.problem or 'not a matrix of floats'}"
    shapes = Counter(weight.shape for weight in members)
    if len(shapes) > 1:
        return "experts of different shapes: " + ", ".join(str(list(s)) for s in list(shapes)[:3])
    numbers = Counter(weight.expert_index for weight in members)
    twice = [number for number, count in numbers.items() if count > 1]
    return f"several matrices for expert {twice[0]}" if twice else None


def _residual_axis(kind: str, weight: Weight, architecture: Architecture, turned: bool) -> int:
    """The side of a matrix that is the residual stream's."""
    fits = [extent == architecture.hidden_size for extent in weight.shape[:2]]
    if sum(fits) == 1:
        return fits.index(True)
    outputs = 1 if turned else 0
    return outputs if kind == "down_proj" else 1 - outputs


def _router(candidates: Sequence[Weight], experts: int) -> Weight | None:
    """The one router with a line for each expert; None where that is not one."""
    fitting = [w for w in candidates if w.has_spectrum and experts in w.shape[:2]]
    return fitting[0] if len(fitting) == 1 and len(fitting[0].shape) == 2 else None


def _compare(group: _Group, budget: int, seed: int, workers: int) -> list[dict[str, Any]]:
    """Columns of every expert.

    Raises:
        PackingError: Pieces of a packed weight contradict each other.
    """
    cosines = _cosines(_gram(group.members, budget))
    usable = cosines.norms > 0
    subspaces = _overlaps(group, usable, budget, seed, workers)
    router = _router_cosines(group.router, len(group.members), budget)
    return [
        {
            **_cosine_columns(group, cosines, i),
            **(_overlap_columns(group, subspaces, i) if subspaces and usable[i] else {}),
            **(_router_columns(group, router, i, cosines.nearest(i)) if router else {}),
        }
        for i in range(len(group.members))
    ]


def _cosine_columns(group: _Group, cosines: _Similarity, i: int) -> dict[str, Any]:
    norm, finite = float(cosines.norms[i]), ~np.isnan(cosines.norms)
    if not finite[i]:
        reason = "NaN or Inf among the elements, or squares beyond float64"
        return {"status": "nonfinite", "status_reason": reason}
    median = float(np.median(cosines.norms[finite]))
    same = cosines.values[i, :i] > DUPLICATE if norm > 0 else cosines.norms[:i] == 0
    nearest = cosines.nearest(i)
    return {
        "status": "ok",
        "expert_count": int(finite.sum()) - 1,
        "norm": norm,
        "norm_ratio": norm / median if median > 0 else None,
        "dead": norm == 0 or norm < DEAD_SHARE * median,
        "duplicate_of": _expert(group, int(np.argmax(same)) if same.any() else None),
        "nearest_expert": _expert(group, nearest),
        "nearest_cosine": cosines.at(i, nearest),
        "mean_cosine": cosines.mean(i),
    }


def _expert(group: _Group, place: int | None) -> int | None:
    """Number of the expert at a place of its group."""
    return None if place is None else group.members[place].expert_index


def _cosines(gram: Matrix) -> _Similarity:
    """Cosines of vectors by their Gram matrix."""
    norms = np.sqrt(np.diagonal(gram))
    inverse = np.divide(1.0, norms, out=np.full_like(norms, np.nan), where=norms > 0)
    # Each factor on its own: the product of two norms may underflow where a cosine is large.
    return _Similarity(np.clip(gram * inverse[:, None] * inverse, -1.0, 1.0), norms)


@dataclass(frozen=True)
class _Lines:
    """The lines that experts are cut into: rows, or the columns of parts cut between these.

    Attributes:
        count: Lines of an expert.
        width: Elements of a line.
        turn: Lines that stay together.
    """

    count: int
    width: int
    turn: int

    def tile_bytes(self, experts: int, tile: int, extent: int) -> int:
        """Bytes that `_gram` takes at most.

        Args:
            experts: Experts in all.
            tile: Experts in memory at a time; twice as many, if these are not all.
            extent: Lines of each.
        """
        tiles = 1 if tile == experts else 2
        # The Gram matrix and what is made of it; blocks, and what is finite in one of them;
        # lines unpacked and decoded.
        blocks = 8 * tiles * tile * extent * self.width + extent * self.width
        return 64 * experts**2 + blocks + read_bytes(extent, self.width)


def _lines(weight: Weight) -> _Lines:
    part = weight.part
    axis = part.axis if part else 0
    turn = part.length if part and not part.contiguous else 1
    return _Lines(weight.shape[axis], weight.shape[1 - axis], turn)


def _no_room(members: Sequence[Weight], budget: int) -> str | None:
    """Why a budget does not allow the Gram matrix; None if it does."""
    lines, count = _lines(members[0]), len(members)
    least = lines.tile_bytes(count, min(count, 1 if count > 2 else 2), lines.turn)
    if least <= budget:
        return None
    return (
        f"a memory budget of {format_size(budget)} cannot hold a line of two of {count} experts: "
        f"that takes {format_size(least)}"
    )


def _gram(members: Sequence[Weight], budget: int) -> Matrix:
    """Gram matrix of the flattened experts, from a few lines of all of them at a time.

    Args:
        members: Experts of one shape.
        budget: Bytes; enough for a line of two experts (`_no_room`).

    Returns:
        float64, shape (E, E); NaN for experts that are not finite.
    """
    count, lines = len(members), _lines(members[0])
    tile, extent = count, lines.turn
    while lines.tile_bytes(count, tile, extent) > budget:
        tile = -(-tile // 2)
    while (
        extent < lines.count
        and 2 * extent * lines.width * tile <= _BLOCK_ELEMENTS
        and lines.tile_bytes(count, tile, 2 * extent) <= budget
    ):
        extent *= 2
    gram, finite = np.zeros((count, count)), np.ones(count, np.bool_)
    tiles = [slice(start, min(start + tile, count)) for start in range(0, count, tile)]
    with np.errstate(over="ignore", invalid="ignore"):
        for top in range(0, lines.count, extent):
            cut = top, min(top + extent, lines.count)
            for number, left in enumerate(tiles):
                one = _block(members[left], *cut, finite[left])
                gram[left, left] += one @ one.T
                for right in tiles[number + 1 :]:
                    two = _block(members[right], *cut, finite[right])
                    gram[left, right] += one @ two.T
                    # Or this block would still be there while the next one is read.
                    del two
                del one
    gram = np.triu(gram) + np.triu(gram, 1).T
    finite &= np.isfinite(np.diagonal(gram))
    gram[~finite] = gram[:, ~finite] = np.nan
    return np.asarray(gram)


def _block(members: Sequence[Weight], top: int, bottom: int, finite: NDArray[np.bool_]) -> Matrix:
    """Some lines of some experts, flattened.

    Args:
        members: The experts.
        top: The first line.
        bottom: One past the last.
        finite: Is told which experts have NaN or Inf; zeros stand for their lines.

    Returns:
        float64, shape (experts, elements).
    """
    bands = [band(member, top, bottom) for member in members]
    block = np.empty((len(bands), *bands[0].shape))
    for i, (lines, out) in enumerate(zip(bands, block, strict=True)):
        read_into(lines, out)
        if not np.isfinite(out).all():
            finite[i] = False
            out[:] = 0.0
    return block.reshape(len(bands), -1)


def _overlaps(
    group: _Group, usable: NDArray[np.bool_], budget: int, seed: int, workers: int
) -> _Similarity | None:
    """Overlaps of the leading subspaces of all pairs.

    Returns:
        NaN for experts that are not usable; None where the budget does not hold an expert.
    """
    count, first = len(group.members), group.members[0]
    size, hidden = first.shape[group.axis], first.shape[1 - group.axis]
    dim = _dimension(first)
    # Bases and random block, all pairs; then for each worker an expert with what it takes.
    shared = 8 * (count * dim * size + hidden * STARTING_VECTORS)
    shared += 8 * (8 * count**2 + 2 * count * dim**2)
    beside = max(leading_bytes(size, hidden), read_bytes(size, hidden))
    each = values_dtype(first).itemsize * first.numel + beside
    if shared + each > budget:
        return None
    bases = np.zeros((count, dim, size))
    start = np.random.default_rng(seed).standard_normal((hidden, STARTING_VECTORS))

    def work(i: int) -> None:
        matrix = np.empty(first.shape, values_dtype(first))
        read_into(group.members[i], matrix)
        bases[i] = leading_vectors(matrix if group.axis == 0 else matrix.T, dim, start).T

    tasks = [(int(i), each) for i in np.flatnonzero(usable)]
    with threadpool_limits(1, user_api="blas"):
        for _ in run_within_budget(work, tasks, workers, budget - shared):
            pass
    overlaps = np.full((count, count), np.nan)
    flat = bases.reshape(count * dim, size)
    for i in np.flatnonzero(usable):
        cosines = (flat @ bases[i].T).reshape(count, dim * dim)
        overlaps[i, usable] = np.square(cosines[usable]).sum(axis=1) / dim
    return _Similarity(np.clip(overlaps, 0.0, 1.0), np.ones(count))


def _dimension(weight: Weight) -> int:
    """Leading singular vectors that are compared."""
    return min(SUBSPACE, *weight.shape)


def _overlap_columns(group: _Group, overlaps: _Similarity, i: int) -> dict[str, Any]:
    nearest, dim = overlaps.nearest(i), _dimension(group.members[i])
    return {
        "subspace_dim": dim,
        "nearest_overlap_expert": _expert(group, nearest),
        "nearest_overlap": overlaps.at(i, nearest),
        "mean_overlap": overlaps.mean(i),
        "chance_overlap": dim / group.members[i].shape[group.axis],
    }


def _router_cosines(router: Weight | None, count: int, budget: int) -> _Similarity | None:
    """Cosines of the router's rows; None without one that fits into the budget."""
    if router is None or 32 * router.numel + read_bytes(*router.shape) > budget:
        return None
    matrix = np.empty(router.shape)
    read_into(router, matrix)
    rows = matrix if len(matrix) == count else matrix.T
    finite = np.all(np.isfinite(rows), axis=1)
    rows = np.where(finite[:, None], rows, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        gram: Matrix = rows @ rows.T
    bad = ~(finite & np.isfinite(np.diagonal(gram)))
    gram[bad] = gram[:, bad] = np.nan
    return _cosines(gram)


def _router_columns(
    group: _Group, router: _Similarity, i: int, nearest: int | None
) -> dict[str, Any]:
    closest = router.nearest(i)
    return {
        "router_norm": _number_or_none(router.norms[i]),
        "router_nearest_cosine": router.at(i, nearest),
        "router_closest_expert": _expert(group, closest),
        "router_closest_cosine": router.at(i, closest),
    }
