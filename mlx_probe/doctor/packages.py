"""Packages that are installed, and packages that mlx-probe needs."""

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
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        # A broken installation leaves a folder without name and version.
        entries = distribution.metadata
        if "Name" in entries and "Version" in entries:
            # Of several versions, Python imports the first on its path.
            versions.setdefault(canonicalize_name(entries["Name"]), entries["Version"])
    return dict(sorted(versions.items()))


def requirements(packages: Mapping[str, str]) -> tuple[Requirement, ...]:
    """Packages that mlx-probe needs, directly and through others, with their installed versions.

    Args:
        packages: From `installed_packages`.

    Returns:
        Direct requirements first; empty if the metadata of mlx-probe is missing.
    """
    needed: list[Requirement] = []
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
            if requirement not in needed:
                needed.append(requirement)
            # Once without extras and once for each extra, which has its own requirements.
            for further in ("", *sorted(asked.extras)):
                if installed is not None and (name, further) not in seen:
                    seen.add((name, further))
                    pending.append((name, further))
    return tuple(needed)


def fits(version: str, specifier: str) -> bool:
    """Whether a version fits; a version or specifier that cannot be parsed does."""
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True


def _asked(name: str, extra: str) -> Iterator[Asked]:
    """The requirements of a package on this machine, with one of its extras or none."""
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
