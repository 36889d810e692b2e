"""click's own errors, and warnings that no log takes, in the reader's language."""

from __future__ import annotations

import logging

import click

from mlx_probe.core.language import LANGUAGES, language, tr
from mlx_probe.core.messages import translated

__all__ = ["show_error", "translate_warnings"]


def show_error(error: click.ClickException) -> None:
    """Print an error, and where an argument was wrong the usage before it, as click does.

    Args:
        error: As click or a command raised it, in English.
    """
    if language() == LANGUAGES[0] or isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        names = error.ctx.command.get_help_option_names(error.ctx)
        if names:
            line = f"{error.ctx.command_path} {max(names, key=len)}"
            click.echo(tr("Try '{command}' for help.", command=line) + "\n", err=True)
    message = translated(error.format_message())
    click.echo(tr("Error: {message}", message=message), err=True)


def translate_warnings() -> None:
    """Let warnings outside of a run, which go to standard error, be in the reader's language.

    The log of a run stays English.
    """
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Translated())


class _Translated(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return translated(record.getMessage())
