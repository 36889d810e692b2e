"""What becomes of each pair: factors, a tensor that is stored whole, or a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.compare.scope import is_matrix
from mlx_probe.lab.extract_lora.mlx_places import mlx_places
from mlx_probe.lab.extract_lora.peft_places import peft_place
from mlx_probe.lab.extract_lora.places import WHOLE, Place, Refusal
from mlx_probe.lab.extract_lora.writing import Carried

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.pair import Pair
    from mlx_probe.analysis.compare.plan import ComparePlan
    from mlx_probe.lab.extract_lora.spool import Spool

__all__ = ["Placing", "place_pairs"]

# Columns of the comparison that the adapter's table has, too.
_MEASURED = (
    *("param_name", "layer_index", "block_type", "component", "expert_index", "rows", "cols"),
    *("change_norm", "norm", "delta_rank_above_rounding"),
)
_NAMES = {"peft": "PEFT", "mlx_lm": "mlx-lm"}


@dataclass(frozen=True)
class Placing:
    """The pairs of a comparison, by their positions; parts of fused matrices are left out.

    Attributes:
        pairs: The pairs.
        measured: Their rows of the comparison.
        places: The module of each changed pair, or why there is none, by layout.
        factored: Pairs whose factors are made.
    """

    pairs: Mapping[int, Pair]
    measured: Mapping[int, Mapping[str, Any]]
    places: Mapping[str, Mapping[int, Place | Refusal]]
    factored: tuple[int, ...]

    def carried(self, layout: str, spool: Spool) -> list[Carried]:
        """What a layout's adapter has, in the order of the base's tensors.

        Args:
            layout: "peft" or "mlx_lm".
            spool: Has the factors.
        """
        made = []
        for index, place in self.places[layout].items():
            pair = self.pairs[index]
            if isinstance(place, Refusal):
                continue
            if place.kind == WHOLE:
                made.append(Carried(index, place, 0, whole=pair.b))
            elif spool.has(index) and (rank := spool.columns(index)["lora_rank"]):
                made.append(Carried(index, place, rank, pair.weight.extents))
        return made

    def rows(self, spool: Spool, failed: Mapping[int, str]) -> list[dict[str, Any]]:
        """One row for each pair, in their order.

        Args:
            spool: Has the factors.
            failed: Why there are none of some pairs.
        """
        return [self._row(index, spool, failed.get(index)) for index in self.pairs]

    def _row(self, index: int, spool: Spool, failed: str | None) -> dict[str, Any]:
        measured = self.measured[index]
        row = {name: measured.get(name) for name in _MEASURED}
        row["param_name"] = row["param_name"] or measured.get("other_name")
        if measured["status"] == "identical":
            return {**row, "status": "identical", "status_reason": None}
        if measured["status"] != "ok":
            reason = f"{measured['status']}: {measured['status_reason']}"
            return {**row, "status": "unknown", "status_reason": reason}
        if failed is not None:
            return {**row, "status": "left_out", "status_reason": failed}
        if spool.has(index):
            row |= {
                name: value for name, value in spool.columns(index).items() if value is not None
            }
        return {**row, **self._outcome(index, row.get("lora_rank"))}

    def _outcome(self, index: int, rank: int | None) -> dict[str, Any]:
        """What each layout has of it, and why one has nothing."""
        outcome: dict[str, Any] = {}
        reasons = []
        for layout, name in _NAMES.items():
            place = self.places[layout][index]
            if isinstance(place, Refusal):
                outcome[layout] = None
                reasons.append(f"{name}: {place.reason}")
            elif place.kind == WHOLE:
                outcome[layout] = "whole"
            else:
                outcome[layout] = "lora" if rank else None
        status = "ok" if any(outcome.values()) else "left_out"
        if not rank and not reasons and status == "left_out":
            reasons.append("the change vanishes in the type of the factors")
        return {**outcome, "status": status, "status_reason": "; ".join(reasons) or None}


def place_pairs(
    plan: ComparePlan, measured: Mapping[int, Mapping[str, Any]], whole: bool
) -> Placing:
    """Find the module of each changed pair in both layouts.

    Args:
        plan: The comparison.
        measured: Its rows by position.
        whole: Whether changed norms are stored whole, where a layout has them.
    """
    pairs = {i: pair for i, pair in enumerate(plan.pairs) if pair.weight.part is None}
    changed = [i for i in pairs if measured[i]["status"] == "ok"]
    mlx = mlx_places(plan.a)
    places: dict[str, dict[int, Place | Refusal]] = {"peft": {}, "mlx_lm": {}}
    for index in changed:
        pair = pairs[index]
        weight = pair.a
        assert weight is not None
        found = peft_place(weight, plan.a, whole and pair.adaption is None)
        if not is_matrix(pair) and not (isinstance(found, Place) and found.kind == WHOLE):
            found = found if isinstance(found, Refusal) else Refusal("it is no matrix of floats")
        places["peft"][index] = found
        places["mlx_lm"][index] = mlx.of(weight)
    factored = tuple(
        index
        for index in changed
        if is_matrix(pairs[index])
        and any(
            isinstance(each[index], Place) and each[index].kind != WHOLE  # type: ignore[union-attr]
            for each in places.values()
        )
    )
    return Placing(pairs, measured, places, factored)
