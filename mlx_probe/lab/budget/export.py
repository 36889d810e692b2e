"""A plan written as a model: read top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_error
from mlx_probe.core.version import __version__
from mlx_probe.lab.budget.lowrank_layout import MODEL_FILE, copy_model_file
from mlx_probe.lab.budget.perplexity import Predicted, TextComparison, TextConfig
from mlx_probe.lab.budget.records import BudgetPlan
from mlx_probe.lab.budget.rewrite import rewrite
from mlx_probe.lab.budget.tensors import FRAMEWORK
from mlx_probe.lab.budget.verify import squared_errors
from mlx_probe.lab.derived_model import copy_texts, refuse_out, write_json
from mlx_probe.lab.generate.folder import tokenizer_folder
from mlx_probe.lab.model_input import model_input
from mlx_probe.lab.tensor_stream import write_shards
from mlx_probe.lab.whole_folder import require_empty, whole_folder
from mlx_probe.runs.small_run import SmallRun, data_input
from mlx_probe.source.transfer.disk_space import existing_folder, require_space

__all__ = ["RECORD", "ExportedBudget", "export_budget", "refuse_export"]

# By this file we know a model that may be replaced.
RECORD = "budget.json"


@dataclass(frozen=True)
class ExportedBudget:
    """A model that was written.

    Attributes:
        folder: Where it is.
        files: Its files with weights.
        bytes: Their size; the plan's to the byte.
        predicted_error: Frobenius error of all measured matrices, relative to their norm, as
            planned.
        error: The same, of the files that were written.
        squared_errors: Of each matrix that was changed, by name, from the same files.
        needs_code: Whether mlx-lm has to run the file beside the weights.
        text: The text that the models were compared on; None for none.
        predicted: How well it is predicted before and after, and by the uniform choice of the
            same size; nothing without a text.
    """

    folder: Path
    files: tuple[str, ...]
    bytes: int
    predicted_error: float
    error: float
    squared_errors: Mapping[str, float]
    needs_code: bool
    text: TextConfig | None
    predicted: tuple[Predicted, ...]

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        text = None
        if self.text is not None:
            text = {**asdict(self.text), "models": [asdict(each) for each in self.predicted]}
        return {
            "folder": str(self.folder),
            "files": list(self.files),
            "bytes": self.bytes,
            "predicted_error": self.predicted_error,
            "error": self.error,
            "needs_code": self.needs_code,
            "text": text,
        }


def refuse_export(out: Path, run: Path | None = None) -> None:
    """Refuse a folder that cannot be written, before the work.

    Args:
        out: The folder to write.
        run: Another folder that the same command writes.

    Raises:
        ConfigError: They are one.
        ResultError: There is something else in it.
    """
    if run is not None and run.resolve() == out.resolve():
        raise ConfigError(
            f"--out and --export are both {out}", "Choose two folders: one of them is a model"
        )
    require_empty(out, RECORD)


def export_budget(
    plan: BudgetPlan,
    out: Path,
    text: TextConfig | None = None,
    on_bytes: Callable[[int, int], None] = lambda done, total: None,
    on_tokens: Callable[[int, int], None] = lambda done, total: None,
    document: Mapping[str, Any] | None = None,
) -> ExportedBudget:
    """Write the model that a plan describes, whole or not at all.

    Its files are read back and measured beside the original before the folder takes its name. A
    module's arrays at a time are in memory, but for the text: then a whole model is.

    Args:
        plan: The plan.
        out: The folder to write. A model that was written by a budget before is replaced, nothing
            else.
        text: What the models are compared on; None for no comparison.
        on_bytes: Called with the bytes that are written, and all.
        on_tokens: Called with the tokens that are predicted, and all of the three models.
        document: The plan for `RECORD`.

    Raises:
        SourceError: The text or the tokenizer cannot be had, or the disk has too little space.
        CheckpointError: The model is damaged, or predicts NaN.
        ConfigError: mlx-lm does not load the model, or a number is beyond a type.
        ResultError: The disk refused, something else is in ``out``, or the model changed.
    """
    run = SmallRun("budget-export")
    folder = Path(plan.folder)
    refuse_out(out, RECORD, folder)
    tokenizer = tokenizer_folder(folder)
    compared = None if text is None else TextComparison(plan, text, on_tokens)
    # A text that is not there is refused before the work.
    predicted = [compared.before()] if compared else []
    done = 0

    def count(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        on_bytes(done, plan.after)

    made = rewrite(plan, count)
    try:
        require_space(existing_folder(out.parent), plan.after, "the model", "--export")
        with whole_folder(out) as new:
            files = write_shards(new, made.tensors, FRAMEWORK)
            _write_config(made.config, made.keeps_vision, new)
            copy_texts(folder, tokenizer, new)
            errors = squared_errors(plan, new)
            if compared:
                predicted += [compared.after(new), compared.uniform()]
            exported = ExportedBudget(
                folder=out,
                files=tuple(path.name for path in files),
                bytes=sum(path.stat().st_size for path in files),
                predicted_error=plan.error,
                error=_error(plan, errors),
                squared_errors=errors,
                needs_code=(new / MODEL_FILE).exists(),
                text=text,
                predicted=tuple(predicted),
            )
            _record(run, plan, exported, new, document)
    except OSError as error:
        raise write_error(out, error) from error
    return exported


def _write_config(config: dict[str, Any], keeps_vision: bool, folder: Path) -> None:
    from mlx_lm.utils import save_config

    save_config(dict(config), folder / "config.json", keep_vision_config=keeps_vision)
    if config.get("model_file") == MODEL_FILE:
        copy_model_file(folder)


def _error(plan: BudgetPlan, errors: Mapping[str, float]) -> float:
    total = sum(errors.values())
    if not math.isfinite(total):
        name = next(name for name, error in errors.items() if not math.isfinite(error))
        raise ConfigError(
            f"{name} holds numbers that are beyond the type that is written",
            "Choose --dtype bfloat16 or float32",
        )
    return math.sqrt(total / plan.energy) if plan.energy else 0.0


def _record(
    run: SmallRun,
    plan: BudgetPlan,
    exported: ExportedBudget,
    folder: Path,
    document: Mapping[str, Any] | None,
) -> None:
    """What was made of what, and the metadata last."""
    said = exported.describe()
    write_json(
        folder / RECORD,
        {"mlx_probe": __version__, "model": plan.model, **(document or {}), "exported": said},
    )
    inputs, text = [model_input("base", plan.model, Path(plan.folder))], exported.text
    if text is not None:
        inputs.append(data_input(text.source))
    settings = {
        "goal": asdict(plan.goal),
        "kinds": plan.kinds,
        "dtype": plan.dtype,
        "text": None if text is None else asdict(text),
    }
    measured = {
        f"{row.name}_{key}": value
        for row in exported.predicted
        for key in ("bytes", "perplexity", "bits_per_byte")
        if (value := getattr(row, key)) is not None
    }
    results = {
        "bytes": exported.bytes,
        "bytes_before": plan.before,
        "predicted_error": plan.error,
        "error": exported.error,
        **measured,
    }
    run.write(folder, inputs, settings, results, written=["."])
