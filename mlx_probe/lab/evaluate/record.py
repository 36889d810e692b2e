"""An evaluation as a run: its folder, and what run_meta.json says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_error, write_text
from mlx_probe.lab.model_input import model_input
from mlx_probe.runs.answers import IDENTITY, ITEMS, PREDICTIONS, RESULTS
from mlx_probe.runs.small_run import SmallRun, data_input, refuse_other_run
from mlx_probe.runs.table.strict_json import document

if TYPE_CHECKING:
    from mlx_probe.lab.evaluate.answers.config import AnswerConfig
    from mlx_probe.lab.evaluate.config import EvaluateConfig
    from mlx_probe.runs.experiments.records import Input

__all__ = ["KIND", "record_evaluation", "refuse_folder", "write_text_run"]

KIND = "evaluate"
_FILES = (IDENTITY, PREDICTIONS, ITEMS, RESULTS)
# Of the results: settings, and what is no number of the model.
_APART = frozenset(
    {"settings", "categories", "errors", "faulty", "intervals", "context", "stride", "seconds"}
)
# Not a setting that decides a number, and one that nobody should read.
_HIDDEN = frozenset({"api_key"})


def refuse_folder(out: Path, task: str, asks: bool) -> None:
    """Refuse a folder with another run, or with an evaluation of another task.

    Args:
        out: The folder.
        task: The task.
        asks: Whether it asks questions: it then has more files.

    Raises:
        ConfigError: It is a file, or holds another task's results.
        ResultError: It holds another command's run.
    """
    meta = refuse_other_run(out, KIND)
    settings = meta.get("configuration") if meta else None
    before = settings.get("task") if isinstance(settings, Mapping) else None
    if before not in (None, task) or (not asks and (out / IDENTITY).exists()):
        raise ConfigError(f"{out} holds results of another task", "Choose another --out")


def record_evaluation(
    run: SmallRun,
    out: Path,
    results: Mapping[str, Any],
    config: AnswerConfig | EvaluateConfig,
    inputs: Sequence[Input],
) -> None:
    """Write run_meta.json, when all else is in the folder.

    Raises:
        ResultError: The disk refused.
    """
    settings = {name: value for name, value in asdict(config).items() if name not in _HIDDEN}
    facts = {name: results.get(name) for name in ("device", "dtype", "runs_by")}
    try:
        run.write(
            out,
            inputs,
            {"task": results["task"], **settings, **facts},
            _numbers(results),
            # The folder may hold anything else.
            files=[name for name in _FILES if (out / name).is_file()],
        )
    except OSError as error:
        raise write_error(out, error) from error


def write_text_run(
    run: SmallRun,
    out: Path,
    results: Mapping[str, Any],
    config: EvaluateConfig,
    folder: Path,
) -> None:
    """Write the folder of a task that predicts a text.

    Args:
        run: The command.
        out: The folder.
        results: What was measured.
        config: Settings.
        folder: Of the model.

    Raises:
        ResultError: The disk refused.
    """
    write_text(out / RESULTS, document(results) + "\n")
    data = data_input(str(results["data"]), str(results.get("data_fingerprint") or ""))
    record_evaluation(
        run, out, results, config, [model_input("model", str(results["model"]), folder), data]
    )


def _numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """Each metric's value by its name; of a category "category.metric"."""
    found: dict[str, Any] = {}
    for name, value in results.items():
        if name not in _APART:
            found |= _values(name, value)
    for category in results.get("categories", ()):
        name = category.get("category")
        for metric, value in category.items():
            if metric != "category":
                found |= {
                    f"{name}.{each}": number for each, number in _values(metric, value).items()
                }
    return found


def _values(name: str, value: Any) -> dict[str, Any]:
    if name == "metrics":
        return {key: record.get("value") for key, record in value.items()}
    if isinstance(value, Mapping):
        return {name: value["value"]} if "value" in value else {}
    return {name: value} if isinstance(value, (int, float)) and type(value) is not bool else {}
