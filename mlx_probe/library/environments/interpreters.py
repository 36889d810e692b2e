"""Interpreters: which Python an environment is made with, and what it says of itself."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.environments.child import ask

__all__ = ["Interpreter", "find_interpreter", "interpreter_of", "named_version"]

# Seconds that an interpreter has to start, on a disk that sleeps.
TIMEOUT = 30.0

_CODE = """
import json, platform, site, sys
print(json.dumps({
    "version": platform.python_version(), "implementation": sys.implementation.name,
    "platform": sys.platform + "-" + platform.machine(), "prefix": sys.prefix,
    "base": sys.base_prefix, "path": sys.path[1:], "user_site": bool(site.ENABLE_USER_SITE),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python.

    Attributes:
        program: Its path.
        version: Such as "3.11.7".
        implementation: "cpython", mostly.
        platform: System and instruction set, such as "darwin-arm64".
        prefix: The environment that it belongs to.
        base: Where its standard library is.
        path: Where it looks for modules, without the folder of the program.
        user_site: Whether it looks into the user's own packages.
    """

    program: Path
    version: str
    implementation: str
    platform: str
    prefix: str
    base: str
    path: tuple[str, ...]
    user_site: bool

    @property
    def release(self) -> str:
        """Major and minor version, which compiled packages are for."""
        return ".".join(self.version.split(".")[:2])


def interpreter_of(program: Path, cwd: Path) -> Interpreter | str:
    """Ask an interpreter what it is.

    Args:
        program: Its path.
        cwd: A folder without modules.

    Returns:
        What it says, or why it says nothing.
    """
    answer = ask([str(program), "-c", _CODE], TIMEOUT, cwd)
    if answer.problem:
        return answer.problem
    try:
        entries = json.loads(answer.output.strip().splitlines()[-1])
        return Interpreter(program, **entries | {"path": tuple(entries["path"])})
    except (ValueError, IndexError, TypeError, KeyError):
        return "it is no Python"


def find_interpreter(asked: str | None, fits: str, cwd: Path) -> Interpreter:
    """An interpreter of this machine for a new environment.

    Args:
        asked: A path, a command or a version such as 3.12; None for this one, or the newest
            that fits.
        fits: Versions that fit, such as ">=3.11,<3.15".
        cwd: A folder without modules.

    Raises:
        ConfigError: There is none.
    """
    seen = {}
    wanted = SpecifierSet(f"{fits},=={asked}.*" if named_version(asked) else fits)
    for program in _candidates(asked):
        there = shutil.which(program)
        found = interpreter_of(Path(there), cwd) if there else "it is not there"
        if isinstance(found, Interpreter):
            if wanted.contains(found.version, prereleases=True):
                return found
            found = f"it is Python {found.version}"
        seen[program] = found
    where = "; ".join(f"{program}: {reason}" for program, reason in seen.items() if asked)
    raise ConfigError(
        f"no Python here is {wanted or 'usable'}" + (f" ({where})" if where else ""),
        "Install one, and name it with --python; uv and conda fetch one themselves",
    )


def named_version(asked: str | None) -> bool:
    """Whether what was asked for is a version, not a program."""
    return asked is not None and re.fullmatch(r"\d+(\.\d+){0,2}", asked) is not None


def _candidates(asked: str | None) -> Iterator[str]:
    if asked is not None:
        release = ".".join(asked.split(".")[:2])
        yield f"python{release}" if named_version(asked) else str(Path(asked).expanduser())
        if named_version(asked):
            # This one, which need not be on the path.
            yield _this()
        return
    yield _this()
    yield from (f"python3.{minor}" for minor in range(20, 9, -1))
    yield "python3"


def _this() -> str:
    """The Python that this one's environment was made of."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix, "bin", name)
    return str(base) if base.exists() else sys.executable
