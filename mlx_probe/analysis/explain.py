"""What a column means: `explain` gathers what its declaration and the measurements say."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlx_probe.analysis.families import family_title
from mlx_probe.analysis.tables import columns_by_table
from mlx_probe.analysis.typical import Spread, scale_of, spreads_of, typical_text
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS

__all__ = ["Explanation", "explain", "explain_all"]

_NEAR = 5


@dataclass(frozen=True)
class Explanation:
    """One column of one table, in the reader's language.

    Attributes:
        name: The column's name.
        table: The table that it is in.
        family: Heading of its group.
        title: Its heading, written out.
        plain: One sentence for a reader who does not know the field.
        definition: What exactly it is.
        formula: In the symbols of the documentation; "" where the definition says it.
        type: Type in the table.
        unit: Unit of the values; "" for none.
        lower: Smallest valid value.
        upper: Largest valid value.
        metric_set: Smallest value of ``--metrics`` that has it; "" if it is always there.
        typical: What values are usual.
        ranges: The measured ones, by population.
        divided_by: What values are divided by in ``ranges``; "" for nothing.
        caveat: When the number misleads.
        source: Where the definition comes from.
    """

    name: str
    table: str
    family: str
    title: str
    plain: str
    definition: str
    formula: str
    type: str
    unit: str
    lower: float | None
    upper: float | None
    metric_set: str
    typical: str
    ranges: Mapping[str, Spread]
    divided_by: str
    caveat: str
    source: str

    def as_json(self) -> dict[str, Any]:
        """All attributes, as JSON values."""
        return {
            **asdict(self),
            "ranges": {key: asdict(spread) for key, spread in self.ranges.items()},
        }


def explain(name: str) -> list[Explanation]:
    """What a column means, once for each table that has it.

    Args:
        name: The column's name, or its title in any case ("stable rank").

    Raises:
        ConfigError: No column is called that.
    """
    wanted = name.strip()
    found = [each for each in explain_all() if each.name == wanted]
    if not found:
        folded = _folded(wanted)
        found = [e for e in explain_all() if folded in (_folded(e.name), _folded(e.title))]
    if not found:
        raise ConfigError(f"no column is called {name}", _remedy(wanted))
    return found


def explain_all() -> Iterator[Explanation]:
    """What each column of each table means, in the order of the tables."""
    levels = {metric.name: metric.level for metric in METRICS}
    for table, columns in columns_by_table().items():
        for column in columns:
            yield _explanation(table, column, levels.get(column.name, ""))


def _explanation(table: str, column: Column, level: str) -> Explanation:
    return Explanation(
        name=column.name,
        table=table,
        family=family_title(column.family),
        title=tr(column.title),
        plain=tr(column.plain),
        definition=tr(column.description),
        formula=column.formula,
        type=column.type,
        unit=tr(column.unit) if column.unit else "",
        lower=column.lower,
        upper=column.upper,
        metric_set=level if table == "params" else "",
        typical=typical_text(column, table),
        ranges=spreads_of(table, column.name),
        divided_by=scale_of(column),
        caveat=tr(column.caveat),
        source=tr(column.source),
    )


def _folded(text: str) -> str:
    return text.lower().replace(" ", "_").replace("-", "_")


def _remedy(name: str) -> str:
    names = list(
        dict.fromkeys(column.name for table in columns_by_table().values() for column in table)
    )
    near = difflib.get_close_matches(_folded(name), names, n=_NEAR)
    near += [other for other in names if _folded(name) in other.lower() and other not in near]
    if near:
        return f"Near names: {', '.join(near[:_NEAR])}; `mlx-probe explain` lists all"
    return "`mlx-probe explain` lists all columns"
