"""What is measured of a mixture: its layers, and the plan by which the engine measures them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.mixture.columns import EXPERT_COLUMNS
from mlx_probe.analysis.mixture.layer import MixtureLayer, mixture_layers
from mlx_probe.analysis.plan import Plan, make_plan
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.core.errors import ConfigError
from mlx_probe.runs.fingerprint import fingerprint_of
from mlx_probe.runs.mixture.folder import KIND

__all__ = ["MixturePlan", "plan_mixture"]


@dataclass(frozen=True)
class MixturePlan:
    """The layers of a mixture, ready to be measured.

    Attributes:
        plan: Of the matrices of experts and routers.
        layers: The layers.
    """

    plan: Plan
    layers: tuple[MixtureLayer, ...]

    @property
    def experts(self) -> int:
        """Experts of all layers: rows of the table."""
        return sum(len(layer.experts) for layer in self.layers)

    @property
    def sizes(self) -> list[int]:
        """Stored bytes of each expert, in the order of the rows."""
        sizes: list[int] = []
        for layer in self.layers:
            of_expert = dict.fromkeys(layer.experts, 0)
            for group in layer.groups.values():
                for weight in group.members:
                    of_expert[weight.expert_index or 0] += weight.nbytes
            sizes += of_expert.values()
        return sizes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a row's values."""
        names = [column.name for column in EXPERT_COLUMNS]
        return fingerprint_of({"kind": KIND, "columns": names, "analysis": self.plan.fingerprint})

    def numbered(self) -> Iterator[tuple[MixtureLayer, range]]:
        """The layers, each with the indices of its experts' rows."""
        ends = list(accumulate(len(layer.experts) for layer in self.layers))
        for layer, end in zip(self.layers, ends, strict=True):
            yield layer, range(end - len(layer.experts), end)


def plan_mixture(checkpoint: Checkpoint, config: AnalyzeConfig) -> MixturePlan:
    """Decide what is measured of a mixture.

    Args:
        checkpoint: The opened model.
        config: How.

    Raises:
        ConfigError: It is no mixture, or the settings do not fit; see `make_plan`.
    """
    weights = checkpoint.weights()
    layers = mixture_layers(weights, checkpoint.architecture)
    if not layers:
        raise ConfigError(
            f"{checkpoint.files.path} has no experts: it is a dense model",
            "Give a mixture of experts; `mlx-probe moe graft` makes one of a dense model",
        )
    chosen = {weight.label for layer in layers for weight in layer.weights}
    plan = make_plan(checkpoint, config, only=lambda weight: weight.label in chosen)
    return MixturePlan(plan, layers)
