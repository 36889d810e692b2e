"""`mlx-probe share token`, `guests` and `revoke`: who may look."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import DURATION
from mlx_probe.core.language import tr
from mlx_probe.library.share.guests import Invitation, invitations, invite, revoke
from mlx_probe.report.terminal.listing import Heading, Listing

__all__ = ["guests_command", "revoke_command", "token_command"]


@click.command(
    "token",
    cls=Command,
    context_settings={"show_default": True},
    examples=("mlx-probe share token ada", "mlx-probe share token ada --expires 2d"),
)
@click.argument("guest", metavar="NAME")
@click.option(
    "--expires",
    type=DURATION,
    metavar="TIME",
    default="7d",
    help="How long it is good: 90s, 30m, 12h, 7d, 2w.",
)
@json_option
def token_command(guest: str, expires: int, as_json: bool) -> None:
    """Make a token for a guest, and print it; it is kept nowhere.

    It opens what `mlx-probe share` shares on this machine, also now: as ADDRESS?token=TOKEN in
    a browser, or as the header Authorization: Bearer TOKEN.
    """
    text, made = invite(guest, expires)
    if as_json:
        print_document({**_described(made), "token": text})
        return
    click.echo(text)
    until = tr("Good until {time}, at ADDRESS?token=TOKEN.", time=_time(made.expires))
    click.echo(until, err=True)


@click.command("guests", cls=Command, examples=("mlx-probe share guests",))
@json_option
def guests_command(as_json: bool) -> None:
    """List the tokens that were made, the oldest first."""
    made = invitations()
    if as_json:
        print_document([_described(each) for each in made])
        return
    texts = (tr("guest"), tr("made"), tr("until"), tr("state"))
    rows = [(each.guest, _time(each.created), _time(each.expires), _state(each)) for each in made]
    output().print(Listing([Heading(text) for text in texts], list(rows)))


@click.command("revoke", cls=Command, examples=("mlx-probe share revoke ada",))
@click.argument("guest", metavar="NAME")
@json_option
def revoke_command(guest: str, as_json: bool) -> None:
    """Take all tokens of a guest back.

    Servers that run follow with the next request.
    """
    ended = revoke(guest)
    if as_json:
        print_document({"guest": guest, "revoked": len(ended)})
    else:
        click.echo(tr("{count} tokens of {guest} were taken back", count=len(ended), guest=guest))


def _state(made: Invitation) -> str:
    if made.revoked is not None:
        return tr("taken back")
    return tr("valid") if made.is_good(time.time()) else tr("ended")


def _time(moment: int) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="minutes")


def _described(made: Invitation) -> dict[str, Any]:
    def at(moment: int | None) -> datetime | None:
        return None if moment is None else datetime.fromtimestamp(moment, timezone.utc)

    return {
        "guest": made.guest,
        "id": made.id,
        "created_at": at(made.created),
        "expires_at": at(made.expires),
        "revoked_at": at(made.revoked),
        "good": made.is_good(time.time()),
    }
