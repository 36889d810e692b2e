"""`export`: the lock file of an environment as it is now."""

from __future__ import annotations

from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.library.environments.folder import Place
from mlx_probe.library.environments.installed import installed_packages
from mlx_probe.library.environments.lock import Lock, Pin, write_lock

__all__ = ["export"]


def export(place: Place, path: Path) -> Lock:
    """Write an environment's exact versions.

    Args:
        place: The environment.
        path: The lock file; replaced if it exists.

    Returns:
        What was written.

    Raises:
        ResultError: There is no such environment, a package is not from an index, or the disk
            refused.
    """
    record = place.finished()
    known = {(pin.name, pin.version): pin for pin in record.pins}
    pins = []
    for package in installed_packages(place.path):
        if package.origin:
            raise ResultError(
                f"{package.name} was installed from {package.origin}: a lock file cannot name it",
                "Install a version of it from an index or a wheel, or remove it",
            )
        if not package.version:
            raise ResultError(
                f"{package.name} has no version: its metadata are damaged",
                f"See `mlx-probe env check {place.name}`",
            )
        # One that was installed later has no known hash.
        key = (package.name, package.version)
        pins.append(known.get(key, Pin(*key)))
    lock = Lock(
        python=record.python,
        implementation=record.implementation,
        platform=record.platform,
        maker=record.maker,
        made=record.made,
        template=record.template,
        pins=tuple(pins),
    )
    write_lock(path, lock)
    return lock
