"""The classes of all commands: help that ends with examples, variables spelled as the options.

Texts are English in the code and in the documentation; `Formatter` translates what is shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_probe.core.messages import translated

from .help import Formatter

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["Command", "DefaultGroup", "Group", "option_variables"]


class _Context(click.Context):
    formatter_class = Formatter


class Command(click.Command):
    """A command of mlx-probe.

    Attributes:
        examples: One to three command lines, for the end of the help and the documentation.
        settings_of: The command that this one is about: what the environment and a file set for
            that one holds here as well. None for the command itself.
    """

    context_class = _Context

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        settings_of: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.examples, self.settings_of = tuple(examples), settings_of

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line, after each option has learned its variables."""
        for option in self.params:
            # An option with a variable of its own keeps it. The variable of click, from the
            # name of the Python argument (`formats` for --format), is accepted beside these.
            if isinstance(option, click.Option) and option.envvar is None:
                option.envvar = option_variables(option, ctx)
                if self.settings_of is not None and ctx.parent is not None:
                    other = click.Context(self, ctx.parent, self.settings_of)
                    option.envvar += option_variables(option, other)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the epilog, and the examples below it."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                # Not wrapped, so that a line can be copied.
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete options and subcommands, described in the reader's language."""
        items = super().shell_complete(ctx, incomplete)
        for item in items:
            item.help = item.help and translated(item.help)
        return items


class Group(Command, click.Group):
    """A command with subcommands."""

    command_class = Command


class DefaultGroup(Group):
    """A command with subcommands, of which one is meant where none is named.

    Attributes:
        default: Name of that one.
    """

    def __init__(self, *args: Any, default: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.default = default

    def completed(self, args: Sequence[str]) -> list[str]:
        """A command line with the name of the subcommand that is meant."""
        words = list(args)
        if not words or words[0] in self.commands or words[0] in ("-h", "--help"):
            return words
        # A word that nearly is one, and is nothing on the disk, is refused as a wrong one.
        near = difflib.get_close_matches(words[0], self.commands, 1, 0.75)
        return words if near and not Path(words[0]).exists() else [self.default, *words]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line, with the default where no subcommand is named."""
        return super().parse_args(ctx, self.completed(args))


def option_variables(option: click.Option, ctx: click.Context) -> list[str]:
    """Environment variables that set an option, spelled as the option is.

    Args:
        option: One of the command's options.
        ctx: The command's context.
    """
    names = [name[2:] for name in option.opts if name.startswith("--")]
    prefix = ctx.auto_envvar_prefix
    return [f"{prefix}_{name.replace('-', '_').upper()}" for name in names] if prefix else []
