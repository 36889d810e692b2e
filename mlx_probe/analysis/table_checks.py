"""Checks that a table is complete, has the right types, and is mathematically possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.records import Column, Status
from mlx_probe.metrics import METRICS
from mlx_probe.runs.check import Check
from mlx_probe.runs.table.arrays import null_mask, to_floats
from mlx_probe.runs.table.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_declared", "no_failures", "validate_table"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_QUANTILES = ("q001", "q01", "q50", "q99", "q999")
# Tolerance for rounding where mathematics allows equality.
_SLACK = 1e-9


def validate_table(
    table: pa.Table,
    columns: Sequence[Column],
    expected_rows: int | None,
    expected_names: Sequence[str] | None = None,
) -> list[Check]:
    """Check a table against its columns and against mathematics.

    Args:
        table: The table to check.
        columns: The columns that it should have, in order.
        expected_rows: How many rows it should have; None if that is not known.
        expected_names: ``param_name`` of every row in file order; None checks only that the
            experts of a tensor follow each other.

    Returns:
        The checks; only the first two if the columns are wrong, because the others need them.
    """
    checks = [_check_rows(table, expected_rows), _check_columns(table, columns)]
    if not checks[-1].passed:
        return checks
    view = _View(table)
    return [
        *checks,
        _check(view, "required values", _missing(view, columns)),
        _check(view, "unique rows", _duplicates(view)),
        _check(view, "ranges", _out_of_range(view, columns)),
        _check(view, "ranks", _impossible_ranks(view)),
        _check(view, "order of moments", _unordered(view)),
        _check(view, "std and var", _std_not_root_of_var(view)),
        _check(view, "status", [*_bad_status(view), *_numbers_unmeasured(view)]),
        _check(view, "file order", _out_of_order(view, expected_names)),
    ]


def check_declared(
    table: pa.Table, columns: Sequence[Column], expected_rows: int | None
) -> list[Check]:
    """Check of a table what its columns alone say: types, required values, ranges, and reasons.

    Args:
        table: The table to check; it has the column ``status``.
        columns: As for `validate_table`.
        expected_rows: As for `validate_table`.
    """
    checks = [_check_rows(table, expected_rows), _check_columns(table, columns)]
    if not checks[-1].passed:
        return checks
    view = _View(table)
    return [
        *checks,
        _check(view, "required values", _missing(view, columns)),
        _check(view, "ranges", _out_of_range(view, columns)),
        _check(view, "status", _bad_status(view)),
    ]


def no_failures(table: pa.Table) -> Check:
    """Whether every factorization of a table's rows converged."""
    statuses, names = (table[name].to_pylist() for name in ("status", "param_name"))
    failed = [name for name, status in zip(names, statuses, strict=True) if status == "failed"]
    detail = f"{len(failed)} failed, the first: {failed[0]}" if failed else "none failed"
    return Check("factorizations", not failed, detail)


class _View:
    """A table's columns as Python lists or float64 arrays, converted once."""

    def __init__(self, table: pa.Table) -> None:
        self.names: list[str] = table.column_names
        self._table = table

    def values(self, name: str) -> list[Any]:
        values: list[Any] = self._table[name].to_pylist()
        return values

    def nulls(self, name: str) -> Mask:
        return null_mask(self._table[name])

    def floats(self, name: str) -> Floats:
        return to_floats(self._table[name])


# What is wrong, and in which rows.
Violations = list[tuple[str, Mask]]


def _check(view: _View, name: str, violations: Violations) -> Check:
    problems = []
    for problem, mask in violations:
        if not mask.any():
            continue
        rows = np.flatnonzero(mask)
        named = "param_name" in view.names
        names = view.values("param_name") if named else [""] * (rows[-1] + 1)
        examples = ", ".join(f"{names[row]} (row {row})".lstrip() for row in rows[:3])
        problems.append(
            f"{problem} in 1 row: {examples}"
            if len(rows) == 1
            else f"{problem} in {len(rows)} rows: {examples}"
        )
    return Check(name, not problems, "; ".join(problems) or "ok")


def _check_rows(table: pa.Table, expected: int | None) -> Check:
    count, name = table.num_rows, "number of rows"
    if expected is None or count == expected:
        return Check(name, True, "1 row" if count == 1 else f"{count} rows")
    if count == 1:
        return Check(name, False, f"1 row instead of {expected}")
    return Check(name, False, f"{count} rows instead of {expected}")


def _check_columns(table: pa.Table, columns: Sequence[Column]) -> Check:
    expected = arrow_schema(columns)
    if table.column_names != expected.names:
        missing = [name for name in expected.names if name not in table.column_names]
        extra = [name for name in table.column_names if name not in expected.names]
        detail = f"missing: {missing}, unknown: {extra}" if missing or extra else "wrong order"
        return Check("columns", False, detail)
    wrong = [
        f"{field.name} is {actual} instead of {field.type}"
        for field, actual in zip(expected, table.schema.types, strict=True)
        if actual != field.type
    ]
    return Check("columns", not wrong, "; ".join(wrong) or f"{len(columns)} columns")


