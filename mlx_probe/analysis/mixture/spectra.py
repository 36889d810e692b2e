"""Spectra of all matrices of a layer's mixture, by the engine's own rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.mixture.layer import KINDS
from mlx_probe.analysis.stream import analyze_rows
from mlx_probe.analysis.working_set import working_set

if TYPE_CHECKING:
    from mlx_probe.analysis.mixture.layer import MixtureLayer
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.checkpoint import Weight
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["SPECTRAL", "Spectra", "layer_spectra"]

# Columns of `analyze` that experts and routers have.
SPECTRAL = ("spectral_norm", "stable_rank", "effective_rank")
Values = Mapping[str, Any]


class Spectra:
    """The rows of `analyze` of a layer's matrices.

    Attributes:
        router: That of the router; empty without one.
        experts: Those of each expert, by its number and the kind of the matrix.
    """

    def __init__(self, layer: MixtureLayer, rows: Mapping[int, Values]) -> None:
        self.router: Values = {}
        self.experts: dict[int, dict[str, Values]] = {number: {} for number in layer.experts}
        for index, weight in enumerate(layer.weights):
            if weight is layer.router:
                self.router = rows[index]
            else:
                self.experts[weight.expert_index or 0][weight.role.block_type] = rows[index]

    def columns(self, expert: int) -> dict[str, Any]:
        """The columns of an expert, prefixed by the kind."""
        found = self.experts[expert]
        return {
            f"{KINDS[kind]}_{name}": row.get(name)
            for kind, row in found.items()
            for name in SPECTRAL
        }

    def problem(self, expert: int) -> tuple[str, str] | None:
        """Status and reason of the first matrix of an expert that is not whole; None if all are."""
        for kind, row in self.experts[expert].items():
            if row["status"] != "ok":
                return row["status"], f"{kind}: {row['status_reason']}"
        return None


def layer_spectra(
    plan: Plan, layer: MixtureLayer, meter: UsageMeter, on_start: Callable[[Weight], None]
) -> Spectra:
    """Measure every matrix of a layer, as `analyze` does.

    Args:
        plan: Backend, configuration and budget.
        layer: The layer.
        meter: Counts the cost of the stages.
        on_start: Called with each weight before it is measured, from a worker's thread.

    Raises:
        CheckpointError: A file changed or vanished while it was read.
        Stopped: The monitor's gate is closed for good.
    """
    weights = layer.weights
    sizes = tuple(working_set(weight, plan.backend, plan.config) for weight in weights)
    of_layer = replace(plan, weights=weights, sizes=sizes, aliases={})
    rows = {
        row.index: row.values
        for together in analyze_rows(of_layer, {}, meter, on_start)
        for row in together
    }
    return Spectra(layer, rows)
