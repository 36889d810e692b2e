"""How alike the experts of a mixture are: cosines, leading subspaces, dead ones and duplicates.

All experts of a layer and matrix kind (gate_proj, up_proj, down_proj) are compared with one
another:

- Cosine of the flattened weights, <W_i, W_j> / (|W_i|_F |W_j|_F), of all pairs and all elements,
  from one float64 Gram matrix of all experts. It is summed over a few lines of all of them at a
  time. That is E / 2 multiplications for each element of E experts: less than a Gram matrix of
  each of them, so that nothing has to be sampled.
- Overlap of leading subspaces, |V_i^T V_j|_F^2 / k in [0, 1], the mean squared cosine of the
  principal angles. V_i are the k = `SUBSPACE` leading singular vectors of W_i on the side of the
  residual stream (inputs of gate and up, outputs of down). That side does not depend on the
  order of an expert's hidden units. This order is arbitrary, and the cosine of flattened weights
  does depend on it: independently trained experts have cosines about 0 and may still read the
  same directions. Random subspaces overlap by k / d_model on average (`chance_overlap`).

The singular vectors come from a block Krylov space (`leading_vectors`) that begins with the same
random block for all experts; the backend makes its products, in float32. It takes 176
multiplications for each element, however many experts there are. Where a spectrum is flat, its
leading vectors are not a property of the expert: overlaps are close to chance then.

An expert is dead if its norm is below `DEAD_SHARE` of the median of its group. It is a duplicate
of an earlier one if their cosine is above `DUPLICATE` (a copy up to scale), or if both are zero.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.experts.columns import DEAD_SHARE, DUPLICATE
from mlx_probe.analysis.side_tables.experts.flattened import (
    flattened_gram,
    gram_bytes,
    gram_problem,
)
from mlx_probe.analysis.side_tables.experts.groups import Group, expert_groups
from mlx_probe.analysis.side_tables.experts.similarity import (
    Similarity,
    cosines,
    router_bytes,
    router_cosines,
)
from mlx_probe.analysis.side_tables.experts.subspaces import (
    subspace_bytes,
    subspace_dim,
    subspace_overlaps,
)
from mlx_probe.analysis.side_tables.rows import rows_in_order
from mlx_probe.analysis.side_tables.side import SidePart, SideRow, of_layer
from mlx_probe.core.errors import PackingError

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.analysis.side_tables.elements import Matrix
    from mlx_probe.checkpoint import Architecture, Weight
    from mlx_probe.compute.backends import Backend

__all__ = ["Compared", "compare_group", "expert_rows", "plan_parts"]

# Multiplications of the Krylov space for each element.
_KRYLOV = 176.0


@dataclass(frozen=True)
class Compared:
    """The experts of a group beside one another, shapes (E, E).

    Attributes:
        gram: Upper triangle of the Gram matrix of the flattened experts.
        alike: Their cosines.
        usable: Which of them are finite and not zero, shape (E,).
        overlaps: Of their leading subspaces; None where the budget does not hold an expert.
        router: Cosines of the router's rows; None without a router.
    """

    gram: Matrix
    alike: Similarity
    usable: NDArray[np.bool_]
    overlaps: Similarity | None
    router: Similarity | None


def expert_rows(
    weights: Sequence[Weight],
    architecture: Architecture,
    backend: Backend,
    memory_budget: int,
    seed: int = 0,
    workers: int = 1,
    unsampled: Collection[int] = (),
) -> Iterator[SideRow]:
    """Similarities of the experts of every mixture.

    Every expert is read once for the cosines and once for its leading subspace; more often
    where the budget cannot hold a line of every expert.

    Args:
        weights: The model's weights, parts of fused ones included.
        architecture: Its hidden size shows which side of a matrix is the residual stream.
        backend: Multiplies: all cosines, and the products with experts.
        memory_budget: Bytes of working memory, without the mapped files. Where it cannot hold
            an expert, the columns of subspaces are null. Where it cannot hold a line of two
            experts, all rows of the group are skipped.
        seed: Of the random vectors of the Krylov spaces.
        workers: Parts of the work at the same time, where the budget holds as many; the result
            does not depend on it.
        unsampled: Positions of experts that have no rows, and that no other is compared with.

    Yields:
        A row for each expert and matrix kind, by the names of `EXPERT_COLUMNS`; an absent name
        is null.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
    """
    parts = _parts(weights, architecture, backend, memory_budget, seed, unsampled)
    yield from rows_in_order(parts, True, workers, memory_budget)


def plan_parts(plan: Plan, budget: int) -> list[SidePart]:
    """A part for each group; see `Side.parts`."""
    architecture, seed = plan.checkpoint.architecture, plan.config.seed
    return _parts(plan.weights, architecture, plan.backend, budget, seed, plan.unsampled)


def _parts(
    weights: Sequence[Weight],
    architecture: Architecture,
    backend: Backend,
    budget: int,
    seed: int,
    unsampled: Collection[int],
) -> list[SidePart]:
    groups = expert_groups(weights, architecture, unsampled)
    return [_part(group, backend, budget, seed) for group in groups]


def _part(group: Group, backend: Backend, budget: int, seed: int) -> SidePart:
    def rows(workers: int) -> list[dict[str, Any]]:
        compared, problem = compare_group(group, backend, budget, seed, workers)
        if compared is None:
            return _without(group, "skipped", problem)
        measured = _rows(group, compared)
        identities = [_identity(group, weight) for weight in group.members]
        return [{**one, **values} for one, values in zip(identities, measured, strict=True)]

    layer = group.members[0].role.layer_index
    return SidePart(
        name=f"{group.kind} of the experts{of_layer(layer)}",
        nbytes=_group_bytes(group, backend, budget),
        # The cosines take half as many multiplications as there are experts.
        work=(_KRYLOV + len(group.members) / 2) * sum(weight.numel for weight in group.members),
        rows=rows,
        failed=lambda reason: _without(group, "failed", reason),
    )


def _without(group: Group, status: str, reason: str | None) -> list[dict[str, Any]]:
    """Rows of experts that are not compared."""
    outcome = {"status": status, "status_reason": reason}
    return [{**_identity(group, weight), **outcome} for weight in group.members]


def _group_bytes(group: Group, backend: Backend, budget: int) -> int:
    """Bytes that one worker takes at most to compare a group within a budget."""
    members = group.members
    if group.problem or gram_problem(members, backend, budget):
        return 0
    return max(
        gram_bytes(members, backend, budget),
        subspace_bytes(members, group.axis, backend, budget),
        router_bytes(group.router, group.experts, backend, budget),
    )


def compare_group(
    group: Group, backend: Backend, budget: int, seed: int, workers: int
) -> tuple[Compared | None, str | None]:
    """The experts of a group beside one another; see `expert_rows`.

    Returns:
        None, and why, where they cannot be compared.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
    """
    problem = group.problem or gram_problem(group.members, backend, budget)
    if problem is not None:
        return None, problem
    members = group.members
    try:
        gram = flattened_gram(members, backend, budget, workers)
        alike = cosines(gram)
        usable = alike.norms > 0
        overlaps = subspace_overlaps(members, group.axis, usable, backend, budget, seed, workers)
        router = router_cosines(group.router, group.experts, backend, budget)
        router = router and router.among(group.places)
    except PackingError as error:
        return None, error.fact
    return Compared(gram, alike, usable, overlaps, router), None


def _identity(group: Group, weight: Weight) -> dict[str, Any]:
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


def _rows(group: Group, compared: Compared) -> list[dict[str, Any]]:
    """Columns of every expert."""
    alike, overlaps, router = compared.alike, compared.overlaps, compared.router
    return [
        {
            **_cosine_columns(group, alike, i),
            **(_overlap_columns(group, overlaps, i) if overlaps and compared.usable[i] else {}),
            **(_router_columns(group, router, i, alike.nearest(i)) if router else {}),
        }
        for i in range(len(group.members))
    ]


def _cosine_columns(group: Group, alike: Similarity, i: int) -> dict[str, Any]:
    norm, finite = float(alike.norms[i]), ~np.isnan(alike.norms)
    if not finite[i]:
        reason = "NaN or Inf among the elements, or squares beyond float64"
        return {"status": "nonfinite", "status_reason": reason}
    median = float(np.median(alike.norms[finite]))
    same = alike.values[i, :i] > DUPLICATE if norm > 0 else alike.norms[:i] == 0
    nearest = alike.nearest(i)
    return {
        "status": "ok",
        "expert_count": int(finite.sum()) - 1,
        "norm": norm,
        "norm_ratio": norm / median if median > 0 else None,
        "dead": norm == 0 or norm < DEAD_SHARE * median,
        "duplicate_of": group.number(int(np.argmax(same)) if same.any() else None),
        "nearest_expert": group.number(nearest),
        "nearest_cosine": alike.at(i, nearest),
        "mean_cosine": alike.mean(i),
    }


def _overlap_columns(group: Group, overlaps: Similarity, i: int) -> dict[str, Any]:
    nearest, dim = overlaps.nearest(i), subspace_dim(group.members[i])
    return {
        "subspace_dim": dim,
        "nearest_overlap_expert": group.number(nearest),
        "nearest_overlap": overlaps.at(i, nearest),
        "mean_overlap": overlaps.mean(i),
        "chance_overlap": dim / group.members[i].shape[group.axis],
    }


def _router_columns(
    group: Group, router: Similarity, i: int, nearest: int | None
) -> dict[str, Any]:
    closest = router.nearest(i)
    return {
        "router_norm": router.norm(i),
        "router_nearest_cosine": router.at(i, nearest),
        "router_closest_expert": group.number(closest),
        "router_closest_cosine": router.at(i, closest),
    }
