"""An extracted adapter as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import printable

__all__ = ["extraction_text"]

_NAMES = {"peft": "PEFT", "mlx_lm": "mlx-lm"}
# Below it the share of rounding decides nothing.
_WORTH_SAYING = 1e-3


def extraction_text(extraction: Mapping[str, Any]) -> RenderableType:
    """Rank and error of an adapter, and where it is.

    Args:
        extraction: The metadata's key of that name.
    """
    parts: list[RenderableType] = [
        tr(
            "adapter: {matrices} matrices, rank {rank} at most, relative error {error}",
            matrices=f"{extraction['matrices']:,}",
            rank=extraction["rank"],
            error=_figure(extraction["error"]),
        )
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(tr("adapter for"))
    for name in (tr("tensors"), tr("size"), tr("error of all changes")):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(tr("folder"), overflow="fold")
    for layout, name in _NAMES.items():
        made = extraction["adapters"].get(layout)
        if made is None:
            table.add_row(name, "-", "-", "-", tr("none: see the column status_reason"))
            continue
        error = _figure(made["error"])
        size, folder = format_size(made["bytes"]), printable(made["folder"])
        table.add_row(name, f"{made['tensors']:,}", size, error, folder)
    parts.append(table)
    return Group(*parts, *_notes(extraction), *_tokens(extraction["tokens"]))


def _tokens(said: Mapping[str, Any]) -> list[RenderableType]:
    """The directions that lie along a token, and the tokens that change most."""
    parts: list[RenderableType] = []
    if said["directions"]:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column(tr("tokens along the difference"), overflow="fold")
        for name in (tr("cosine"), tr("by chance"), tr("share")):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column(tr("tokens"), overflow="fold")
        words = {"reads": tr("reads"), "writes": tr("writes")}
        for each in said["directions"]:
            expert = "" if each["expert"] is None else f"[{each['expert']}]"
            what = f"{words[each['side']]} {each['tensor']}{expert}"
            first = f"{abs(each['tokens'][0]['cosine']):.2f}"
            null, share = f"{each['null_cosine']:.2f}", f"{each['share']:.0%}"
            texts = "  ".join(_token(token) for token in each["tokens"])
            table.add_row(printable(what), first, null, share, printable(texts))
        parts.append(table)
    elif said["matrices"]:
        parts.append(tr("No direction of the difference lies along a token more than by chance."))
    if said["changed"]:
        texts = "  ".join(f"{_token(t)} {_figure(t['change'])}" for t in said["changed"])
        parts.append(printable(tr("tokens whose inputs change most: {tokens}", tokens=texts)))
    if said["reason"]:
        parts.append(tr("tokens: {reason}", reason=translated(said["reason"])))
    return parts


def _token(token: Mapping[str, Any]) -> str:
    """The text of a token in quotation marks, or its number."""
    return repr(token["text"]) if token["text"] else str(token["id"])


def _notes(extraction: Mapping[str, Any]) -> list[str]:
    notes = []
    share, rank = extraction["rounding_share"], extraction["rank_above_rounding"]
    if share and share > _WORTH_SAYING:
        notes.append(
            tr(
                "The rounding of B's file is {share} of the change: no small adapter has it.",
                share=_figure(share),
            )
        )
    if rank is not None and rank != extraction["rank"]:
        notes.append(
            tr("The difference is of rank {rank} above rounding: --extract-lora {rank}", rank=rank)
        )
    if extraction["left_out"]:
        count = f"{extraction['left_out']:,}"
        notes.append(tr("{count} changed tensors have no place in an adapter.", count=count))
    if extraction["unknown"]:
        count = f"{extraction['unknown']:,}"
        notes.append(tr("{count} tensors have no counterpart, and count in no error.", count=count))
    return notes


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
