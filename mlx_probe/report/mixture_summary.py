"""A mixture in words: how even its loads are, which experts do nothing or repeat others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.report.mixture_data import EXPERT, MixtureData
from mlx_probe.report.numbers import floats

__all__ = ["mixture_sentences"]

# Experts that one sentence names, and tokens that are named of one of them.
_NAMED, _TOKENS = 5, 4
# A Gini coefficient of the loads below which they are called even, and above which uneven.
_EVEN, _UNEVEN = 0.2, 0.5
# Coefficients that differ less are written with the same digits.
_ALIKE = 0.005
# A share of the tokens above which an expert works on most of them.
_MOST = 0.5
# Bits of divergence above which an expert has a specialty, and tokens that it needs for that.
_SPECIAL, _ENOUGH = 0.1, 20


def mixture_sentences(data: MixtureData) -> list[str]:
    """What the tables of `moe stats` say, in the reader's language; at most twelve sentences."""
    return [*_shape(data), *_loads(data), *_weights(data), *_router(data), *_liked(data)]


def _shape(data: MixtureData) -> list[str]:
    layers, active = data.layers, _known(data.layers, "active")
    said = [
        tr(
            "{layers} layers have a mixture of experts, {experts} in all, {each} in a layer.",
            layers=len(layers),
            experts=f"{len(data.experts):,}",
            each=_range(floats(layers, "experts")) if "experts" in layers else data.count,
        )
    ]
    used = _known(layers, "mean_active")
    if len(used):
        said.append(
            tr(
                "A token of the text, of {tokens} that were read, uses {active} experts of a "
                "layer.",
                tokens=f"{data.tokens or 0:,}",
                active=_range(used),
            )
        )
    elif len(active):
        said.append(
            tr(
                "A token uses {active} experts of a layer. The mixture was not run: give --data "
                "for what its experts do.",
                active=_range(active),
            )
        )
    return said


def _loads(data: MixtureData) -> list[str]:
    layers, experts = data.layers, data.experts
    gini = _known(layers, "load_gini")
    if not len(gini):
        return []
    values = floats(layers, "load_gini")
    middle = float(np.median(gini))
    least, most = int(np.nanargmin(values)), int(np.nanargmax(values))
    even = tr("even") if middle < _EVEN else tr("uneven") if middle > _UNEVEN else tr("fairly even")
    if values[most] - values[least] < _ALIKE:
        text = tr(
            "The loads are {even}: their Gini coefficient is {middle} in every layer.",
            even=even,
            middle=f"{middle:.2f}",
        )
    else:
        text = tr(
            "The loads are {even}: their Gini coefficient is {middle} in the median layer, from "
            "{low} (layer {least}) to {high} (layer {most}).",
            even=even,
            middle=f"{middle:.2f}",
            low=f"{values[least]:.2f}",
            least=data.labels[least],
            high=f"{values[most]:.2f}",
            most=data.labels[most],
        )
    said = [text]
    effective = _known(layers, "effective_experts")
    if len(effective):
        said[0] += " " + tr(
            "The median layer works as {effective} equally loaded experts would.",
            effective=f"{np.median(effective):.1f}",
        )
    assigned = floats(experts, "assignments")
    unused = np.flatnonzero(assigned == 0)
    said.append(
        tr(
            "Experts that no token of this text went to: {count} ({names}).",
            count=len(unused),
            names=_names(data, unused),
        )
        if len(unused)
        else tr("Every expert got tokens of this text.")
    )
    share = assigned / (data.tokens or np.nan)
    busy = np.flatnonzero(share > _MOST)
    active, count = _known(layers, "mean_active"), data.count
    # Where a token uses most experts anyway, this says nothing.
    if len(busy) and len(active) and active.max() < _MOST * count:
        order = busy[np.argsort(-share[busy], kind="stable")]
        said.append(
            tr(
                "Experts that work on more than half of the tokens: {count} ({names}).",
                count=len(busy),
                names=_names(data, order, [f"{share[row]:.0%}" for row in order]),
            )
        )
    return said


