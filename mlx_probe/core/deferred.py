"""Functions whose modules are imported when they are called: a start-up pays for none."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["deferred"]


def deferred(module: str, function: str) -> Callable[..., Any]:
    """A function whose module is imported when it is called.

    The command line lists every source and side table without importing what does their work.
    """

    def call(*args: Any, **settings: Any) -> Any:
        return getattr(import_module(module), function)(*args, **settings)

    return call
