"""Options and types that need nothing else: commands that start often import no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlx_probe.core.units import parse_size

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["SIZE", "complete_files", "quiet_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


class _Size(click.ParamType[int]):
    """A number of bytes with an optional unit: 600MB, 1.5GiB, 4096."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int) and value >= 0:
            return value
        size = parse_size(str(value))
        if size is None:
            self.fail(f"{value!r} is not a size such as 600MB or 1.5GiB", param, ctx)
        return size


SIZE = _Size()


def complete_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the name of a file or folder."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def quiet_option(command: Command) -> Command:
    """--quiet."""
    return click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")(command)
