"""Layers, and single matrices, that hold what another one holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.blocks import Stack, stacks
from mlx_probe.analysis.findings.finding import Finding, Rule, Text
from mlx_probe.analysis.findings.view import RunView
from mlx_probe.analysis.findings.words import count, names_by, ranges

__all__ = ["COPIED_BLOCKS"]


def _find(view: RunView) -> Iterator[Finding]:
    position = {name: row for row, name in enumerate(view.names)}
    # Copies of copies name the first; the table's names carry neither expert nor part.
    source = np.array(
        [-1 if alias is None else position.get(str(alias), -1) for alias in view.texts("alias_of")],
        np.intp,
    )
    if not (source >= 0).any():
        return
    explained: set[int] = set()
    for stack in stacks(view):
        groups = _groups(view, stack, source)
        if groups:
            for at in (at for group in groups for at in group):
                explained.update(map(int, stack.rows[at]))
            yield _blocks(view, stack, groups)
    vocabulary = view.is_vocabulary
    is_matrix = np.isfinite(view.short)
    whole = np.array([part is None for part in view.texts("part")], bool)
    for row in map(int, np.flatnonzero((source >= 0) & is_matrix & whole)):
        if row in explained or (vocabulary[row] and vocabulary[source[row]]):
            continue  # a tied output head is as it should be
        yield _matrix(view, row, int(source[row]))


def _groups(view: RunView, stack: Stack, source: NDArray[np.intp]) -> list[list[int]]:
    """Positions of blocks whose matrices are all the same, the first of each group leading."""
    matrices = stack.of(view.short)
    groups: dict[int, list[int]] = {}
    for at in range(len(stack.layers)):
        keys = np.flatnonzero(np.isfinite(matrices[at]))
        first = [source[stack.rows[at, key]] for key in keys]
        for earlier in range(at):
            same = [
                stack.rows[earlier, key] >= 0
                and origin >= 0
                and origin in (stack.rows[earlier, key], source[stack.rows[earlier, key]])
                for key, origin in zip(keys, first, strict=True)
            ]
            if same and all(same):
                leader = next((k for k, group in groups.items() if earlier in group), earlier)
                groups.setdefault(leader, [leader]).append(at)
                break
    return list(groups.values())


def _blocks(view: RunView, stack: Stack, groups: list[list[int]]) -> Finding:
    largest = max(groups, key=len)
    copies = sum(len(group) - 1 for group in groups)
    layers = [[stack.layers[at] for at in group] for group in groups]
    values = {"layers": ranges(stack.layers[at] for at in largest)}
    if len(groups) == 1:
        text = Text("Layers {layers} hold the same numbers, byte for byte.", values)
    else:
        text = Text(
            "{count} layers are copies of others, byte for byte: layers {layers} are the same, "
            "and {more} more groups are.",
            {"count": count(copies), "more": count(len(groups) - 1), **values},
        )
    rows = np.array([row for at in largest for row in stack.rows[at] if row >= 0], np.intp)
    return Finding(
        "high",
        text,
        names_by(view, rows, np.zeros(len(rows))),
        {"layers": layers, "share": copies / len(stack.layers)},
        Text(
            "Keep them if the model was made deeper by copying and will be trained on; otherwise "
            "the copies were written by mistake."
        ),
        min(1.0, 0.5 + copies / len(stack.layers)),
    )


def _matrix(view: RunView, row: int, source: int) -> Finding:
    return Finding(
        "note",
        Text(
            "{name} holds the same bytes as {source}.",
            {"name": view.names[row], "source": view.names[source]},
        ),
        (view.names[row], view.names[source]),
        {"elements": int(view.numbers("numel")[row])},
        Text("Store it once if the model ties the two; otherwise check how the file was written."),
        0.3,
    )


COPIED_BLOCKS = Rule(
    name="copied_blocks",
    title="Copied blocks",
    about=(
        "all matrices of a layer have the bytes of another layer's; a single matrix that is no "
        "tied output head has those of another one"
    ),
    source="alias_of; Kim et al. 2023, SOLAR, arXiv 2312.15166 (depth up-scaling)",
    find=_find,
)
