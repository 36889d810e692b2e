"""Why an installer failed: its output as a fact, with the package that failed, and a remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlx_probe.core.errors import ProbeError

__all__ = ["InstallError", "explained"]


class InstallError(ProbeError):
    """An environment that cannot be made, or packages that cannot be installed.

    Args:
        fact: What failed, with the package.
        remedy: What to do.
        output: The last lines that the installer printed.
    """

    def __init__(self, fact: str, remedy: str, output: Sequence[str] = ()) -> None:
        super().__init__(fact, remedy)
        self.output = tuple(output)


@dataclass(frozen=True)
class _Failure:
    """A way to fail.

    Attributes:
        pattern: What pip, uv or conda print then; its group is the package.
        fact: What it means; the field is the package.
        remedy: What to do.
    """

    pattern: re.Pattern[str]
    fact: str
    remedy: str


# What comes first counts: without a connection pip ends as for a name that does not exist.
_FAILURES = (
    _Failure(
        re.compile(r"No space left on device|Disk quota exceeded", re.DOTALL),
        "the disk is full while {0} is installed",
        "Free space on that disk, or choose another one with --folder",
    ),
    _Failure(
        re.compile(
            r"DO NOT MATCH THE HASHES.*?\n\s+([^\s]+) from|[Hh]ash mismatch for `?([^\s`]+)",
            re.DOTALL,
        ),
        "the file of {0} is not the one that the lock file names",
        "Find out where the file comes from; if you trust it, write a new lock file",
    ),
    _Failure(
        re.compile(
            r"No interpreter found (?:at path|for|in) `?([^`\n]+)"
            r"|download.*(python)-build-standalone",
            re.DOTALL,
        ),
        "{0} is not on this machine and cannot be fetched",
        "Install it, or choose another Python with --python",
    ),
    _Failure(
        re.compile(
            r"Retrying \(Retry\(|[Ff]ailed to establish a new connection|name resolution"
            r"|dns error|error sending request|CondaHTTPError|Network connectivity was disabled",
            re.DOTALL,
        ),
        "no connection to the package index for {0}",
        "Check the connection and `pip config list`, or give a folder of wheels: --wheels DIR",
    ),
    _Failure(
        re.compile(
            r"satisfies the requirement ([^\s;]+)|No matching distribution found for ([^\s;]+)"
            r"|Because ([^\s]+) was not found|there is no version of ([^\s,]+)"
            r"|Because only ([^\s]+) is available|- ([^\s]+)\s*\n+Current channels",
            re.DOTALL,
        ),
        "no version of {0} fits this Python and platform",
        "Correct its name and versions in the template, or choose another Python with --python",
    ),
    _Failure(
        re.compile(
            r"Failed building wheel for ([^\s]+)|Failed to build (?:installable wheels for )?"
            r"[`']?([^\s`']+)|Getting requirements to build wheel did not run",
            re.DOTALL,
        ),
        "{0} has no wheel for this machine and cannot be built here",
        "Install a compiler and what its documentation names, or ask for another version",
    ),
    _Failure(
        re.compile(
            r"Cannot install ([^\s,]+).*conflicting dependencies|Because .*? depends on ([^\s,]+)",
            re.DOTALL,
        ),
        "the requirements contradict each other at {0}",
        "Loosen or remove one of them in the template",
    ),
    _Failure(
        re.compile(r"Permission denied", re.DOTALL),
        "{0} cannot be written: Permission denied",
        "Give yourself write permission there, or choose another folder with --folder",
    ),
)
# Names of the package at work when nothing names one that failed.
_AT_WORK = re.compile(r"(?:Collecting|Downloading|Installing collected packages:|Building) (.+)")
# What is shown of its output: lines, and characters of each.
_LINES, _LONGEST = 12, 300


def explained(name: str, output: str, code: int) -> InstallError:
    """The error for an installer that failed.

    Args:
        name: The environment.
        output: All that it printed.
        code: Its exit code.
    """
    # pip lists every version that there is, in one line.
    lines = [line[:_LONGEST] for line in output.splitlines() if line.strip()][-_LINES:]
    for failure in _FAILURES:
        match = failure.pattern.search(output)
        if match:
            package = next(filter(None, match.groups()), None) or _at_work(output)
            fact = f"cannot make {name}: {failure.fact.format(package)}"
            return InstallError(fact, failure.remedy, lines)
    fact = f"cannot make {name}: the installer ended with exit code {code} at {_at_work(output)}"
    return InstallError(fact, "Read its output above", lines)


def _at_work(output: str) -> str:
    found = _AT_WORK.findall(output)
    return found[-1].split()[0].strip(",") if found else "the first package"
