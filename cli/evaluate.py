"""`mlx-probe evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.core.files import write_text
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.answers import answers_text, comparison_text
from mlx_probe.report.terminal.evaluation import evaluation_text
from mlx_probe.runs.table.strict_json import document

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import complete_files, config_option, device_option, quiet_option

__all__ = ["evaluate"]

_TASKS = ("perplexity", "function-calls", "bfcl")
# Settings of tasks that predict text, and of those that ask questions.
_OF_TEXT = ("context", "stride", "document", "text_column")
_OF_QUESTIONS = (
    *("items", "prompting", "system", "temperature", "name", "api_key", "concurrency"),
    "registered",
)


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe evaluate ./runs/shakespeare --data ./runs/shakespeare/data",
        "mlx-probe evaluate ./model --task function-calls --data ./calls --out ./before",
        "mlx-probe evaluate --compare ./before ./after",
    ),
)
@click.argument("model", required=False, shell_complete=complete_files)
@click.option(
    "--task",
    type=click.Choice(_TASKS),
    default="perplexity",
    help="What is measured: how well a text is predicted, or how well functions are called.",
)
@click.option(
    "--data",
    metavar="SOURCE",
    help="Tokenized data (a folder of `mlx-probe data tokenize`), or text: files, folders, "
    "packages, data sets. For function-calls a folder of `mlx-probe data toolcalls`; for bfcl a "
    "folder of its files, or the package bfcl-eval if nothing is named.",
)
@click.option(
    "--split",
    type=click.Choice(["validation", "train", "test", "valid"]),
    help="Part of tokenized data, or of prepared function calls; text is evaluated whole.  "
    "[default: validation; for function-calls test]",
)
@click.option(
    "--context",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Tokens that the model sees at most; 0 for its own context, at most 2048.",
)
@click.option(
    "--stride",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Tokens between the beginnings of two windows; 0 for the context. Smaller ones predict "
    "each token from more text, and take longer.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Tokens to predict, at most, rounded up to a window; 0 for all. Of an answer, at most; 0 "
    "for 512.",
)
@click.option(
    "--document",
    metavar="KIND",
    default="auto",
    help="What one document of text is: file, paragraph, line, chunk or auto.",
)
@click.option(
    "--text-column", metavar="NAME", default="text", help="Column of JSONL and Parquet files."
)
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="NAME",
    help="Category of bfcl, such as simple_python; may be repeated.  [default: all of one turn "
    "in Python]",
)
@click.option(
    "--items",
    metavar="ROWS",
    default="",
    help="Which questions are asked, of each category, counted from 0; 0-99 for the first hundred.",
)
@click.option(
    "--prompting",
    type=click.Choice(["tools", "words"]),
    default="tools",
    help="How functions are shown: as tools by the chat template, or in the system prompt, as "
    "bfcl does for models without tools.",
)
@click.option(
    "--system",
    metavar="TEXT|@FILE",
    help="System prompt of questions that have none. With words it needs {functions} in it.",
)
@click.option(
    "--temperature",
    type=float,
    metavar="T",
    default=0.0,
    help="Of the answers; 0 takes the most likely token.",
)
@click.option("--name", metavar="NAME", default="", help="The model's name at an address.")
@click.option(
    "--api-key",
    metavar="TEXT",
    default="",
    help="Token that an address wants; better in the environment variable.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    metavar="N",
    default=4,
    help="Questions at a time, at an address.",
)
@click.option(
    "--registered",
    metavar="NAME",
    default="",
    help="Functions that calls are run with, for the execution rate: module:TABLE, file.py:TABLE "
    "or built-in.",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.jsonl",
    help='Judge these answers in place of a model\'s: "id" and "text" in each line.',
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="A B",
    help="Compare two results on the same questions.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of draws and resamples.")
@device_option("Where the model runs; auto takes a GPU where MLX has one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Run folder for results, answers and run_meta.json: the same command goes on with what "
    "has no answer yet. For perplexity also a file FILE.json for the document alone.",
)
@config_option
@json_option
@quiet_option
def evaluate(
    model: str | None,
    task: str,
    data: str | None,
    predictions: Path | None,
    compare: tuple[Path, Path] | None,
    device: str,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Measure how well MODEL predicts a text, or calls functions.

    MODEL is what `mlx-probe generate` takes; for function-calls and bfcl also the address of an
    OpenAI-compatible server.

    perplexity: loss, perplexity and bits per byte. Text is encoded by the model's own tokenizer;
    tokenized data are taken as they are if their tokenizer is the model's, and encoded anew
    otherwise. Compare models with different tokenizers by bits per byte.

    function-calls: six metrics on prepared data. bfcl: single turns of the Berkeley Function
    Calling Leaderboard, with its checker's verdicts.

    The intervals say how far the numbers would move with other documents or questions (95 %).
    """
    if compare is not None:
        _compare(compare, settings["seed"], as_json, quiet)
        return
    _refuse_what_does_not_fit(model, task, data, predictions, out)
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.evaluate.evaluate import evaluate as run_evaluation

    config = _text_config(settings) if task == "perplexity" else _answer_config(settings)
    use_device(device)  # type: ignore[arg-type]
    file = out if out is not None and task == "perplexity" and _is_file(out) else None
    folder = out if file is None else None
    with counting_bar(tr("evaluating"), MofNCompleteColumn(), quiet) as on_progress:
        result = run_evaluation(model, data, task, config, on_progress, folder, predictions)
    if file is not None:
        write_text(file, document(result) + "\n")
    if as_json:
        print_document(result)
    elif not quiet:
        text = evaluation_text(result) if task == "perplexity" else answers_text(result)
        output().print(text, markup=False, soft_wrap=True)


