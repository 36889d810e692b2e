"""What registered functions make of the calls.

Only functions that were registered are called, with the arguments as they are. What a model wrote
is never run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.function_calls.values import same
from mlx_probe.lab.function_calls.call import Call

__all__ = ["executes", "registered_functions"]

Registered = Mapping[str, Callable[..., Any]]


def registered_functions(reference: str) -> Registered:
    """Functions by name, from a mapping in a module.

    Args:
        reference: "module:attribute".

    Raises:
        ConfigError: There is no such mapping.
    """
    module, _, attribute = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"registered: {reference} cannot be imported: {error}",
            "Write module:attribute, with the module's folder in PYTHONPATH",
        ) from error
    if not isinstance(found, Mapping) or not all(map(callable, found.values())):
        raise ConfigError(
            f"registered: {reference} is no mapping of functions",
            "Give a dictionary of functions by name",
        )
    return found


def executes(made: Sequence[Call], wanted: Sequence[Call], registered: Registered) -> bool | None:
    """Whether the calls run, and give the results of the wanted ones, in any order.

    Args:
        made: The model's calls.
        wanted: The right ones.
        registered: Functions by name: pure, and quick with any arguments.

    Returns:
        None where a wanted function is not registered, or does not run itself.
    """
    right = _results(wanted, registered)
    if right is None or not wanted:
        return None
    results = _results(made, registered)
    if results is None or len(results) != len(right):
        return False
    for result in results:
        index = next((i for i, each in enumerate(right) if same(result, each)), None)
        if index is None:
            return False
        del right[index]
    return True


def _results(calls: Sequence[Call], registered: Registered) -> list[Any] | None:
    """Results by call; None if one is not registered, or fails."""
    results = []
    for call in calls:
        if call.name not in registered:
            return None
        try:
            results.append((call.name, registered[call.name](**call.arguments)))
        # Whatever a function of the user does with wrong arguments is an answer's failure.
        except Exception:
            return None
    return results
