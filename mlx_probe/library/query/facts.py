"""Views of what runs say about themselves: a row for each run, and one for each finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlx_probe.core.records import Column, ColumnType, Row
from mlx_probe.library.query.stored import NamedRun
from mlx_probe.library.query.view import View
from mlx_probe.runs.table.schema import arrow_schema, rows_to_table
from mlx_probe.runs.table.strict_json import encode

__all__ = ["FINDING_COLUMNS", "RUN_COLUMNS", "findings_view", "runs_view"]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "int64": int,
    "float64": (int, float),
    "bool": bool,
    "timestamp": str,
    "list<string>": list,
}


@dataclass(frozen=True)
class _Fact:
    """A column of the view ``runs``: its declaration, and where a run's metadata have it."""

    column: Column
    value: Callable[[NamedRun], Any]


def _fact(
    name: str, type_: ColumnType, description: str, value: Callable[[NamedRun], Any], unit: str = ""
) -> _Fact:
    return _Fact(Column(name, type_, "run", description, unit), value)


def _at(*keys: str) -> Callable[[NamedRun], Any]:
    """Reads a value inside the metadata; None where it is not there."""
    return lambda run: _inside(run.meta, keys)


def _model(*keys: str) -> Callable[[NamedRun], Any]:
    """Reads a value about the run's model; of a comparison, about its model A."""

    def value(run: NamedRun) -> Any:
        first = ("models", "a") if run.kind == "compare" else ("model",)
        return _inside(run.meta, (*first, *keys))

    return value


