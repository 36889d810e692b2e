"""BFCL's verdict on the calls of an answer.

The rules are those of the leaderboard's checker for Python (Patil et al. 2025, "The Berkeley
Function Calling Leaderboard"; bfcl-eval 2026.3.23), oddities included: only with them is a number
the leaderboard's. `one_call` compares a call with an accepted answer, and here calls are counted
and matched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.bfcl.categories import category_of
from mlx_probe.lab.evaluate.bfcl.one_call import check_call
from mlx_probe.lab.evaluate.bfcl.verdict import Mismatch, Verdict

__all__ = ["check_calls", "decoded_form"]

_COUNT = {
    "simple": "simple_function_checker:wrong_count",
    "multiple": "multiple_function_checker:wrong_count",
    "parallel": "parallel_function_checker_no_order:wrong_count",
}


def check_calls(
    functions: Sequence[Mapping[str, Any]],
    calls: Any,
    possible_answer: Any,
    category: str,
    underscores: bool = False,
) -> Verdict:
    """Check calls as the leaderboard does.

    Args:
        functions: Of the question: each with "name" and "parameters", in BFCL's types.
        calls: ``[{name: {argument: value}}]``, or ``{"name": ..., "arguments": ...}`` each, or
            `Call` objects. Anything else is an answer in a wrong format.
        possible_answer: ``[{name: {argument: [accepted values]}}]``, or the line of BFCL's file
            with "ground_truth". Without effect where no call, or any call, is wanted.
        category: Key in `CATEGORIES`.
        underscores: Whether the model was given "_" for "." in names of functions, as most
            interfaces for tools want it.

    Raises:
        ConfigError: The category is not checked here, or the accepted answers do not fit the
            functions.
    """
    name, kind = category_of(category)[0], category_of(category)[1].kind
    try:
        decoded = decoded_form(calls)
    except Mismatch as mismatch:
        # Text that is no call is what irrelevance wants.
        if kind == "irrelevance":
            return Verdict(True)
        if kind == "relevance":
            return Verdict(False, "relevance_error:decoder_failed", mismatch.errors)
        return mismatch.verdict
    if kind == "irrelevance":
        if not decoded:
            return Verdict(True)
        return Verdict(False, "irrelevance_error:decoder_success", ("a call where none fits",))
    if kind == "relevance":
        if decoded:
            return Verdict(True)
        return Verdict(False, "relevance_error:decoder_failed", ("no call where one is wanted",))
    accepted = _accepted(possible_answer, name)
    try:
        wanted = 1 if kind == "simple" else len(accepted)
        if len(decoded) != wanted:
            raise Mismatch(_COUNT[kind], f"{len(decoded)} calls, {wanted} wanted")
        if kind == "parallel":
            _match(functions, decoded, accepted, underscores)
        elif kind == "simple":
            # The first function, whatever its name: there is no other.
            check_call(functions[0], decoded[0], accepted[0], underscores)
        else:
            check_call(_described(functions, accepted[0]), decoded[0], accepted[0], underscores)
    except Mismatch as mismatch:
        return mismatch.verdict
    return Verdict(True)


def decoded_form(calls: Any) -> list[dict[Any, Mapping[Any, Any]]]:
    """Calls as ``[{name: {argument: value}}]``.

    Raises:
        Mismatch: They have no such form.
    """
    if not isinstance(calls, (list, tuple)):
        raise Mismatch(
            "ast_decoder:decoder_wrong_output_format", f"{type(calls).__name__} for a list of calls"
        )
    return [_one(call) for call in calls]


def _one(call: Any) -> dict[Any, Mapping[Any, Any]]:
    if hasattr(call, "name") and hasattr(call, "arguments"):
        return {call.name: dict(call.arguments)}
    if isinstance(call, Mapping):
        if call.keys() == {"name", "arguments"}:
            name, arguments = call["name"], call["arguments"]
            if isinstance(arguments, str):
                # As OpenAI's interface sends them.
                try:
                    arguments = json.loads(arguments)
                except (ValueError, RecursionError):
                    arguments = None
            call = {name: arguments}
        if len(call) == 1 and isinstance(next(iter(call.values())), Mapping):
            return dict(call)
    raise Mismatch(
        "ast_decoder:decoder_wrong_output_format", f"no call with a name and arguments: {call!r}"
    )


def _accepted(possible_answer: Any, category: str) -> Sequence[Mapping[str, Mapping[str, Any]]]:
    if isinstance(possible_answer, Mapping):
        possible_answer = possible_answer.get("ground_truth")
    if (
        not isinstance(possible_answer, Sequence)
        or not possible_answer
        or not all(isinstance(each, Mapping) and len(each) == 1 for each in possible_answer)
    ):
        raise ConfigError(
            f"{category}: the accepted answers are no list of calls: {possible_answer!r}",
            "Give [{name: {argument: [values]}}], as BFCL's possible_answer has it",
        )
    return possible_answer


def _described(
    functions: Sequence[Mapping[str, Any]], accepted: Mapping[str, Any]
) -> Mapping[str, Any]:
    name = next(iter(accepted))
    for function in functions:
        if function["name"] == name:
            return function
    raise ConfigError(
        f"the accepted answer calls {name}, which is none of the question's functions",
        "Correct the question or its answer",
    )


def _match(
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[Mapping[str, Any]],
    accepted: Sequence[Mapping[str, Any]],
    underscores: bool,
) -> None:
    """Give each accepted answer the first free call that it accepts.

    A call that two answers accept is not given back: an answer that could be matched another
    way may fail here, as it does on the leaderboard.
    """
    free = list(range(len(calls)))
    for answer in accepted:
        function = _described(functions, answer)
        mismatches = []
        for index in free:
            try:
                check_call(function, calls[index], answer, underscores)
            except Mismatch as mismatch:
                mismatches.append((index, mismatch))
            else:
                free.remove(index)
                break
        else:
            raise Mismatch(
                "parallel_function_checker_no_order:cannot_find_match",
                f"no call is accepted as {next(iter(answer))}",
                *(
                    f"call {at}: {why.error_type}: {'; '.join(why.errors)}"
                    for at, why in mismatches
                ),
            )
