"""A view: a typed table that is read when a statement scans it, and as often as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ProbeError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["View"]


class View:
    """What DuckDB reads by Arrow's C stream interface, one table in memory at a time.

    Args:
        schema: Its columns.
        tables: Gives the rows, as tables of that schema; called once for each scan.

    Attributes:
        failure: Why a scan ended early. DuckDB would hand on its text only.

    Source: Arrow PyCapsule Interface, ``__arrow_c_stream__``.
    """

    def __init__(self, schema: pa.Schema, tables: Callable[[], Iterable[pa.Table]]) -> None:
        self.schema = schema
        self.failure: ProbeError | None = None
        self._tables = tables

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(self.schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for table in self._tables():
                yield from table.to_batches()
        except ProbeError as error:
            self.failure = error
            raise
