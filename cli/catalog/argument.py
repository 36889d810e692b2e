"""What names a model on the command line of the catalog."""

from __future__ import annotations

import click

__all__ = ["id_argument"]

id_argument = click.argument("name", metavar="ID")
