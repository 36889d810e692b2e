"""An answer to judge: what was said, what could be called, and what was expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_probe.lab.function_calls.call import Answer, Call
from mlx_probe.lab.function_calls.reading import read_answer
from mlx_probe.lab.rewards.outcome import Outcome

__all__ = ["Attempt", "expected_calls", "make_attempt"]


@dataclass(frozen=True)
class Attempt:
    """An answer and what it is judged by.

    Attributes:
        text: What the model wrote.
        answer: The same, read.
        functions: What could be called, by name, in OpenAI's form of `function`.
        expected: The calls that are right; none where nothing should be called.
        run: Executes a call, see `Sandbox.run`; None where nothing can be executed.
    """

    text: str
    answer: Answer
    functions: Mapping[str, Mapping[str, Any]]
    expected: tuple[Call, ...]
    run: Callable[[Call], Outcome] | None = None


def make_attempt(
    text: str,
    tools: Sequence[Mapping[str, Any]],
    expected: Sequence[Call],
    run: Callable[[Call], Outcome] | None = None,
) -> Attempt:
    """Read an answer.

    Args:
        text: What the model wrote.
        tools: Functions in OpenAI's form, with or without the wrapping "function".
        expected: The calls that are right; see `expected_calls`.
        run: See `Attempt`.
    """
    functions = [tool.get("function", tool) for tool in tools]
    named = {str(function.get("name")): function for function in functions}
    return Attempt(text, read_answer(text), named, tuple(expected), run)


def expected_calls(message: Mapping[str, Any]) -> tuple[Call, ...]:
    """The calls of an assistant's message of prepared data."""
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    return tuple(Call(function["name"], function["arguments"]) for function in functions)
