"""Tokens that the extracted directions read and write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.analysis.low_rank.stream_places import side_of, stream_of
from mlx_probe.analysis.low_rank.tokens import (
    DIRECTIONS,
    Direction,
    TokenView,
    described,
    read_and_written,
)
from mlx_probe.checkpoint.vocabulary import read_tokens
from mlx_probe.lab.extract_lora.places import Place

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.plan import ComparePlan
    from mlx_probe.lab.extract_lora.placing import Placing
    from mlx_probe.lab.extract_lora.spool import Spool
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["token_rows"]

# Matrices that are looked at, by relative change, and the least share of the largest one.
_MOST, _SIZEABLE = 64, 0.1
# Directions that the summary has.
_SHOWN = 12


def token_rows(
    plan: ComparePlan, placing: Placing, spool: Spool, meter: UsageMeter
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the table of tokens, and what the metadata say of them.

    Args:
        plan: The comparison.
        placing: What became of each pair.
        spool: Has the factors.
        meter: Counts what is read.

    Returns:
        No rows, and the reason, for a model whose tokens are not known.
    """
    stream = stream_of(plan.a)
    if isinstance(stream, str):
        return [], {"reason": stream, "directions": [], "changed": [], "matrices": 0}
    directions = _directions(placing, spool, stream.embedding.cols or 0)
    texts = read_tokens(plan.a.files)
    view = read_and_written(directions, stream, meter)
    rows = [dict(described(match, texts)) for match in view.matches]
    reason = None if texts else "the model has no tokenizer: tokens are numbers"
    return rows, {
        "reason": reason if directions else "no matrix of the difference is on the stream",
        "matrices": len({each.weight.label for each in directions}),
        "directions": _strongest(rows),
        "changed": _changed(view, texts),
    }


def _directions(placing: Placing, spool: Spool, width: int) -> list[Direction]:
    """The leading directions of the matrices that changed most, in the order of the tensors."""
    chosen = []
    for index in placing.factored:
        weight = placing.pairs[index].weight
        side = side_of(weight)
        if side is None or not spool.has(index):
            continue
        columns = spool.columns(index)
        turned = _is_turned(placing, index)
        on_stream = weight.extents[1 if (side == "reads") != turned else 0]
        if columns["lora_rank"] and columns["norm"] and on_stream == width:
            chosen.append((columns["change_norm"] / columns["norm"], index, side, turned))
    largest = max((change for change, *_ in chosen), default=0.0)
    kept = sorted(chosen, key=lambda each: (-each[0], each[1]))[:_MOST]
    found = []
    for change, index, side, turned in sorted(kept, key=lambda each: each[1]):
        if change < _SIZEABLE * largest:
            continue
        weight, columns = placing.pairs[index].weight, spool.columns(index)
        left, right = (spool.factor(index, name).astype(float) for name in ("left", "right"))
        vectors = right if (side == "reads") != turned else left.T
        others = left.T if vectors is right else right
        # Both factors have the root of the singular values.
        sigma = np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)
        usual = columns["norm"] / np.sqrt(width)
        for k in range(min(DIRECTIONS, len(sigma))):
            unit = vectors[k] / np.linalg.norm(vectors[k])
            share = float(sigma[k] / columns["change_norm"]) ** 2
            size = float(sigma[k] / usual)
            found.append(Direction(weight, side, k + 1, min(share, 1.0), size, unit))
    return found


def _is_turned(placing: Placing, index: int) -> bool:
    places = (each[index] for each in placing.places.values())
    return any(isinstance(place, Place) and place.transposed for place in places)


def _strongest(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Directions with a token above chance, those that exceed it most first."""
    grouped: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if abs(row["token_cosine"]) > row["null_cosine"]:
            names = ("param_name", "expert_index", "token_side", "direction", "sign")
            grouped.setdefault(tuple(row[name] for name in names), []).append(row)
    best = sorted(
        grouped.values(), key=lambda each: -abs(each[0]["token_cosine"]) / each[0]["null_cosine"]
    )
    return [
        {
            "tensor": each[0]["param_name"],
            "expert": each[0]["expert_index"],
            "side": each[0]["token_side"],
            "direction": each[0]["direction"],
            "share": each[0]["direction_share"],
            "null_cosine": each[0]["null_cosine"],
            "tokens": [
                {"id": row["token_id"], "text": row["token"], "cosine": row["token_cosine"]}
                for row in each
            ],
        }
        for each in best[:_SHOWN]
    ]


def _changed(view: TokenView, texts: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "id": each.token,
            "text": texts[each.token] if each.token < len(texts) else None,
            "change": each.change,
        }
        for each in view.changed
    ]
