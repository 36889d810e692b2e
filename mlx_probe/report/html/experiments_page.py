"""The page of runs of any kind side by side: table, curves over each other, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mlx_probe.core.counts import runs_text
from mlx_probe.core.errors import ResultError
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.records import Column
from mlx_probe.library.experiments.comparing import Comparison
from mlx_probe.library.experiments.records import StoredRun
from mlx_probe.report.html.encoding import encode_frame
from mlx_probe.report.html.frame import filled_page
from mlx_probe.report.html.markup import html_text, part
from mlx_probe.report.html.sections import fact_list, fact_table, grid
from mlx_probe.report.html.training_curves import MOST_POINTS, encode_curves
from mlx_probe.report.terminal.experiments import state_text, value_text
from mlx_probe.report.terminal.run_comparison import run_labels
from mlx_probe.report.training_series import EVALUATED, OF_STEPS
from mlx_probe.runs.experiments.curves import read_curves
from mlx_probe.runs.training.metrics import COLUMNS, TRAIN_BPB

__all__ = ["SCRIPTS", "experiments_html"]

SCRIPTS = (
    *("text", "data", "address", "theme", "tips", "save", "rows", "grid", "training_curves"),
    "experiments_main",
)
# Runs whose settings stand side by side; the table has those of more.
_BESIDE = 6
# Names below the page's title.
_NAMES = 4
# Columns of settings and of numbers that the table shows at first.
_SHOWN = 6
# Horizontal axes of curves, which a run's metrics may lack.
_AXES = ("step", "tokens", "seconds")
# All that a curve may be of, so that the page knows what it means.
_DESCRIBED = tuple(
    dict.fromkeys([*(column.name for column in (*COLUMNS, TRAIN_BPB)), *OF_STEPS, *EVALUATED])
)


def experiments_html(
    comparison: Comparison,
    title: str = "",
    facts: Mapping[str, str] | None = None,
    panels: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """Runs side by side as one HTML page that loads nothing.

    Args:
        comparison: The runs; the curves of those that have any are read from their folders.
        title: Title of the page, in the place of the runs' names.
        facts: What the first card says before its own facts.
        panels: More cards before the curves: heading and HTML by the id of the card.
    """
    runs = comparison.runs
    labels = run_labels(runs)
    curves, lacking = _curves(runs)
    drawn = [at for at, frame in enumerate(curves) if frame is not None]
    names = [*labels[:_NAMES], *(["..."] if len(labels) > _NAMES else [])]
    title = title or (labels[0] if len(runs) == 1 else runs_text(len(runs)))
    cards = panels or {}
    sections = {
        "model": tr("Runs"),
        **{name: heading for name, (heading, _) in cards.items()},
        **({"curves": tr("Curves")} if drawn else {}),
        "table": tr("Table"),
        "run": tr("Settings"),
    }
    return filled_page(
        _payload(comparison, labels, curves),
        SCRIPTS,
        title=title,
        subtitle=", ".join(names) if len(runs) != 1 else runs[0].kind,
        sections=sections,
        heading=html_text(sections["model"]),
        model_facts=fact_list({**(facts or {}), **_facts(comparison, drawn)}) + _notes(lacking),
        panels="".join(
            f'<section id="{name}" class="card wide"><h2>{html_text(heading)}</h2>{body}</section>'
            for name, (heading, body) in cards.items()
        )
        + (part("panel_curves.html") if drawn else ""),
        table_heading=html_text(tr("Settings and results")),
        grid=grid("runs", "table"),
        sides="",
        run_heading=html_text(tr("Settings")),
        run=_settings(comparison, labels),
    )


def _curves(runs: tuple[StoredRun, ...]) -> tuple[list[pd.DataFrame | None], list[str]]:
    """The numbers by step of each run, None where it has none; and why some cannot be read."""
    frames: list[pd.DataFrame | None] = []
    lacking = []
    for run in runs:
        try:
            frame = read_curves(run.folder)
        except ResultError as error:
            lacking.append(translated(error.fact))
            frame = None
        if frame is not None and not len(frame):
            frame = None
        # Axes that no line has are no columns of it.
        frames.append(
            None
            if frame is None
            else frame.reindex(columns=list(dict.fromkeys([*frame.columns, *_AXES])))
        )
    return frames, lacking


def _payload(
    comparison: Comparison, labels: list[str], curves: list[pd.DataFrame | None]
) -> dict[str, Any]:
    """What the script draws.

    "runs": one for each run that has curves, as `training_payload` gives them, but without rows.
    The first one holds the table "runs" of all; without any curves it has nothing else.
    """
    drawn = [at for at, frame in enumerate(curves) if frame is not None]
    room = max(200, MOST_POINTS // max(1, len(drawn)))
    described = encode_frame(
        pd.DataFrame({name: np.array([], float) for name in _DESCRIBED}), (*COLUMNS, TRAIN_BPB)
    )
    entries = []
    for at in drawn:
        frame = curves[at]
        assert frame is not None
        entries.append(
            {
                **_empty(labels[at]),
                "tables": {
                    "evaluations": {"rows": 0, "columns": described, "shown": [], "map": None}
                },
                "curves": encode_curves(frame, room),
            }
        )
    entries = entries or [_empty(labels[0] if labels else "")]
    frame, columns, shown = _table(comparison, labels)
    entries[0]["tables"]["runs"] = {
        "rows": len(frame),
        "columns": encode_frame(frame, columns),
        "shown": shown,
        "map": None,
    }
    return {"runs": entries, "pairs": None}


def _empty(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "compare": False,
        "tables": {},
        "groups": [],
        "group_names": [],
        "outliers": [],
        "spectra": None,
        "quantization": [],
    }


def _table(
    comparison: Comparison, labels: list[str]
) -> tuple[pd.DataFrame, list[Column], list[str]]:
    """A row for each run: what it is, the settings that differ, its numbers."""
    runs = comparison.runs
    facts: dict[str, tuple[str, list[str]]] = {
        "run": (tr("Run"), labels),
        "id": (tr("Id"), [run.id for run in runs]),
        "kind": (tr("Kind"), [run.kind for run in runs]),
        "state": (tr("State"), [state_text(run) for run in runs]),
        "made": (tr("Made"), [run.created_at[:16].replace("T", " ") for run in runs]),
        "models": (tr("Came from"), [run.models for run in runs]),
        "folder": (tr("Folder"), [str(run.folder) for run in runs]),
        "tags": (tr("Tags"), [" ".join(run.tags) for run in runs]),
        "note": (tr("Note"), [run.note for run in runs]),
    }
    data: dict[str, Any] = {name: values for name, (_, values) in facts.items()}
    columns = [_column(name, "run", title) for name, (title, _) in facts.items()]
    # A setting and a number may have one name.
    settings = {f"config.{key}": values for key, values in comparison.differing.items()}
    for name, values in settings.items():
        data[name] = _series(values)
        columns.append(_column(name, "settings", name.removeprefix("config.")))
    for name, numbers in comparison.metrics.items():
        data[name] = np.array([np.nan if n is None else n for n in numbers], float)
        columns.append(_column(name, "results", name))
    shown = ["run", "kind", "state", "made", *list(settings)[:_SHOWN]]
    return pd.DataFrame(data), columns, [*shown, *list(comparison.metrics)[:_SHOWN]]


def _series(values: tuple[object, ...]) -> Any:
    """Numbers where all of a setting's values are some, else texts."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known):
        return np.array([np.nan if value is None else value for value in values], float)
    return [None if value is None else value_text(value) for value in values]


