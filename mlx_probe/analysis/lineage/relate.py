"""How two models are related: measure, decide, say how sure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.lineage.calibration import load_calibration
from mlx_probe.analysis.lineage.decide import decide
from mlx_probe.analysis.lineage.describe import evidence_of
from mlx_probe.analysis.lineage.measure import measure_pair
from mlx_probe.analysis.lineage.records import Relation
from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.decide import Decision
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint
    from mlx_probe.analysis.lineage.measure import PairNumbers

__all__ = ["relate"]

_SURE = 0.5


def relate(a: Fingerprint, b: Fingerprint) -> Relation:
    """Say how B is related to A.

    Args:
        a: The first model, by `read_fingerprint`.
        b: The second one, with the same settings.

    Raises:
        ConfigError: They were sampled with different settings.
    """
    if a.settings != b.settings:
        raise ConfigError(
            f"{a.model} and {b.model} were sampled with different settings", "Sample them alike"
        )
    numbers = measure_pair(a, b)
    known = load_calibration()
    related = known.probability_related(numbers.similarity)
    relation = Relation(
        a=a.model,
        b=b.model,
        relation="unrelated",
        probability=1 - related,
        related=related,
        evidence=evidence_of(a, b, numbers),
        sample=_sample(a, b, numbers),
        numbers={"similarity": numbers.similarity, **_difference(numbers)},
    )
    if related < _SURE:
        return relation
    decision = _with_card(a, b, decide(a, b, numbers))
    probability = related * known.probability_of(decision.rule)
    if decision.rule == "same":
        # Equal bytes are equal models; of a sample, what was not read may differ.
        whole = a.complete and b.complete and not a.left_out and not b.left_out
        probability = related = 1.0 if whole else related
    return replace(
        relation,
        relation=decision.relation,
        probability=probability,
        related=related,
        parent=decision.parent,
        reason=decision.reason,
        note=decision.note,
        rule=decision.rule,
    )


def _difference(numbers: PairNumbers) -> dict[str, float]:
    """Median over the matrices of the norm of B - A over that of A."""
    known = [each.difference for each in numbers.elements]
    return {"difference": float(np.median(known))} if known else {}


def _with_card(a: Fingerprint, b: Fingerprint, decision: Decision) -> Decision:
    """The parent by the model cards, where the weights do not tell."""
    if decision.parent is not None or decision.relation == "same":
        return decision
    ours, theirs = (f"{model.model}".lower() for model in (a, b))
    if ours in b.bases and theirs not in a.bases:
        return replace(decision, parent="a", reason="the model card of B names A as its base")
    if theirs in a.bases and ours not in b.bases:
        return replace(decision, parent="b", reason="the model card of A names B as its base")
    return decision


def _sample(a: Fingerprint, b: Fingerprint, numbers: PairNumbers) -> dict[str, object]:
    matrices = numbers.matching.matrices
    return {
        "matrices": len(matrices),
        "elements": sum(pair.x.size for pair in matrices),
        "left_out": [len(a.left_out), len(b.left_out)],
        "read_bytes": [a.read_bytes, b.read_bytes],
        "fetched_bytes": [a.fetched_bytes, b.fetched_bytes],
        "model_bytes": [a.total_bytes, b.total_bytes],
    }
