"""What a finished run gives to its document: set-up and results as tables, and plots."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ProbeError
from mlx_probe.core.language import tr
from mlx_probe.core.markdown import code, escaped, table
from mlx_probe.core.messages import translated
from mlx_probe.runs.experiments import RUN_KINDS, Experiment, read_curves

__all__ = ["PLOTTED", "RunDocument", "run_document"]

# By kind of run, the columns that are drawn, as far as the run has them.
PLOTTED: Mapping[str, tuple[str, ...]] = {
    "analyze": ("stable_rank", "alpha"),
    "compare": ("relative_change",),
}
# Of kinds with steps the first ones that there are.
_CURVES = ("val_bpb", "val_loss", "train_loss", "loss", "reward")
_MOST_CURVES = 3
# More settings than anyone reads are in the run itself.
_MOST_SETTINGS = 200
_MOST_RESULTS = 100


@dataclass(frozen=True)
class RunDocument:
    """What a document of a run has.

    Attributes:
        setup: Markdown: what was run, on what, from what.
        results: Markdown: numbers, and plots.
        figures: Function that writes each plot, by the name of its file.
    """

    setup: str
    results: str
    figures: Mapping[str, Callable[[Path], object]]


def run_document(run: Experiment, stem: str, folder: str) -> RunDocument:
    """Set-up and results of a run, in the language that is spoken.

    Args:
        run: The run.
        stem: What the names of its figures begin with.
        folder: Where the figures are, from the document's folder.
    """
    figures, notes = _figures(run, stem)
    images = [f"![{escaped(title)}]({folder}/{name})" for name, (title, _) in figures.items()]
    results = [_results(run), *images, *notes]
    return RunDocument(
        "\n\n".join(filter(None, (_facts(run), _command(run), _machine(run), _settings(run)))),
        "\n\n".join(filter(None, results)),
        {name: save for name, (_, save) in figures.items()},
    )


def _facts(run: Experiment) -> str:
    facts = {
        tr("run"): str(run.folder),
        tr("kind of run"): f"{run.kind}: {translated(RUN_KINDS[run.kind].description)}",
        tr("finished at"): f"{run.created_at[:16].replace('T', ' ')} UTC",
        tr("state"): translated(run.state) + (f" ({translated(run.reason)})" if run.reason else ""),
        tr("took"): f"{run.seconds:,.1f} s" if run.seconds is not None else "",
        "mlx-probe": run.version + (f" ({run.code[:20]})" if run.code else ""),
    }
    # Names and paths as code: readers copy them.
    rows = [
        (escaped(name), code(text) if name == tr("run") else escaped(text))
        for name, text in facts.items()
        if text
    ]
    for each in run.inputs:
        text = each.name + (f" @ {each.revision}" if each.revision else "")
        digest = f", sha256 {each.sha256[:16]}" if each.sha256 else ""
        rows.append((escaped(_role(each.role)), escaped(f"{text}{digest}")))
    return table(("", ""), rows)


def _role(role: str) -> str:
    words = {
        "model": tr("model"),
        "base": tr("base"),
        "adapter": tr("adapter"),
        "teacher": tr("teacher"),
        "data": tr("data"),
    }
    return words.get(role, role)


def _command(run: Experiment) -> str:
    if not run.command:
        return ""
    line = shlex.join(run.command)
    if not line.isprintable() or "`" in line:
        return ""  # what is shown would not be the command
    return f"```sh\n{line}\n```"


def _machine(run: Experiment) -> str:
    """The environment, as the run's metadata have it."""
    try:
        meta = json.loads(run.marker.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    found = meta.get("environment") if isinstance(meta, dict) else None
    known: Mapping[str, Any] = found if isinstance(found, dict) else {}
    names = {"cpu": tr("processor"), "platform": tr("system"), "python": "Python"}
    rows = [(title, escaped(str(known[key]))) for key, title in names.items() if known.get(key)]
    for key, title in (("backend", tr("backend")), ("device", tr("device"))):
        if isinstance(meta, dict) and isinstance(meta.get(key), str):
            rows.append((title, escaped(meta[key])))
    packages = known.get("packages")
    if isinstance(packages, dict) and packages:
        text = ", ".join(f"{name} {version}" for name, version in packages.items())
        rows.append((tr("packages"), escaped(text)))
    return f"### {tr('Environment')}\n\n{table(('', ''), rows)}" if rows else ""


def _settings(run: Experiment) -> str:
    rows = [
        (code(name), code(_shown(value)))
        for name, value in run.config.items()
        if value is not None and value != ""
    ]
    if not rows:
        return ""
    header = (tr("setting"), tr("value"))
    left = len(rows) - _MOST_SETTINGS
    more = "\n\n" + tr("{count} further settings are in the run.", count=left) if left > 0 else ""
    return f"### {tr('Parameters')}\n\n{table(header, rows[:_MOST_SETTINGS])}{more}"


def _results(run: Experiment) -> str:
    rows = [(code(name), _shown(value)) for name, value in run.metrics.items()]
    if not rows:
        return tr("The run left no numbers of its own.")
    left = len(rows) - _MOST_RESULTS
    more = "\n\n" + tr("{count} further numbers are in the run.", count=left) if left > 0 else ""
    return table((tr("result"), tr("value")), rows[:_MOST_RESULTS]) + more


def _shown(value: object) -> str:
    if isinstance(value, float):
        # Whole numbers as such, so that bytes and tokens can be read.
        return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.6g}"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def _figures(
    run: Experiment, stem: str
) -> tuple[dict[str, tuple[str, Callable[[Path], object]]], list[str]]:
    """Title and writer of each figure by its file's name, and what is to be said about them."""
    wanted = list(PLOTTED.get(run.kind, ()))
    if RUN_KINDS[run.kind].has_steps:
        columns = read_curves(run.folder).columns
        wanted = [name for name in _CURVES if name in columns][:_MOST_CURVES]
    if not wanted or run.state == "damaged":
        return {}, []
    if find_spec("matplotlib") is None:
        return {}, [tr("There are no plots: they need matplotlib, pip install 'mlx-probe[plot]'.")]
    from mlx_probe.report.figures import plot

    figures: dict[str, tuple[str, Callable[[Path], object]]] = {}
    for metric in wanted:
        try:
            made = plot(run.marker, metric)
        except ProbeError:
            continue  # this run has no such numbers
        title = tr("{metric} of the run", metric=metric)
        figures[f"{stem}_{metric}.svg"] = title, made.save
    return figures, []