def _column(name: str, family: str, title: str) -> Column:
    return Column(name, "string", family, "", title=title)


def _facts(comparison: Comparison, drawn: list[int]) -> dict[str, str]:
    kinds = dict.fromkeys(run.kind for run in comparison.runs)
    facts = {
        tr("runs"): str(len(comparison.runs)),
        tr("kinds"): ", ".join(kinds),
        tr("with curves"): str(len(drawn)),
        tr("settings that differ"): str(len(comparison.differing)),
        tr("settings that agree"): str(len(comparison.same)),
    }
    return {name: text for name, text in facts.items() if text}


def _notes(lacking: list[str]) -> str:
    items = "".join(f"<li>{html_text(text)}</li>" for text in lacking)
    heading = html_text(tr("Curves that cannot be read:"))
    return f'<p class="note">{heading}</p><ul>{items}</ul>' if items else ""


def _settings(comparison: Comparison, labels: list[str]) -> str:
    """Settings side by side; of many runs those that agree, as the table has the others."""
    if not comparison.runs:
        return f'<p class="note">{html_text(tr("No runs."))}</p>'
    if len(labels) <= _BESIDE:
        facts = [_texts(run.config) for run in comparison.runs]
        return fact_table(tr("Settings"), facts, labels)
    note = html_text(tr("Settings that all of the runs share; the table has the others."))
    return f'<p class="note">{note}</p>{fact_list(_texts(comparison.same))}'


def _texts(settings: Mapping[str, Any]) -> dict[str, str]:
    return {key: value_text(value) for key, value in settings.items()}
