"""Is the disk of this Mac encrypted?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """FileVault is on; elsewhere than on a Mac nothing is said."""
    protection = facts.protection
    if protection is None:
        return
    if protection.encryption == "on":
        yield ok("FileVault is on")
    elif protection.encryption == "changing":
        yield ok(f"FileVault is changing: {protection.said}")
    elif protection.encryption == "off":
        fact = "FileVault is off: whoever has this Mac can read models, runs and tokens"
        remedy = "Turn it on in System Settings, Privacy & Security; mlx-probe changes nothing"
        yield "warning", fact, remedy
    else:
        fact = f"it is unknown whether FileVault is on: {protection.said or 'no answer'}"
        yield "warning", fact, "Look at what `fdesetup status` says"
