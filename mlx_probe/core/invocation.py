"""The command that runs now, as it was typed, without what nobody should read later."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["HIDDEN", "PROGRAM", "environment", "invocation", "invoked", "without_secrets"]

PROGRAM = "mlx-probe"
# Stands for a secret. No option takes it as a value, so that nobody runs it by mistake.
HIDDEN = "<hidden>"
# Their values are secrets; those of the second are named ones.
_SECRET, _NAMED = ("--token", "--api-key"), ("--header",)

_now: tuple[str, ...] | None = None
_environment: Mapping[str, str] | None = None


@contextmanager
def invoked(arguments: Sequence[str]) -> Iterator[None]:
    """Within ``with``, `invocation` is this command.

    Args:
        arguments: Of the command line, without the program.
    """
    global _now, _environment
    before = _now, _environment
    _now, _environment = (PROGRAM, *arguments), dict(os.environ)
    try:
        yield
    finally:
        _now, _environment = before


def invocation() -> tuple[str, ...]:
    """The command of this process, the program first; of another program its arguments."""
    return without_secrets(tuple(sys.argv) if _now is None else _now)


def environment() -> Mapping[str, str]:
    """The environment variables that the command was started with, before it set any itself."""
    return dict(os.environ) if _environment is None else _environment


def without_secrets(arguments: Sequence[str]) -> tuple[str, ...]:
    """Arguments with `HIDDEN` in the place of tokens and of the values of headers."""
    kept: list[str] = []
    option = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if option in _SECRET:
            argument, option = HIDDEN, ""
        elif option in _NAMED:
            argument, option = f"{name}={HIDDEN}", ""
        elif name in _SECRET and equals:
            argument = f"{name}={HIDDEN}"
        elif name in _NAMED and equals:
            argument = f"{name}={value.partition('=')[0]}={HIDDEN}"
        elif argument in (*_SECRET, *_NAMED):
            option = argument
        kept.append(argument)
    return tuple(kept)
