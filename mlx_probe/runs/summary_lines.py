"""A finished run in a few lines, from its metadata: for a Python prompt and a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.runs.sample_line import sample_line

__all__ = ["run_facts", "run_findings", "run_line", "run_title"]

_MOST_FINDINGS = 3


def run_title(meta: Mapping[str, Any]) -> str:
    """The model with its revision, or both models of a comparison."""
    models = meta.get("models")
    if isinstance(models, Mapping):
        a, b = (_model(models.get(side)) for side in ("a", "b"))
        return tr("{a} against {b}", a=a, b=b)
    return _model(meta.get("model"))


def _model(described: object) -> str:
    known = described if isinstance(described, Mapping) else {}
    name = str(known.get("id") or known.get("model_id") or known.get("path") or "?")
    revision = known.get("revision")
    if revision in (None, "local"):
        return name
    return tr("{model} at {revision}", model=name, revision=revision)


def run_facts(meta: Mapping[str, Any]) -> dict[str, str]:
    """Rows, checks and settings as texts by label; what an older run did not record is left out.

    Args:
        meta: Content of run_meta.json.
    """
    facts = {
        tr("rows"): _rows(meta),
        tr("sample"): sample_line(meta.get("sample")),
        tr("checks"): _checks(meta),
    }
    unread = meta.get("unread")
    if isinstance(unread, Mapping):
        facts[tr("incomplete")] = translated(str(unread.get("text", "")))
    configuration = meta.get("configuration")
    if isinstance(configuration, Mapping) and "metrics" in configuration:
        facts[tr("metrics")] = str(configuration["metrics"])
    if meta.get("backend"):
        backend, device = str(meta["backend"]), str(meta.get("device", ""))
        facts[tr("backend")] = tr("{backend} on {device}", backend=backend, device=device)
    return {label: text for label, text in facts.items() if text}


def _rows(meta: Mapping[str, Any]) -> str:
    by_status = meta.get("rows_by_status")
    if not isinstance(by_status, Mapping):
        return ""
    each = enumerated(f"{count:,} {status}" for status, count in by_status.items())
    return f"{sum(by_status.values()):,} ({each})"


def _checks(meta: Mapping[str, Any]) -> str:
    validation = meta.get("validation")
    if not isinstance(validation, Mapping):
        return ""
    checks = validation.get("checks", ())
    failed = [str(check["name"]) for check in checks if not check["passed"]]
    if failed:
        return tr("failed: {names}", names=", ".join(map(translated, failed)))
    return tr("all {count} passed", count=len(checks))


def run_findings(meta: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Severity and sentence of the first findings, and how many more there are."""
    findings = meta.get("findings") or []
    shown = [
        (translated(str(finding["severity"])), translated(str(finding["sentence"])))
        for finding in findings[:_MOST_FINDINGS]
    ]
    more = len(findings) - len(shown)
    return [*shown, ("", tr("and {count} more findings", count=more))] if more > 0 else shown


def run_line(meta: Mapping[str, Any]) -> str:
    """Model, rows and checks in one line, and a line for each of the first findings."""
    facts = [f"{label}: {text}" for label, text in run_facts(meta).items()]
    lines = ["; ".join([run_title(meta), *facts])]
    for severity, sentence in run_findings(meta):
        lines.append(f"  {severity}: {sentence}" if severity else f"  {sentence}")
    return "\n".join(lines)
