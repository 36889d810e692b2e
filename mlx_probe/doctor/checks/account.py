"""What may this account do?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """Which kind of account this is; elsewhere than on a Mac nothing is said."""
    protection = facts.protection
    if protection is None:
        return
    if protection.account == "administrator":
        yield ok("this account may administer the Mac; mlx-probe needs no more than a standard one")
    elif protection.account == "standard":
        yield ok("this is a standard account, which is all that mlx-probe needs")
    else:
        fact = "it is unknown what this account may do"
        yield "warning", fact, "Look at what `id -Gn` says"
