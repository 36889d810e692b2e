"""Layers that are alike, as text: the verdict first, then each finding, then the map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.plain import plain
from mlx_probe.report.terminal.wrapping import cells, wrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlx_probe.analysis.similar_layers import SimilarLayers

__all__ = ["influence_rows", "influence_text", "map_lines", "similar_text", "verdict"]

# Cosines from which on a cell has its character, and the characters.
STEPS = (0.05, 0.2, 0.5, 0.8, 0.99)
_INK, _PLAIN_INK = " ·░▒▓█", " .:+#@"
# Layers of a map that fit beside their numbers in 80 columns.
MOST = 70
# Findings that are said of each kind; --json has all.
_FINDINGS = 30
# Lengths of runs of layers that are said.
_TOGETHER = (1, 2, 4, 8, 16)
# Ranges of layers that are read without a map.
_RANGES = 3


def verdict(result: SimilarLayers) -> str:
    """What it comes to, in one sentence."""
    copies = {each.kind for each in result.findings}
    count, name = len(result.blocks), result.names.models[0]
    if not copies:
        nearest = result.nearest()
        if nearest is None:
            return tr("{model}: no two layers of one kind to compare.", model=name)
        return tr(
            "{model}: no layer of {count} copies another. The most alike are {first} and "
            "{second}, mean cosine {cosine}; copies have at least {threshold}.",
            model=name,
            count=count,
            first=nearest[0].layer,
            second=nearest[1].layer,
            cosine=f"{nearest[2]:.3f}",
            threshold=f"{result.names.threshold:.2g}",
        )
    layers = {layer for each in result.findings if each.kind in _OWN for layer in each.layers}
    if layers:
        return tr(
            "{model}: {some} of {count} layers copy, mix or reorder others.",
            model=name,
            some=len(layers),
            count=count,
        )
    origins = sum(len(each.layers) for each in result.findings if each.kind == "origin")
    return tr(
        "{model}: {some} of {count} layers come from the other models.",
        model=name,
        some=origins,
        count=count,
    )


_OWN = ("exact_copy", "near_copy", "permuted_copy", "average", "moved", "repeated")


def similar_text(result: SimilarLayers, width: int, encoding: str, influence: bool = False) -> str:
    """The result for a terminal.

    Args:
        result: What was compared.
        width: Characters of a line.
        encoding: Of the terminal; if it lacks block characters, ASCII ones are used.
        influence: Whether activations follow, so that nothing needs to be said of them.
    """
    width = min(width, 100)
    lines = wrapped(plain(verdict(result)), width)
    for finding in result.findings[:_FINDINGS]:
        lines += _indented(finding.sentence.shown, width)
    left = len(result.findings) - _FINDINGS
    if left > 0:
        lines.append(tr("  and {count} more: --json prints all", count=left))
    for model, name in enumerate(result.names.models):
        if _is_telling(result, model):
            lines += _map(result, model, name, width, encoding)
    for each in result.unread[:3]:
        text = tr("not compared: layer {layer}, {part}", layer=each.place.layer, part=each.name)
        lines += _indented(f"{text}: {translated(each.reason)}", width)
    if len(result.unread) > 3:
        lines.append(tr("  and {count} more: --json prints all", count=len(result.unread) - 3))
    for part, reason in result.unordered.items():
        text = tr("compared in the stored order only: {part}", part=part)
        lines += _indented(f"{text}: {translated(reason)}", width)
    if not influence:
        lines += wrapped(
            tr(
                "Weights do not say whether a layer may be removed: that needs activations. "
                "--with-activations measures them on a text."
            ),
            width,
        )
    return "\n".join(lines)


def influence_rows(activations: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Heads, and a row for each layer: influence, interval, and the loss without it.

    Args:
        activations: `BlockInfluence.as_json`.
    """
    layers = activations["influence"]
    removed = layers[0]["loss_without"] is not None
    heads = [tr("layer"), tr("influence"), tr("± 95 %")]
    heads += [tr("loss without it"), tr("difference")] if removed else []
    rows = [tuple(heads)]
    for each in layers:
        error = "" if each["error"] is None else f"{each['error']:.4f}"
        texts = [str(each["layer"]), f"{each['influence']:.4f}", error]
        if removed:
            more = each["loss_without"] - activations["loss"]
            texts += [f"{each['loss_without']:.4f}", f"{more:+.4f}"]
        rows.append(tuple(texts))
    return rows


