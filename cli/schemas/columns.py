"""Documents about columns: explain."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, mapping, nullable, record

__all__ = ["EXPLANATIONS"]

_SPREAD = record(
    {
        "low": (NUMBER, "At 5 %."),
        "median": (NUMBER, "At 50 %."),
        "high": (NUMBER, "At 95 %."),
    }
)
_OUTSIDE = record(
    {
        "row": (TEXT, "Tensor, expert or head."),
        "value": (NUMBER, "Its value, divided as the range is."),
    }
)
_POSITION = record(
    {
        "name": (TEXT, "Column."),
        "table": (TEXT, "Table of the run."),
        "count": (INTEGER, "Rows with a value; of a measured column, those of matrices."),
        "divided_by": (TEXT, "What the values are divided by; empty for nothing."),
        "values": (nullable(_SPREAD), "Quantiles; null for texts. Of truth values the true share."),
        "least": (nullable(NUMBER), "Smallest value."),
        "greatest": (nullable(NUMBER), "Largest value."),
        "typical_low": (nullable(NUMBER), "Smallest low end among the trained models."),
        "typical_high": (nullable(NUMBER), "Largest high end among them."),
        "outside": (listed(_OUTSIDE), "Rows outside of these, the farthest first."),
        "counts": (nullable(mapping(INTEGER)), "Of texts how often each occurs."),
        "of_sample": (FLAG, "Whether a sample left rows of the run out."),
    }
)
EXPLANATIONS: Schema = listed(
    record(
        {
            "name": (TEXT, "Column."),
            "table": (TEXT, "Table that has it."),
            "family": (TEXT, "Heading of its group."),
            "title": (TEXT, "Its heading, written out."),
            "plain": (TEXT, "One sentence for a reader who does not know the field."),
            "definition": (TEXT, "What exactly it is."),
            "formula": (TEXT, "In the symbols of the documentation; may be empty."),
            "type": (TEXT, "Type in the table."),
            "unit": (TEXT, "Unit; empty for none."),
            "lower": (nullable(NUMBER), "Smallest valid value."),
            "upper": (nullable(NUMBER), "Largest valid value."),
            "metric_set": (TEXT, "Smallest --metrics that has it; empty if it is always there."),
            "typical": (TEXT, "What values are usual."),
            "ranges": (mapping(_SPREAD), "The measured ones, by population."),
            "divided_by": (TEXT, "What values are divided by in `ranges`; empty for nothing."),
            "caveat": (TEXT, "When the number misleads."),
            "source": (TEXT, "Where the definition comes from."),
            "run": (nullable(_POSITION), "With --run, where the run's values lie."),
        },
        optional=("run",),
    )
)
