"""How a model is shown the functions, and how its answer is read.

A new way is one line in `PROMPTING`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_probe.lab.evaluate.answers.question import Question

__all__ = ["FUNCTIONS", "PROMPTING", "Prompting"]

# Where a system prompt of the user's own wants the functions.
FUNCTIONS = "{functions}"

_IN_WORDS = (
    "You turn questions into calls of functions. Answer with the calls that the question needs, "
    "and with nothing else, written as\n"
    "[name(parameter=value, parameter=value), name(parameter=value)]\n"
    "If none of the functions fits, or a value that a function needs is not given, say so in "
    "words, without a call.\n\n"
    "The functions, in JSON:\n" + FUNCTIONS
)

Messages = list[dict[str, Any]]
Conversation = Callable[[Question, str], tuple[Messages, Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True)
class Prompting:
    """A way to show functions.

    Attributes:
        title: What it does, for people.
        conversation: Makes messages and tools of a question and a system prompt.
        python: Whether the leaderboard's reader of Python calls reads the answers to BFCL.
    """

    title: str
    conversation: Conversation
    python: bool


def _as_tools(question: Question, system: str) -> tuple[Messages, Sequence[Mapping[str, Any]]]:
    """The system prompt stands in front where the question has none, as in training data."""
    messages = [dict(message) for message in question.messages]
    if system and not (messages and messages[0]["role"] == "system"):
        messages.insert(0, {"role": "system", "content": system})
    return messages, question.tools


def _in_words(question: Question, system: str) -> tuple[Messages, Sequence[Mapping[str, Any]]]:
    """The functions stand in the system prompt, and the question's own one behind it."""
    text = system if FUNCTIONS in system else _IN_WORDS
    functions = json.dumps(list(question.functions), indent=4, ensure_ascii=False)
    text = text.replace(FUNCTIONS, functions)
    messages = [dict(message) for message in question.messages]
    if messages and messages[0]["role"] == "system":
        text = f"{text}\n\n{messages.pop(0)['content']}"
    return [{"role": "system", "content": text}, *messages], ()


PROMPTING: dict[str, Prompting] = {
    "tools": Prompting("functions as tools, by the model's chat template", _as_tools, False),
    "words": Prompting("functions in the system prompt, calls in Python's syntax", _in_words, True),
}
