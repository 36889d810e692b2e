"""The six values of one answer, and what went wrong first.

What is counted, and what usual scripts count otherwise:

- Read: every call of the answer counts, not the first one; an answer that ends in the middle of
  a call is not read; words around a call do no harm; where a call is wanted, words alone are
  none.
- Names: as often as wanted, in any order. One call more is wrong.
- F1 of parameters: pairs of name and value, of calls of the right function only: arguments of a
  wrong function earn nothing, though they are called the same. Of items that want a call.
- Schema: all calls of the answer are of functions that were offered, and hold their schema:
  `true` is no integer, unknown arguments break it. Of items that want a call.
- All together: exactly the wanted calls, and nothing that could not be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_probe.lab.evaluate.function_calls.matching import equal_arguments, pairs, same_calls
from mlx_probe.lab.function_calls.call import Answer, Call
from mlx_probe.lab.function_calls.schema import argument_problems

__all__ = ["ERRORS", "METRICS", "ItemValues", "item_values"]

# What went wrong first, in this order.
ERRORS = (
    "not_readable",
    "no_call",
    "call_where_none_fits",
    "unknown_function",
    "wrong_function",
    "too_few_calls",
    "too_many_calls",
    "missing_argument",
    "unknown_argument",
    "wrong_type",
    "wrong_value",
)

METRICS = (
    "parse_rate",
    "name_accuracy",
    "parameter_f1",
    "schema_rate",
    "execution_rate",
    "all_together",
)


@dataclass(frozen=True)
class ItemValues:
    """What one answer is worth; None for what does not apply to its item.

    Attributes:
        parsed: Whether it could be read.
        names: Whether the right functions are called, each as often as wanted.
        f1: F1 of its parameters.
        schema: Whether all calls hold the schemas.
        executed: Whether registered functions do with its calls what they do with the wanted
            ones; None where one of the functions is not registered.
        whole: Whether it is right.
        error: What went wrong first, one of `ERRORS`; None if nothing.
        detail: The same in words.
    """

    parsed: bool
    names: bool
    f1: float | None
    schema: bool | None
    executed: bool | None
    whole: bool
    error: str | None
    detail: str


def item_values(
    answer: Answer,
    wanted: Sequence[Call],
    functions: Sequence[Mapping[str, Any]],
    executed: bool | None = None,
) -> ItemValues:
    """Measure one answer.

    Args:
        answer: As it was read.
        wanted: The calls that are right; none where no function fits.
        functions: That were offered, in OpenAI's form.
        executed: From `execution`; None if it was not measured.
    """
    made = answer.calls
    readable = answer.malformed is None
    if not wanted:
        silent = readable and not made
        error = None if silent else "not_readable" if not readable else "call_where_none_fits"
        detail = answer.malformed or ", ".join(call.name for call in made)
        return ItemValues(readable, silent, None, None, None, silent, error, detail)
    by_name = {function["name"]: function for function in functions}
    problems = [
        (call, problem)
        for call in made
        if call.name in by_name
        for problem in argument_problems(by_name[call.name], call.arguments)
    ]
    known = all(call.name in by_name for call in made)
    whole = readable and same_calls(made, wanted)
    error, detail = (None, "") if whole else _first_error(answer, wanted, by_name)
    return ItemValues(
        parsed=readable and bool(made),
        names=readable and Counter(_names(made)) == Counter(_names(wanted)),
        f1=_f1(made, wanted),
        schema=readable and bool(made) and known and not problems,
        executed=executed,
        whole=whole,
        error=error,
        detail=detail,
    )


def _names(calls: Sequence[Call]) -> list[str]:
    return [call.name for call in calls]


def _f1(made: Sequence[Call], wanted: Sequence[Call]) -> float:
    """2 x equal arguments / (arguments made + arguments wanted).

    A call without arguments counts as one argument, so that it can be right or missing.
    """
    together = pairs(made, wanted)
    equal = sum(
        equal_arguments(made[i], wanted[j]) if made[i].arguments or wanted[j].arguments else 1
        for i, j in together
    )
    total = sum(max(len(call.arguments), 1) for call in (*made, *wanted))
    return 2 * equal / total


def _first_error(
    answer: Answer, wanted: Sequence[Call], by_name: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str]:
    made = answer.calls
    if answer.malformed is not None:
        return "not_readable", answer.malformed
    if not made:
        return "no_call", ""
    unknown = [call.name for call in made if call.name not in by_name]
    if unknown:
        return "unknown_function", ", ".join(unknown)
    more = Counter(_names(made)) - Counter(_names(wanted))
    less = Counter(_names(wanted)) - Counter(_names(made))
    if more and less:
        return "wrong_function", f"{', '.join(more)} for {', '.join(less)}"
    if less:
        return "too_few_calls", ", ".join(less)
    if more:
        return "too_many_calls", ", ".join(more)
    return min(
        (
            _argument_error(made[i], wanted[j], by_name[made[i].name])
            for i, j in pairs(made, wanted)
        ),
        key=lambda error: ERRORS.index(error[0]) if error[0] else len(ERRORS),
    )


def _argument_error(made: Call, wanted: Call, function: Mapping[str, Any]) -> tuple[str, str]:
    """The first error of a call of the right function; "" if it has none."""
    lacking = [name for name in wanted.arguments if name not in made.arguments]
    if lacking:
        return "missing_argument", f"{made.name}: {', '.join(lacking)}"
    more = [name for name in made.arguments if name not in wanted.arguments]
    if more:
        return "unknown_argument", f"{made.name}: {', '.join(more)}"
    for problem in argument_problems(function, made.arguments):
        if problem.kind == "type":
            return "wrong_type", f"{made.name}: {problem.text}"
    if equal_arguments(made, wanted) == len(wanted.arguments):
        return "", ""
    for name, value in made.arguments.items():
        one = Call(made.name, {name: value}), Call(made.name, {name: wanted.arguments[name]})
        if not equal_arguments(*one):
            return (
                "wrong_value",
                f"{made.name}: {name} is {value!r}, not {wanted.arguments[name]!r}",
            )
    return "", ""
