"""`check`: whether an environment is whole, alone, as its lock says, and works."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from mlx_probe.core.files import write_text
from mlx_probe.library.environments.child import ask
from mlx_probe.library.environments.folder import Place, Record
from mlx_probe.library.environments.installed import broken_files, installed_packages
from mlx_probe.library.environments.interpreters import Interpreter, interpreter_of
from mlx_probe.library.environments.isolation import isolation
from mlx_probe.library.environments.lock import Lock, differences
from mlx_probe.library.environments.makers import MAKERS
from mlx_probe.library.environments.probes import Outcome, Status, run_probe

__all__ = ["CheckConfig", "Checked", "check", "last_check"]

# Files of one package, and requirements, that are named before they are counted.
MOST = 5
# Seconds that pip has to look at all requirements.
REQUIREMENTS = 120.0


@dataclass(frozen=True)
class CheckConfig:
    """What to look at.

    Attributes:
        lock: Versions to compare with; None for those of the lock that it was made from, if any.
        timeout: Seconds for each framework's test.
        with_hashes: Read every file of every package; otherwise their sizes are compared.
    """

    lock: Lock | None = None
    timeout: float = 120.0
    with_hashes: bool = True


@dataclass(frozen=True)
class Checked:
    """What a check has shown.

    Attributes:
        name: The environment.
        template: Name of what it was made from.
        maker: What made it.
        python: Version of its Python.
        platform: System and instruction set.
        checked: When, ISO 8601.
        outcomes: In the order of the checks.
        packages: Versions of what is installed.
    """

    name: str
    template: str
    maker: str
    python: str
    platform: str
    checked: str
    outcomes: tuple[Outcome, ...]
    packages: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The worst outcome."""
        seen = {outcome.status for outcome in self.outcomes}
        return next((each for each in ("error", "warning") if each in seen), "ok")

    @property
    def counts(self) -> Counter[Status]:
        """Outcomes of each status."""
        return Counter(outcome.status for outcome in self.outcomes)

    def describe(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"status": self.status, **asdict(self)}


def check(
    place: Place,
    config: CheckConfig = CheckConfig(),
    on_step: Callable[[str], None] = lambda s: None,
) -> Checked:
    """Look at an environment, and keep what was seen beside its record.

    Args:
        place: The environment.
        config: What to look at.
        on_step: Called with what is looked at.

    Raises:
        ResultError: There is no such environment.
    """
    record = place.finished()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="mlx-probe-") as scratch:
        for outcome in _outcomes(place, record, config, Path(scratch), on_step):
            outcomes.append(outcome)
    checked = Checked(
        name=place.name,
        template=record.template.name,
        maker=record.maker,
        python=record.python,
        platform=record.platform,
        checked=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        outcomes=tuple(outcomes),
        packages={package.name: package.version for package in installed_packages(place.path)},
    )
    write_text(_kept(place), json.dumps(checked.describe(), indent=1) + "\n")
    return checked


def last_check(place: Place) -> Checked | None:
    """What the last check has shown; None if there was none."""
    try:
        entries = json.loads(_kept(place).read_text("utf-8"))
        del entries["status"]
        outcomes = tuple(Outcome(**outcome) for outcome in entries.pop("outcomes"))
        return Checked(outcomes=outcomes, **entries)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _kept(place: Place) -> Path:
    return place.notes / "check.json"


def _outcomes(
    place: Place, record: Record, config: CheckConfig, scratch: Path, on_step: Callable[[str], None]
) -> Iterator[Outcome]:
    on_step("Python")
    interpreter, outcome = _interpreter(place, record, scratch)
    yield outcome
    on_step("isolation")
    yield from isolation(place.path, interpreter, scratch)
    yield from _files(place, record, config, on_step)
    on_step("versions")
    yield from _versions(place, record, config)
    if interpreter is not None:
        on_step("requirements")
        yield _requirements(place, record, scratch)
    for name in record.template.check:
        on_step(name)
        if interpreter is None:
            yield Outcome(name, "skipped", "the Python of the environment does not start")
        else:
            yield run_probe(name, place.python, config.timeout, scratch)


