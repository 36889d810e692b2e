"""BFCL's questions and accepted answers, from the package or a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.origins import find_texts
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.evaluate.bfcl.categories import CATEGORIES, category_of
from mlx_probe.lab.function_calls.schema import normal_schema

__all__ = ["SOURCE", "read_questions"]

SOURCE = "pypi:bfcl-eval"
_ANSWERS, _RETIRED = "possible_answer", "unused_datasets"


def read_questions(source: str, config: AnswerConfig) -> list[Question]:
    """The questions of some categories.

    Args:
        source: `pypi:bfcl-eval`, or a folder with its files.
        config: Which categories, and which of their questions.

    Raises:
        ConfigError: A category is unknown, or not checked here.
        SourceError: The files cannot be had, or are damaged.
    """
    wanted = [category_of(name)[0] for name in config.categories] or list(CATEGORIES)
    files = {
        name: path
        for name, path in find_texts(source).items()
        if _RETIRED not in Path(name).parts and path.name.startswith("BFCL_")
    }
    questions: list[Question] = []
    for category in dict.fromkeys(wanted):
        path = _file(files, category, answers=False)
        # A folder may hold a part of the data; a category that was asked for by name must be there.
        if path is None and not config.categories:
            continue
        if path is None:
            raise SourceError(
                f"{source} has no questions of {category}", "Choose other categories, or data"
            )
        questions += _category(files, path, category)[config.slice()]
    if not questions and not config.items:
        raise SourceError(
            f"{source} holds no BFCL_*.json", f"Give a folder of BFCL's data, or {SOURCE}"
        )
    return questions


def _file(files: Mapping[str, Path], category: str, answers: bool) -> Path | None:
    for name, path in files.items():
        stem = path.name.split(".")[0]
        # Versions differ in the prefix: BFCL_v3_, BFCL_v4_.
        if stem.partition("_")[2].partition("_")[2] == category and answers is (
            _ANSWERS in Path(name).parts
        ):
            return path
    return None


def _category(files: Mapping[str, Path], path: Path, category: str) -> list[Question]:
    rows = _rows(path)
    truths: dict[str, Any] = {}
    if CATEGORIES[category].has_truth:
        answers = _file(files, category, answers=True)
        if answers is None:
            raise SourceError(
                f"{path}: the accepted answers of {category} are missing",
                f"Put them into the folder {_ANSWERS}",
            )
        truths = {row["id"]: row.get("ground_truth") for row in _rows(answers)}
    try:
        return [
            Question(
                id=row["id"],
                category=category,
                messages=tuple(row["question"][0]),
                tools=tuple(map(_tool, row["function"])),
                functions=tuple(row["function"]),
                truth=truths[row["id"]] if CATEGORIES[category].has_truth else None,
            )
            for row in rows
        ]
    except (KeyError, IndexError, TypeError) as error:
        raise SourceError(
            f"{path}: a question is damaged: {error!r}", "Get the data again"
        ) from error


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """A function in OpenAI's form, with JSON Schema's names of types."""
    kept: dict[str, Any] = {"name": function["name"]}
    if "description" in function:
        kept["description"] = function["description"]
    kept["parameters"] = normal_schema(function.get("parameters", {}))
    return {"type": "function", "function": kept}


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror or error}", "Check that the file is readable"
        ) from error
    except ValueError as error:
        raise SourceError(f"{path} is damaged: {error}", "Get the data again") from error
    if not all(isinstance(row, dict) and "id" in row for row in rows):
        raise SourceError(f"{path} is damaged: a line has no id", "Get the data again")
    return rows
