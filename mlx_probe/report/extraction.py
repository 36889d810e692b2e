"""What an extracted adapter is told by: sentences and lines for terminal and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size

__all__ = [
    "adapter_heads",
    "adapter_lines",
    "changed_text",
    "direction_heads",
    "direction_lines",
    "head_text",
    "notes",
    "token_notes",
]

_NAMES = {"peft": "PEFT", "mlx_lm": "mlx-lm"}
# Below it the share of rounding decides nothing.
_WORTH_SAYING = 1e-3

_Extraction = Mapping[str, Any]


def head_text(extraction: _Extraction) -> str:
    """Matrices, rank and error in one line."""
    return tr(
        "adapter: {matrices} matrices, rank {rank} at most, relative error {error}",
        matrices=f"{extraction['matrices']:,}",
        rank=extraction["rank"],
        error=_figure(extraction["error"]),
    )


def adapter_heads() -> tuple[str, ...]:
    """Titles of `adapter_lines`; the last is text, those between are numbers."""
    return (
        tr("adapter for"),
        tr("tensors"),
        tr("size"),
        tr("error of all changes"),
        tr("folder"),
    )


def adapter_lines(extraction: _Extraction) -> list[tuple[str, ...]]:
    """A line for each layout."""
    lines: list[tuple[str, ...]] = []
    for layout, name in _NAMES.items():
        made = extraction["adapters"].get(layout)
        if made is None:
            lines.append((name, "-", "-", "-", tr("none: see the column status_reason")))
            continue
        tensors, size = f"{made['tensors']:,}", format_size(made["bytes"])
        lines.append((name, tensors, size, _figure(made["error"]), made["folder"]))
    return lines


def notes(extraction: _Extraction) -> list[str]:
    """What to know about the error, and the rank that the difference has."""
    found = []
    share, rank = extraction["rounding_share"], extraction["rank_above_rounding"]
    if share and share > _WORTH_SAYING:
        found.append(
            tr(
                "The rounding of B's file is {share} of the change: no small adapter has it.",
                share=_figure(share),
            )
        )
    if rank is not None and rank != extraction["rank"]:
        found.append(
            tr("The difference is of rank {rank} above rounding: --extract-lora {rank}", rank=rank)
        )
    if extraction["left_out"]:
        count = f"{extraction['left_out']:,}"
        found.append(tr("{count} changed tensors have no place in an adapter.", count=count))
    if extraction["unknown"]:
        count = f"{extraction['unknown']:,}"
        found.append(tr("{count} tensors have no counterpart, and count in no error.", count=count))
    return found


def direction_heads() -> tuple[str, ...]:
    """Titles of `direction_lines`; the first and the last are texts."""
    return (
        tr("tokens along the difference"),
        tr("cosine"),
        tr("by chance"),
        tr("share"),
        tr("tokens"),
    )


def direction_lines(said: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line for each direction that lies along a token."""
    words = {"reads": tr("reads"), "writes": tr("writes")}
    lines: list[tuple[str, ...]] = []
    for each in said["directions"]:
        expert = "" if each["expert"] is None else f"[{each['expert']}]"
        lines.append(
            (
                f"{words[each['side']]} {each['tensor']}{expert}",
                f"{abs(each['tokens'][0]['cosine']):.2f}",
                f"{each['null_cosine']:.2f}",
                f"{each['share']:.0%}",
                _tokens(each["tokens"]),
            )
        )
    return lines


def changed_text(said: Mapping[str, Any]) -> str | None:
    """The tokens whose inputs change most; None without any."""
    if not said["changed"]:
        return None
    texts = "  ".join(f"{_token(each)} {_figure(each['change'])}" for each in said["changed"])
    return tr("tokens whose inputs change most: {tokens}", tokens=texts)


def token_notes(said: Mapping[str, Any]) -> list[str]:
    """Why there are no tokens, or no texts."""
    found = []
    if said["matrices"] and not said["directions"]:
        found.append(tr("No direction of the difference lies along a token more than by chance."))
    if said["reason"]:
        found.append(tr("tokens: {reason}", reason=translated(said["reason"])))
    return found


def _tokens(tokens: Sequence[Mapping[str, Any]]) -> str:
    return "  ".join(map(_token, tokens))


def _token(token: Mapping[str, Any]) -> str:
    """The text of a token in quotation marks, or its number."""
    return repr(token["text"]) if token["text"] else str(token["id"])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
