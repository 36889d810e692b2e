"""`mlx-probe lineage`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_probe.analysis.lineage import LineageConfig, relate
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_text
from mlx_probe.report.terminal.relation import relation_text

from .command import Command
from .console import output
from .document import json_option, print_document
from .lineage_run import KIND, fingerprint, write_folder
from .options import complete_files

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.family_records import Family
    from mlx_probe.runs.small_run import SmallRun

__all__ = ["lineage"]


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe lineage base tuned",
        "mlx-probe lineage --remote Qwen/Qwen3-0.6B Qwen/Qwen3-0.6B-Base",
        "mlx-probe lineage --catalog --filter architecture=llama --report family.html",
    ),
)
@click.argument("models", nargs=-1, metavar="A B...", shell_complete=complete_files)
@click.option(
    "--remote",
    is_flag=True,
    help="Read the samples over the network and download no weights; for the Hub and addresses.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="Decides which rows and layers are sampled.",
)
@click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with the tree, the merges and every pair.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write page and document as a run folder.",
)
@click.option(
    "--catalog",
    "of_catalog",
    is_flag=True,
    help="All models of the catalog instead of A and B; it remembers what is found.",
)
@click.option(
    "--filter",
    "chosen",
    metavar="FIELD=VALUE,...",
    default="",
    show_default=False,
    help="With --catalog: only models such as architecture=llama,larger=1GB,tag=base.",
)
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="MLX_PROBE_CATALOG",
    metavar="FILE",
    show_default=False,
    help="The catalog.  [default: catalog.sqlite in the system's data folder]",
)
@json_option
def lineage(
    models: tuple[str, ...],
    remote: bool,
    seed: int,
    page: Path | None,
    out: Path | None,
    of_catalog: bool,
    chosen: str,
    database: Path | None,
    as_json: bool,
) -> None:
    """Say whether models A and B come from each other, and how, from samples of their weights.

    The relation is one of same, quantization, pruning, lora, merge, finetune and unrelated, with
    a probability and the evidence. Some rows of each matrix are read, never a whole model.

    Of more than two models: every pair, which ones are merges of others and with which weights,
    and a tree of what comes from what.
    """
    if of_catalog and models:
        raise ConfigError("--catalog names its models by itself", "Leave --catalog out, or A and B")
    if chosen and not of_catalog:
        raise ConfigError("--filter is of the catalog's models", "Add --catalog")
    if len(models) < 2 and not of_catalog:
        raise ConfigError("lineage compares two models", "Name two: mlx-probe lineage A B")
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{page} is no page", "Name a file that ends in .html")
    from mlx_probe.runs.small_run import SmallRun as Run
    from mlx_probe.runs.small_run import refuse_other_run

    run = Run(KIND)
    if out is not None:
        refuse_other_run(out, KIND)
    config = LineageConfig(seed=seed)
    if of_catalog:
        from mlx_probe.library.catalog.database import default_database

        from .lineage_catalog import family_of_catalog

        family = family_of_catalog(database or default_database(), chosen, config, as_json)
        _write(run, family, page, out, seed)
        _print(family, as_json, always=True)
        return
    prints = [fingerprint(model, remote, config) for model in models]
    if len(models) == 2 and page is None and out is None:
        relation = relate(*prints)
        if as_json:
            print_document(relation.as_json())
        else:
            output().print(relation_text(relation))
        return
    from mlx_probe.analysis.lineage.family import family_of

    family = family_of(prints)
    _write(run, family, page, out, seed)
    _print(family, as_json)


def _write(run: SmallRun, family: Family, page: Path | None, out: Path | None, seed: int) -> None:
    if page is not None:
        from mlx_probe.report.html.family_page import family_html

        write_text(page, family_html(family))
    if out is not None:
        write_folder(run, out, family, seed)


def _print(family: Family, as_json: bool, always: bool = False) -> None:
    """The family; of two models their relation, unless it is ``always`` the family."""
    if len(family.members) == 2 and not always:
        relation = family.relations[0]
        if as_json:
            print_document(relation.as_json())
        else:
            output().print(relation_text(relation))
        return
    if as_json:
        print_document(family.as_json())
        return
    from mlx_probe.report.terminal.family import family_text

    output().print(family_text(family))
