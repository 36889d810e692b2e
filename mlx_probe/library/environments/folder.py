"""The folder of environments: names, what a finished one says of itself, and claims.

An environment cannot be moved, so it is made where it stays. Until its record is written, last,
it is unfinished, and the claim beside says that its folder is ours to remove:

    NAME/                            the environment
    NAME/mlx-probe/environment.json  its record: it is finished
    .making/NAME.claim               a lock; with text in it while NAME is made
    .making/NAME.log                 what the installer printed
    .making/NAME.old                 the environment that NAME replaces
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mlx_probe.core.errors import ConfigError, ProbeError, ResultError
from mlx_probe.core.files import write_error, write_text
from mlx_probe.core.paths import data_dir
from mlx_probe.library.environments.lock import Pin
from mlx_probe.library.environments.template import Template, template_from

__all__ = ["Place", "Record", "State", "environments_folder", "places"]

VARIABLE = "MLX_PROBE_ENVS"
VERSION = 1
# To get a claim that somebody looks at, and seconds between them.
_TRIES, _PAUSE = 5, 0.05
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

State = Literal["ready", "no-python", "being made", "interrupted", "damaged"]


def environments_folder(given: Path | None) -> Path:
    """The folder of environments: as given, MLX_PROBE_ENVS, or in the system's data folder."""
    if given is None and (named := os.environ.get(VARIABLE)):
        given = Path(named)
    folder = data_dir() / "environments" if given is None else given.expanduser()
    return folder.absolute()


@dataclass(frozen=True)
class Record:
    """What a finished environment says of itself.

    Attributes:
        name: Its name.
        template: What it was made from.
        template_name: Its name, or the path of its file.
        maker: What made it.
        python: Version of Python.
        implementation: "cpython", mostly.
        platform: System and instruction set.
        made: When, ISO 8601.
        lock: The lock file that it was made from; "" for none.
        pins: What was installed.
        version: Of this format.
    """

    name: str
    template: Template
    template_name: str
    maker: str
    python: str
    implementation: str
    platform: str
    made: str
    lock: str
    pins: tuple[Pin, ...]
    version: int = VERSION

    @property
    def versions(self) -> dict[str, str]:
        """Version of each package when it was made."""
        return {pin.name: pin.version for pin in self.pins}


