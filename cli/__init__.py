"""The command line: `mlx-probe`."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mlx_probe.core.errors import Interrupted, ProbeError
from mlx_probe.core.invocation import invoked
from mlx_probe.core.language import LANGUAGES, VARIABLE, can_show, language, tr
from mlx_probe.core.messages import translated
from mlx_probe.core.version import __version__

from .command import Group

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["GROUPS", "cli", "main"]

# By what a user wants: name and purpose of each command, which is the attribute of its name in
# the module of its name, with _ for -. The purposes stand here so that `--help` imports no command.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "Measure": {
        "plan": "Predict memory and time of analyzing MODEL.",
        "analyze": "Measure every tensor of MODEL.",
        "compare": "Compare two models, or a base and its adapter.",
        "lineage": "Say whether models come from each other, and how.",
        "series": "Measure checkpoints of one model over its training.",
        "compare-runs": "Compare finished RUNs, of any models.",
        "budget": "Choose bits or ranks for MODEL's matrices under a budget.",
        "findings": "Say what is unusual about a finished RUN.",
        "report": "Show a finished RUN as a page or as text.",
        "similar-layers": "Find layers of MODEL that copy, mix or reorder others.",
        "plot": "Draw a column or a spectrum of RUN into a file.",
        "explain": "Explain what a column means.",
        "validate": "Check a finished RUN.",
        "query": "Answer a question in SQL about finished runs.",
        "mcp": "Serve finished runs to an assistant.",
        "inspect": "List MODEL's tensors.",
        "bench": "Time methods for singular values.",
    },
    "Train": {
        "data": "Prepare text to train on.",
        "train": "Train a small language model from text.",
        "tune": "Tune MODEL on conversations.",
        "generate": "Let MODEL continue a text.",
        "evaluate": "Measure how well MODEL predicts a text.",
        "merge": "Write a base and its adapter as one model.",
        "export": "Write MODEL for another program.",
        "moe": "Make mixtures of experts, train their gates, describe, prune and merge them.",
    },
    "Serve": {
        "serve": "Serve MODEL by OpenAI's interface.",
        "load-test": "Measure how fast a server answers many clients.",
    },
    "Models": {
        "download": "Download MODEL and verify its files.",
        "verify": "Check the files of a downloaded model.",
        "model": "Look at one model as a whole.",
        "catalog": "List and manage the models on this machine.",
    },
    "Laboratory": {
        "runs": "Find runs again, compare them, and keep them in order.",
        "docs": "Write documents of experiments and models, and keep them true.",
        "share": "Show runs to guests, who can look and touch nothing.",
        "backup": "Back up runs, documents, configuration and catalog; restore them.",
        "knowledge": "Search in all documents for the words of QUERY.",
        "env": "Make, lock, check and describe environments of packages.",
    },
    "Machine": {
        "doctor": "Check that this machine is set up well.",
        "cluster": "Look at the machines that compute together.",
        "monitor": "Watch a running job, or see what a RUN took.",
        "completion": "Print a script for tab completion.",
    },
}
# Errors of a full disk, or of a share of one that is used up.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PURPOSES = {name: purpose for group in GROUPS.values() for name, purpose in group.items()}


class _Commands(Mapping[str, click.Command]):
    """The commands by name, each imported when it is asked for: a start pays for one only."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in _PURPOSES:
            raise KeyError(name)
        attribute = name.replace("-", "_")
        command: click.Command = getattr(import_module(f"{__name__}.{attribute}"), attribute)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_PURPOSES)

    def __len__(self) -> int:
        return len(_PURPOSES)


