"""Items that are faulty, as their own data show.

No opinion: an item is listed where its accepted answer and its functions contradict each other,
or where the checker refuses answers that the item itself describes as accepted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.evaluate.bfcl.check import check_calls
from mlx_probe.lab.evaluate.bfcl.sample import sample_calls
from mlx_probe.lab.evaluate.bfcl.verdict import Verdict
from mlx_probe.lab.function_calls.schema import argument_problems

__all__ = ["fault_of"]

# Answers that are tried before an item is called faulty.
_TRIES = 30


def fault_of(question: Question) -> str | None:
    """What is wrong with an item; None if nothing shows.

    Args:
        question: Of a category with accepted answers.
    """
    try:
        tried = [(calls, _check(question, calls)) for calls in _answers(question.truth)]
    except ConfigError as error:
        return error.fact
    valid = [calls for calls, verdict in tried if verdict.valid]
    if not valid:
        reasons = tried[0][1].errors
        return f"none of its accepted answers passes: {'; '.join(reasons)}"
    problems = [_problem(question, calls) for calls in valid]
    if all(problems):
        return f"its accepted answer breaks its own schema: {problems[0]}"
    if len(valid[0]) > 1 and not _check(question, valid[0][::-1]).valid:
        return "the order of the calls decides, though any order is accepted"
    if len(valid) < len(tried):
        refused = next(verdict for _, verdict in tried if not verdict.valid)
        return f"not all of its accepted values pass: {'; '.join(refused.errors)}"
    return None


def _answers(truth: Any) -> Iterator[list[dict[str, dict[str, Any]]]]:
    yield sample_calls(truth)
    choose = random.Random(0).randrange
    for _ in range(_TRIES):
        yield sample_calls(truth, choose)


def _check(question: Question, calls: list[dict[str, dict[str, Any]]]) -> Verdict:
    return check_calls(question.functions, calls, question.truth, question.category)


def _problem(question: Question, calls: list[dict[str, dict[str, Any]]]) -> str:
    functions = {tool["function"]["name"]: tool["function"] for tool in question.tools}
    for call in calls:
        for name, arguments in call.items():
            for problem in argument_problems(functions[name], arguments):
                return f"{name}: {problem.text}"
    return ""
