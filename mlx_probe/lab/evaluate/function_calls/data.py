"""Questions of a prepared data set, as `mlx-probe data toolcalls` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.function_calls.call import Call, UnreadableError
from mlx_probe.lab.function_calls.json_calls import calls_of

__all__ = ["questions_of", "read_questions"]


def read_questions(source: str, config: AnswerConfig) -> list[Question]:
    """One question for each answer of an assistant in the data: all that was said before it.

    Args:
        source: A folder with test.jsonl, valid.jsonl and train.jsonl, or one such file.
        config: Which part, and which of its questions.

    Raises:
        SourceError: There is no such file, or a line is no example.
        ConfigError: The part is empty.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / f"{config.split}.jsonl"
    questions: list[Question] = []
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    questions += questions_of(json.loads(line), number)
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror or error}",
            "Give a folder of `mlx-probe data toolcalls`, or a file of it",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"{path}: line {number} is no example: {error}",
            "Prepare the data with `mlx-probe data toolcalls`",
        ) from error
    if not questions:
        raise ConfigError(f"{path} has no example", "Choose another --split")
    return questions[config.slice()]


def questions_of(row: Mapping[str, Any], number: int) -> Iterator[Question]:
    """The questions of an example.

    Args:
        row: With "messages", "tools" and "id".
        number: Its name where it has no id.

    Raises:
        ValueError: Its calls cannot be read; KeyError and TypeError where it is no example.
    """
    messages, tools = row["messages"], tuple(row.get("tools") or ())
    name = str(row.get("id") or number)
    answers = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    for at in answers:
        truth = _wanted(messages[at].get("tool_calls") or ())
        yield Question(
            id=name if len(answers) == 1 else f"{name}#{at}",
            category="no_call" if not truth else "one_call" if len(truth) == 1 else "several_calls",
            messages=tuple(messages[:at]),
            tools=tools,
            functions=tuple(tool["function"] for tool in tools),
            truth=truth,
        )


def _wanted(calls: Sequence[Any]) -> tuple[Call, ...]:
    if not calls:
        return ()
    try:
        found = calls_of(list(calls))
    except UnreadableError as error:
        raise ValueError(str(error)) from error
    if found is None or len(found) != len(calls):
        raise ValueError("tool_calls of another form")
    return tuple(found)
