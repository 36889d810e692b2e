"""Runs that measure: analyze, compare, moe stats, moe signals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.runs.experiments.records import Input
from mlx_probe.runs.experiments.values import input_of, mapping, number, numbers, place_of, text

__all__ = [
    "model",
    "model_and_text",
    "models",
    "of_analysis",
    "of_comparison",
    "of_experts",
    "of_signals",
]

_Meta = Mapping[str, Any]


def model(folder: Path, meta: _Meta) -> tuple[Input, ...]:
    """The model that was measured, and the text that it read, if any."""
    data = mapping(meta.get("configuration")).get("data")
    return (*input_of("model", meta.get("model")), *_text(data, meta))


def model_and_text(folder: Path, meta: _Meta) -> tuple[Input, ...]:
    """The model, and the text that it read."""
    return (*input_of("model", meta.get("model")), *_text(meta.get("data"), meta))


def _text(source: object, meta: _Meta) -> tuple[Input, ...]:
    return input_of("data", text(source), path=place_of(source, meta))


def models(folder: Path, meta: _Meta) -> tuple[Input, ...]:
    """The first model of a comparison is the base."""
    two = mapping(meta.get("models"))
    return (*input_of("base", two.get("a")), *input_of("model", two.get("b")))


def of_analysis(meta: _Meta) -> dict[str, float]:
    """Rows, findings, and the numbers of the summary: means over the matrices."""
    summary = dict(mapping(meta.get("summary")))
    parameters = mapping(summary.pop("parameters", None)).get("total")
    known = {"parameters": number(parameters), "bytes": number(meta.get("bytes"))}
    findings = meta.get("findings")
    if isinstance(findings, list):
        known["findings"] = float(len(findings))
    return {**_rows(meta), **_known(known), **numbers(summary)}


def of_comparison(meta: _Meta) -> dict[str, float]:
    """Rows by outcome, by the way in which pairs were found, and an extracted adapter."""
    adapter = numbers(mapping(meta.get("extraction")), "adapter_")
    return {**_rows(meta), **numbers(mapping(meta.get("rows_by_match")), "matched_by_"), **adapter}


def of_experts(meta: _Meta) -> dict[str, float]:
    """Rows by outcome, and what was found."""
    return {**_rows(meta), **_known({"tokens": number(meta.get("tokens"))})}


def of_signals(meta: _Meta) -> dict[str, float]:
    """Means over the windows, and the integrity."""
    means = {name: number(meta.get(name)) for name in ("loss", "entropy", "grad_norm", "tokens")}
    integrity = mapping(meta.get("integrity"))
    names = ("mean", "variance", "integral")
    return {
        **_known(means),
        **_known({f"integrity_{name}": number(integrity.get(name)) for name in names}),
    }


def _rows(meta: _Meta) -> dict[str, float]:
    by_status = numbers(mapping(meta.get("rows_by_status")))
    if not by_status:
        return {}
    return {
        "rows": sum(by_status.values()),
        **{f"rows_{status}": count for status, count in by_status.items()},
    }


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
