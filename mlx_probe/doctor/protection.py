"""Disk encryption and the user's account, which are macOS's own business: read, never changed."""

from __future__ import annotations

import platform
import re

from mlx_probe.doctor.facts import Protection
from mlx_probe.doctor.programs import ask

__all__ = ["look_at_protection", "read_account", "read_encryption"]

# Of the whole text: "FileVault is On, but ..." is not on.
_ENCRYPTION = (
    ("on", re.compile(r"FileVault is On\.")),
    ("off", re.compile(r"FileVault is Off\.")),
    ("changing", re.compile(r"FileVault is (?:On|Off)\.?,? .*", re.DOTALL)),
    ("changing", re.compile(r"(?:FileVault is (?:On|Off)\.\s+)?(?:En|De)cryption .*", re.DOTALL)),
    ("changing", re.compile(r"(?:FileVault is Off\.\s+)?Deferred enablement .*", re.DOTALL)),
)


def look_at_protection() -> Protection | None:
    """What macOS says; None on other systems."""
    if platform.system() != "Darwin":
        return None
    said, problem = ask(["/usr/bin/fdesetup", "status"])
    groups, no_groups = ask(["/usr/bin/id", "-Gn"])
    return Protection(
        encryption="unknown" if problem else read_encryption(said),
        said=problem or " ".join(said.split()),
        account="unknown" if no_groups else read_account(groups),
    )


def read_encryption(said: str) -> str:
    """What `fdesetup status` says: "on", "off", "changing"; "unknown" for any other text."""
    text = said.strip()
    return next((state for state, form in _ENCRYPTION if form.fullmatch(text)), "unknown")


def read_account(groups: str) -> str:
    """What the groups of a user make it: "administrator" or "standard"; "unknown" for none."""
    names = groups.split()
    if "admin" in names:
        return "administrator"
    # Every account of a person is in one of these.
    return "standard" if {"staff", "everyone"} & set(names) else "unknown"
