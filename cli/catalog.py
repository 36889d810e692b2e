"""`mlx-probe catalog`: the models on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_text
from mlx_probe.library.catalog import (
    SORTS,
    Database,
    Duplicates,
    Query,
    add_tags,
    card_text,
    default_database,
    find_duplicates,
    find_model,
    find_versions,
    forget,
    hash_models,
    load_models,
    open_database,
    plan_links,
    remove_tags,
    scan,
    select_models,
    set_note,
    undoable,
)
from mlx_probe.library.catalog import dedupe as replace_by_links
from mlx_probe.library.catalog import undo as take_links_back
from mlx_probe.report.terminal.catalog import (
    done_json,
    done_text,
    duplicates_json,
    duplicates_text,
    model_text,
    models_json,
    models_table,
    plan_json,
    plan_text,
    scan_json,
    scan_text,
)
from mlx_probe.report.terminal.text import plain, printable
from mlx_probe.runs.folder import DEFAULT_ROOT
from mlx_probe.source.stores import STORES

from .command import Group
from .options import SIZE, quiet_option
from .progress import hashing

__all__ = ["catalog"]


def _opening(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the open catalog; only when it runs, not for its help."""

    @click.pass_context
    @wraps(command)
    def run(ctx: click.Context, /, **options: Any) -> None:
        with open_database(ctx.obj) as database:
            command(database, **options)

    return run


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_id_argument = click.argument("name", metavar="ID")
_yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
_smallest_option = click.option(
    "--larger", type=SIZE, default=1, metavar="SIZE", help="Leave out smaller files (600MB, 1GiB)."
)


@click.group(
    cls=Group,
    examples=(
        "mlx-probe catalog scan",
        "mlx-probe catalog list --sort size --reverse",
    ),
)
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="MLX_PROBE_CATALOG",
    metavar="FILE",
    help="The catalog.  [default: catalog.sqlite in the system's place for data]",
)
@click.pass_context
def catalog(ctx: click.Context, database: Path | None) -> None:
    """Keep a catalog of the models on this machine.

    `scan` first. ID is a model's name, its key in the list, the beginning of either, or its
    path.
    """
    ctx.obj = default_database() if database is None else database


