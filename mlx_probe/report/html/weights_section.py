"""What a tuning did to the weights, as a section of its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.core.language import tr
from mlx_probe.report.changes import (
    FIGURES,
    changed_kinds,
    changed_layers,
    figure_text,
    largest_changes,
    tensor_label,
    total_lines,
)
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.sections import number_table
from mlx_probe.report.training_data import Difference

__all__ = ["weights_section"]

_COLUMNS = {column.name: column for column in COLUMNS}


def weights_section(difference: Difference) -> str:
    """Rank, energy and intruder dimensions by kind of tensor; tensors and layers that moved most.

    Args:
        difference: The last comparison with the base.
    """
    rows = difference.rows
    lead = tr("The difference from the base after step {step}.", step=f"{difference.step:,}")
    said = " ".join([lead, *total_lines(rows)[1:]])
    parts = [f"<p>{html_text(said)}</p>"]
    if largest := largest_changes(rows):
        figures = [tr(_COLUMNS[column].title) for column in FIGURES]
        kinds = [
            (kind.kind, str(kind.changed), *_figures(kind.medians.get))
            for kind in changed_kinds(rows)
        ]
        layers = [
            (
                layer.name,
                figure_text(layer.relative_change, "relative_change"),
                tr("{changed} of {count}", changed=layer.changed, count=layer.compared),
            )
            for layer in changed_layers(rows)
        ]
        parts += [
            _table(tr("By kind of tensor, medians"), (tr("kind"), tr("changed"), *figures), kinds),
            _table(
                tr("Layers that moved most"),
                (tr("layer"), tr(_COLUMNS["relative_change"].title), tr("changed tensors")),
                layers,
            ),
            _table(
                tr("Tensors that moved most"),
                (tr("tensor"), *figures),
                [(tensor_label(row), *_figures(row.get)) for row in largest],
            ),
        ]
    note = tr(
        "Ranks are those of the difference alone. Intruders are strong new directions that the "
        "base does not have at all."
    )
    heading = html_text(tr("What it did to the weights"))
    return (
        f'<section id="weights" class="card wide"><h2>{heading}</h2>{"".join(parts)}'
        f'<p class="note">{html_text(note)}</p></section>'
    )


def _figures(value: Callable[[str], Any]) -> tuple[str, ...]:
    return tuple(figure_text(value(column), column) for column in FIGURES)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"<h3>{html_text(title)}</h3>{number_table(title, heads, rows)}"
