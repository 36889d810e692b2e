"""What a model answered: one line of predictions.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import whole_lines
from mlx_probe.lab.function_calls.call import Answer, UnreadableError
from mlx_probe.lab.function_calls.json_calls import calls_of
from mlx_probe.lab.function_calls.reading import read_answer

__all__ = ["Prediction", "read_predictions"]


@dataclass(frozen=True)
class Prediction:
    """An answer.

    Attributes:
        id: Of the question.
        text: What was written.
        tool_calls: Calls that a server has taken out of the text, in OpenAI's form; None where
            there was no server, or no call.
        finish_reason: "stop", "length", "tool_calls", or "too_long" where the question leaves no
            room in the model's context; None if it is not known.
        question: The question's fingerprint; "" if it is not known.
        prompt_tokens: Tokens of the question.
        tokens: Tokens of the answer.
        seconds: Time from the question to the end of the answer.
    """

    id: str
    text: str
    tool_calls: Sequence[Any] | None = None
    finish_reason: str | None = None
    question: str = ""
    prompt_tokens: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    @property
    def spoken(self) -> str:
        """The text without thinking, also without that of which the beginning is not there."""
        return self.text.rsplit("</think>", 1)[-1]

    def answer(self) -> Answer:
        """Its calls."""
        if not self.tool_calls:
            return read_answer(self.text)
        try:
            calls = calls_of(list(self.tool_calls))
        except UnreadableError as error:
            return Answer((), self.text, str(error))
        return Answer(tuple(calls or ()), self.text, None if calls else "tool_calls holds no call")

    def line(self) -> str:
        """The answer as a line of JSON, in ASCII."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})


def read_predictions(path: Path, is_growing: bool = False) -> dict[str, Prediction]:
    """Answers by question, of a file that was written here or elsewhere; later lines win.

    A line needs "id", and "text" or "tool_calls".

    Args:
        path: JSON Lines.
        is_growing: Whether a last line without an end was torn, and is not read.

    Raises:
        ResultError: The file cannot be read, or a line is no answer.
    """
    found = {}
    number = 0
    try:
        with path.open("rb") as file:
            lines = whole_lines(file) if is_growing else file
            for line in lines:
                number += 1
                if line.strip():
                    prediction = _prediction(json.loads(line))
                    found[prediction.id] = prediction
    except OSError as error:
        raise ResultError(
            f"cannot read {path}: {error.strerror or error}", "Give a file of predictions"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResultError(
            f"{path}: line {number} is no prediction: {error}",
            'Write one JSON object a line, with "id" and "text"',
        ) from error
    return found


def _prediction(value: Any) -> Prediction:
    if not isinstance(value, Mapping):
        raise TypeError("no object")
    text, calls = value.get("text"), value.get("tool_calls")
    if text is None and calls is None:
        raise KeyError("text")
    if not isinstance(text, str | None) or not isinstance(calls, list | None):
        raise TypeError("text or tool_calls of another type")
    return Prediction(
        id=str(value["id"]),
        text=text or "",
        tool_calls=calls,
        **{
            key: value[key]
            for key in ("finish_reason", "question", "prompt_tokens", "tokens", "seconds")
            if value.get(key) is not None
        },
    )
