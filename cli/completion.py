"""`mlx-probe completion`."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from .command import Command

__all__ = ["completion"]

SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command(
    cls=Command,
    examples=(
        """echo 'eval "$(mlx-probe completion bash)"' >> ~/.bashrc""",
        """echo 'eval "$(mlx-probe completion zsh)"' >> ~/.zshrc""",
        "mlx-probe completion fish > ~/.config/fish/completions/mlx-probe.fish",
    ),
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a SHELL complete commands, options and their values.

    The script asks mlx-probe for the choices, so that it stays right after an update. bash has
    to be 4.4 or later; in zsh, compinit has to run before.
    """
    script = SHELLS[shell](ctx.find_root().command, {}, "mlx-probe", "_MLX_PROBE_COMPLETE")
    click.echo(script.source())