def _inside(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _count(status: str) -> Callable[[NamedRun], Any]:
    def value(run: NamedRun) -> Any:
        counts = _inside(run.meta, ("rows_by_status",))
        return counts.get(status, 0) if isinstance(counts, Mapping) else None

    return value


def _findings(severity: str) -> Callable[[NamedRun], Any]:
    """How many findings are of a severity; None for a run of a version without findings."""

    def value(run: NamedRun) -> Any:
        known = run.meta.get("findings")
        if not isinstance(known, list):
            return None
        return sum(_inside(finding, ("severity",)) == severity for finding in known)

    return value


def _rows(run: NamedRun) -> Any:
    counts = _inside(run.meta, ("rows_by_status",))
    return sum(counts.values()) if isinstance(counts, Mapping) else None


def _seconds(run: NamedRun) -> Any:
    total = _inside(run.meta, ("total", "seconds"))
    if total is not None:
        return total
    stages = [_inside(run.meta, ("seconds", name)) for name in _STAGES]
    known = [value for value in stages if isinstance(value, (int, float))]
    return sum(known) if known else None


# The phases of a run's time; the other entries of "seconds" are parts of these.
_STAGES = ("open", "measure", "validate", "write")


def _json(key: str) -> Callable[[NamedRun], Any]:
    return lambda run: None if run.meta.get(key) is None else encode(run.meta[key])


RUN_FACTS = (
    _fact("run", "string", "Name of the run, as in the other views.", lambda run: run.name),
    _fact("kind", "string", "analyze or compare.", lambda run: run.kind),
    _fact("model", "string", "The model; A of a comparison.", _model("id")),
    _fact("revision", "string", "Its exact commit or version.", _model("revision")),
    _fact("other_model", "string", "B of a comparison.", _at("models", "b", "id")),
    _fact("other_revision", "string", "B's commit or version.", _at("models", "b", "revision")),
    _fact("framework", "string", "File format of the model.", _model("framework")),
    _fact("model_type", "string", "Architecture.", _model("architecture", "model_type")),
    _fact("layers", "int64", "Blocks of the network.", _model("architecture", "layers")),
    _fact("hidden_size", "int64", "Width.", _model("architecture", "hidden_size")),
    _fact("heads", "int64", "Attention heads.", _model("architecture", "heads")),
    _fact("kv_heads", "int64", "Heads of keys and values.", _model("architecture", "kv_heads")),
    _fact("vocab_size", "int64", "Tokens.", _model("architecture", "vocab_size")),
    _fact("bytes", "int64", "Size of the weights, as stored.", _at("bytes"), "bytes"),
    _fact("rows", "int64", "Rows of the main table.", _rows),
    _fact("rows_ok", "int64", "Rows with all their numbers.", _count("ok")),
    _fact("rows_skipped", "int64", "Rows of weights not understood.", _count("skipped")),
    _fact("rows_failed", "int64", "Rows whose numerics gave up.", _count("failed")),
    _fact("rows_unsampled", "int64", "Rows that a sample leaves out.", _count("unsampled")),
    _fact("passed", "bool", "Whether every check passed.", _at("validation", "passed")),
    _fact("unread", "string", "What has no numbers, and why.", _at("unread", "text")),
    _fact("findings_high", "int64", "Findings of severity high.", _findings("high")),
    _fact("findings_medium", "int64", "Findings of severity medium.", _findings("medium")),
    _fact("findings_note", "int64", "Findings of severity note.", _findings("note")),
    _fact("summary", "string", "The model summary as JSON.", _json("summary")),
    _fact("metrics", "string", "Metric set.", _at("configuration", "metrics")),
    _fact("spectrum", "string", "exact or approx.", _at("configuration", "spectrum")),
    _fact("sample", "string", "What of the model was measured.", _at("sample", "selection")),
    _fact("rank_tol", "float64", "Tolerance of the rank.", _at("configuration", "rank_tol")),
    _fact("seed", "int64", "Seed.", _at("configuration", "seed")),
    _fact("configuration", "string", "All settings as JSON.", _json("configuration")),
    _fact("backend", "string", "Backend.", _at("backend")),
    _fact("device", "string", "Device.", _at("device")),
    _fact("seconds", "float64", "Time of all starts of the run.", _seconds, "seconds"),
    _fact("gbps", "float64", "Mean bandwidth of reading.", _at("mean_gbps"), "GB/s"),
    _fact("peak_memory", "int64", "Of the process.", _at("peak_process_memory"), "bytes"),
    _fact("peak_device_memory", "int64", "Of the device.", _at("peak_device_memory"), "bytes"),
    _fact("created_at", "timestamp", "When it ended, in UTC.", _at("created_at")),
    _fact("code_version", "string", "Version of mlx-probe.", _at("code_version")),
    _fact("folder", "string", "Its folder.", lambda run: str(run.meta_path.parent)),
)
RUN_COLUMNS = tuple(fact.column for fact in RUN_FACTS)

FINDING_COLUMNS = (
    Column("run", "string", "run", "Name of the run, as in the other views."),
    Column("position", "int64", "run", "From 1, the most severe first."),
    Column("severity", "string", "run", "high, medium or note."),
    Column("rule", "string", "run", "The rule that found it."),
    Column("sentence", "string", "run", "The finding in words."),
    Column("rows", "list<string>", "run", "Names of the tensors that it is about."),
    Column("evidence", "string", "run", "The numbers behind it, as JSON."),
    Column("remedy", "string", "run", "What to do."),
)


def runs_view(runs: Sequence[NamedRun]) -> View:
    """One row for each run."""
    return _view(
        [{fact.column.name: fact.value(run) for fact in RUN_FACTS} for run in runs], RUN_COLUMNS
    )


def findings_view(runs: Sequence[NamedRun]) -> View:
    """One row for each finding that a run's metadata have."""
    rows = []
    for run in runs:
        known = run.meta.get("findings")
        for position, finding in enumerate(known if isinstance(known, list) else (), start=1):
            if isinstance(finding, Mapping):
                evidence = finding.get("evidence")
                own = {"run": run.name, "position": position, "evidence": encode(evidence)}
                rows.append({**finding, **own})
    return _view(rows, FINDING_COLUMNS)


def _view(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> View:
    table = rows_to_table(
        (
            Row(i, {column.name: _typed(row.get(column.name), column) for column in columns})
            for i, row in enumerate(rows)
        ),
        columns,
    )
    return View(arrow_schema(columns), lambda: [table])


def _typed(value: Any, column: Column) -> Any:
    """A value of the column's type; None for any other: metadata are a file that anybody wrote."""
    kinds = _TYPES[column.type]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        return None
    if isinstance(value, list):
        return [str(item) for item in value]
    if column.type != "timestamp" or not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