def _interpreter(place: Place, record: Record, scratch: Path) -> tuple[Interpreter | None, Outcome]:
    remake = place.remake(record)
    remedy = f"Install that Python again, or make the environment anew: {remake}"
    if not os.path.lexists(place.python):
        fact = f"{place.python} is not there"
        return None, Outcome("Python", "error", fact, remedy)
    if not place.python.exists():
        # It is a link, or a link to one.
        base = os.path.realpath(place.python)
        fact = f"the Python that it was made of is gone: {base}"
        return None, Outcome("Python", "error", fact, remedy)
    found = interpreter_of(place.python, scratch)
    if isinstance(found, str):
        return None, Outcome("Python", "error", f"its Python does not start: {found}", remedy)
    if Path(found.prefix).resolve() != place.path.resolve():
        fact = f"its Python is that of {found.prefix}"
        return None, Outcome("Python", "error", fact, remedy)
    if found.release != ".".join(record.python.split(".")[:2]):
        fact = f"its Python is {found.version} now, and packages are for {record.python}"
        return found, Outcome("Python", "error", fact, remedy, found.version)
    if found.version != record.python:
        fact = f"its Python was {record.python} when it was made"
        return found, Outcome("Python", "warning", fact, "", found.version)
    return found, Outcome("Python", "ok", f"it starts, from {found.base}", "", found.version)


def _files(
    place: Place, record: Record, config: CheckConfig, on_step: Callable[[str], None]
) -> Iterator[Outcome]:
    """Files that are not as they were installed, by package."""
    wrong: dict[str, list[str]] = {}
    looked: list[str] = []

    def on_package(name: str) -> None:
        looked.append(name)
        on_step(name)

    for package, why in broken_files(place.path, config.with_hashes, on_package):
        wrong.setdefault(package, []).append(why)
    remake = place.remake(record)
    for package, files in wrong.items():
        more = f" and {len(files) - MOST} more" if len(files) > MOST else ""
        yield Outcome(
            "files",
            "error",
            f"{package}: {'; '.join(files[:MOST])}{more}",
            f"Install {package} again, or make the environment anew: {remake}",
        )
    if not wrong:
        count = len(looked)
        by_hash = f"files of {count} packages are as they were installed, by SHA-256"
        fact = by_hash if config.with_hashes else f"files of {count} packages have their sizes"
        yield Outcome("files", "ok", fact)


def _versions(place: Place, record: Record, config: CheckConfig) -> Iterator[Outcome]:
    """Packages in other versions than the lock's, or than when it was made."""
    now = {package.name: package.version for package in installed_packages(place.path)}
    is_locked = config.lock is not None or bool(record.lock)
    before = config.lock.versions if config.lock is not None else record.versions
    seeds = MAKERS[record.maker].seeds if record.maker in MAKERS else ()
    changed = differences(before, now, seeds if is_locked else ())
    for name, locked, installed in changed:
        fact = f"{name} is {installed or 'absent'} instead of {locked or 'absent'}"
        if is_locked:
            remedy = "Make the environment anew from its lock file with --lock FILE --replace"
            yield Outcome("versions", "error", fact, remedy, installed or "")
        else:
            remedy = f"Keep it: mlx-probe env export {place.name} --out FILE"
            yield Outcome("versions", "warning", fact, remedy, installed or "")
    if not changed:
        locked_fact = f"{len(now)} packages have the versions of the lock file"
        made_fact = f"{len(now)} packages have the versions that were installed"
        yield Outcome("versions", "ok", locked_fact if is_locked else made_fact)


def _requirements(place: Place, record: Record, scratch: Path) -> Outcome:
    """What packages need of each other, as pip sees it."""
    command = [sys.executable, "-m", "pip", "--python", str(place.python), "check"]
    answer = ask([*command, "--disable-pip-version-check"], REQUIREMENTS, scratch)
    lines = [line for line in answer.output.splitlines() if line.strip()]
    if not answer.problem:
        return Outcome("requirements", "ok", "every package has what it needs")
    if not lines:
        fact = f"pip cannot look at its packages: {answer.problem}"
        return Outcome("requirements", "error", fact, f"Make it anew: {place.remake(record)}")
    more = f"; and {len(lines) - MOST} more" if len(lines) > MOST else ""
    fact = "; ".join(islice(lines, MOST)) + more
    return Outcome("requirements", "error", fact, "Install what is missing in versions that fit")
