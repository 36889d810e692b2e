"""An environment saved as text, and what has changed since."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import write_text
from mlx_probe.doctor.checks.finding import Finding
from mlx_probe.doctor.facts import Facts

__all__ = ["LOCK", "SUMMARY", "Difference", "Snapshot", "read_snapshot", "write_snapshot"]

SUMMARY, LOCK = "environment.md", "environment.lock.txt"

# Headings of the summary.
_LASTING, _FINDINGS = "## What it is", "## What was found"


@dataclass(frozen=True)
class Difference:
    """Something that has changed since the snapshot.

    Attributes:
        kind: "environment" or "package".
        name: The fact or the package.
        before: Its value in the snapshot; None if it was not there.
        now: Its value now; None if it is not there.
    """

    kind: str
    name: str
    before: str | None
    now: str | None


@dataclass(frozen=True)
class Snapshot:
    """A saved environment.

    Attributes:
        environment: `Facts.lasting` at that time.
        packages: Every package that was installed, and its version.
    """

    environment: Mapping[str, str]
    packages: Mapping[str, str]

    def differences(self, facts: Facts) -> list[Difference]:
        """What has changed since the snapshot.

        Args:
            facts: The environment now.
        """
        now = {name: _line(text) for name, text in facts.lasting().items()}
        return [
            *_differences("environment", self.environment, now),
            *_differences("package", self.packages, facts.packages),
        ]


def write_snapshot(folder: Path, facts: Facts, findings: Sequence[Finding]) -> list[Path]:
    """Save an environment: one file to read, one to install from.

    Args:
        folder: Made if it does not exist. An earlier snapshot in it is replaced.
        facts: The environment.
        findings: Results of the checks.

    Returns:
        Paths of the files.

    Raises:
        ResultError: They cannot be written.
    """
    now = datetime.now(timezone.utc)
    summary = "\n".join(
        [
            "# Environment",
            "",
            f"Taken by mlx-probe {facts.version} on {now:%Y-%m-%d %H:%M} UTC.",
            "",
            _LASTING,
            "",
            *(f"- {name}: {_line(text)}" for name, text in facts.lasting().items()),
            "",
            _FINDINGS,
            "",
            *(f"- {f.check}, {f.status}: {_line(f.fact)}" for f in findings),
            "",
        ]
    )
    lock = "".join(f"{_line(name)}=={_line(v)}\n" for name, v in sorted(facts.packages.items()))
    texts = {folder / LOCK: lock, folder / SUMMARY: summary}
    try:
        for path, text in texts.items():
            write_text(path, text)
    except ResultError as error:
        # The usual remedy names the option --out, which this command does not have.
        raise ResultError(error.fact, error.remedy.replace("--out", "--snapshot")) from error
    return list(texts)


def read_snapshot(folder: Path) -> Snapshot:
    """Read a snapshot.

    Args:
        folder: Where it was written.

    Raises:
        ResultError: There is none, or it cannot be read.
    """
    return Snapshot(_read_summary(folder / SUMMARY), _read_lock(folder / LOCK))


def _differences(kind: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    names = [*now, *(name for name in before if name not in now)]
    return [
        Difference(kind, name, before.get(name), now.get(name))
        for name in names
        if before.get(name) != now.get(name)
    ]


def _read_summary(path: Path) -> dict[str, str]:
    lines = _read(path).splitlines()
    if _LASTING not in lines:
        raise _no_snapshot(path, f"it has no heading {_LASTING!r}")
    lines = lines[lines.index(_LASTING) + 1 :]
    if _FINDINGS in lines:
        lines = lines[: lines.index(_FINDINGS)]
    entries = (re.fullmatch(r"- ([^:]+): (.*)", line) for line in lines)
    return {entry[1]: entry[2] for entry in entries if entry}


def _read_lock(path: Path) -> dict[str, str]:
    entries = {}
    for line in filter(None, map(str.strip, _read(path).splitlines())):
        name, separator, version = line.partition("==")
        if not separator:
            raise _no_snapshot(path, f"{line[:80]!r} is not name==version")
        entries[name] = version
    return entries


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise _no_snapshot(path, "it is not there") from error
    except (OSError, UnicodeError) as error:
        raise _no_snapshot(path, type(error).__name__) from error


def _no_snapshot(path: Path, reason: str) -> ResultError:
    return ResultError(
        f"cannot read {path}: {reason}", "Give --compare a folder that --snapshot has written"
    )


def _line(text: str) -> str:
    """Text on one line: the output of a program may contain any character."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
