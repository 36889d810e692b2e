"""Modules whose calls go through a function for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import mlx.nn as nn

__all__ = ["Call", "called_through"]

# Given what the module itself does, and its arguments, gives the result of the call.
Call = Callable[..., Any]


@contextmanager
def called_through(calls: Iterable[tuple[nn.Module, Call]]) -> Iterator[None]:
    """Let modules be called through functions; they are as before at the end.

    The modules stay where they are, with their names and attributes: only their class changes.
    What wraps a module would hide the attributes that models ask their layers for.

    Args:
        calls: Modules, each with ``function(inner, *args, **kwargs)``.
    """
    before: list[tuple[nn.Module, type]] = []
    try:
        for module, call in calls:
            kind = type(module)
            before.append((module, kind))
            module.__class__ = type(kind.__name__, (kind,), {"__call__": _method(kind, call)})
        yield
    finally:
        for module, kind in reversed(before):
            module.__class__ = kind


def _method(kind: Any, call: Call) -> Call:
    def through(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return call(partial(kind.__call__, self), *args, **kwargs)

    return through
