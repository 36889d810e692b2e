"""The page of a training run, or of several: curves, samples, maps and spectra over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.report.before_after import BeforeAfter, evaluation_advice
from mlx_probe.report.html.before_after_section import before_after_section
from mlx_probe.report.html.frame import filled_page
from mlx_probe.report.html.markup import html_text, part
from mlx_probe.report.html.sections import fact_list, grid
from mlx_probe.report.html.training_payload import training_payload
from mlx_probe.report.html.training_sections import (
    results_html,
    samples_section,
    settings_html,
    summary_section,
)
from mlx_probe.report.html.weights_section import weights_section
from mlx_probe.report.training_facts import training_facts
from mlx_probe.runs.training.folder import MIXTURE, TUNING

if TYPE_CHECKING:
    from mlx_probe.report.training_data import TrainingData

__all__ = ["MOST_RUNS", "SCRIPTS", "training_html"]

SCRIPTS = (
    *("text", "data", "address", "theme", "tips", "save", "cells", "map", "map_panel", "spectrum"),
    *("rows", "grid", "training_curves", "training_spectrum", "training_maps", "training_main"),
)
# More lines in a plot cannot be told apart.
MOST_RUNS = 16


def training_html(runs: Sequence[TrainingData], evaluation: BeforeAfter | None = None) -> str:
    """Training runs as one HTML page that loads nothing; see `report_html`.

    Args:
        runs: One, or several whose curves lie over each other.
        evaluation: Of one run, the evaluations before and after it.

    Raises:
        ConfigError: There are more runs than a page can tell apart.
    """
    if len(runs) > MOST_RUNS:
        raise ConfigError(
            f"a page shows {MOST_RUNS} training runs at most, and {len(runs)} are named",
            "Name fewer, or make several pages",
        )
    alone = len(runs) == 1
    payload = training_payload(runs)
    measured = any(run["tables"]["params"]["rows"] for run in payload["runs"])
    # Comparisons with a base keep no singular values.
    spectra = any(len(run.history.frame) for run in runs)
    tuned = _tuned(runs[0], evaluation) if alone else {}
    samples = samples_section(runs)
    sections = {
        "summary": tr("Summary"),
        "model": tr("The run") if alone else tr("Results"),
        "curves": tr("Curves"),
        **{key: name for key, (name, _) in tuned.items() if name},
        **({"maps": tr("Maps")} if measured else {}),
        **({"spectra": tr("Spectrum")} if spectra else {}),
        **({"samples": tr("Samples")} if samples else {}),
        "table": tr("Evaluations"),
        **({"rows": tr("Snapshots")} if measured and alone else {}),
        "run": tr("Settings"),
    }
    heads = [run.label for run in runs]
    return filled_page(
        payload,
        SCRIPTS,
        title=heads[0] if alone else tr("{count} training runs", count=len(runs)),
        subtitle=_subtitle(runs),
        sections=sections,
        findings=summary_section(runs),
        heading=html_text(sections["model"]),
        model_facts=fact_list(training_facts(runs[0])) if alone else results_html(runs),
        panels=part("panel_curves.html")
        + "".join(section for _, section in tuned.values())
        + (part("panel_training_maps.html") if measured else "")
        + (part("panel_training_spectrum.html") if spectra else "")
        + ("" if measured else _note(_nothing(runs)))
        + samples,
        table_heading=html_text(tr("Evaluations")),
        grid=_evaluations(runs),
        sides=_rows(runs[0]) if measured and alone else "",
        run_heading=html_text(tr("Settings") if alone else tr("Settings that differ")),
        run=settings_html(runs),
    )


def _subtitle(runs: Sequence[TrainingData]) -> str:
    if len(runs) > 1:
        names = [run.label for run in runs]
        return ", ".join([*names[:4], *(["..."] if len(names) > 4 else [])])
    parameters = runs[0].run.meta.get("parameters")
    kinds = {TUNING: tr("tuning"), MIXTURE: tr("training of a mixture")}
    known = [kinds.get(runs[0].run.kind, tr("training run"))]
    if isinstance(parameters, int):
        known.append(tr("{count} parameters", count=f"{parameters:,}"))
    return tr(", ").join(known)


def _tuned(data: TrainingData, evaluation: BeforeAfter | None) -> dict[str, tuple[str, str]]:
    """What a tuning is for, by id: a name in the menu if there is something, and the section."""
    run = data.run
    sections: dict[str, tuple[str, str]] = {}
    if evaluation is not None:
        sections["evaluation"] = (tr("Before and after"), before_after_section(evaluation))
    elif run.is_tuning:
        base = str(run.meta.get("base") or "BASE")
        sections["evaluation"] = ("", _note(evaluation_advice(base, run.folder)))
    if data.difference is not None:
        sections["weights"] = (tr("Weights"), weights_section(data.difference))
    return sections


def _nothing(runs: Sequence[TrainingData]) -> str:
    """Why there is no map."""
    if len(runs) > 1 or not runs[0].run.is_tuning:
        return tr(
            "No snapshot of the weights is measured, so that there are no maps and no spectra."
        )
    snapshot = runs[0].run.folder / "snapshots" / "step-N"
    return tr(
        "No snapshot is compared with the base, so that the page does not show what happened to "
        "the weights: `mlx-probe compare {base} {snapshot} --out {snapshot}/difference` compares "
        "one.",
        base=runs[0].run.meta.get("base") or "BASE",
        snapshot=snapshot,
    )


def _note(text: str) -> str:
    return f'<section class="card wide"><p class="note">{html_text(text)}</p></section>'


def _evaluations(runs: Sequence[TrainingData]) -> str:
    if len(runs) == 1:
        return grid("evaluations", "table")
    return "".join(
        f"<h3>{html_text(f'{chr(65 + at)}: {run.label}')}</h3>"
        + grid("evaluations", f"table-{chr(65 + at)}", at)
        for at, run in enumerate(runs)
    )


def _rows(data: TrainingData) -> str:
    tuned = tr("All tensors that differ from the base, at each snapshot")
    heading = html_text(tuned if data.run.is_tuning else tr("All rows of the snapshots"))
    return (
        f'<section id="rows" class="card wide"><h2>{heading}</h2>{grid("params", "rows")}</section>'
    )
