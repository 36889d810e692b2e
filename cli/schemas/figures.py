"""Documents of runs side by side and of figures: compare-runs, plot."""

from __future__ import annotations

from .shape import (
    ANYTHING,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    listed,
    mapping,
    nullable,
    one_of,
    record,
)

__all__ = ["PLOT", "RUNS_TABLE"]

PLOT: Schema = record(
    {
        "view": (TEXT, "lines, map, distribution, spectrum or steps."),
        "metric": (nullable(TEXT), "The column."),
        "title": (TEXT, "Above the figure."),
        "unit": (TEXT, "Unit of the values."),
        "log": (FLAG, "Whether the scale is logarithmic."),
        "runs": (listed(TEXT), "The runs, in order."),
        "points": (listed(mapping(ANYTHING)), "The numbers that are drawn."),
    }
)

_COMPARED = record(
    {
        "run": (TEXT, "Its run_meta.json, or what was named if it cannot be read."),
        "label": (TEXT, "A name that no other run here has."),
        "model": (TEXT, "Model."),
        "revision": (TEXT, "Its exact commit or version."),
        "created_at": (TEXT, "When the run ended, ISO 8601."),
        "layers": (INTEGER, "Layers; 0 if there are none."),
        "settings": (mapping(ANYTHING), "What decided the numbers."),
        "differs": (listed(TEXT), "Settings that are not those of most runs."),
        "values": (mapping(nullable(NUMBER)), "The run's number of each metric."),
        "problem": (nullable(TEXT), "Why it cannot be read; null if it can."),
        "remedy": (nullable(TEXT), "What to do about that."),
    }
)
_METRIC = record(
    {
        "name": (TEXT, "Column, or number of the summary."),
        "source": (one_of(("summary", "median")), "Where a run's number is from."),
        "unit": (TEXT, "Its unit."),
        "marked_by": (listed(TEXT), "Settings that differ and change its meaning."),
    }
)
_PROFILE = record(
    {
        "metric": (TEXT, "Metric."),
        "by": (TEXT, "all, component or block_type."),
        "group": (TEXT, "Which of them."),
        "values": (
            listed({"type": ["array", "null"], "items": nullable(NUMBER)}),
            "For each run, in the order of runs, the medians of the bins; null without any.",
        ),
    }
)
_DIFFERENCE = record(
    {
        "setting": (TEXT, "Setting."),
        "values": (
            listed(
                record({"value": (TEXT, "As text."), "runs": (listed(TEXT), "Labels of runs.")})
            ),
            "Each value, the most frequent first.",
        ),
        "meaning": (TEXT, "What it means for the numbers."),
        "metrics": (listed(TEXT), "Metrics that cannot be compared because of it."),
    }
)

RUNS_TABLE: Schema = record(
    {
        "sort": (TEXT, "The metric that the runs are sorted by."),
        "ascending": (FLAG, "Whether the smallest comes first."),
        "bins": (INTEGER, "Bins of relative depth."),
        "reference": (nullable(TEXT), "The run that all numbers were divided by."),
        "metrics": (listed(_METRIC), "In the order of choice."),
        "runs": (listed(_COMPARED), "Sorted; those that cannot be read come last."),
        "profiles": (listed(_PROFILE), "Medians over the relative depth."),
        "differences": (listed(_DIFFERENCE), "Settings that differ."),
    }
)
