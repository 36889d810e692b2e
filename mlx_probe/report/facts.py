"""Facts about a run as labelled lines of text, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.core.counts import rows_text
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.fields import architecture_text, pairs_text
from mlx_probe.report.numbers import floats
from mlx_probe.report.run_data import RunData
from mlx_probe.runs.sample_line import sample_line

__all__ = ["model_facts", "run_facts", "title_of"]

Facts = dict[str, str]


def title_of(data: RunData) -> str:
    """The model's name, with its sample if it has one; or both names of a comparison."""
    sides = _compared(data.meta)
    if sides:
        return tr(" against ").join(_name(side) for side in sides)
    name = _name(_mapping(data.meta.get("model")))
    selection = _mapping(data.meta.get("sample")).get("selection")
    return (
        tr("{model} (sample {selection})", model=name, selection=selection) if selection else name
    )


def model_facts(data: RunData) -> Facts:
    """Facts about the model; those that an older run did not record are left out."""
    meta, frame = data.meta, data.frame
    facts: Facts = {}
    for label, side in zip(("A", "B"), _compared(meta), strict=False):
        facts[label] = _described(side)
        facts[tr("{side} is", side=label)] = _is(side)
    model = _mapping(meta.get("model"))
    if not facts:
        facts[tr("model")] = str(model.get("id", ""))
        facts[tr("revision")] = str(model.get("revision", ""))
        facts[tr("path")] = str(model.get("path", ""))
        facts[tr("format")] = _text(model.get("framework"))
        facts[tr("architecture")] = architecture_text(_mapping(model.get("architecture")))
        facts[tr("adapter")] = pairs_text(_mapping(model.get("adapter")))
    facts[tr("tensors")] = _tensors(data)
    facts[tr("sample")] = sample_line(meta.get("sample"))
    facts[tr("incomplete")] = translated(_text(_mapping(meta.get("unread")).get("text")))
    if "numel" in frame:
        whole = frame["part"].isna() if "part" in frame else frame["numel"].notna()
        own = frame["alias_of"].isna() if "alias_of" in frame else whole
        counted = frame.loc[whole & own]
        numel = int(np.nansum(floats(counted, "numel")))
        facts[tr("parameters")] = f"{numel:,}"
        if "nbytes" in frame:
            nbytes = int(np.nansum(floats(counted, "nbytes")))
            bits = ""
            if numel:
                bits = tr(" ({bits} bits a parameter)", bits=f"{8 * nbytes / numel:.2f}")
            facts[tr("bytes")] = f"{nbytes:,}{bits}"
    if "packing" in frame and not data.is_compare:
        counts = frame["packing"].value_counts()
        facts[tr("packing")] = enumerated(f"{name} {n}" for name, n in counts.items())
    facts[tr("backend")] = tr(" on ").join(
        filter(None, map(_text, (meta.get("backend"), meta.get("device"))))
    )
    facts[tr("made")] = _text(meta.get("created_at"))
    return {label: text for label, text in facts.items() if text}


def run_facts(data: RunData) -> Facts:
    """How the run was made: versions, command, settings, memory and time."""
    meta = data.meta
    environment = _mapping(meta.get("environment"))
    seconds, total = _mapping(meta.get("seconds")), _mapping(meta.get("total"))
    facts: Facts = {
        tr("command"): " ".join(map(str, meta.get("command") or ())),
        tr("settings"): pairs_text(_mapping(meta.get("configuration"))),
        tr("backend"): translated(_text(meta.get("backend_reason"))),
        "mlx-probe": _text(meta.get("code_version")),
        tr("python"): _text(environment.get("python")),
        tr("packages"): pairs_text(_mapping(environment.get("packages"))),
        tr("machine"): enumerated(
            filter(None, (_text(environment.get(key)) for key in ("platform", "cpu")))
        ),
        "BLAS": _text(_mapping(environment.get("blas")).get("numpy")),
        tr("seconds"): enumerated(
            f"{name.replace('_', ' ')} {float(s):.2f}" for name, s in seconds.items()
        ),
        tr("fingerprint"): _text(meta.get("fingerprint")),
    }
    for label, key in (
        (tr("peak memory"), "peak_process_memory"),
        (tr("peak device memory"), "peak_device_memory"),
        (tr("read"), "bytes_read"),
    ):
        if isinstance(value := meta.get(key), (int, float)) and value:
            facts[label] = format_size(int(value))
    starts, took, read = (total.get(name) for name in ("starts", "seconds", "bytes_read"))
    if isinstance(starts, int) and starts > 1 and isinstance(took, float) and isinstance(read, int):
        facts[tr("all starts")] = tr(
            "{starts}, {seconds} s, {size} read",
            starts=starts,
            seconds=f"{took:.1f}",
            size=format_size(read),
        )
    return {label: text for label, text in facts.items() if text}


def _tensors(data: RunData) -> str:
    statuses = ""
    if "status" in data.frame:
        counts = data.frame["status"].value_counts()
        statuses = enumerated(f"{n} {status}" for status, n in counts.items())
    rows = rows_text(len(data.frame))
    return tr("{rows} ({statuses})", rows=rows, statuses=statuses) if statuses else rows


def _compared(meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The two checkpoints of a comparison; empty for a run of one model."""
    if meta.get("kind") != "compare":
        return []
    models = _mapping(meta.get("models"))
    return [_mapping(models.get("a")), _mapping(models.get("b"))]


def _name(model: Mapping[str, Any]) -> str:
    return str(model.get("id") or model.get("model_id") or model.get("path") or tr("a model"))


def _described(model: Mapping[str, Any]) -> str:
    revision = model.get("revision")
    if not revision:
        return _name(model)
    return tr("{model} at {revision}", model=_name(model), revision=revision)


def _is(model: Mapping[str, Any]) -> str:
    """Format, architecture and adapter of one side of a comparison."""
    parts = (
        _text(model.get("framework")),
        architecture_text(_mapping(model.get("architecture"))),
        pairs_text(_mapping(model.get("adapter"))),
    )
    return "; ".join(filter(None, parts))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return "" if value is None else str(value)
