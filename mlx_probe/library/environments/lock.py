"""Lock files: the exact versions of an environment, with the hashes of what was installed.

The file is a list of requirements as pip and uv have read it for ten years, `name==version
--hash=sha256:...`, with facts in comments. pylock.toml (PEP 751) says the same, but only the
newest pip reads it, and it has no place for a package whose file has no known hash.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_text
from mlx_probe.library.environments.template import Template, template_from

__all__ = ["Lock", "Pin", "differences", "parse_pins", "read_lock", "write_lock"]

_KIND, _VERSION = "mlx-probe-environment-lock", 1
_FIRST = f"# {_KIND}: {_VERSION}"
_FACTS = ("python", "implementation", "platform", "maker", "made", "template-sha256", "template")
# To make it again, with mlx-probe or without it.
_WAYS = (
    ("mlx-probe", "env", "create", "NAME", "--lock", "FILE"),
    ("pip", "install", "--no-deps", "-r", "FILE"),
)
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9.!+_-]+)"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})*)"
)
_REMEDY = "Write it again with `mlx-probe env export NAME --out FILE`"


@dataclass(frozen=True)
class Pin:
    """A package in one version.

    Attributes:
        name: Its normalized name.
        version: Its version.
        hashes: SHA-256 of the files that are it, 64 hex digits each; none if unknown.
    """

    name: str
    version: str
    hashes: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """The pin as a line for pip and uv."""
        hashes = (f"--hash=sha256:{digest}" for digest in self.hashes)
        return " \\\n    ".join([f"{self.name}=={self.version}", *hashes])


@dataclass(frozen=True)
class Lock:
    """All that is needed to make an environment again.

    Attributes:
        python: Version of Python.
        implementation: "cpython", mostly.
        platform: System and instruction set, such as "darwin-arm64".
        maker: What made it.
        made: When, ISO 8601.
        template: What it was made from.
        pins: Its packages.
    """

    python: str
    implementation: str
    platform: str
    maker: str
    made: str
    template: Template
    pins: tuple[Pin, ...]

    @property
    def release(self) -> str:
        """Major and minor version of Python, which compiled packages are for."""
        return ".".join(self.python.split(".")[:2])

    @property
    def versions(self) -> dict[str, str]:
        """Version of each package."""
        return {pin.name: pin.version for pin in self.pins}


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock file.

    Raises:
        ResultError: The disk refused.
    """
    facts = {
        **{name: str(getattr(lock, name)) for name in _FACTS[:5]},
        "template-sha256": lock.template.sha256,
        "template": json.dumps(asdict(lock.template), ensure_ascii=True),
    }
    lines = [
        _FIRST,
        *(f"# {key}: {value}" for key, value in facts.items()),
        *(f"# {shlex.join(command)}" for command in _WAYS),
        *(pin.requirement for pin in lock.pins),
    ]
    write_text(path, "\n".join(lines) + "\n")


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        ResultError: There is none, or it says something else than `write_lock` writes: options
            of pip and addresses are refused.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ResultError(
            f"cannot read {path}: {reason}", "Give --lock a file that `env export` has written"
        ) from error
    lines = text.splitlines()
    if not lines or lines[0] != _FIRST:
        raise ResultError(
            f"{path} is no lock file of mlx-probe",
            "Give --lock a file that `env export` has written",
        )
    pattern = re.compile(r"# ([a-z0-9-]+): (.*)")
    facts = {m[1]: m[2] for line in lines if (m := pattern.fullmatch(line)) and m[1] in _FACTS}
    if missing := [name for name in _FACTS if name not in facts]:
        raise ResultError(f"{path} does not say its {missing[0]}", _REMEDY)
    try:
        template = template_from(json.loads(facts["template"]), str(path))
    except ValueError as error:
        raise ResultError(f"{path}: its template is no JSON", _REMEDY) from error
    except ConfigError as error:
        raise ResultError(error.fact, _REMEDY) from error
    if template.sha256 != facts["template-sha256"]:
        raise ResultError(f"{path}: its template was changed", _REMEDY)
    pins = parse_pins(text, str(path))
    names = [pin.name for pin in pins]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ResultError(f"{path} has {twice[0]} twice", _REMEDY)
    known = {name: facts[name] for name in _FACTS[:5]}
    return Lock(**known, template=template, pins=pins)


def parse_pins(text: str, where: str) -> tuple[Pin, ...]:
    """The pins of a list of requirements.

    Args:
        text: The list; comments count for nothing.
        where: The file, for messages.

    Raises:
        ResultError: A line is no pin.
    """
    pins = []
    for line in re.sub(r"\\\s*\n", " ", text).splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        match = _PIN.fullmatch(line)
        if match is None or not _is_version(match["version"]):
            shown = line if len(line) <= 80 else line[:80] + "..."
            raise ResultError(f"{where}: {shown!r} is not name==version with hashes", _REMEDY)
        hashes = tuple(sorted(re.findall(r"sha256:([0-9a-f]{64})", match["hashes"])))
        pins.append(Pin(canonicalize_name(match["name"]), match["version"], hashes))
    return tuple(pins)


def differences(
    locked: Mapping[str, str], installed: Mapping[str, str], ignored: Iterable[str] = ()
) -> Sequence[tuple[str, str | None, str | None]]:
    """Packages whose versions differ: name, locked version, installed version; None for absent.

    Args:
        locked: Versions of a lock.
        installed: Versions of an environment.
        ignored: Packages that may be there although the lock has them not.
    """
    names = sorted(locked.keys() | (installed.keys() - set(ignored)))
    return [
        (name, locked.get(name), installed.get(name))
        for name in names
        if not _same(locked.get(name), installed.get(name))
    ]


def _same(one: str | None, other: str | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    # 1.0 and 1.0.0 are one version.
    return _is_version(one) and _is_version(other) and Version(one) == Version(other)


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True
