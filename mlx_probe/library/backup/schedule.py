"""A backup every day: a launchd agent on macOS, a line of cron elsewhere."""

from __future__ import annotations

import hashlib
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import replacing

__all__ = ["SCHEDULERS", "Schedule", "default_scheduler", "parse_time"]

# What a scheduled backup needs of the user's environment: where programs and passwords are.
_VARIABLES = ("PATH", "RESTIC_PASSWORD_FILE", "MLX_PROBE_CATALOG")


@dataclass(frozen=True)
class Schedule:
    """A backup that is made every day.

    Attributes:
        repo: The archive.
        arguments: Of ``mlx-probe backup create``, absolute paths.
        hour: When, of the machine's clock.
        minute: When.
        folder: Where the command is started: the default paths are below it.
        log: What it prints goes to the end of this file.
    """

    repo: Path
    arguments: tuple[str, ...]
    hour: int
    minute: int
    folder: Path
    log: Path

    @property
    def label(self) -> str:
        """Its name: the same for the same archive."""
        digest = hashlib.sha256(os.fsencode(self.repo)).hexdigest()
        return f"mlx-probe.backup.{digest[:12]}"

    @property
    def command(self) -> list[str]:
        """The program with its arguments."""
        return [_program(), "backup", "create", *self.arguments]


def parse_time(text: str) -> tuple[int, int]:
    """Hour and minute of a text such as 02:30.

    Raises:
        ConfigError: It is none.
    """
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", text)
    if found is None or int(found[1]) > 23 or int(found[2]) > 59:
        raise ConfigError(f"{text!r} is no time of day", "Write it as 02:30")
    return int(found[1]), int(found[2])


def _program() -> str:
    beside = Path(sys.executable).with_name("mlx-probe")
    return os.fspath(beside) if beside.exists() else shutil.which("mlx-probe") or "mlx-probe"


def _variables() -> dict[str, str]:
    return {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}


class Launchd:
    """An agent of the user: runs after the Mac has slept over its time, too."""

    def entry(self, schedule: Schedule) -> str:
        """The property list."""
        return plistlib.dumps(
            {
                "Label": schedule.label,
                "ProgramArguments": schedule.command,
                "WorkingDirectory": os.fspath(schedule.folder),
                "EnvironmentVariables": _variables(),
                "StartCalendarInterval": {"Hour": schedule.hour, "Minute": schedule.minute},
                "StandardOutPath": os.fspath(schedule.log),
                "StandardErrorPath": os.fspath(schedule.log),
                "ProcessType": "Background",
                "LowPriorityIO": True,
            }
        ).decode("utf-8")

    def path(self, schedule: Schedule) -> Path:
        """Where it is installed."""
        return Path.home() / "Library" / "LaunchAgents" / f"{schedule.label}.plist"

    def install(self, schedule: Schedule) -> str:
        """Write it and have it loaded; returns where it is."""
        path = self.path(schedule)
        _make(path.parent)
        _make(schedule.log.parent)
        with replacing(path) as temporary:
            temporary.write_text(self.entry(schedule), "utf-8")
        # One that is loaded already would be refused.
        _call(["launchctl", "bootout", f"gui/{os.getuid()}/{schedule.label}"], check=False)
        _call(["launchctl", "bootstrap", f"gui/{os.getuid()}", os.fspath(path)])
        return os.fspath(path)

    def uninstall(self, schedule: Schedule) -> bool:
        """Remove it; whether it was there."""
        path = self.path(schedule)
        if not path.exists():
            return False
        _call(["launchctl", "bootout", f"gui/{os.getuid()}/{schedule.label}"], check=False)
        path.unlink()
        return True


class Cron:
    """A line of the user's crontab, recognized by the comment before it."""

    def entry(self, schedule: Schedule) -> str:
        """The comment and the line."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in _variables().items()]
        words = [*variables, shlex.join(schedule.command)]
        line = " ".join(["cd", shlex.quote(os.fspath(schedule.folder)), "&&", *words])
        line += f" >>{shlex.quote(os.fspath(schedule.log))} 2>&1"
        if "\n" in line:
            raise ConfigError(
                "a path or variable has a line break, which a crontab cannot have", "Rename it"
            )
        # A bare % is the end of the line to cron.
        line = line.replace("%", r"\%")
        return f"{self._mark(schedule)}\n{schedule.minute} {schedule.hour} * * * {line}\n"

    def install(self, schedule: Schedule) -> str:
        """Put it into the crontab instead of an older one of this archive."""
        _make(schedule.log.parent)
        rest, _ = self._without(schedule)
        _call(["crontab", "-"], rest + self.entry(schedule))
        return "crontab"

    def uninstall(self, schedule: Schedule) -> bool:
        """Take it out of the crontab; whether it was there."""
        rest, is_there = self._without(schedule)
        if is_there:
            _call(["crontab", "-"], rest)
        return is_there

    def _mark(self, schedule: Schedule) -> str:
        return f"# {schedule.label}"

    def _without(self, schedule: Schedule) -> tuple[str, bool]:
        """The other lines of the crontab, and whether this one was there."""
        # Whoever has no crontab gets a failure that says so; another one must not empty it.
        lines = _call(["crontab", "-l"], unless="no crontab").splitlines(keepends=True)
        for number, line in enumerate(lines):
            if line.strip() == self._mark(schedule):
                return "".join(lines[:number] + lines[number + 2 :]), True
        text = "".join(lines)
        return text + ("\n" if text and not text.endswith("\n") else ""), False


# By name: the scheduler of a system.
SCHEDULERS: Mapping[str, Launchd | Cron] = {"launchd": Launchd(), "cron": Cron()}


def default_scheduler() -> str:
    """The scheduler of this system."""
    return "launchd" if sys.platform == "darwin" else "cron"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(
            f"cannot make {folder}: {os.strerror(error.errno or 0)}", "Check its permissions"
        ) from error


def _call(words: Sequence[str], given: str = "", check: bool = True, unless: str = "") -> str:
    """What a program of the system prints; nothing if it fails and says ``unless``."""
    try:
        done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    except OSError as error:
        if not check:
            return ""
        raise ResultError(
            f"cannot start {words[0]}: {os.strerror(error.errno or 0)}",
            "Install it, or leave out --install and add the printed entry yourself",
        ) from error
    if check and done.returncode and not (unless and unless in done.stderr):
        raise ResultError(
            f"{words[0]} failed: {done.stderr.strip() or done.returncode}",
            "Leave out --install and add the printed entry yourself",
        )
    return done.stdout if done.returncode == 0 else ""