def _compare(folders: tuple[Path, Path], seed: int, as_json: bool, quiet: bool) -> None:
    from mlx_probe.lab.evaluate.comparison import compare_results

    result = compare_results(*folders, seed=seed)
    if as_json:
        print_document(result)
    elif not quiet:
        output().print(comparison_text(result), markup=False, soft_wrap=True)


def _refuse_what_does_not_fit(
    model: str | None, task: str, data: str | None, predictions: Path | None, out: Path | None
) -> None:
    if (model is None) is (predictions is None):
        raise click.UsageError(
            "MODEL is missing" if model is None else "--predictions takes the place of MODEL"
        )
    if task == "perplexity":
        if predictions is not None:
            raise click.UsageError("--predictions needs --task function-calls or bfcl")
        if data is None:
            raise click.UsageError("--data is missing")
        if out is not None and out.is_dir() and out.suffix == ".json":
            raise click.UsageError(f"--out {out} is a folder")
    elif task == "function-calls" and data is None:
        raise click.UsageError("--data is missing")


def _is_file(out: Path) -> bool:
    """Whether a path is that of a file, which earlier versions wrote whatever its name."""
    return out.suffix == ".json" or out.is_file()


def _text_config(settings: dict[str, Any]) -> Any:
    from mlx_probe.lab.evaluate.config import EvaluateConfig

    names = (*_OF_TEXT, "max_tokens", "seed")
    return EvaluateConfig(
        split=settings["split"] or "validation", **{name: settings[name] for name in names}
    )


def _answer_config(settings: dict[str, Any]) -> Any:
    from mlx_probe.lab.data.toolcalls.config import SYSTEM
    from mlx_probe.lab.evaluate.answers.config import AnswerConfig

    values = {name: settings[name] for name in (*_OF_QUESTIONS, "categories", "seed")}
    system = settings["system"]
    if system is None:
        system = SYSTEM
    elif system.startswith("@"):
        try:
            system = Path(system[1:]).expanduser().read_text("utf-8")
        except (OSError, ValueError) as error:
            raise click.UsageError(f"--system: cannot read {system[1:]}: {error}") from error
    split = {"validation": "valid"}.get(settings["split"], settings["split"])
    return AnswerConfig(
        **{**values, "system": system},
        split=split or "test",
        max_tokens=settings["max_tokens"] or 512,
    )
