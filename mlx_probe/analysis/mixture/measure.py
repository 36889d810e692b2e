"""One layer's mixture, measured: a row for each expert, one for the layer, and its maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.mixture.copies import Copies, find_copies
from mlx_probe.analysis.mixture.layer import KINDS, MixtureLayer
from mlx_probe.analysis.mixture.router import (
    Chosen,
    active_experts,
    chosen_experts,
    preferred_expert,
)
from mlx_probe.analysis.mixture.spectra import SPECTRAL, Spectra, layer_spectra
from mlx_probe.analysis.side_tables.experts.columns import DEAD_SHARE
from mlx_probe.analysis.side_tables.experts.groups import problem_of
from mlx_probe.analysis.side_tables.experts.rows import Compared, compare_group
from mlx_probe.analysis.side_tables.experts.similarity import (
    Similarity,
    cosines,
    router_cosines,
)
from mlx_probe.analysis.side_tables.experts.subspaces import subspace_dim
from mlx_probe.core.errors import PackingError

if TYPE_CHECKING:
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.checkpoint import Weight
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["MeasuredLayer", "measure_layer"]

Maps = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class MeasuredLayer:
    """What a layer's weights say.

    Attributes:
        experts: A row for each expert, by the names of `EXPERT_COLUMNS`.
        layer: The layer's row, by the names of `LAYER_COLUMNS`.
        maps: Arrays (experts, experts): "similarity", the overlap of leading subspaces averaged
            over the kinds of matrices; the same of each kind ("similarity_gate" ...); "cosine", of
            all weights in the stored order; "router_cosine". NaN where there is no number. Those
            that cannot be had are absent.
    """

    experts: tuple[dict[str, Any], ...]
    layer: dict[str, Any]
    maps: Maps


def measure_layer(
    plan: Plan, layer: MixtureLayer, meter: UsageMeter, on_start: Callable[[Weight], None]
) -> MeasuredLayer:
    """Measure a layer's experts and its router.

    Args:
        plan: Backend, budget, seed and workers.
        layer: The layer.
        meter: Counts the cost of the stages.
        on_start: See `analyze_rows`.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The monitor's gate is closed for good.
    """
    spectra = layer_spectra(plan, layer, meter, on_start)
    with meter.stage("sides"):
        return _compared(plan, layer, spectra)


def _compared(plan: Plan, layer: MixtureLayer, spectra: Spectra) -> MeasuredLayer:
    config = plan.config
    part = _readable(layer)
    compared: dict[str, Compared] = {}
    problem: str | None = None
    for kind, group in part.groups.items():
        found, reason = compare_group(group, plan.backend, plan.budget, config.seed, config.workers)
        if found is None:
            problem = problem or f"{kind}: {reason}"
        else:
            compared[kind] = found
    count = len(part.experts)
    if any(len(each.usable) != count for each in compared.values()):
        compared, problem = {}, "the kinds of matrices have different numbers of experts"
    joined = _Joined(layer, part, compared, problem, plan)
    experts = tuple(joined.expert(i, spectra) for i in range(len(layer.experts)))
    return MeasuredLayer(experts, joined.layer(experts, spectra), joined.maps())


def _readable(layer: MixtureLayer) -> MixtureLayer:
    """The layer's experts of which every matrix can be read; all of them if none can.

    The router is left out: it is compared with all of its rows.
    """
    bad = {
        weight.expert_index
        for group in layer.groups.values()
        for weight in group.members
        if not weight.has_spectrum
    }
    good = tuple(number for number in layer.experts if number not in bad) or layer.experts
    groups = {}
    for kind, group in layer.groups.items():
        members = tuple(weight for weight in group.members if (weight.expert_index or 0) in good)
        groups[kind] = replace(group, members=members, router=None, problem=problem_of(members))
    return replace(layer, experts=good, groups=groups)


class _Joined:
    """The comparisons of a layer's kinds of matrices, taken together.

    Args:
        layer: The layer.
        part: Its experts that are compared.
        compared: Them, by kind.
        problem: Why they are not compared; None if they are.
        plan: Backend, budget and seed.
    """

    def __init__(
        self,
        layer: MixtureLayer,
        part: MixtureLayer,
        compared: Mapping[str, Compared],
        problem: str | None,
        plan: Plan,
    ) -> None:
        self._layer, self._part = layer, part
        self._compared, self._problem = compared, problem
        self._at = {number: k for k, number in enumerate(part.experts)}
        self._count = len(layer.experts)
        settings, metadata = plan.checkpoint.config, plan.checkpoint.metadata
        self._active = active_experts(settings, metadata)
        self._copies, self._alike = Copies(problem=problem), None
        if compared and problem is None:
            grams = [np.triu(c.gram) + np.triu(c.gram, 1).T for c in compared.values()]
            usable = np.all([each.usable for each in compared.values()], axis=0)
            self._alike = cosines(np.sum([each.gram for each in compared.values()], axis=0))
            self._copies = find_copies(part, grams, usable, plan.budget, plan.config.seed)
        self._overlaps = _mean([c.overlaps for c in compared.values()]) if not problem else None
        self._router: Similarity | None = None
        self._chosen: Chosen | None = None
        # A router that cannot be read proves nothing; its own row of `analyze` says why.
        with suppress(PackingError):
            self._router = router_cosines(layer.router, self._count, plan.backend, plan.budget)
            self._chosen = chosen_experts(layer, settings, self._active)

    def expert(self, i: int, spectra: Spectra) -> dict[str, Any]:
        """The row of an expert, by its index."""
        layer = self._layer
        number = layer.experts[i]
        members = [w for g in layer.groups.values() for w in g.members if w.expert_index == number]
        status, reason = spectra.problem(number) or ("ok", None)
        if status == "ok" and self._problem is not None:
            status, reason = "skipped", self._problem
        return {
            **self._place(),
            "expert_index": number,
            "status": status,
            "status_reason": reason,
            "width": _width(layer, members),
            "parameters": sum(weight.numel for weight in members),
            **spectra.columns(number),
            **(self._beside_others(self._at[number]) if number in self._at else {}),
            **self._routed(i),
        }

    def _beside_others(self, i: int) -> dict[str, Any]:
        """Columns of an expert that is compared, by its index among these."""
        return {**self._norms(i), **self._copied(i), **self._similar(i)}

    def layer(self, rows: Sequence[Mapping[str, Any]], spectra: Spectra) -> dict[str, Any]:
        """The layer's row, given those of its experts."""
        bad = [row for row in rows if row["status"] != "ok"]
        norms = None if self._router is None else self._router.norms
        preferred = None if norms is None else preferred_expert(norms)
        known = bool(self._compared) and self._problem is None
        copies, chosen = self._copies, self._chosen
        return {
            **self._place(),
            "status": bad[0]["status"] if bad else "ok",
            "status_reason": bad[0]["status_reason"] if bad else None,
            "experts": self._count,
            "active": self._active,
            "width": rows[0]["width"],
            "dead": sum(bool(row.get("dead")) for row in rows) if known else None,
            "copies": len(copies.copies) if known else None,
            "merged": len(copies.merged) if known else None,
            "order_reason": copies.problem,
            **_means("cosine", self._alike),
            **_means("overlap", self._overlaps),
            **{f"router_{name}": spectra.router.get(name) for name in SPECTRAL},
            "router_max_norm_ratio": None if norms is None else _largest_ratio(norms),
            **{f"router_{name}": value for name, value in _means("cosine", self._router).items()},
            "preferred_expert": None if preferred is None else self._layer.experts[preferred],
            "always_chosen": None if chosen is None else int(chosen.always.sum()),
            "never_chosen": None if chosen is None else int(chosen.never.sum()),
        }

    def maps(self) -> Maps:
        """See `MeasuredLayer`."""
        kinds = {
            f"similarity_{KINDS[kind]}": each.overlaps for kind, each in self._compared.items()
        }
        found = {
            "similarity": self._overlaps,
            **kinds,
            "cosine": self._alike,
            "router_cosine": self._router,
        }
        good = [self._layer.experts.index(number) for number in self._part.experts]
        maps = {}
        for name, each in found.items():
            if each is None:
                continue
            maps[name] = np.full((self._count, self._count), np.nan, np.float32)
            # The router has a row for each expert.
            at = range(self._count) if each is self._router else good
            maps[name][np.ix_(at, at)] = each.values
        return maps

    def _place(self) -> dict[str, Any]:
        layer = self._layer
        return {
            "layer_index": layer.index,
            "component": layer.component,
            "stack": layer.stack,
        }

    def _norms(self, i: int) -> dict[str, Any]:
        if not self._compared or self._problem is not None:
            return {}
        values: dict[str, Any] = {}
        dead, total = None, 0.0
        for kind, each in self._compared.items():
            norm = float(each.alike.norms[i])
            values[f"{KINDS[kind]}_norm"] = None if np.isnan(norm) else norm
            total += norm**2
            if norm == 0 or norm < DEAD_SHARE * float(np.nanmedian(each.alike.norms)):
                dead = dead or kind
        if np.isnan(total):
            return values
        assert self._alike is not None
        middle = float(np.nanmedian(self._alike.norms))
        norm = float(self._alike.norms[i])
        return {
            **values,
            "norm": norm,
            "norm_ratio": norm / middle if middle > 0 else None,
            "dead": dead is not None,
            "dead_matrix": dead,
        }

    def _copied(self, i: int) -> dict[str, Any]:
        copies, numbers = self._copies, self._part.experts
        values: dict[str, Any] = {}
        if i in copies.copies:
            values |= {"copy_of": numbers[copies.copies[i]], "reordered": i in copies.reordered}
        if pair := copies.merged.get(i):
            values |= {
                "merged_first": numbers[pair.first],
                "merged_second": numbers[pair.second],
                "merged_share": pair.share,
                "merged_residual": pair.residual,
            }
        if i in copies.aligned:
            other, cosine = copies.aligned[i]
            values |= {"aligned_expert": numbers[other], "aligned_cosine": cosine}
        return values

    def _similar(self, i: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if alike := self._alike:
            nearest = alike.nearest(i)
            values |= {
                "nearest_expert": _number(self._part, nearest),
                "nearest_cosine": alike.at(i, nearest),
                "mean_cosine": alike.mean(i),
            }
        overlaps = self._overlaps
        if overlaps is not None and not np.isnan(overlaps.values[i, i]):
            nearest = overlaps.nearest(i)
            groups = self._layer.groups.values()
            chances = [subspace_dim(g.members[0]) / g.members[0].shape[g.axis] for g in groups]
            values |= {
                "nearest_overlap_expert": _number(self._part, nearest),
                "nearest_overlap": overlaps.at(i, nearest),
                "mean_overlap": overlaps.mean(i),
                "chance_overlap": float(np.mean(chances)),
            }
        return values

    def _routed(self, i: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if router := self._router:
            closest, middle = router.nearest(i), float(np.nanmedian(router.norms))
            norm = router.norm(i)
            values |= {
                "router_norm": norm,
                "router_norm_ratio": norm / middle if norm is not None and middle > 0 else None,
                "router_closest_expert": _number(self._layer, closest),
                "router_closest_cosine": router.at(i, closest),
                "router_mean_cosine": router.mean(i),
            }
        if chosen := self._chosen:
            values |= {
                "always_chosen": bool(chosen.always[i]),
                "never_chosen": bool(chosen.never[i]),
            }
        return values


def _number(layer: MixtureLayer, index: int | None) -> int | None:
    return None if index is None else layer.experts[index]


def _width(layer: MixtureLayer, members: list[Weight]) -> int | None:
    """Hidden units: the other side of a down projection than the residual stream's."""
    for weight in members:
        if weight.role.block_type != "gate_up_proj" and len(weight.shape) == 2:
            axis: int = layer.groups[weight.role.block_type].axis
            return weight.shape[1 - axis]
    return None


def _mean(overlaps: list[Similarity | None]) -> Similarity | None:
    known = [each for each in overlaps if each is not None]
    if not known or len(known) < len(overlaps):
        return None
    values = np.mean([each.values for each in known], axis=0)
    return Similarity(values, known[0].norms)


def _means(name: str, similarity: Similarity | None) -> dict[str, float | None]:
    """Mean and largest value of two different ones."""
    if similarity is None:
        return {}
    above = similarity.values[np.triu_indices(len(similarity.values), 1)]
    above = above[~np.isnan(above)]
    if not len(above):
        return {}
    return {f"mean_{name}": float(above.mean()), f"max_{name}": float(above.max())}


def _largest_ratio(norms: NDArray[np.float64]) -> float | None:
    middle = float(np.nanmedian(norms)) if np.isfinite(norms).any() else 0.0
    return float(np.nanmax(norms)) / middle if middle > 0 else None
