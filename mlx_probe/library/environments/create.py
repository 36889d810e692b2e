"""`create`: the way to a new environment.

Choose what makes it, claim its name, make it empty, install, look at what is there, and write the
record last.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mlx_probe.core.errors import ConfigError, Interrupted
from mlx_probe.core.files import write_error
from mlx_probe.library.environments.child import run_logged
from mlx_probe.library.environments.failures import InstallError, explained
from mlx_probe.library.environments.folder import Place, Record
from mlx_probe.library.environments.installed import Package, installed_packages
from mlx_probe.library.environments.interpreters import (
    Interpreter,
    interpreter_of,
    named_version,
)
from mlx_probe.library.environments.lock import Lock, Pin, differences
from mlx_probe.library.environments.makers import Job, Sources, choose_maker
from mlx_probe.library.environments.template import Template

__all__ = ["Made", "create"]


@dataclass(frozen=True)
class Made:
    """A new environment.

    Attributes:
        place: Where it is.
        record: What it says of itself.
        packages: What is installed in it.
    """

    place: Place
    record: Record
    packages: tuple[Package, ...]


def create(
    place: Place,
    template: Template,
    lock: Lock | None = None,
    template_name: str = "",
    lock_name: str = "",
    maker: str | None = None,
    python: str | None = None,
    sources: Sources = Sources(),  # noqa: B008  frozen
    replace: bool = False,
    on_line: Callable[[str], None] = lambda line: None,
) -> Made:
    """Make an environment.

    Args:
        place: Where.
        template: What it is made of.
        lock: Exact versions to install instead of what the template's requirements give now.
        template_name: Path of its file, for the record; "" if it comes with mlx-probe.
        lock_name: Path of the lock's file, for the record.
        maker: A member of `MAKERS`; None for the first that is here.
        python: A version, program or path; None for one that fits.
        sources: Where packages come from.
        replace: Whether an environment of this name may be replaced.
        on_line: Called with each line that an installer prints.

    Raises:
        ConfigError: The maker or a Python that fits is not here, or the lock is for another one.
        ResultError: The place is taken, or the disk refused.
        InstallError: A package cannot be installed; nothing is left but the log.
        Interrupted: The user stopped it; nothing is left but the log.
    """
    name, chosen, program = choose_maker(maker)
    if lock is not None and python is None:
        # What is compiled for one release of Python does not fit another.
        python = lock.release
    if python is not None and named_version(python):
        # Before uv or conda fetches one that is of no use.
        _refuse_version(python if python.count(".") > 1 else f"{python}.99", template)
    with place.claimed(replace) as claim:
        try:
            with tempfile.TemporaryDirectory(prefix="scratch-", dir=place.scratch) as scratch:
                place.log.unlink(missing_ok=True)
                run = _Runner(place, Path(scratch), claim, on_line)
                job = Job(program, place.path, python, template.python, sources, Path(scratch), run)
                chosen.make(job)
                interpreter = _look_at(place, Path(scratch))
                _refuse_other(place, interpreter, template, lock)
                wanted: Sequence[str] | Sequence[Pin] = lock.pins if lock else template.requirements
                pins = chosen.install(job, place.python, wanted) if wanted else {}
            packages = tuple(installed_packages(place.path))
            versions = {package.name: package.version for package in packages}
            _refuse_lacking(place, template, interpreter, versions)
            if lock is not None:
                _refuse_unlike(place, lock, versions, chosen.seeds)
            record = Record(
                name=place.name,
                template=template,
                template_name=template_name or template.name,
                maker=name,
                python=interpreter.version,
                implementation=interpreter.implementation,
                platform=interpreter.platform,
                made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                lock=lock_name,
                pins=tuple(_pin(package, pins) for package in packages),
            )
            place.write(record)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"interrupted: {place.name} was not made", "Run the same command again"
            ) from error
        except OSError as error:
            refused = write_error(place.folder, error)
            remedy = refused.remedy.replace("--out", "--folder")
            raise InstallError(f"cannot make {place.name}: {refused.fact}", remedy) from error
    return Made(place, record, packages)


class _Runner:
    """Runs the commands of makers; a failure becomes an error with a remedy.

    Args:
        place: The environment.
        scratch: A folder without modules.
        claim: What `Place.claimed` gives.
        on_line: Called with each line that they print.
    """

    def __init__(
        self, place: Place, scratch: Path, claim: int, on_line: Callable[[str], None]
    ) -> None:
        self._place, self._scratch, self._claim, self._on_line = place, scratch, claim, on_line

    def __call__(self, command: Sequence[str]) -> None:
        place = self._place
        code, output = run_logged(command, place.log, self._scratch, self._claim, self._on_line)
        if code:
            raise explained(place.name, output, code)


def _look_at(place: Place, scratch: Path) -> Interpreter:
    interpreter = interpreter_of(place.python, scratch)
    if isinstance(interpreter, str):
        fact = f"cannot make {place.name}: its Python does not start: {interpreter}"
        raise InstallError(fact, "Choose another one with --python, or another --maker")
    return interpreter


def _refuse_other(
    place: Place, interpreter: Interpreter, template: Template, lock: Lock | None
) -> None:
    """Refuse a Python that the template or the lock is not for."""
    _refuse_version(interpreter.version, template)
    if lock is None:
        return
    if any(
        getattr(lock, name) != getattr(interpreter, name)
        for name in ("implementation", "release", "platform")
    ):
        raise ConfigError(
            f"the lock file is for {lock.implementation} {lock.release} on {lock.platform}, and "
            f"this is {interpreter.implementation} {interpreter.release} on "
            f"{interpreter.platform}",
            "Make it there, or make one here from the template and export a lock file of it",
        )


def _refuse_version(version: str, template: Template) -> None:
    if not SpecifierSet(template.python).contains(version, prereleases=True):
        asked = version.removesuffix(".99")
        raise ConfigError(
            f"Python {asked} does not fit: {template.name} needs {template.python}",
            "Choose another one with --python",
        )


def _refuse_lacking(
    place: Place, template: Template, interpreter: Interpreter, versions: dict[str, str]
) -> None:
    """Refuse an environment without its packages: an installer's settings put them elsewhere."""
    here = {"python_version": interpreter.release, "python_full_version": interpreter.version}
    for line in template.requirements:
        asked = Requirement(line)
        is_wanted = asked.marker is None or asked.marker.evaluate(here)
        if is_wanted and canonicalize_name(asked.name) not in versions:
            raise InstallError(
                f"cannot make {place.name}: {asked.name} was installed, and not into it",
                "Look for target, prefix, root or user in `pip config list`",
            )


def _refuse_unlike(
    place: Place, lock: Lock, versions: dict[str, str], seeds: Sequence[str]
) -> None:
    """Refuse an environment that is not what its lock says."""
    for package, locked, installed in differences(lock.versions, versions, seeds):
        raise InstallError(
            f"cannot make {place.name}: {package} is {installed or 'absent'} instead of "
            f"{locked or 'absent'}",
            "Write a new lock file: this one does not fit this machine",
        )


def _pin(package: Package, pins: dict[str, Pin]) -> Pin:
    """What is installed, with its hashes if it is what was reported."""
    known = pins.get(package.name)
    if known is not None and known.version == package.version:
        return known
    return Pin(package.name, package.version)
