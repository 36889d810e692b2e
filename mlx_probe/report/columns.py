"""The pages ``columns.md``: every column of every table, generated from the columns themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlx_probe.analysis.families import family_title
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.analysis.tables import columns_by_table
from mlx_probe.analysis.typical import typical_text
from mlx_probe.core.language import LANGUAGES, language, tr
from mlx_probe.core.markdown import table
from mlx_probe.core.records import Column
from mlx_probe.metrics import FAMILIES, METRICS

__all__ = ["columns_page", "formulas_table"]

# Pages that the page links to.
_PAGES = ("metrics", "explain", "monitor", "python-api")


def columns_page() -> str:
    """The page in the reader's language, without the comment at its beginning."""
    links = {name.replace("-", "_"): f"{name}.md" for name in _PAGES}
    levels = {metric.name: metric.level for metric in METRICS}
    told: dict[str, Column] = {}
    chapters = "\n\n".join(
        f"## {name}\n\n{_about(name)}\n\n"
        + _families(name, columns, told, levels if name == "params" else None)
        for name, columns in columns_by_table().items()
    )
    title, other, introduction, see_also = _frame(links)
    return f"# {title}\n\n{other}\n\n{introduction}\n\n{chapters}\n\n{see_also}\n"


def _frame(links: Mapping[str, str]) -> tuple[str, str, str, str]:
    """Title, link to the other language, introduction, and links at the end."""
    tables = tr(", ").join(f"[{name}](#{name})" for name in columns_by_table())
    introduction = [
        tr(
            "This page lists every column of every table that mlx-probe writes, with type, unit "
            "and range, and says in plain words what it is, which values are usual and when it "
            "misleads. How to read the numbers together is on the page [metrics]({metrics}); "
            "[`mlx-probe explain`]({explain}) says the same in the terminal.",
            **links,
        ),
        "\n".join(
            (
                tr("- Tables: {tables}.", tables=tables),
                tr(
                    "- An empty cell is null: the column does not apply to the row, or the metric "
                    "set does not compute it."
                ),
                tr('- "weight" as a unit is the unit of the weights themselves.'),
                tr(
                    "- Usual values are those between the quantiles at 5 and 95 % over the weight "
                    "matrices of each model, measured by `benchmarks/typical.py`."
                ),
                tr(
                    "- The order of the columns in a file is that of `columns` in its "
                    "`run_meta.json`; here they are grouped by what they are about."
                ),
            )
        ),
    ]
    see_also = [
        tr("## See also"),
        "\n".join(
            (
                tr("- [Metrics]({metrics}): definitions, and how to read them", **links),
                tr("- [Explain]({explain}): the same of one column, and of a run", **links),
                tr("- [Monitor]({monitor}): the samples of a job", **links),
                tr(
                    "- [Python API]({python_api}#load_run): reading the tables with their types",
                    **links,
                ),
            )
        ),
    ]
    other = (
        "[English](../en/columns.md)" if language() != LANGUAGES[0] else "[中文](../zh/columns.md)"
    )
    return tr("Columns of the tables"), other, "\n\n".join(introduction), "\n\n".join(see_also)


def _about(name: str) -> str:
    if name in SIDES:
        side = SIDES[name]
        return tr(
            "{title}, written beside `params` with `--metrics {level}`: {about}",
            title=tr(side.title),
            level=side.level,
            about=tr(side.about),
        )
    texts = {
        "params": tr(
            "One row for each tensor, by `mlx-probe analyze`. The metric set is the smallest value "
            "of `--metrics` with which the column is filled; columns without one are always there."
        ),
        "compare": tr("One row for each tensor of A or B, by `mlx-probe compare A B`."),
        "adapter": tr(
            "One row for each tensor of A, beside `compare` by `mlx-probe compare A B` with "
            "`--extract-lora` or `--energy`; parts of fused matrices have none."
        ),
        "tokens": tr(
            "One row for each token along a direction of the difference, beside `adapter`; only "
            "the directions of the matrices that changed most have some."
        ),
        "monitor": tr(
            "One row for each second of a job, as `monitor.parquet` and for "
            "`mlx_probe.load_samples`."
        ),
    }
    return texts[name]


def _families(
    name: str,
    columns: Sequence[Column],
    told: dict[str, Column],
    levels: Mapping[str, str] | None,
) -> str:
    """A table and a list for each family, in the order in which they first occur."""
    families = dict.fromkeys(column.family for column in columns)
    parts = []
    for family in families:
        members = [column for column in columns if column.family == family]
        parts += [_heading(family), _markdown(members, levels), _explained(name, members, told)]
    return "\n\n".join(part for part in parts if part)


def _heading(name: str) -> str:
    for family in FAMILIES:
        if family.name == name:
            return tr(
                "**{title}**: {question}",
                title=family_title(name),
                question=tr(family.description),
            )
    return f"**{family_title(name)}**"


def _markdown(columns: Iterable[Column], levels: Mapping[str, str] | None) -> str:
    columns = list(columns)
    # A column of the page that would be empty in all rows is left out.
    leveled = levels is not None and any(column.name in levels for column in columns)
    header = [
        *(tr("column"), tr("type"), tr("unit"), tr("range")),
        *([tr("metric set")] if leveled else []),
        tr("meaning"),
    ]
    rows = []
    for column in columns:
        level = [levels.get(column.name, "")] if leveled and levels is not None else []
        meaning = _text(tr(column.description)).replace("|", "\\|")
        named, kind = f"`{column.name}`", f"`{column.type}`"
        unit = tr(column.unit) if column.unit else ""
        rows.append([named, kind, unit, _range(column), *level, meaning])
    return table(header, rows)


def _explained(name: str, columns: Iterable[Column], told: dict[str, Column]) -> str:
    """A line for each column; what an earlier table said of it is not repeated."""
    lines = []
    for column in columns:
        if not column.title:  # somebody's own
            continue
        typical = tr("Usual: {typical}", typical=_text(typical_text(column, name)))
        before = told.setdefault(column.name, column)
        if before is column or before.plain != column.plain:
            texts = [
                f"**{tr(column.title)}**",
                _text(tr(column.plain)),
                typical,
                tr("Caution: {caveat}", caveat=_text(tr(column.caveat))),
                tr("Source: {source}.", source=_text(tr(column.source))),
            ]
        elif typical_text(before) != typical_text(column, name):
            texts = [f"**{tr(column.title)}**", typical]
        else:
            continue
        lines.append(f"- `{column.name}` {' '.join(texts)}")
    return "\n".join(lines)


def formulas_table() -> str:
    """The formula of each column that has one, once."""
    rows = {
        column.name: column.formula
        for name, columns in columns_by_table().items()
        for column in columns
        if column.formula and name != "monitor"
    }
    return table(
        ("column", "formula"),
        [(f"`{name}`", f"`{text}`".replace("|", "\\|")) for name, text in rows.items()],
    )


def _text(text: str) -> str:
    return text.replace("<", "\\<")


def _range(column: Column) -> str:
    lower, upper = column.lower, column.upper
    if lower is not None and upper is not None:
        return tr("{low} to {high}", low=f"{lower:g}", high=f"{upper:g}")
    if lower is not None:
        return tr("at least {low}", low=f"{lower:g}")
    return tr("at most {high}", high=f"{upper:g}") if upper is not None else ""
