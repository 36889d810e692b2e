"""`mlx-probe share start`, which `mlx-probe share RUN` means."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from mlx_probe.cli.command import Command
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import DURATION
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.library.share.kinds import FILE_KINDS
from mlx_probe.report.terminal.plain import plain

if TYPE_CHECKING:
    from mlx_probe.library.share.guests import Invitation
    from mlx_probe.library.share.server import GuestServer
    from mlx_probe.report.share import Shared

__all__ = ["start_command"]

_MORE = [kind for kind, of in FILE_KINDS.items() if not of.by_default]


@click.command(
    "start",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe share start data/outputs/Qwen--Qwen3-0.6B --port 8321",
        "mlx-probe share start ./runs/shakespeare --guest ada --expires 2d",
        "mlx-probe share start ./run --host 100.101.102.103 --guest ada --for 3h",
    ),
)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    help="Where to listen; on any address that other machines reach, guests need tokens.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=0,
    help="0 takes one that is free.",
)
@click.option(
    "--guest",
    "guests",
    multiple=True,
    metavar="NAME",
    help="Make a token for this guest and let nobody else look; may be repeated.",
)
@click.option(
    "--expires",
    type=DURATION,
    metavar="TIME",
    default="7d",
    help="How long the tokens of --guest are good: 90s, 30m, 12h, 7d, 2w.",
)
@click.option("--tokens", is_flag=True, help="Ask for a token on a loopback address, too.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Name by which guests reach this machine, beside numbers and localhost.",
)
@click.option(
    "--include",
    multiple=True,
    type=click.Choice(_MORE),
    help="Files that guests may read beside tables, documents and pictures; may be repeated.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, 100_000),
    metavar="N",
    default=120,
    help="Requests of a guest, or of an address without a token, in a minute.",
)
@click.option(
    "--audit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The audit log.  [default: share/audit.jsonl in the system's data folder]",
)
@click.option(
    "--for",
    "seconds",
    type=DURATION,
    metavar="TIME",
    help="Stop after this time: 30m, 3h, 7d.",
)
@json_option
def start_command(
    runs: tuple[Path, ...],
    host: str,
    port: int,
    guests: tuple[str, ...],
    expires: int,
    tokens: bool,
    allowed_hosts: tuple[str, ...],
    include: tuple[str, ...],
    rate: int,
    audit: Path | None,
    seconds: int | None,
    as_json: bool,
) -> None:
    """Show RUNs to guests, read only, until Ctrl-C.

    RUN is what `mlx-probe report` shows, or an id or name of `mlx-probe runs list`. Guests see
    its report, as it is now, and its tables, documents and pictures; no weights, logs or
    metadata without --include, no hidden file, no link and nothing outside the run's folder.
    They can start nothing. Every request is in the audit log; where that cannot be written,
    nothing is served.

    The first line on standard output is the address, with a token where --guest makes one; each
    further guest has a further line.
    """
    from mlx_probe.library.share.config import ShareConfig
    from mlx_probe.library.share.folder import audit_path, share_folder
    from mlx_probe.library.share.guests import check_name, invite, refuse_nobody
    from mlx_probe.library.share.server import GuestServer
    from mlx_probe.report.share import make_site

    config = ShareConfig(
        host=host,
        port=port,
        tokens=tokens or bool(guests),
        allowed_hosts=allowed_hosts,
        rate=rate,
    )
    log = (audit or audit_path()).resolve()
    names = list(dict.fromkeys(guests))
    # Before the reports, which take seconds.
    for name in names:
        check_name(name)
    if config.needs_tokens and not names:
        refuse_nobody(share_folder(), None)
    with ExitStack() as stack:
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlx-probe-share-")))
        progress = Console(stderr=True, highlight=False)
        waiting = progress.status(tr("making the reports"))
        with waiting if progress.is_terminal else nullcontext():
            site, shared = make_site([_meant(run) for run in runs], private, include)
        stack.callback(site.close)
        _refuse_log_inside(log, shared)
        invited = [invite(name, expires, share_folder()) for name in names]
        server = GuestServer(
            site,
            config,
            share_folder(),
            log,
            names or None,
            [str(each.folder) for each in shared],
        )
        stack.callback(server.close)
        if as_json:
            print_document(_document(server, config.needs_tokens, invited, shared, log))
        else:
            _say(server, invited, shared, log)
        if seconds is not None:
            timer = threading.Timer(seconds, server.stop)
            timer.daemon = True
            timer.start()
        with suppress(KeyboardInterrupt):
            server.run()


def _meant(run: Path) -> Path:
    """The run at a path, or the one that the catalog knows by that name or id."""
    from mlx_probe.library.catalog.database import default_database, open_database
    from mlx_probe.library.experiments import resolve_run

    database = default_database()
    if run.exists() or not database.exists():
        return run
    with open_database(database) as known:
        return resolve_run(str(run), known)


def _refuse_log_inside(log: Path, shared: Sequence[Shared]) -> None:
    for each in shared:
        if log.is_relative_to(each.folder):
            raise ConfigError(
                f"the audit log {log} would lie in a shared folder, where guests might read it",
                "Name another file with --audit",
            )


def _until(moment: int) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="minutes")


def _say(
    server: GuestServer,
    invited: Sequence[tuple[str, Invitation]],
    shared: Sequence[Shared],
    log: Path,
) -> None:
    """Addresses on standard output, and what a person wants to know beside it."""
    for text, _ in invited:
        click.echo(f"{server.url}?token={text}")
    if not invited:
        click.echo(server.url)
    for number, (_, made) in enumerate(invited, 1):
        click.echo(
            tr(
                "Address {number} is for {guest}, until {time}.",
                number=number,
                guest=made.guest,
                time=_until(made.expires),
            ),
            err=True,
        )
    for each in shared:
        click.echo(
            tr(
                "{run}: report and {count} files; left out: {reasons}",
                run=plain(each.name),
                count=each.files,
                reasons=_counted(each.left_out),
            ),
            err=True,
        )
    click.echo(tr("Audit log: {path}. Ctrl-C stops.", path=plain(str(log))), err=True)


def _counted(reasons: Mapping[str, int]) -> str:
    return tr(", ").join(f"{translated(why)} ({count})" for why, count in reasons.items()) or "-"


def _document(
    server: GuestServer,
    needs_tokens: bool,
    invited: Sequence[tuple[str, Invitation]],
    shared: Sequence[Shared],
    log: Path,
) -> str:
    from mlx_probe.runs.table.strict_json import encode

    document: dict[str, Any] = {
        "url": server.url,
        "tokens": needs_tokens,
        "guests": [
            {
                "guest": made.guest,
                "url": f"{server.url}?token={text}",
                "token": text,
                "expires_at": datetime.fromtimestamp(made.expires, timezone.utc),
            }
            for text, made in invited
        ],
        "runs": [
            {
                "name": each.name,
                "url": f"{server.url.rstrip('/')}{each.address}",
                "folder": str(each.folder),
                "kind": each.kind,
                "files": each.files,
                "left_out": each.left_out,
            }
            for each in shared
        ],
        "audit": str(log),
    }
    return encode(document)
