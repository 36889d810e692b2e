"""--json: one JSON document on standard output, and nothing else there, also after a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

import click

__all__ = [
    "json_option",
    "print_document",
    "print_failure",
    "print_list",
    "print_refusal",
    "wants_json",
]

Command = TypeVar("Command", bound=Callable[..., Any])

# Members of a list that are printed at a time.
_BLOCK = 100

# Keys of what all contexts of one command line share.
_WANTED, _PRINTED = "mlx_probe.json.wanted", "mlx_probe.json.printed"


def wants_json(ctx: click.Context) -> None:
    """Say that the command's output is JSON, so that a failure prints a document too."""
    ctx.meta[_WANTED] = True


def _remember(ctx: click.Context, param: click.Parameter, wanted: bool) -> bool:
    if wanted:
        wants_json(ctx)
    return wanted


def json_option(command: Command) -> Command:
    """--json."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        # Before the other options, so that a wrong one of them is refused in JSON too.
        is_eager=True,
        callback=_remember,
        help="Print JSON instead of text.",
    )(command)


def print_document(value: Any) -> None:
    """Print the command's document.

    Args:
        value: What `encode` takes, or the document itself as text.
    """
    # Here, because it imports numpy, and most commands print text.
    from mlx_probe.runs.table.strict_json import document

    click.get_current_context().meta[_PRINTED] = True
    click.echo(value if isinstance(value, str) else document(value))


def print_list(values: Iterable[Any]) -> None:
    """Print the command's document, a list, with a line for each member: it may be long.

    Args:
        values: What `encode` takes.
    """
    from mlx_probe.runs.table.strict_json import encode

    click.get_current_context().meta[_PRINTED] = True
    # Not indented: for ten thousand runs that alone takes half a second.
    lines = map(encode, values)
    between = "[\n"
    # Each print flushes.
    while block := list(islice(lines, _BLOCK)):
        click.echo(between + ",\n".join(block), nl=False)
        between = ",\n"
    click.echo("[]" if between.startswith("[") else "\n]")


def print_failure(ctx: click.Context, fact: str, remedy: str, exit_code: int) -> None:
    """Print what failed as the document, if the command was to print one and has not yet."""
    if ctx.meta.get(_WANTED) and not ctx.meta.get(_PRINTED):
        from mlx_probe.runs.table.strict_json import encode

        error = {"fact": fact, "remedy": remedy, "exit_code": exit_code}
        # On one line: `monitor --json` prints lines.
        click.echo(encode({"error": error}))


def print_refusal(
    ctx: click.Context, error: click.ClickException, arguments: Sequence[str]
) -> None:
    """Print what click refused as the document, as `print_failure` does.

    Args:
        ctx: Context of the program.
        error: A wrong command line, or a failure without a remedy of its own.
        arguments: The command line.
    """
    remedy = ""
    if isinstance(error, click.UsageError):
        at = error.ctx or ctx
        remedy = f"`{at.command_path} --help` lists what there is"
        # An unknown option is refused before any other one has been looked at.
        flags = {
            name for param in at.command.params if param.name == "as_json" for name in param.opts
        }
        if flags & set(arguments):
            wants_json(ctx)
    print_failure(ctx, error.format_message(), remedy, error.exit_code)