def _missing(view: _View, columns: Sequence[Column]) -> Violations:
    return [
        (f"{column.name} is missing", view.nulls(column.name))
        for column in columns
        if column.required
    ]


def _duplicates(view: _View) -> Violations:
    # Tables from before fused matrices were taken apart have no parts.
    parts = view.values("part") if "part" in view.names else [None] * len(view.values("status"))
    # A name alone where that is all: tuples of hundreds of thousands of rows take memory.
    keys = [
        name if expert is None and part is None else (name, expert, part)
        for name, expert, part in zip(
            view.values("param_name"), view.values("expert_index"), parts, strict=True
        )
    ]
    twice = np.zeros(len(keys), np.bool_)
    if len(set(keys)) < len(keys):
        counts = Counter(keys)
        twice = np.array([counts[key] > 1 for key in keys], np.bool_)
    return [("the same tensor, expert and part", twice)]


def _out_of_range(view: _View, columns: Sequence[Column]) -> Violations:
    violations: Violations = []
    for column in columns:
        if column.type not in ("int64", "float64"):
            continue
        values = view.floats(column.name)
        violations.append((f"{column.name} is NaN", np.isnan(values) & ~view.nulls(column.name)))
        if column.lower is not None:
            violations.append((f"{column.name} < {column.lower:g}", values < column.lower))
        if column.upper is not None:
            violations.append((f"{column.name} > {column.upper:g}", values > column.upper))
    return violations


def _impossible_ranks(view: _View) -> Violations:
    most = np.minimum(view.floats("rows"), view.floats("cols"))
    # Every kind of rank counts directions, at most as many as the short side has elements.
    names = [name for name in view.names if "rank" in name.split("_")]
    return [
        (f"{name} > min(rows, cols)", view.floats(name) > most * (1 + _SLACK)) for name in names
    ]


def _unordered(view: _View) -> Violations:
    violations: Violations = []
    quantiles = [name for name in _QUANTILES if name in view.names]
    for lower, upper in pairwise(quantiles):
        violations.append((f"{lower} > {upper}", view.floats(lower) > view.floats(upper)))
    if {"min", "mean", "max"} <= set(view.names):
        low, mean, high = (view.floats(name) for name in ("min", "mean", "max"))
        # The mean of equal numbers may differ by rounding.
        slack = _SLACK * np.maximum(np.abs(low), np.abs(high))
        with np.errstate(over="ignore"):  # at the end of float64's range
            violations.append(("min > mean", low - slack > mean))
            violations.append(("mean > max", mean > high + slack))
    return violations


def _std_not_root_of_var(view: _View) -> Violations:
    if not {"std", "var"} <= set(view.names):
        return []
    std, var = view.floats("std"), view.floats("var")
    known = ~np.isnan(std) & ~np.isnan(var)
    return [("std**2 != var", known & ~np.isclose(std, np.sqrt(np.abs(var)), rtol=_SLACK, atol=0))]


def _bad_status(view: _View) -> Violations:
    statuses, reasons = view.values("status"), view.values("status_reason")
    known = (*get_args(Status), None)

    def rows_where(is_bad: Callable[[Any, Any], bool]) -> Mask:
        return np.array(list(map(is_bad, statuses, reasons)), np.bool_)

    return [
        ("unknown status", rows_where(lambda status, _: status not in known)),
        (
            "no status_reason",
            rows_where(lambda status, why: status not in ("ok", None) and not why),
        ),
    ]


def _numbers_unmeasured(view: _View) -> Violations:
    """Numbers in rows of which only the header was read."""
    unsampled = np.array([status == "unsampled" for status in view.values("status")], np.bool_)
    if not unsampled.any():
        return []
    numbers = [metric.name for metric in METRICS if metric.name in view.names]
    return [(f"{name} was not measured", unsampled & ~view.nulls(name)) for name in numbers]


def _out_of_order(view: _View, expected: Sequence[str] | None) -> Violations:
    names, experts = view.values("param_name"), view.values("expert_index")
    wrong = np.zeros(len(names), dtype=np.bool_)
    seen: set[str] = set()
    for name, group in groupby(range(len(names)), key=lambda row: names[row]):
        rows = list(group)
        wrong[rows[0]] = name in seen
        seen.add(name)
        for before, row in pairwise(rows):
            pair = experts[before], experts[row]
            wrong[row] = None not in pair and pair[0] > pair[1]
    violations = [("experts apart or not ascending", wrong)]
    if expected is not None and len(expected) == len(names):
        misplaced = np.array([a != b for a, b in zip(names, expected, strict=True)], np.bool_)
        violations.append(("not the tensor of this row of the file", misplaced))
    return violations
