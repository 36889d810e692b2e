"""What is installed, and what is asked for, by mlx-probe and by what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Asked
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlx_probe.doctor.facts import Requirement

__all__ = ["DISTRIBUTION", "fits", "installed_packages", "requirements"]

DISTRIBUTION = "mlx-probe"


def installed_packages() -> dict[str, str]:
    """Every installed package and its version, by normalized name, sorted."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # A broken installation leaves a folder without either.
        entries = distribution.metadata
        if "Name" in entries and "Version" in entries:
            # The first on the path is the one that is imported.
            found.setdefault(canonicalize_name(entries["Name"]), entries["Version"])
    return dict(sorted(found.items()))


def requirements(packages: Mapping[str, str]) -> tuple[Requirement, ...]:
    """What mlx-probe asks for, and what that asks for, each with what is there.

    Args:
        packages: From `installed_packages`.

    Returns:
        Requirements in the order of the search; empty if mlx-probe's metadata is not there.
    """
    found: list[Requirement] = []
    pending: list[tuple[str, str]] = [(DISTRIBUTION, "")]
    seen = set(pending)
    while pending:
        by, extra = pending.pop(0)
        for asked in _asked(by, extra):
            name = canonicalize_name(asked.name)
            installed = packages.get(name)
            specifier = str(asked.specifier)
            fit = installed is not None and fits(installed, specifier)
            requirement = Requirement(name, specifier, installed, by, fit)
            if requirement not in found:
                found.append(requirement)
            # One without extras, and one for each: an extra's requirements are no others.
            for further in ("", *sorted(asked.extras)):
                if installed is not None and (name, further) not in seen:
                    seen.add((name, further))
                    pending.append((name, further))
    return tuple(found)


def fits(version: str, specifier: str) -> bool:
    """Whether a version is one of those asked for; what nobody can read fits."""
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True


def _asked(name: str, extra: str) -> Iterator[Asked]:
    """What a package asks for on this machine, given one of its extras or none."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        try:
            asked = Asked(line)
        except InvalidRequirement:
            continue
        if asked.marker is None or asked.marker.evaluate({"extra": extra}):
            yield asked
