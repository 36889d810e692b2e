"""The numbers of a run's model summary, under names that no column of its table has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlx_probe.checkpoint.naming.rules import COMPONENTS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "SUMMARY_COLUMNS",
    "column_behind",
    "computed_summary",
    "stored_summary",
    "summary_names",
]

# Columns that `summary_in` looks at.
SUMMARY_COLUMNS = (
    *("rows", "cols", "part", "alias_of", "component", "numel", "rank", "spectral_norm"),
    *("frobenius_norm", "ww_alpha", "alpha_hat", "log_alpha_norm", "stable_rank", "alpha"),
    *("alpha_reliable", "effective_rank", "spectral_entropy", "mp_softrank"),
)

# Columns that numbers of the summary come from, where the names differ.
_BEHIND = {
    "log_norm": "frobenius_norm",
    "log_spectral_norm": "spectral_norm",
    "alpha_weighted": "alpha_hat",
    "reliable_share": "alpha_reliable",
    "rank_deficient": "rank",
    "rank_share": "rank",
    "effective_rank_share": "effective_rank",
    "noise_share": "mp_softrank",
}


def column_behind(metric: str) -> str:
    """The column that a metric is, or that a number of the summary comes from."""
    return _BEHIND.get(metric, metric.removeprefix("mean_"))


def stored_summary(meta: Mapping[str, Any], columns: Collection[str]) -> dict[str, float] | None:
    """The numbers of the summary that a run has in its metadata.

    A mean over the matrices that is called like a column gets "mean_" before its name; counts by
    component become ``parameters_attention``, and their total ``parameters``.

    Args:
        meta: The run's metadata.
        columns: Names of the columns of its table.

    Returns:
        None for a run of a version that had no summary.
    """
    stored = meta.get("summary")
    return dict(_numbers(stored, columns)) if isinstance(stored, Mapping) else None


def computed_summary(
    table: pa.Table, meta: Mapping[str, Any], columns: Collection[str]
) -> dict[str, float]:
    """The same from a run's table.

    Args:
        table: `SUMMARY_COLUMNS` of it.
        meta: The run's metadata.
        columns: Names of all of its columns.
    """
    # All rules of the findings, which runs with a summary do not need.
    from mlx_probe.analysis.findings import RunView
    from mlx_probe.analysis.summary import summary_in

    return dict(_numbers(summary_in(RunView(table, {}, meta)), columns))


def summary_names(columns: Collection[str]) -> Iterator[str]:
    """Every name that `computed_summary` may give."""
    from mlx_probe.analysis.summary import OWN, WEIGHTWATCHER

    yield "parameters"
    for name in (*WEIGHTWATCHER, *OWN):
        yield _name(name, columns)
    yield from ("matrices", "rank_deficient")
    yield from (f"parameters_{component}" for component in COMPONENTS)


def _numbers(summary: Mapping[str, Any], columns: Collection[str]) -> Iterator[tuple[str, float]]:
    for name, value in summary.items():
        parts = value.items() if isinstance(value, Mapping) else [("total", value)]
        for part, number in parts:
            whole = name if part == "total" else f"{name}_{part}"
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                yield _name(whole, columns), number


def _name(name: str, columns: Collection[str]) -> str:
    return f"mean_{name}" if name in columns else name