@catalog.command(
    "scan",
    examples=(
        "mlx-probe catalog scan",
        "mlx-probe catalog scan ~/models --hash",
        "mlx-probe catalog scan --store hub",
    ),
)
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER]...")
@click.option(
    "--store",
    "stores",
    multiple=True,
    type=click.Choice(list(STORES)),
    help='Look through this store only; may be repeated. "folder": the remembered ones.',
)
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=f"Where finished runs are; may be repeated.  [default: {DEFAULT_ROOT}]",
)
@click.option("--hash", "hash_all", is_flag=True, help="Hash every weight file that has no hash.")
@_json_option
@quiet_option
@_opening
def scan_command(
    database: Database,
    folders: tuple[Path, ...],
    stores: tuple[str, ...],
    runs: tuple[Path, ...],
    hash_all: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Look for models and read the headers of those that are new or changed.

    Without FOLDER and --store: in the caches of the Hugging Face Hub and of mlx-probe, in the
    stores of Ollama and LM Studio, and in the folders that earlier scans were given.
    """
    with _status(quiet, "looking for models") as tell:
        report = scan(database, folders, stores, runs or (DEFAULT_ROOT,), tell)
    if hash_all:
        with hashing("scan", "the catalog", quiet) as job:
            report.troubles += hash_models(database, load_models(database), job.update).troubles
    if as_json:
        click.echo(scan_json(report))
    elif not quiet:
        _console().print(scan_text(report), soft_wrap=True)


@catalog.command(
    "list",
    examples=(
        "mlx-probe catalog list --sort size --reverse",
        "mlx-probe catalog list --format gguf --larger 1GB",
        "mlx-probe catalog list --not-analyzed --json",
    ),
)
@click.option("--text", default="", help="Part of a name, path, licence, description or note.")
@click.option("--format", "format_", default="", help="safetensors, gguf ...")
@click.option("--architecture", default="", help="Part of it: llama, qwen ...")
@click.option("--dtype", default="", help="Part of a stored type: BF16, Q4_K, 4 bit ...")
@click.option(
    "--store",
    default="",
    type=click.Choice(["", *STORES]),
    metavar="STORE",
    help=f"One of {', '.join(STORES)}.",
)
@click.option("--licence", "--license", default="", help="Part of it.")
@click.option("--tag", "tags", multiple=True, help="May be repeated: models with all of them.")
@click.option("--larger", type=SIZE, metavar="SIZE", help="At least so large (600MB, 1.5GiB).")
@click.option("--smaller", type=SIZE, metavar="SIZE", help="At most so large.")
@click.option("--analyzed/--not-analyzed", default=None, help="Whether a finished run is known.")
@click.option("--missing/--present", default=None, help="Whether the files have gone.")
@click.option("--unreadable/--readable", default=None, help="Whether the headers were understood.")
@click.option("--sort", default="name", metavar="FIELD", help=f"One of {', '.join(SORTS)}.")
@click.option("--reverse", is_flag=True, help="The greatest first.")
@_json_option
@_opening
def list_command(
    database: Database,
    /,
    sort: str,
    reverse: bool,
    as_json: bool,
    format_: str,
    analyzed: bool | None,
    missing: bool | None,
    unreadable: bool | None,
    **filters: Any,
) -> None:
    """List models, with filters and in an order."""
    query = Query(format=format_, analyzed=analyzed, missing=missing, problem=unreadable, **filters)
    every = load_models(database)
    models = select_models(every, query, sort, reverse)
    if as_json:
        click.echo(models_json(models))
        return
    console = _console()
    console.print(models_table(models, console.width))
    if not every:
        console.print("The catalog is empty: run `mlx-probe catalog scan`", soft_wrap=True)


@catalog.command(
    "show",
    examples=("mlx-probe catalog show Qwen/Qwen3-0.6B",),
)
@_id_argument
@_json_option
@_opening
def show_command(database: Database, name: str, as_json: bool) -> None:
    """Show all that is known of a model."""
    models = load_models(database)
    model = find_model(models, name)
    if as_json:
        click.echo(json.dumps(model.describe(), indent=2))
    else:
        _console().print(model_text(model, find_versions(model, models)))


@catalog.command(
    "note",
    examples=(
        'mlx-probe catalog note Qwen/Qwen3-0.6B "baseline of the June runs"',
        "mlx-probe catalog note Qwen/Qwen3-0.6B --remove",
    ),
)
@_id_argument
@click.argument("text", required=False)
@click.option("--remove", is_flag=True, help="Remove the note.")
@_opening
def note_command(database: Database, name: str, text: str | None, remove: bool) -> None:
    """Write a note on a model, or print it."""
    model = find_model(load_models(database), name)
    if remove or text is not None:
        if remove and text:
            raise ConfigError("a note cannot be both written and removed", "Leave one out")
        set_note(database, model, _utf8(text or ""))
    elif model.note:
        click.echo(plain(model.note))


@catalog.command(
    "tag",
    examples=(
        "mlx-probe catalog tag Qwen/Qwen3-0.6B baseline small",
        "mlx-probe catalog tag Qwen/Qwen3-0.6B small --remove",
    ),
)
@_id_argument
@click.argument("tags", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Take the tags away.")
@_opening
def tag_command(database: Database, name: str, tags: tuple[str, ...], remove: bool) -> None:
    """Give a model tags to list it by."""
    model = find_model(load_models(database), name)
    (remove_tags if remove else add_tags)(database, model, tags)


@catalog.command(
    "forget",
    examples=(
        "mlx-probe catalog forget --missing",
        "mlx-probe catalog forget Qwen/Qwen3-0.6B --yes",
    ),
)
@click.argument("names", nargs=-1, metavar="[ID]...")
@click.option("--missing", is_flag=True, help="All models whose files have gone.")
@click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Do not look through this folder any more; may be repeated.",
)
@_yes_option
@_opening
def forget_command(
    database: Database, names: tuple[str, ...], missing: bool, folders: tuple[Path, ...], yes: bool
) -> None:
    """Remove models from the catalog with their notes and tags; no file is touched."""
    if not names and not missing and not folders:
        raise ConfigError("nothing to forget", "Name models, or use --missing or --folder")
    models = load_models(database)
    chosen = {model.key: model for model in (find_model(models, name) for name in names)}
    chosen |= {model.key: model for model in models if missing and model.missing}
    noted = [model for model in chosen.values() if model.note or model.tags]
    if noted and not yes:
        _confirm(f"{len(noted)} of {len(chosen)} models have notes or tags. Forget them?")
    forget(database, chosen.values(), folders)
    _console().print(f"forgotten: {len(chosen)}", soft_wrap=True)


@catalog.command(
    "duplicates",
    examples=("mlx-probe catalog duplicates --larger 100MB",),
)
@_smallest_option
@click.option("--verify", is_flag=True, help="Trust no hash that is known: read the files again.")
@_json_option
@quiet_option
@_opening
def duplicates_command(
    database: Database, larger: int, verify: bool, as_json: bool, quiet: bool
) -> None:
    """Find weight files with the same content under several names.

    Links to one file are one file. The first of each group, marked *, is the one that `dedupe`
    keeps: the Hub cache's before Ollama's, LM Studio's and other folders', then the oldest.
    """
    found = _find(database, larger, verify, quiet)
    if as_json:
        click.echo(duplicates_json(found))
    elif not quiet:
        _console().print(duplicates_text(found), soft_wrap=True)


@catalog.command(
    "dedupe",
    examples=(
        "mlx-probe catalog dedupe --dry-run",
        "mlx-probe catalog dedupe --larger 1GB --yes",
    ),
)
@_smallest_option
@click.option(
    "--link",
    type=click.Choice(["hard", "symbolic"]),
    default="hard",
    show_default=True,
    help="Hard links share a disk and outlive each other; symbolic ones reach other disks.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@_yes_option
@_json_option
@quiet_option
@_opening
def dedupe_command(
    database: Database,
    larger: int,
    link: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Replace copies of weight files by links to one of them; `undo` takes it back.

    Every file is hashed before, and read back after. A program that writes into a linked file
    in place changes it under all its names; programs that replace files do not.
    """
    if as_json and not (yes or dry_run):
        raise ConfigError("--json asks no questions", "Add --yes or --dry-run")
    plan = plan_links(_find(database, larger, False, quiet).groups, link == "symbolic")
    if dry_run or not plan.links:
        if as_json:
            click.echo(plan_json(plan))
        elif not quiet:
            _console().print(plan_text(plan), soft_wrap=True)
        return
    if not yes:
        _console().print(plan_text(plan), soft_wrap=True)
        _confirm(f"Replace {len(plan.links)} files by {link} links?")
    with hashing("dedupe", "the catalog", quiet) as job:
        keepers = {planned.keeper: planned.size for planned in plan.links}
        total = sum(keepers.values()) + 2 * sum(planned.size for planned in plan.links)
        job.begin(total)
        done = replace_by_links(database, plan, job.add)
    if as_json:
        click.echo(done_json(done))
    elif not quiet:
        _console().print(done_text(done, f"made {link} links", "freed"), soft_wrap=True)
    if done.skipped:
        raise click.ClickException(f"{len(done.skipped)} files stay as they were")


@catalog.command(
    "undo",
    examples=(
        "mlx-probe catalog undo",
        "mlx-probe catalog undo --all --yes",
    ),
)
@click.option("--all", "everything", is_flag=True, help="All that was ever replaced.")
@_yes_option
@_json_option
@quiet_option
@_opening
def undo_command(
    database: Database, everything: bool, yes: bool, as_json: bool, quiet: bool
) -> None:
    """Give the files that the last `dedupe` replaced bytes of their own again."""
    if as_json and not yes:
        raise ConfigError("--json asks no questions", "Add --yes")
    links = undoable(database, everything)
    if links and not yes:
        _confirm(f"Make {len(links)} links files of their own again?")
    with _status(quiet, "copying"):
        done = take_links_back(database, everything)
    if as_json:
        click.echo(done_json(done))
    elif not quiet:
        text = done_text(done, "given bytes of their own again", "taken")
        _console().print(text, soft_wrap=True)
    if done.skipped:
        raise click.ClickException(f"{len(done.skipped)} files stay as they were")


@catalog.command(
    "card",
    examples=("mlx-probe catalog card Qwen/Qwen3-0.6B --out card.md",),
)
@_id_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.md",
    help="Write it there.  [default: print it]",
)
@_opening
def card_command(database: Database, name: str, out: Path | None) -> None:
    """Write a model card in Markdown from what is known."""
    models = load_models(database)
    text = card_text(find_model(models, name), models)
    if out is None:
        click.echo(plain(text), nl=False)
        return
    write_text(out, text, errors="backslashreplace")
    _console().print(printable(str(out)), soft_wrap=True)


def _find(database: Database, larger: int, verify: bool, quiet: bool) -> Duplicates:
    with hashing("duplicates", "the catalog", quiet) as job:
        models = [model for model in load_models(database) if not model.missing]
        return find_duplicates(database, models, verify, larger, job.update)


def _console() -> Console:
    return Console(highlight=False)


def _confirm(question: str) -> None:
    try:
        agreed = click.confirm(question)
    except click.Abort:
        # Nobody there to answer.
        raise ConfigError("nothing was done: no answer", "Add --yes") from None
    if not agreed:
        raise ResultError("nothing was done", "Run the command again to be asked again")


@contextmanager
def _status(quiet: bool, what: str) -> Iterator[Callable[[Path], None]]:
    """A line that tells what is looked at."""
    console = Console(stderr=True, highlight=False)
    if quiet or not console.is_terminal:
        yield lambda place: None
        return
    with console.status(what) as status:
        yield lambda place: status.update(f"{what}: {printable(str(place)[-60:])}")


def _utf8(text: str) -> str:
    """Text from a command line that need not be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