@dataclass(frozen=True)
class Place:
    """Where an environment is, or will be.

    Attributes:
        folder: The folder of all environments.
        name: The environment's name.
    """

    folder: Path
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} cannot be the name of an environment",
                "Use letters, digits, dots, dashes and underscores, a letter or digit first",
            )

    @property
    def path(self) -> Path:
        """The environment."""
        return self.folder / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"

    @property
    def notes(self) -> Path:
        """Folder of what mlx-probe writes about it."""
        return self.path / "mlx-probe"

    @property
    def log(self) -> Path:
        """What the installer printed when it was made."""
        return self.folder / ".making" / f"{self.name}.log"

    @property
    def scratch(self) -> Path:
        """Folder for lists and reports while it is made."""
        return self.folder / ".making"

    @property
    def _claim(self) -> Path:
        return self.folder / ".making" / f"{self.name}.claim"

    @property
    def _old(self) -> Path:
        return self.folder / ".making" / f"{self.name}.old"

    def state(self) -> State:
        """What can be said without starting anything."""
        if self._is_locked():
            return "being made"
        try:
            self.record()
        except FileNotFoundError:
            return "interrupted"
        except ProbeError:
            return "damaged"
        # A link whose Python was removed is none.
        return "ready" if os.access(self.python, os.X_OK) else "no-python"

    def record(self) -> Record:
        """Read its record.

        Raises:
            FileNotFoundError: It is not finished.
            ResultError: Its record is damaged.
        """
        path = self.notes / "environment.json"
        try:
            entries = json.loads(path.read_text("utf-8"))
            template = template_from(entries.pop("template"), str(path))
            pins = tuple(
                Pin(pin["name"], pin["version"], tuple(pin["hashes"]))
                for pin in entries.pop("pins")
            )
            return Record(template=template, pins=pins, **entries)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(path) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
            raise ResultError(
                f"{path} is damaged", f"Make the environment anew: {_again(self.name)} --replace"
            ) from error

    def finished(self) -> Record:
        """Its record, for commands that need a finished environment.

        Raises:
            ResultError: There is none of this name, or it is not finished.
        """
        try:
            return self.record()
        except FileNotFoundError:
            pass
        if self._is_locked():
            raise ResultError(f"{self.name} is being made", "Wait until it is finished")
        if self._is_claimed():
            raise ResultError(
                f"{self.name} is not finished: making it was interrupted",
                f"Make it anew: {_again(self.name)}",
            )
        names = [place.name for place in places(self.folder)]
        hint = f"There are {', '.join(names)}" if names else "Make one: mlx-probe env create NAME"
        raise ResultError(f"{self.folder} has no environment {self.name}", hint)

    def remake(self, record: Record) -> str:
        """The command that makes it anew."""
        words = ["--lock", record.lock] if record.lock else ["--template", record.template_name]
        return shlex.join(["mlx-probe", "env", "create", self.name, *words, "--replace"])

    def write(self, record: Record) -> None:
        """Write its record, which makes it a finished one.

        Raises:
            ResultError: The disk refused.
        """
        described: dict[str, Any] = asdict(record)
        write_text(self.notes / "environment.json", json.dumps(described, indent=1) + "\n")

    @contextmanager
    def claimed(self, replace: bool) -> Iterator[int]:
        """Make the environment, alone; what fails leaves things as they were.

        Args:
            replace: Whether a finished one may be replaced. It comes back if that fails.

        Yields:
            The claim's descriptor. An installer that inherits it keeps the claim, should this
            process be killed.

        Raises:
            ResultError: It is there, is being made, is not ours, or the disk refused.
        """
        claim = self._claim
        try:
            claim.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(claim.parent, error) from error
        try:
            self._lock(descriptor)
            try:
                self._make_room(descriptor, replace)
            except OSError as error:
                raise _refused(self.folder, error) from error
            try:
                yield descriptor
            except BaseException:
                with suppress(OSError):
                    self._recover()
                    os.ftruncate(descriptor, 0)
                raise
            os.ftruncate(descriptor, 0)
            shutil.rmtree(self._old, ignore_errors=True)
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        # Whoever lists environments holds a claim for an instant.
        for _ in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE)
            else:
                return
        raise ResultError(
            f"{self.name} is being made by another process", "Wait until that has ended"
        )

    def _make_room(self, descriptor: int, replace: bool) -> None:
        """Take away what an interrupted attempt left, or the environment to be replaced.

        A folder is removed only if it is finished or claimed, and moved only under a claim.
        """
        is_claimed = self._is_claimed()
        if not self._is_finished() and not is_claimed and os.path.lexists(self.path):
            raise ResultError(
                f"{self.path} is no environment of mlx-probe",
                "Choose another name, or move it away",
            )
        if is_claimed and not self._is_finished():
            self._recover()
        if self._is_finished() and not replace:
            os.ftruncate(descriptor, 0)
            raise ResultError(
                f"{self.path} is there already", "Choose another name, or add --replace"
            )
        os.pwrite(descriptor, b"making\n", 0)
        os.fsync(descriptor)
        if self._is_finished():
            if self._old.exists():
                shutil.rmtree(self._old)
            self.path.rename(self._old)

    def _recover(self) -> None:
        """Remove an unfinished environment, and put back what it was to replace."""
        if self.path.exists():
            shutil.rmtree(self.path)
        if self._old.exists():
            self._old.rename(self.path)

    def _is_finished(self) -> bool:
        return (self.notes / "environment.json").exists()

    def _is_claimed(self) -> bool:
        try:
            return self._claim.stat().st_size > 0
        except OSError:
            return False

    def _is_locked(self) -> bool:
        try:
            descriptor = os.open(self._claim, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False


def places(folder: Path) -> list[Place]:
    """Every environment of a folder, finished or not, by name.

    Raises:
        ResultError: The folder cannot be read.
    """
    try:
        names = {path.name for path in folder.iterdir() if path.is_dir()}
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ResultError(
            f"cannot read {folder}: {reason}", "Name the folder of environments with --folder"
        ) from error
    # One that was interrupted early has a claim and no folder.
    names |= {path.stem for path in (folder / ".making").glob("*.claim")}
    found = [Place(folder, name) for name in sorted(names) if _NAME.fullmatch(name)]
    return [place for place in found if place._is_finished() or place._is_claimed()]


def _again(name: str) -> str:
    return shlex.join(["mlx-probe", "env", "create", name, "--template", "TEMPLATE"])


def _refused(path: Path, error: OSError) -> ResultError:
    refused = write_error(path, error)
    return ResultError(refused.fact, refused.remedy.replace("--out", "--folder"))