def _weights(data: MixtureData) -> list[str]:
    """Dead, copied and merged experts, by their weights."""
    experts = data.experts
    if "dead" not in experts or experts["dead"].isna().all():
        return []
    said = []
    dead = np.flatnonzero(floats(experts, "dead") == 1)
    if len(dead):
        said.append(
            tr(
                "Experts whose weights do next to nothing: {count} ({names}).",
                count=len(dead),
                names=_names(data, dead),
            )
        )
    copies = _filled(experts, "copy_of")
    if len(copies):
        of = [
            tr("as expert {expert}", expert=int(value))
            for value in floats(experts, "copy_of")[copies]
        ]
        said.append(
            tr(
                "Experts that copy an earlier one of their layer: {count} ({names}).",
                count=len(copies),
                names=_names(data, copies, of),
            )
        )
    merged = _filled(experts, "merged_first")
    if len(merged):
        pairs = zip(
            floats(experts, "merged_first")[merged],
            floats(experts, "merged_second")[merged],
            strict=True,
        )
        said.append(
            tr(
                "Experts that are merged from two others: {count} ({names}).",
                count=len(merged),
                names=_names(data, merged, [f"{int(a)} + {int(b)}" for a, b in pairs]),
            )
        )
    if not said:
        said.append(tr("No expert is dead by its weights, a copy, or merged from two others."))
    return said


def _router(data: MixtureData) -> list[str]:
    layers, experts = data.layers, data.experts
    said = []
    preferred = _filled(layers, "preferred_expert")
    if len(preferred):
        values = floats(layers, "preferred_expert")
        names = [
            tr("layer {layer} expert {expert}", layer=data.labels[at], expert=int(values[at]))
            for at in preferred
        ]
        said.append(
            tr(
                "Experts whose row in the router is more than twice as long as usual: {count} "
                "({names}).",
                count=len(preferred),
                names=_bounded(names),
            )
        )
    for column, text in (
        (
            "always_chosen",
            tr("Experts that the router always chooses, by its weights: {count} ({names})."),
        ),
        (
            "never_chosen",
            tr("Experts that the router never chooses, by its weights: {count} ({names})."),
        ),
    ):
        if column not in experts:
            continue
        rows = np.flatnonzero(floats(experts, column) == 1)
        if len(rows):
            said.append(text.format(count=len(rows), names=_names(data, rows)))
    margin = _known(layers, "router_margin")
    if len(margin):
        said.append(
            tr(
                "The last chosen expert leads the next one by a score of {margin} in the median "
                "layer.",
                margin=f"{np.median(margin):.3g}",
            )
        )
    return said


def _liked(data: MixtureData) -> list[str]:
    """What the experts with the clearest specialty like."""
    experts = data.experts
    if "liked_tokens" not in experts or "type_divergence" not in experts:
        return []
    divergence = floats(experts, "type_divergence")
    enough = floats(experts, "assignments") >= _ENOUGH
    has = experts["liked_tokens"].map(lambda liked: liked is not None and len(liked) > 0)
    rows = np.flatnonzero((divergence > _SPECIAL) & enough & has.to_numpy(bool))
    if not len(rows):
        return [tr("No expert has a clear specialty among the types of tokens.")]
    rows = rows[np.argsort(-divergence[rows], kind="stable")]
    liked = experts["liked_tokens"]
    said = [
        ": ".join(
            [
                _name(data, row),
                " ".join(f"“{_visible(text)}”" for text in list(liked[row])[:_TOKENS]),
            ]
        )
        for row in rows[:3]
    ]
    return [
        tr(
            "Experts with a specialty among the types of tokens: {count}. The clearest ones get "
            "these tokens more than others do: {names}.",
            count=len(rows),
            names="; ".join(said),
        )
    ]


def _visible(token: str) -> str:
    return token.replace("\n", "↵").replace("\t", "⇥")


def _known(frame: pd.DataFrame, name: str) -> np.ndarray:
    """The numbers of a column; none without it."""
    if name not in frame:
        return np.empty(0)
    values = floats(frame, name)
    return values[np.isfinite(values)]


def _filled(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Rows that have a number."""
    return np.flatnonzero(np.isfinite(floats(frame, name))) if name in frame else np.empty(0, int)


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3g}" if low == high else f"{low:.3g}-{high:.3g}"


def _name(data: MixtureData, row: int) -> str:
    return tr(
        "layer {layer} expert {expert}",
        layer=data.labels[data.places[row]],
        expert=int(data.experts[EXPERT][row]),
    )


def _names(data: MixtureData, rows: Iterable[int], notes: Sequence[str] = ()) -> str:
    names = [_name(data, row) for row in list(rows)[:_NAMED]]
    shown = [f"{name}: {note}" for name, note in zip(names, notes, strict=False)] or names
    left = len(list(rows)) - len(shown)
    return enumerated(shown) + (tr(" and {count} more", count=left) if left > 0 else "")


def _bounded(names: Sequence[str]) -> str:
    left = len(names) - _NAMED
    return enumerated(names[:_NAMED]) + (tr(" and {count} more", count=left) if left > 0 else "")
