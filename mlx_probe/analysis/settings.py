"""Settings that Python code gives as keywords, put into the configuration that they belong to."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["with_settings"]

Config = TypeVar("Config", bound="DataclassInstance")


def with_settings(
    config: Config, settings: Mapping[str, Any], function: Callable[..., object], called: str
) -> Config:
    """A configuration with some of its fields replaced.

    Args:
        config: The configuration.
        settings: Fields by name. Where the field is a tuple, a text is one member of it, and a
            list becomes one.
        function: What was called with them: its own arguments are named where a name is unknown.
        called: What users call the function.

    Raises:
        ConfigError: There is no such field.
    """
    if not settings:
        return config
    known = {field.name: getattr(config, field.name) for field in fields(config)}
    for name in settings:
        if name not in known:
            raise _unknown(name, known, function, called)
    return replace(config, **{n: _fitting(v, known[n]) for n, v in settings.items()})


def _fitting(value: object, before: object) -> object:
    if not isinstance(before, tuple):
        return value
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) else value


def _unknown(
    name: str, known: Iterable[str], function: Callable[..., object], called: str
) -> ConfigError:
    arguments = [
        parameter.name
        for parameter in signature(function).parameters.values()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    everything = [*arguments, *known]
    near = difflib.get_close_matches(name, everything, n=3, cutoff=0.5)
    remedy = f"Did you mean {' or '.join(near)}? " if near else ""
    return ConfigError(
        f"{called} takes no argument {name!r}",
        f"{remedy}It takes {', '.join(everything)}",
    )