def influence_text(activations: Mapping[str, Any], width: int) -> str:
    """Block influence for a terminal.

    Args:
        activations: `BlockInfluence.as_json`.
        width: Characters of a line.
    """
    width = min(width, 100)
    lines = wrapped(
        tr(
            "Block influence on {tokens} tokens of {text} (loss {loss}): 1 minus the cosine of the "
            "residual stream before and behind a layer. A layer with little of it changes the "
            "stream little on this text.",
            tokens=f"{activations['tokens']:,}",
            text=plain(str(activations["text"])),
            loss=f"{activations['loss']:.4f}",
        ),
        width,
    )
    rows = influence_rows(activations)
    widths = [max(cells(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        padded = (" " * (w - cells(cell)) + cell for w, cell in zip(widths, row, strict=True))
        lines.append(f"  {'  '.join(padded)}".rstrip())
    lines.append(tr("consecutive layers with the least angle between what goes in and comes out:"))
    total = len(activations["influence"])
    for each in activations["angular"]:
        if each["layers"] in _TOGETHER and each["layers"] < total:
            first, last = each["first"], each["first"] + each["layers"] - 1
            lines.append(
                tr(
                    "  {count} in a row: {first} to {last}, {distance} of half a turn",
                    count=each["layers"],
                    first=first,
                    last=last,
                    distance=f"{each['distance']:.4f}",
                )
            )
    return "\n".join(lines)


def _indented(text: str, width: int) -> list[str]:
    first, *others = wrapped(plain(text), width - 4)
    return [f"  - {first}", *(f"    {line}" for line in others)]


def _is_telling(result: SimilarLayers, model: int) -> bool:
    """Whether a map shows what a few sentences do not."""
    if model:
        origins = [each for each in result.findings if each.kind == "origin"]
        return len(origins) > _RANGES
    values = result.map_of(0)
    return bool((values[~np.eye(len(values), dtype=bool)] >= STEPS[1]).any())


def _map(result: SimilarLayers, model: int, name: str, width: int, encoding: str) -> Iterator[str]:
    values = result.map_of(model)
    if values.shape[1] > min(MOST, width - 8):
        return
    columns = [place.layer for place in result.places_of(model)]
    yield ""
    yield (
        tr("mean cosine of the matrices of two layers")
        if model == 0
        else plain(tr("layers (down) against those of {model} (across)", model=name))
    )
    yield from map_lines(values, [place.layer for place in result.blocks], columns, encoding)
    ink = _ink(encoding)
    yield "    " + "  ".join(f"{ink[at + 1]} {step:g}" for at, step in enumerate(STEPS))


def map_lines(
    values: NDArray[np.float64], rows: Sequence[int], columns: Sequence[int], encoding: str
) -> Iterator[str]:
    """A character for each pair of layers, more ink for more alike ones.

    Args:
        values: Cosines, (rows, columns).
        rows: Numbers of the layers downwards.
        columns: Numbers of the layers across.
        encoding: Of the terminal.
    """
    ink = _ink(encoding)
    marks = [" "] * len(columns)
    for at, number in enumerate(columns):
        if number % 10 == 0:
            text = str(number)
            marks[at : at + len(text)] = list(text)
    yield "    " + "".join(marks[: len(columns) + 2])
    for number, line in zip(rows, values, strict=True):
        drawn = "".join(ink[sum(value >= step for step in STEPS)] for value in line)
        yield f"{number:>3} {drawn}".rstrip()


def _ink(encoding: str) -> str:
    try:
        _INK.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return _PLAIN_INK
    return _INK
