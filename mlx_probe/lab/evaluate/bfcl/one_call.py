"""One call beside one accepted answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.bfcl.types import Declared, agreed_type, declared_type
from mlx_probe.lab.evaluate.bfcl.values import comparison
from mlx_probe.lab.evaluate.bfcl.verdict import Mismatch

__all__ = ["check_call"]

_CHECKER = "simple_function_checker"


def check_call(
    function: Mapping[str, Any],
    call: Mapping[Any, Mapping[Any, Any]],
    accepted: Mapping[str, Mapping[str, Any]],
    underscores: bool = False,
) -> None:
    """Compare a call's name, then its required arguments, then each argument, then what is left.

    Args:
        function: As the question describes it.
        call: ``{name: {argument: value}}``.
        accepted: ``{name: {argument: [accepted values]}}``; a list with "" may be left out.
        underscores: See `check_calls`.

    Raises:
        Mismatch: The call is not accepted; the first reason.
        ConfigError: Question and answer do not fit together.
    """
    name = function["name"].replace(".", "_") if underscores else function["name"]
    if name not in call:
        raise Mismatch(f"{_CHECKER}:wrong_func_name", f"{next(iter(call))} is called, not {name}")
    arguments = call[name]
    values = next(iter(accepted.values()))
    parameters = function["parameters"]["properties"]
    for parameter in function["parameters"].get("required", ()):
        if parameter not in arguments:
            raise Mismatch(f"{_CHECKER}:missing_required", f"{parameter} is missing")
    for parameter, value in arguments.items():
        if parameter not in parameters or parameter not in values:
            raise Mismatch(f"{_CHECKER}:unexpected_param", f"{parameter} is not expected")
        _check_argument(parameter, value, parameters[parameter], values[parameter])
    for parameter, choices in values.items():
        if parameter not in arguments and "" not in choices:
            raise Mismatch(f"{_CHECKER}:missing_optional", f"{parameter} is missing")


def _check_argument(parameter: str, value: Any, schema: Mapping[str, Any], choices: Any) -> None:
    try:
        declared = declared_type(schema)
    except KeyError as error:
        raise ConfigError(
            f"parameter {parameter}: BFCL's checker knows no type {error}",
            "Correct the function's description",
        ) from error
    value = declared.adapt(value)
    _check_type(parameter, value, declared, choices)
    # Accepted values of another type than the declared one stand for a variable, or for a number
    # that was written as another kind: they are compared as they are.
    agreed = agreed_type(choices)
    compare = comparison(declared if agreed in (None, declared.kind) else None)
    compare(parameter, value, choices)


def _check_type(parameter: str, value: Any, declared: Declared, choices: Any) -> None:
    """Type of the value, and of the elements of a list; not deeper.

    A value of the accepted values' type is right, whatever the declared one is.
    """
    kind = type(value)
    if kind is declared.kind:
        if declared.element is None:
            return
        # Where an accepted value is no list, elements of any type pass.
        if any(
            type(choice) is not list or declared.elements_fit(value, choice) for choice in choices
        ):
            return
        if choices:
            raise Mismatch("type_error:nested", f"{parameter}: {value!r} is no {declared}")
    elif kind is agreed_type(choices):
        return
    raise Mismatch("type_error:simple", f"{parameter}: {value!r} is no {declared}")
