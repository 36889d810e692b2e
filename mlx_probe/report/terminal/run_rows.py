"""A finished run as `inspect` lists a model: every row, and the totals; from its table alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.fields import architecture_text, pairs_text
from mlx_probe.report.terminal.listing import Heading, Listing
from mlx_probe.report.terminal.plain import one_line
from mlx_probe.report.terminal.text import grid, warning_text
from mlx_probe.runs.sample_line import sample_line

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RUN_COLUMNS", "run_text"]

# Columns that `run_text` looks at; tables of older runs and of comparisons lack some.
RUN_COLUMNS = (
    *("param_name", "other_name", "expert_index", "part", "block_type", "layer_index"),
    *("dtype", "other_dtype", "shape", "other_shape", "numel", "nbytes", "alias_of"),
    *("status", "status_reason"),
)
_FINE = ("ok", "identical", None)

Row = Mapping[str, Any]


def run_text(rows: pa.Table, meta_path: Path, meta: Mapping[str, Any]) -> RenderableType:
    """Every row of a run with role, shape, type, size and status, and what the run is about.

    Args:
        rows: `RUN_COLUMNS` of its table.
        meta_path: Its run_meta.json.
        meta: Its content.
    """
    records = rows.to_pylist()
    statuses = any(row.get("status") not in _FINE for row in records)
    table = Listing(
        (
            Heading(tr("name")),
            Heading(tr("role")),
            Heading(tr("layer"), is_number=True),
            Heading(tr("dtype")),
            Heading(tr("shape")),
            Heading(tr("size"), is_number=True),
            *([Heading(tr("status"))] if statuses else []),
        )
    )
    for row in records:
        cells = (
            one_line(_name(row)),
            one_line(str(row.get("block_type") or "")),
            "" if row.get("layer_index") is None else str(row["layer_index"]),
            one_line(_changed(row.get("dtype"), row.get("other_dtype"))),
            _changed(_shape(row.get("shape")), _shape(row.get("other_shape"))),
            "" if row.get("nbytes") is None else format_size(row["nbytes"]),
            *([one_line(_status(row))] if statuses else []),
        )
        table.rows.append(cells)
    parts: list[RenderableType] = [table, grid(_facts(records, meta_path, meta))]
    unread = _mapping(meta.get("unread")).get("text")
    return Group(*parts, *([warning_text(translated(str(unread)))] if unread else []))


def _facts(records: Sequence[Row], meta_path: Path, meta: Mapping[str, Any]) -> dict[str, str]:
    """What the run is about, and its totals; what an older run did not record is left out."""
    models = meta.get("models") if meta.get("kind") == "compare" else {"": meta.get("model")}
    facts: dict[str, str] = {tr("run"): str(meta_path)}
    for side, model in _mapping(models).items():
        known = _mapping(model)
        of = {name: known.get(name, "") for name in ("id", "revision")}
        name = tr("{model} at {revision}", model=of["id"], revision=of["revision"])
        facts[side.upper() or tr("model")] = name
        if not side:
            facts[tr("path")] = str(known.get("path", ""))
            facts[tr("architecture")] = architecture_text(_mapping(known.get("architecture")))
    statuses = Counter(str(row.get("status")) for row in records)
    counts = enumerated(f"{count} {status}" for status, count in statuses.items())
    facts[tr("rows")] = f"{len(records)} ({counts})" if counts else "0"
    facts[tr("sample")] = sample_line(meta.get("sample"))
    whole = [row for row in records if row.get("part") is None and row.get("alias_of") is None]
    numel = sum(row.get("numel") or 0 for row in whole)
    nbytes = sum(row.get("nbytes") or 0 for row in whole)
    facts[tr("parameters")] = f"{numel:,}"
    if nbytes:
        bits = f"{8 * nbytes / (numel or 1):.2f}"
        facts[tr("size")] = format_size(nbytes) + tr(", {bits} bits a weight", bits=bits)
    facts[tr("settings")] = pairs_text(_mapping(meta.get("configuration")))
    if meta.get("backend"):
        where = {name: meta.get(name, "") for name in ("backend", "device")}
        facts[tr("backend")] = tr("{backend} on {device}", **where)
    facts[tr("made")] = tr(
        "{time} by mlx-probe {version}",
        time=meta.get("created_at", ""),
        version=meta.get("code_version", ""),
    )
    return {name: text for name, text in facts.items() if text}


def _name(row: Row) -> str:
    name = str(row.get("param_name") or row.get("other_name") or "")
    expert = "" if row.get("expert_index") is None else f"[{row['expert_index']}]"
    part = f" ({row['part']})" if row.get("part") else ""
    return f"{name}{expert}{part}"


def _status(row: Row) -> str:
    status, reason = row.get("status"), row.get("status_reason")
    # The line of the sample below says why, for all of them.
    if status in (*_FINE, "unsampled") or not reason:
        return str(status or "")
    return f"{status}: {translated(reason)}"


def _changed(a: str | None, b: str | None) -> str:
    """What A and B have; of an analysis there is only A."""
    known = [text for text in (a, b) if text]
    return " -> ".join(dict.fromkeys(known))


def _shape(shape: Sequence[int] | None) -> str | None:
    return None if shape is None else " x ".join(map(str, shape)) or "scalar"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
