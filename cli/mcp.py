"""`mlx-probe mcp`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mlx_probe.core.errors import ConfigError, Interrupted
from mlx_probe.core.language import LANGUAGES, VARIABLE

from .command import Command
from .query import scope_options

__all__ = ["mcp"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe mcp",
        "mlx-probe mcp --runs ~/runs --models ~/models",
        "mlx-probe mcp --catalog",
    ),
)
@scope_options
@click.option(
    "--models",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder below which models may be inspected; may be repeated.  [default: none]",
)
def mcp(
    runs: tuple[Path, ...], catalog: bool, database: Path | None, models: tuple[Path, ...]
) -> None:
    """Serve finished runs to an assistant by the Model Context Protocol, on standard input.

    A client such as an editor starts this command by itself. Its tools are inspect, findings,
    query, explain and compare-runs. They read the runs below --runs, the catalog's with
    --catalog, and the headers of models below --models; they write nothing, start nothing and
    reach no network.
    """
    try:
        import duckdb  # noqa: F401
        from mcp.server import MCPServer  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "the server for assistants needs packages that are not installed: mcp and duckdb",
            "Install them with: pip install 'mlx-probe[mcp]'",
        ) from error
    for folder in models:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder", "Name folders that hold models")
    # Whatever a model's files name, nothing is fetched; and an assistant reads English.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ[VARIABLE] = LANGUAGES[0]
    from mlx_probe.library.query import Scope

    from .assistant.places import Places
    from .assistant.server import make_server

    try:
        make_server(Places(Scope(runs, catalog, database, models=catalog), models)).run("stdio")
    except KeyboardInterrupt as error:
        # Ctrl-C is how a server that was started by hand ends: no failure, and nothing to do again.
        if type(error) is not KeyboardInterrupt:
            raise
        click.get_current_context().exit(Interrupted.exit_code)
