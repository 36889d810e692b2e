"""The data of a report: a run's rows, side tables, spectra and metadata, read once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare.columns import COLUMNS as COMPARE_COLUMNS
from mlx_probe.analysis.findings import Finding, findings_in, view_of
from mlx_probe.analysis.kinds import KIND_COLUMNS, kind_labels
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.analysis.summary import summary_in
from mlx_probe.core.errors import ResultError
from mlx_probe.core.language import tr
from mlx_probe.core.notebook import card
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS
from mlx_probe.report.numbers import floats
from mlx_probe.runs.load import load_run, locate_run
from mlx_probe.runs.load_side import load_side_table, load_spectra
from mlx_probe.runs.meta import check_kind, columns_from_meta, read_meta
from mlx_probe.runs.summary_lines import run_facts, run_findings, run_line, run_title

__all__ = ["BESIDE", "RunData", "group_labels", "load_run_data", "metric_names"]

# Columns that number layers, experts and heads identify a row; they measure nothing.
_INDEX = "_index"
# What a run has beside its table.
BESIDE = ("sides", "spectra", "findings")
# The report shows the first of these that the run has.
_FIRST = ("relative_change", "nearest_cosine", "stable_rank", "effective_rank", "std")


@dataclass(frozen=True, repr=False)
class RunData:
    """A finished run as a report reads it.

    Attributes:
        frame: One row for each tensor, as `load_run` returns it.
        columns: The run's own columns, with descriptions where this version knows them.
        meta: Run metadata.
        sides: Side tables of the run by their key in `SIDES`; those that it has.
        spectra: Singular values, one row for each matrix; None if the run kept none, or if
            they were not read.
        findings: What is unusual, most severe first; None for a comparison, or if not read.
        summary: As `summary_in` returns it; None for a comparison, or if not read.
    """

    frame: pd.DataFrame
    columns: tuple[Column, ...]
    meta: Mapping[str, Any]
    sides: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    spectra: pd.DataFrame | None = None
    findings: Sequence[Finding] | None = None
    summary: Mapping[str, Any] | None = None

    @property
    def is_compare(self) -> bool:
        """Whether the rows are differences between two checkpoints."""
        return self.meta.get("kind") == "compare"

    def __repr__(self) -> str:
        """Model, rows, checks, what lies beside the table, and the first findings."""
        first, *rest = run_line(self.meta).split("\n")
        head = tr("<RunData of {facts}; {tables}>", facts=first, tables=self._beside())
        return "\n".join([head, *rest])

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        facts = {**run_facts(self.meta), tr("tables"): self._beside()}
        return card(run_title(self.meta), facts, run_findings(self.meta))

    def _beside(self) -> str:
        spectra = 0 if self.spectra is None else len(self.spectra)
        counts = {"params": len(self.frame), "spectra": spectra}
        counts |= {name: len(side) for name, side in self.sides.items()}
        return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)


def load_run_data(run: str | os.PathLike[str], beside: Collection[str] = BESIDE) -> RunData:
    """Everything of a finished run that a report can show.

    Args:
        run: A run folder, its run_meta.json, or one of its tables.
        beside: Which of `BESIDE` to read: a damaged file is in the way only of a view that needs
            it. "findings" are the summary too.

    Raises:
        ResultError: There is no finished run, or its files are damaged.
    """
    try:
        frame = load_run(run)
    except ResultError:
        # Another command has other tables.
        path = locate_run(Path(run))
        check_kind(path, read_meta(path))
        raise
    # Taken out: pandas copies the attributes with every column that is looked at.
    meta = frame.attrs.pop("meta")
    check_kind(Path(run), meta)
    if meta.get("kind") == "compare":
        return RunData(frame, _described(columns_from_meta(meta), COMPARE_COLUMNS), meta)
    columns = _described(columns_from_meta(meta), table_columns([m.column for m in METRICS]))
    wanted = SIDES if "sides" in beside else ()
    sides = {name: load_side_table(run, name) for name in wanted}
    present = {name: side for name, side in sides.items() if side is not None and len(side)}
    view = view_of(run) if "findings" in beside else None
    return RunData(
        frame,
        columns,
        meta,
        present,
        load_spectra(run) if "spectra" in beside else None,
        None if view is None else findings_in(view),
        None if view is None else summary_in(view),
    )


def _described(columns: Sequence[Column], known: Sequence[Column]) -> tuple[Column, ...]:
    """A run's columns with the descriptions that its metadata leaves out."""
    by_name = {column.name: column for column in known}
    return tuple(by_name.get(column.name, column) for column in columns)


def group_labels(frame: pd.DataFrame, column: str = "block_type") -> list[str]:
    """The group whose members are comparable.

    Args:
        frame: Rows with that column.
        column: What rows are grouped by.

    Returns:
        A label for each row; see `kind_labels` for block types.
    """
    if column != "block_type":
        return [str(value) for value in frame[column].fillna("other")]
    present = [name for name in KIND_COLUMNS if name in frame]
    return kind_labels(
        {name: [None if pd.isna(value) else value for value in frame[name]] for name in present}
    )


def metric_names(frame: pd.DataFrame) -> list[str]:
    """Columns of numbers in which at least one row has one, those to show first leading.

    Columns that number something (``layer_index``) are left out.
    """
    numeric = [
        name
        for name in frame.columns
        if pd.api.types.is_numeric_dtype(frame[name]) and not name.endswith(_INDEX)
    ]
    filled = [name for name in numeric if not np.isnan(floats(frame, name)).all()]
    return _leading(filled, _FIRST)


def _leading(names: Sequence[str], first: Sequence[str]) -> list[str]:
    """Names with the first of ``first`` that is among them moved to the front."""
    for name in first:
        if name in names:
            return [name, *(other for other in names if other != name)]
    return list(names)