class _Program(Group):
    """All commands, grouped, and the one place where a failure becomes a message."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the command line; what click refuses is said in the reader's language too."""
        if language() == LANGUAGES[0] or not settings.get("standalone_mode", True):
            return super().main(*args, **settings)
        from .refusal import show_error, translate_warnings

        translate_warnings()
        try:
            code = super().main(*args, **{**settings, "standalone_mode": False})
        except click.ClickException as error:
            show_error(error)
            code = error.exit_code
        except click.Abort:
            click.echo(tr("Aborted!"), err=True)
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Turn every failure that has a remedy into one message and an exit code."""
        arguments = (*ctx._protected_args, *ctx.args)
        try:
            with invoked(arguments):
                return super().invoke(ctx)
        except Interrupted as error:
            _refuse(ctx, _by_signal(error))
        except ProbeError as error:
            _refuse(ctx, error)
        except click.ClickException as error:
            # click prints the message itself.
            from .document import print_refusal

            print_refusal(ctx, error, arguments)
            raise
        except KeyboardInterrupt:
            # Jobs and downloads say by themselves that what they finished is saved.
            _refuse(ctx, _by_signal(Interrupted("interrupted", "Run the same command again")))
        except OSError as error:
            # Files that the program writes have names, and messages of their own.
            if error.errno not in _FULL or error.filename is not None:
                raise
            from .console import close_output

            close_output()
            fact = f"cannot write standard output: {error.strerror}"
            _refuse(ctx, ProbeError(fact, "Free space on that disk, or send the output elsewhere"))
        except MemoryError:
            fact = "this machine has no memory left; finished rows are saved"
            _refuse(ctx, ProbeError(fact, "Lower --memory-limit and run the same command again"))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by group."""
        width = max(map(len, _PURPOSES))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                # Padded, so that the purposes of all groups begin in one column.
                rows = [(name.ljust(width), purpose) for name, purpose in commands.items()]
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say what MODEL may be, and write the examples."""
        from mlx_probe.report.terminal.wrapping import cells, padded
        from mlx_probe.source import model_forms

        forms = [(translated(title), example) for title, example in model_forms()]
        width = max(cells(title) for title, _ in forms)
        lines = [f"  {padded(title, width)}  {example}" for title, example in forms]
        # The \b keeps click from joining the lines.
        self.epilog = "\n".join(["\b", tr("MODEL is one of"), *lines])
        super().format_epilog(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command without importing any."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=translated(purpose))
            for name, purpose in _PURPOSES.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


class _Termination(KeyboardInterrupt):
    """SIGTERM: the command ends as for Ctrl-C, and says what ended it."""

    exit_code = 128 + signal.SIGTERM  # the shell's convention


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    # A second one ends the process at once.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise _Termination


def _by_signal(error: Interrupted) -> ProbeError:
    """The error, with the exit code of the signal that caused it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _Termination):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return error
    terminated = Interrupted(f"SIGTERM: {error.fact}", error.remedy)
    terminated.exit_code = _Termination.exit_code
    return terminated


def _refuse(ctx: click.Context, error: ProbeError) -> NoReturn:
    from mlx_probe.report.terminal.plain import plain

    message = f"{translated(error.fact)}\n  {translated(error.remedy)}"
    click.echo(tr("Error: {message}", message=plain(message)), err=True)
    from .document import print_failure

    print_failure(ctx, error.fact, error.remedy, error.exit_code)
    ctx.exit(error.exit_code)


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    """Version, Python, and what would compute here; scripts parse the words up to the version."""
    if not wanted or ctx.resilient_parsing:
        return
    import platform

    from mlx_probe.compute.backends import choose_backend

    try:
        _, reason = choose_backend("auto", "auto")
    except ProbeError as error:
        # Options are parsed before `_Program.invoke` guards anything.
        _refuse(ctx, error)
    python = platform.python_version()
    # English for programs up to the version.
    click.echo(f"mlx-probe, version {__version__} (Python {python}, {translated(reason)})")
    ctx.exit()


@click.group(
    cls=_Program,
    commands=_Commands(),
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "MLX_PROBE",
        "max_content_width": 100,
    },
    examples=(
        "mlx-probe plan Qwen/Qwen3-0.6B",
        "mlx-probe analyze Qwen/Qwen3-0.6B",
        "mlx-probe report data/outputs/Qwen--Qwen3-0.6B",
    ),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show version, Python, backend and device, and exit.",
)
def cli() -> None:
    """Look inside the weights of any LLM."""


def main() -> None:
    """Entry point of the console script."""
    # Before anything is said: a text of escapes helps nobody.
    if not can_show(sys.stdout.encoding):
        os.environ[VARIABLE] = LANGUAGES[0]
    # What the encoding of standard output lacks becomes an escape instead of a failure.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # pyarrow's own allocator keeps what it once had: a fifth of a run of many small tensors.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli()
    except SystemExit as leaving:
        _leave(leaving)
        raise


def _leave(leaving: SystemExit) -> None:
    """End the process at once: nothing is left to do but to take the interpreter apart.

    That takes a tenth of a second after an analysis, and after Ctrl-C it waits for workers, who
    may sit in a factorization for minutes. What is done is on disk. No command leaves work to
    the interpreter's end.
    """
    code = leaving.code or 0
    if not isinstance(code, int):
        return  # the interpreter prints it
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # the interpreter says so
    os._exit(code)
